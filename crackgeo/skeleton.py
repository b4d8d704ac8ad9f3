"""Centre pixels of cracks: thinning, block by block, the same from any block size.

The thinning has a fixed bound on its iterations. One sub-iteration looks one pixel far, so K
iterations depend on nothing beyond 2 K pixels: a block read with that halo gives the very pixels
that the whole raster gives. What is still solid after K iterations is too wide to thin; it is
left to the polygons.

Only sparse results leave a block, so memory grows with the skeleton and the outlines, never
with the raster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .blocks import Codes, ProbabilitySource, blocks, grown, parallel
from .grid import Window
from .monitor import SILENT, Monitor
from .profiles import FAINT
from .specs import PROB_NODATA, PROB_SCALE, VectorSpec
from .thinning import (
    HOLE_PX,
    Box,
    Places,
    drop_solid,
    filled_mask,
    measure_pixels,
    places_within,
    runs_from,
    thin_pixels,
)

Ints = NDArray[np.int64]

_MARGIN_PX = 3 + HOLE_PX  # 2 more decide on solid rests, those around them on small holes


@dataclass(frozen=True)
class Skeleton:
    """What one pass over a probability raster leaves, sorted by row and column.

    Parameters
    ----------
    shape : (height, width) of the raster
    keys : int64 `[n]`, row * width + col of the centre pixels
    radius_px : float32 `[n]`, distance to the nearest background pixel (below the low
        threshold, or without data)
    peak : uint8 `[n]`, highest code within that radius, or in the 3 x 3 pixels around
    runs : int32 `[m, 3]`, row, first column, end column of the runs inside the outlines;
        a run is cut where a block ends
    faint : int32 `[f, 3]`, runs of the mask that shows no outline, if the model has one
    solid : int64 `[k]`, keys of pixels in regions too wide for a line, at least one a region
    """

    shape: tuple[int, int]
    keys: Ints
    radius_px: NDArray[np.float32]
    peak: Codes
    runs: NDArray[np.int32]
    faint: NDArray[np.int32]
    solid: Ints


def low_code(spec: VectorSpec) -> int:
    """Lowest code that belongs to the mask that is thinned."""
    return max(1, int(np.ceil(spec.threshold_low / PROB_SCALE - 1e-9)))


def high_code(spec: VectorSpec) -> int:
    """Lowest code that makes a crack."""
    return max(1, int(np.ceil(spec.threshold / PROB_SCALE - 1e-9)))


def outline_code(spec: VectorSpec) -> int:
    """Lowest code inside the outline of a crack."""
    return int(np.ceil(spec.outline / PROB_SCALE - 1e-9)) if spec.outline else high_code(spec)


def _faint_code(spec: VectorSpec) -> int:
    """Highest code that shows no outline; 0 if the model has none."""
    return int(FAINT / PROB_SCALE) if spec.outline else 0


def skeletonize(
    source: ProbabilitySource, spec: VectorSpec, *, workers: int = 2, monitor: Monitor = SILENT
) -> Skeleton:
    """Centre pixels of all that lies above the low threshold; see `Skeleton`."""
    windows = list(blocks(source.shape, spec.block_px))
    parts = parallel(partial(_skeletonize_block, source, spec), windows, workers)
    return _joined(source.shape, _reported(parts, len(windows), monitor))


def _reported(parts: Iterator[Skeleton], total: int, monitor: Monitor) -> Iterator[Skeleton]:
    for done, part in enumerate(parts, 1):
        monitor.step("skeleton", done, total)
        yield part


def _skeletonize_block(source: ProbabilitySource, spec: VectorSpec, core: Window) -> Skeleton:
    low, width = low_code(spec), source.shape[1]
    window = grown(core, 2 * spec.thin_iterations + _MARGIN_PX, source.shape)
    codes = np.ascontiguousarray(source.read(window))
    # One comparison for low <= code < nodata, as uint8 wraps round below zero.
    found = np.flatnonzero((codes - np.uint8(low)).reshape(-1) < PROB_NODATA - low)
    mask, pixels = filled_mask(codes, found)
    stride, box = mask.shape[1], _box(core, window)
    own = places_within(pixels[: len(found)], stride, box)
    if len(own) == 0:
        return _empty(source.shape)
    left, cores = _thin_window(codes, mask.copy(), pixels, spec)
    centres = places_within(left, stride, box)
    cap = 2 * spec.thin_iterations
    radius_px, peak = measure_pixels(codes, mask, centres, PROB_NODATA, cap)
    return Skeleton(
        source.shape,
        _keys(centres, window, width),
        radius_px,
        peak,
        runs_from(codes, own, outline_code(spec), PROB_NODATA - 1) + _corner(window),
        runs_from(codes, own, high_code(spec), _faint_code(spec)) + _corner(window),
        _keys(_row_starts(places_within(cores, stride, box)), window, width),
    )


def _box(part: Window, window: Window) -> Box:
    """First row and column and end row and column of a part of a window, inside the window."""
    row, col = part.row - window.row, part.col - window.col
    return row, col, row + part.height, col + part.width


def _corner(window: Window) -> Places:
    """What leads runs inside a window to their place in the raster."""
    return np.array([window.row, window.col, window.col], np.int32)


def _thin_window(
    codes: Codes, mask: Codes, pixels: Places, spec: VectorSpec
) -> tuple[Places, Places]:
    """Flat places of the centre pixels and of the solid ones; `mask`, bordered, is thinned."""
    flat = mask.reshape(-1)
    thin_pixels(mask, pixels, spec.thin_iterations)
    left = pixels[flat[pixels] == 1]
    reach = max(1, spec.thin_iterations // 2)
    cores = drop_solid(mask, codes, left, low_code(spec), PROB_NODATA, reach)
    return left[flat[left] == 1], cores


def _empty(shape: tuple[int, int]) -> Skeleton:
    none = np.empty(0, np.int64)
    radius_px, peak = none.astype(np.float32), none.astype(np.uint8)
    runs = np.empty((0, 3), np.int32)
    return Skeleton(shape, none, radius_px, peak, runs, runs, none)


def _keys(places: Places, window: Window, width: int) -> Ints:
    rows, cols = places.T.astype(np.int64)
    return np.asarray((rows + window.row) * width + cols + window.col)


def _row_starts(places: Places) -> Places:
    """Only the first pixel of each horizontal run of pixels; enough to mark a region."""
    follows = (np.diff(places[:, 0]) == 0) & (np.diff(places[:, 1]) == 1)
    first = np.ones(min(len(places), 1), np.bool_)
    return np.asarray(places[np.concatenate([first, ~follows])])


def _joined(shape: tuple[int, int], parts: Iterator[Skeleton]) -> Skeleton:
    found = list(parts)
    keys = np.concatenate([part.keys for part in found])
    runs, faint = (np.concatenate([getattr(p, n) for p in found]) for n in ("runs", "faint"))
    order = np.argsort(keys, kind="stable")
    return Skeleton(
        shape,
        keys[order],
        np.concatenate([part.radius_px for part in found])[order],
        np.concatenate([part.peak for part in found])[order],
        runs[np.lexsort((runs[:, 1], runs[:, 0]))],
        faint[np.lexsort((faint[:, 1], faint[:, 0]))],
        np.sort(np.concatenate([part.solid for part in found])),
    )
