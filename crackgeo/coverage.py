"""Where cracks were looked for and where not, as polygons, and how much ground that is.

Strategy: count surveyed pixels by cell of a coarser raster, reading a band of rows at a time, so
that memory is bounded by the number of cells and not by the raster; then trace the cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import ProbabilitySource
from .errors import UsageError
from .grid import Floats, Grid, Window
from .ground import pixel_area_m2
from .monitor import SILENT, Monitor
from .specs import PROB_NODATA
from .vectors import FeatureTable

MAX_CELLS = 1_000_000  # an outline to a thousandth of the raster's sides
_BAND_PX = 512  # rows read at a time: a row of tiles of the rasters that crackgeo writes
_REASONS = ("", "no data in the raster", "damaged: the raster cannot be read here")


@dataclass(frozen=True)
class Coverage:
    """The layer `coverage`, and the ground surveyed.

    Parameters
    ----------
    table : polygons with `surveyed`, `reason`, `area_m2`; outlines follow the cells
    surveyed_m2 : ground area of all pixels with data, counted one by one
    """

    table: FeatureTable
    surveyed_m2: float


@dataclass(frozen=True)
class _Cells:
    """Cells of `size_px` pixels, smaller in the last row and column, and what they hold.

    `surveyed` is bool and `area_m2` float64, both `[rows, cols]`.
    """

    size_px: int
    surveyed: NDArray[np.bool_]
    area_m2: Floats
    surveyed_m2: float


def coverage_table(
    source: ProbabilitySource,
    grid: Grid,
    max_cells: int = MAX_CELLS,
    damaged: Sequence[Window] = (),
    monitor: Monitor = SILENT,
) -> Coverage:
    """Outline what was surveyed and what was not; together they fill the raster's rectangle.

    Parameters
    ----------
    source : the probability raster
    grid : its place
    max_cells : cells at most; a raster of fewer pixels is outlined pixel by pixel
    damaged : windows whose lack of data has this reason
    monitor : progress by rows, and the wish to stop

    Returns
    -------
    Coverage
        A cell counts as surveyed if at least half of its pixels hold data; polygons are
        4-connected, in CRS coordinates. Areas in square metres (local units without a CRS).

    Raises
    ------
    UsageError
        `max_cells` is below 1.
    """
    if max_cells < 1:
        raise UsageError(f"coverage needs at least one cell, not {max_cells}")
    cells = _count(source, grid, max_cells, monitor)
    labels, last = _label(_reasons(cells, damaged))
    geometry, numbers = _trace(labels, cells.size_px, grid)
    reason = np.searchsorted(last, numbers)
    columns: dict[str, NDArray[Any]] = {
        "surveyed": reason == 0,
        "reason": np.array(_REASONS)[reason],
        "area_m2": np.bincount(labels.ravel(), cells.area_m2.ravel())[numbers],
    }
    return Coverage(FeatureTable(geometry, columns), cells.surveyed_m2)


def _cell_size_px(shape: tuple[int, int], max_cells: int) -> int:
    """Smallest side of square cells that cut the raster into at most `max_cells`."""
    height, width = shape
    size = max(1, math.isqrt(height * width // max_cells))
    while math.ceil(height / size) * math.ceil(width / size) > max_cells:
        size += 1
    return size


def _count(source: ProbabilitySource, grid: Grid, max_cells: int, monitor: Monitor) -> _Cells:
    """Read the raster once and decide on every cell."""
    size = _cell_size_px(source.shape, max_cells)
    surveyed, areas, surveyed_m2 = [], [], 0.0
    for window in _bands(source.shape, size):
        valid = source.read(window) != PROB_NODATA
        counts, totals = _cell_sums(valid, size)
        pixel_m2 = _pixel_area_by_cell(grid, window, size)
        surveyed.append(2 * counts >= totals)
        areas.append(totals * pixel_m2)
        surveyed_m2 += float((counts * pixel_m2).sum())
        monitor.step("coverage", window.row_end, source.shape[0])
    return _Cells(size, np.concatenate(surveyed), np.concatenate(areas), surveyed_m2)


def _bands(shape: tuple[int, int], size_px: int) -> Iterator[Window]:
    """Bands of whole rows of cells, about `_BAND_PX` rows each."""
    height, width = shape
    step = size_px * max(1, _BAND_PX // size_px)
    for row in range(0, height, step):
        yield Window(row, 0, min(step, height - row), width)


def _cell_sums(
    valid: NDArray[np.bool_], size_px: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Valid pixels and all pixels of each cell of a band, int64 `[rows, cols]`."""
    row_starts = np.arange(0, valid.shape[0], size_px)
    col_starts = np.arange(0, valid.shape[1], size_px)
    heights = np.diff(row_starts, append=valid.shape[0])
    widths = np.diff(col_starts, append=valid.shape[1])
    totals = np.multiply.outer(heights, widths)
    if not valid.any():  # most bands of a raster that follows a road
        return np.zeros_like(totals), totals
    if valid.all():
        return totals, totals
    # rows added cell by cell: `reduceat` along them is 70 times slower
    by_row = np.stack(
        [valid[row : row + size_px].sum(axis=0, dtype=np.int32) for row in row_starts]
    )
    return np.add.reduceat(by_row, col_starts, axis=1, dtype=np.int64), totals


def _pixel_area_by_cell(grid: Grid, window: Window, size_px: int) -> Floats:
    """Ground area of a pixel at the centre of each cell of a band, `[rows, cols]`.

    Area changes so slowly over a cell that its centre stands for its mean.
    """
    rows = _centres(window.row, window.row_end, size_px)
    cols = _centres(0, window.width, size_px)
    mesh_rows, mesh_cols = np.meshgrid(rows, cols, indexing="ij")
    return pixel_area_m2(grid, mesh_cols.ravel(), mesh_rows.ravel()).reshape(mesh_rows.shape)


def _centres(start: int, end: int, step: int) -> Floats:
    edges = np.append(np.arange(start, end, step), end)
    return np.asarray((edges[1:] + edges[:-1]) / 2, np.float64)


def _reasons(cells: _Cells, damaged: Sequence[Window]) -> NDArray[np.uint8]:
    """Number of the reason of each cell, see `_REASONS`; 0 where it was surveyed."""
    reasons = np.where(cells.surveyed, 0, 1).astype(np.uint8)
    size = cells.size_px
    for window in damaged:
        row, col = max(0, window.row // size), max(0, window.col // size)
        rows = slice(row, max(row, -(-window.row_end // size)))
        cols = slice(col, max(col, -(-window.col_end // size)))
        reasons[rows, cols][~cells.surveyed[rows, cols]] = 2
    return reasons


def _label(reasons: NDArray[np.uint8]) -> tuple[NDArray[np.int32], list[int]]:
    """Number the connected parts of each reason from 1, by rising reason; last number of each."""
    from scipy import ndimage

    labels, last = np.zeros(reasons.shape, np.int32), [0]
    part = np.empty(reasons.shape, np.int32)
    for reason in range(len(_REASONS)):
        count = int(ndimage.label(reasons == reason, output=part))
        labels[part > 0] = part[part > 0] + last[-1]
        last.append(last[-1] + count)
    return labels, last[1:]


def _trace(
    labels: NDArray[np.int32], size_px: int, grid: Grid
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Polygons of the labelled cells in CRS coordinates, and their labels, by rising label."""
    import shapely
    import shapely.geometry
    from rasterio.features import shapes

    def to_crs(points: Floats) -> Floats:
        # The last cells reach over the raster's edge; their polygons end at it.
        cols = np.minimum(points[:, 0] * size_px, grid.width)
        rows = np.minimum(points[:, 1] * size_px, grid.height)
        return np.stack(grid.xy(cols, rows), axis=-1)

    found = sorted(shapes(labels, connectivity=4), key=lambda part: part[1])
    geometry = np.empty(len(found), np.object_)
    geometry[:] = [shapely.geometry.shape(outline) for outline, _ in found]
    numbers = np.array([label for _, label in found], np.int64)
    return shapely.transform(geometry, to_crs), numbers
