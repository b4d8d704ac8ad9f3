"""Where a raster lies: pixel coordinates to the coordinates of its CRS. No I/O.

Pixel coordinates are (col, row) as floats with (0, 0) at the outer corner of the first pixel,
so its centre is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BORDER = 21  # points along a side


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; `row` and `col` may be negative, as context may lie outside."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_end(self) -> int:
        """First column to the right of the window."""
        return self.col + self.width

    def intersect(self, other: Window) -> Window | None:
        """The part common to both, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_end, other.row_end) - row
        width = min(self.col_end, other.col_end) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def seen_from(self, other: Window) -> Window:
        """The same rectangle, counted from another one's first pixel."""
        return Window(self.row - other.row, self.col - other.col, self.height, self.width)


@dataclass(frozen=True)
class Grid:
    """Size and place of a raster.

    Parameters
    ----------
    width, height : pixels
    transform : affine map from pixel (col, row) to CRS (x, y)
    crs_wkt : the coordinate reference system as WKT, None if the raster names none
    """

    width: int
    height: int
    transform: Affine
    crs_wkt: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as NumPy counts."""
        return self.height, self.width

    @property
    def window(self) -> Window:
        """The whole raster."""
        return Window(0, 0, self.height, self.width)

    @property
    def matrix(self) -> Floats:
        """Linear part of the transform, `[[a, b], [d, e]]`, in CRS units a pixel."""
        t = self.transform
        return np.array([[t.a, t.b], [t.d, t.e]], dtype=np.float64)

    def xy(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """CRS coordinates of pixel coordinates, any shape."""
        t = self.transform
        return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f

    def pixel(self, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
        """Pixel coordinates (cols, rows) of CRS coordinates; the inverse of `xy`."""
        t = ~self.transform
        return t.a * xs + t.b * ys + t.c, t.d * xs + t.e * ys + t.f

    def border(self) -> tuple[Floats, Floats]:
        """Pixel coordinates (cols, rows) of points along its sides: they show how a warp bends."""
        side, ones = np.linspace(0, 1, _BORDER), np.ones(_BORDER)
        across = np.concatenate([side, side, 0 * ones, ones])
        down = np.concatenate([0 * ones, ones, side, side])
        return across * self.width, down * self.height

    def part(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        t = self.transform
        x, y = t.a * window.col + t.b * window.row + t.c, t.d * window.col + t.e * window.row + t.f
        transform = Affine(t.a, t.b, x, t.d, t.e, y)
        return Grid(window.width, window.height, transform, self.crs_wkt)
