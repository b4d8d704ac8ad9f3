"""From one coordinate reference system, or pixel grid, to another. No I/O."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from .errors import InputError
from .grid import Floats, Grid, Window

_NODE_PX = 64  # between places where the projection is computed; off by < 0.001 px between them
_FAR_PX = -1e9  # where the projection leads nowhere


@lru_cache(maxsize=32)
def read_crs(wkt: str) -> CRS:
    """The CRS of a raster; the thousands of a survey have few."""
    return CRS.from_wkt(wkt)


def is_same(a: CRS, b: CRS) -> bool:
    """Whether coordinates on the ground mean the same in two coordinate systems.

    File formats write engineering CRS in ways of their own, so of these name and unit decide.
    """
    if a.is_engineering and b.is_engineering:
        units = [{axis.unit_conversion_factor for axis in crs.axis_info} for crs in (a, b)]
        return a.name == b.name and units[0] == units[1]
    return bool(a.to_2d().equals(b.to_2d(), ignore_axis_order=True))


def folded(x: Floats, middle: float, crs: CRS) -> Floats:
    """Longitudes within half a turn of a middle: over the antimeridian they go on beyond 180.

    Coordinates of a CRS that is not geographic stay as they are.
    """
    if not crs.is_geographic:
        return x
    turn = 2 * np.pi / crs.axis_info[0].unit_conversion_factor
    return np.asarray(middle + (x - middle + turn / 2) % turn - turn / 2)


@lru_cache(maxsize=32)
def transformer(source: CRS, target: CRS) -> Transformer:
    """What leads from one coordinate system to another, x before y.

    Raises
    ------
    InputError
        Nothing does: one of them, such as an engineering CRS, has no place on earth.
    """
    try:
        return Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise InputError(
            f"nothing leads from the coordinate system {source.name!r} to {target.name!r}",
            "give all files one coordinate system that has a place on earth, or take one by one",
        ) from error


class PixelMap:
    """Where the pixels of one grid lie on another.

    The projection is computed at nodes, whose places do not depend on what is asked for, and
    interpolated between: a pixel leads to the very same place whatever window it is asked with.

    Parameters
    ----------
    target, source : grids; pixels of the first lie on the second. Both name a CRS, or none does.

    Raises
    ------
    InputError
        Nothing leads from one CRS to the other.
    """

    def __init__(self, target: Grid, source: Grid) -> None:
        self.target, self.source = target, source
        self._crs = [read_crs(grid.crs_wkt) for grid in (target, source) if grid.crs_wkt]
        self._there = self._back = None
        if len(self._crs) == 2 and not is_same(*self._crs):
            here, there = self._crs
            self._there, self._back = transformer(here, there), transformer(there, here)

    def to_source(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Pixel coordinates on the source of some of the target, any shape; exactly."""
        x, y = self.target.xy(cols, rows)
        if self._there is not None:
            x, y = self._there.transform(x, y)
        if self._crs:
            x = folded(x, _middle_x(self.source), self._crs[-1])
        found = self.source.pixel(x, y)
        known = np.isfinite(found[0]) & np.isfinite(found[1])
        return np.where(known, found[0], _FAR_PX), np.where(known, found[1], _FAR_PX)

    def to_target(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Pixel coordinates on the target of some of the source, any shape; exactly."""
        x, y = self.source.xy(cols, rows)
        if self._back is not None:
            x, y = self._back.transform(x, y)
        if self._crs:
            x = folded(x, _middle_x(self.target), self._crs[0])
        return self.target.pixel(x, y)

    def centres(self, window: Window) -> tuple[Floats, Floats]:
        """Where the centres of a window of the target lie on the source: (cols, rows) `[h, w]`."""
        rows, row_nodes = _between(window.row, window.height)
        cols, col_nodes = _between(window.col, window.width)
        nodes = self.to_source(*(n * _NODE_PX for n in np.meshgrid(col_nodes, row_nodes)))
        return _interpolated(nodes[0], rows, cols), _interpolated(nodes[1], rows, cols)


def _middle_x(grid: Grid) -> float:
    return float(grid.xy(np.array(grid.width / 2), np.array(grid.height / 2))[0])


def _between(first: int, count: int) -> tuple[Floats, Floats]:
    """Pixels of an axis in nodes from the first node, and the numbers of the nodes around them."""
    places = (first + np.arange(count) + 0.5) / _NODE_PX
    begin, end = int(np.floor(places[0])), int(np.floor(places[-1])) + 2
    return places - begin, np.arange(begin, end, dtype=np.float64)


def _interpolated(nodes: Floats, rows: Floats, cols: Floats) -> Floats:
    """Linear between nodes, down and then across."""
    i, j = rows.astype(np.int64), cols.astype(np.int64)
    down, across = (rows - i)[:, None], (cols - j)[None, :]
    lines = nodes[i] * (1 - down) + nodes[i + 1] * down
    return np.asarray(lines[:, j] * (1 - across) + lines[:, j + 1] * across)
