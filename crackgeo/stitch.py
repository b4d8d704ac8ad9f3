"""Tiles back to a raster: weighted overlap, finished rows leave as soon as no tile can touch them.

Memory is two float32 strips of one tile's height, whatever the raster's height.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .grid import Window
from .specs import PROB_NODATA, PROB_SCALE, TileSpec
from .tiling import TilePlan

_PART_PX = 4096

Prediction = tuple[Window, NDArray[np.float32]]
Block = tuple[int, NDArray[np.uint8]]


def overlap_weight(size_px: int, overlap_px: int) -> NDArray[np.float32]:
    """Weight of each pixel of a tile along one axis, float32 `[size_px]` in (0, 1].

    One in the middle, falling as a squared sine across the overlap, so that the weights of
    two neighbours sum to one and the little that a network sees near a tile's border counts
    little.
    """
    weight = np.ones(size_px)
    ramp = np.sin(np.pi / 2 * (np.arange(overlap_px) + 0.5) / max(overlap_px, 1)) ** 2
    weight[:overlap_px] = ramp
    weight[size_px - overlap_px :] = np.minimum(weight[size_px - overlap_px :], ramp[::-1])
    return weight.astype(np.float32)


def encode_probability(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities in [0, 1] as the codes of a probability raster, uint8 0 to 254."""
    codes = np.clip(probability, 0, 1) / np.float32(PROB_SCALE) + np.float32(0.5)
    return codes.astype(np.uint8)


def tile_weight(spec: TileSpec) -> NDArray[np.float32]:
    """Weight of each pixel of a tile, float32 `[size_px, size_px]`."""
    axis = overlap_weight(spec.size_px, spec.overlap_px)
    return np.asarray(axis[:, None] * axis[None, :])


def mean_codes(weighted: NDArray[np.float32], total: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Codes of sums of weighted probabilities and of weights; no data where these are 0."""
    covered = total > 0
    mean = np.divide(weighted, total, out=np.zeros_like(total), where=covered)
    return np.where(covered, encode_probability(mean), np.uint8(PROB_NODATA))


class Stitcher:
    """Sums weighted tiles in a strip of one tile's height that moves down the raster.

    Parameters
    ----------
    plan : the tiles of the run; they must come in the plan's order
    """

    def __init__(self, plan: TilePlan) -> None:
        self.plan = plan
        self._weight = tile_weight(plan.spec)
        self._strip = plan.strip(plan.rows[0])
        shape = (self._strip.height, self._strip.width)
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape, np.float32)
        self._row = plan.rows[0]  # lattice row that the strip lies on
        self._last_row = self._row - 2  # lattice row of the last tile: none yet

    def add(self, tile: Window, probability: NDArray[np.float32]) -> None:
        """Add a tile of the current lattice row, float32 `[size, size]` in [0, 1]."""
        self._last_row = self._row
        left = tile.col - self._strip.col
        cols = slice(left, left + tile.width)
        self._sum[:, cols] += self._weight * probability
        self._total[:, cols] += self._weight

    def advance(self, lattice_row: int) -> Iterator[Block]:
        """Move down to a lattice row; the raster rows left behind are finished.

        Yields
        ------
        tuple of int and uint8 `[h, part width]`
            First raster row and codes; pixels that no tile covered are `PROB_NODATA`.
        """
        while self._row < lattice_row:
            last = self._row == self.plan.rows[-1]
            done = self._strip.height if last else self.plan.spec.step_px
            ready = replace(self._strip, height=done).intersect(self.plan.part)
            if ready is not None:
                yield ready.row, self._codes(ready)
            self._shift(done)
            self._row += 1
            self._strip = self.plan.strip(self._row)

    @property
    def _is_clear(self) -> bool:
        """Whether the strip holds nothing: a tile reaches into its own and the next row only."""
        return self._last_row < self._row - 1

    def _codes(self, ready: Window) -> NDArray[np.uint8]:
        codes = np.full((ready.height, ready.width), PROB_NODATA, np.uint8)
        if self._is_clear:
            return codes
        row, col = ready.row - self._strip.row, ready.col - self._strip.col
        for first in range(0, ready.width, _PART_PX):  # so that no copy has the strip's width
            end = min(first + _PART_PX, ready.width)
            cut = np.s_[row : row + ready.height, col + first : col + end]
            if self._total[cut].any():  # most of a strip that crosses a road is empty
                codes[:, first:end] = mean_codes(self._sum[cut], self._total[cut])
        return codes

    def _shift(self, rows: int) -> None:
        if self._is_clear:
            return
        for buffer in (self._sum, self._total):
            keep = buffer.shape[0] - rows
            buffer[:keep] = buffer[rows:]
            buffer[keep:] = 0


def stitch(plan: TilePlan, predictions: Iterable[Prediction]) -> Iterator[Block]:
    """Stitch tiles, given in the plan's order (some may be missing), into blocks of rows.

    Parameters
    ----------
    plan : the tiles of the run
    predictions : tile windows with their probabilities, float32 `[size, size]` in [0, 1]

    Yields
    ------
    tuple of int and uint8 `[h, part width]`
        Consecutive blocks that cover the part from its first row to its last.
    """
    stitcher = Stitcher(plan)
    for tile, probability in predictions:
        yield from stitcher.advance(plan.lattice_row(tile))
        stitcher.add(tile, probability)
    yield from stitcher.advance(plan.rows.stop)
