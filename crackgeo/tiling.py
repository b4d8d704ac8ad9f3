"""Where tiles lie: a fixed lattice from the raster's first pixel. Pure integer maths.

The lattice depends on nothing but the tile spec, so that a run on a part of a raster cuts
the very tiles that the run on the whole cuts there, and gives the same probabilities.
Tiles at the right and lower border may reach beyond the raster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .grid import Window
from .specs import TileSpec


def lattice_range(start: int, end: int, length: int, spec: TileSpec) -> range:
    """Indices of the tiles along one axis that cover the pixels [start, end).

    Parameters
    ----------
    start, end : pixels asked for, 0 <= start < end <= length
    length : pixels of the raster along this axis
    spec : tile size and overlap; tile i begins at pixel i * spec.step_px
    """
    count = 1 + max(0, -(-(length - spec.size_px) // spec.step_px))
    first = max(0, -(-(start - spec.size_px + 1) // spec.step_px))
    last = min(count - 1, (end - 1) // spec.step_px)
    return range(first, last + 1)


@dataclass(frozen=True)
class TilePlan:
    """The tiles of one run.

    Parameters
    ----------
    shape : (height, width) of the raster
    part : pixels asked for
    spec : tile size and overlap
    first_row : rows of tiles above this one are somebody else's, though they touch the part
    """

    shape: tuple[int, int]
    part: Window
    spec: TileSpec
    first_row: int = 0

    @property
    def rows(self) -> range:
        """Lattice indices of the tile rows that touch the part."""
        rows = lattice_range(self.part.row, self.part.row_end, self.shape[0], self.spec)
        return range(max(rows.start, self.first_row), rows.stop)

    @property
    def cols(self) -> range:
        """Lattice indices of the tile columns that touch the part."""
        return lattice_range(self.part.col, self.part.col_end, self.shape[1], self.spec)

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols)

    def tile(self, i: int, j: int) -> Window:
        """The pixels of lattice tile (row i, column j)."""
        step, size = self.spec.step_px, self.spec.size_px
        return Window(i * step, j * step, size, size)

    def lattice_row(self, tile: Window) -> int:
        """The lattice row that a tile belongs to."""
        return tile.row // self.spec.step_px

    def lattice_row_of(self, row: int) -> int:
        """The last lattice row that reaches a raster row."""
        return min(row // self.spec.step_px, self.rows[-1])

    def strip(self, i: int) -> Window:
        """The pixels of all tiles of lattice row i: one read serves them all."""
        first, last = self.tile(i, self.cols[0]), self.tile(i, self.cols[-1])
        return Window(first.row, first.col, first.height, last.col_end - first.col)

    def row_tiles(self, i: int) -> Iterator[Window]:
        """The tiles of lattice row i, from left to right."""
        return (self.tile(i, j) for j in self.cols)
