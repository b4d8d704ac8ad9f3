"""An image on another grid than its own: turned, in another CRS, moved by parts of a pixel.

GDAL's virtual warps know only what a file says of itself. Here the image is read as ever, so that
control points, a .prj beside it, black borders, unnamed masks and the stretch count as they do on
its own grid, and its pixels are interpolated afterwards.
"""

from __future__ import annotations

import numpy as np

from .grid import Floats, Grid, Window
from .raster import RGB, ImageRaster
from .reproject import PixelMap

_BLOCK_PX = 512  # interpolated at once; bounds what a turned image is read for it


class WarpedImage:
    """An image seen on another grid of about the same pixel size; used like an `ImageRaster`.

    Parameters
    ----------
    image : closed with this
    grid : where it is wanted

    Raises
    ------
    InputError
        Nothing leads from one CRS to the other.
    """

    def __init__(self, image: ImageRaster, grid: Grid) -> None:
        self.grid = grid
        self.stretch = image.stretch
        self._image = image
        self._map = PixelMap(grid, image.grid)

    @property
    def damaged(self) -> tuple[Window, ...]:
        """Rectangles of the grid around the blocks that could not be read so far."""
        return tuple(
            here for block in self._image.damaged if (here := self._around(block)) is not None
        )

    def _around(self, block: Window) -> Window | None:
        cols, rows = self._image.grid.part(block).border()
        cols, rows = self._map.to_target(block.col + cols, block.row + rows)
        row, col = int(np.floor(rows.min())), int(np.floor(cols.min()))
        height, width = int(np.ceil(rows.max())) - row, int(np.ceil(cols.max())) - col
        return Window(row, col, height, width).intersect(self.grid.window)

    def __enter__(self) -> WarpedImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def may_hold_data(self, row: int, col: int) -> bool:
        """Whether a pixel may hold data, see `ImageRaster.may_hold_data`."""
        cols, rows = self._map.to_source(np.array(col + 0.5), np.array(row + 0.5))
        place = Window(int(np.floor(rows)), int(np.floor(cols)), 1, 1)
        inside = place.intersect(self._image.grid.window) is not None
        return inside and self._image.may_hold_data(place.row, place.col)

    def read(self, window: Window) -> RGB:
        """Pixels of a window of the grid, as `ImageRaster.read` gives and raises.

        A pixel is valid where valid ones of the image hold at least half of its weight.
        """
        pixels = np.zeros((window.height, window.width, 3), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        inside = window.intersect(self.grid.window)
        for block in _blocks(inside) if inside is not None else ():
            here = block.seen_from(window)
            cut = np.s_[here.row : here.row_end, here.col : here.col_end]
            pixels[cut], valid[cut] = self._read_block(block)
        return pixels, valid

    def _read_block(self, block: Window) -> RGB:
        cols, rows = self._map.centres(block)
        needed = _needed(cols, rows, self._image.grid.window)
        if needed is None:
            return np.zeros((*cols.shape, 3), np.uint8), np.zeros(cols.shape, np.bool_)
        from .interpolation import interpolate  # numba: not before it is needed

        pixels, valid = self._image.read(needed)
        return interpolate(pixels, valid, cols - needed.col, rows - needed.row)


Image = ImageRaster | WarpedImage


def _blocks(window: Window) -> list[Window]:
    size = _BLOCK_PX
    return [
        block
        for row in range(window.row // size * size, window.row_end, size)
        for col in range(window.col // size * size, window.col_end, size)
        if (block := Window(row, col, size, size).intersect(window)) is not None
    ]


def _needed(cols: Floats, rows: Floats, whole: Window) -> Window | None:
    """The pixels of the image that places on it lie between; None if all lie beyond it."""
    near = (cols > -1) & (cols < whole.width + 1) & (rows > -1) & (rows < whole.height + 1)
    if not near.any():
        return None
    row, col = int(np.floor(rows[near].min())) - 1, int(np.floor(cols[near].min())) - 1
    height = int(np.ceil(rows[near].max())) + 1 - row
    width = int(np.ceil(cols[near].max())) + 1 - col
    return Window(row, col, height, width).intersect(whole)
