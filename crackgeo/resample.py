"""Resampling to another pixel size that gives the same pixels through every window. No I/O.

A triangle filter as wide as the larger of the two pixels: linear interpolation when pixels get
smaller, a weighted mean when they get larger. Weights are whole numbers, so sums are exact and
a pixel's value cannot depend on what else was computed with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .errors import UsageError
from .grid import Grid
from .ground import pixel_size_m
from .monitor import Monitor

# Sum of a pixel's weights along one axis. 255 * WEIGHT_SUM**2 < 2**30 fits int32.
WEIGHT_SUM = 2048
_FULL_SHARE = WEIGHT_SUM**2
MAX_SIDE_PX = 1_000_000  # a row band of 448 px over this width already needs gigabytes
_SAME_GSD = 1e-3  # a wish this close to the raster's own pixel size changes nothing


@dataclass(frozen=True)
class Scale:
    """Size of an analysis pixel in pixels of the file."""

    col: float = 1.0
    row: float = 1.0

    @property
    def is_native(self) -> bool:
        """Whether the analysis grid is the file's own."""
        return self == Scale()


def resampled_grid(native: Grid, gsd_m: float, name: str, monitor: Monitor) -> tuple[Grid, Scale]:
    """The grid of the same origin whose pixels are `gsd_m` on the ground at the centre.

    Parameters
    ----------
    native : the raster's own grid
    gsd_m : metres, or local units without a CRS
    name : of the raster, for messages
    monitor : told when this is finer than the raster

    Raises
    ------
    UsageError
        `gsd_m` is not positive, or leaves no pixels or too many.
    """
    if not (np.isfinite(gsd_m) and gsd_m > 0):
        raise UsageError(f"--gsd must be a positive number of metres, not {gsd_m:g}")
    size_x, size_y = pixel_size_m(native)
    scale = Scale(gsd_m / size_x, gsd_m / size_y)
    if max(abs(scale.col - 1), abs(scale.row - 1)) < _SAME_GSD:
        return native, Scale()
    width, height = _pixels(native.width / scale.col), _pixels(native.height / scale.row)
    too_coarse = native.width < scale.col / 2 or native.height < scale.row / 2
    if max(width, height) > MAX_SIDE_PX or too_coarse:
        raise UsageError(
            f"{name}: --gsd {gsd_m:g} would make {width} x {height} pixels of it",
            f"choose one nearer to the raster's own, {size_x:.4g} m",
        )
    if min(scale.col, scale.row) < 1 - _SAME_GSD:
        monitor.warn(
            f"--gsd {gsd_m:g} m is finer than the pixels of {name} "
            f"({size_x:.4g} x {size_y:.4g} m): this adds no detail"
        )
    t = native.transform
    transform = Affine(t.a * scale.col, t.b * scale.row, t.c, t.d * scale.col, t.e * scale.row, t.f)
    return Grid(width, height, transform, native.crs_wkt), scale


def _pixels(length: float) -> int:
    """Whole pixels that cover a length, forgiving rounding errors of the division."""
    return max(1, int(np.ceil(length - 1e-6)))


@dataclass(frozen=True)
class Taps:
    """The source pixels that make a run of target pixels along one axis.

    Parameters
    ----------
    first, end : the source pixels touched, end excluded, cut off at the source's ends
    index : int64 `[n, k]`, source pixel less `first`, for each target pixel
    weight : int32 `[n, k]`, 0 where the tap would lie beyond the source
    """

    first: int
    end: int
    index: NDArray[np.int64]
    weight: NDArray[np.int32]


def taps(start: int, count: int, scale: float, size: int) -> Taps:
    """Source pixels and weights of target pixels start, start + 1, ...

    Parameters
    ----------
    start, count : the target pixels, counted from the common origin
    scale : target pixel size in source pixels
    size : source pixels along the axis
    """
    radius = max(scale, 1.0)
    centre = (np.arange(start, start + count) + 0.5) * scale
    nearest = np.ceil(centre - radius - 0.5).astype(np.int64)
    source = nearest[:, None] + np.arange(int(np.ceil(2 * radius)) + 1)
    weight = _whole_numbers(np.maximum(0, 1 - np.abs(source + 0.5 - centre[:, None]) / radius))
    weight[(source < 0) | (source >= size)] = 0
    source = np.clip(source, 0, size - 1)
    first, end = int(source.min()), int(source.max()) + 1
    return Taps(first, end, source - first, weight)


def _whole_numbers(weight: NDArray[np.float64]) -> NDArray[np.int32]:
    """Weights rounded so that each row sums to WEIGHT_SUM exactly."""
    scaled = weight * (WEIGHT_SUM / weight.sum(axis=1, keepdims=True))
    whole = np.rint(scaled).astype(np.int32)
    rows = np.arange(len(whole))
    whole[rows, whole.argmax(axis=1)] += WEIGHT_SUM - whole.sum(axis=1, dtype=np.int32)
    return np.asarray(whole, np.int32)


def resample(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], rows: Taps, cols: Taps
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Weighted mean of the valid source pixels.

    Parameters
    ----------
    pixels : uint8 `[h, w, 3]`, the source from (rows.first, cols.first) to their ends; 0
        where invalid
    valid : bool `[h, w]`

    Returns
    -------
    uint8 `[n, m, 3]` and bool `[n, m]`
        A target pixel is valid where valid source pixels hold at least half of its weight.
    """
    if not valid.any():
        shape = len(rows.index), len(cols.index)
        return np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)
    total = _weigh_both(pixels, rows, cols)
    if valid.all() and _complete(rows) and _complete(cols):
        # the same as below, where every share is the full one, a power of two
        mean = (total + _FULL_SHARE // 2) >> (_FULL_SHARE.bit_length() - 1)
        return mean.astype(np.uint8), np.ones(total.shape[:2], np.bool_)
    share = _weigh_both(valid.astype(np.uint8)[..., None], rows, cols)
    kept = 2 * share >= _FULL_SHARE
    divisor = np.maximum(share, 1)
    mean = (total + divisor // 2) // divisor
    return np.where(kept, mean, 0).astype(np.uint8), kept[..., 0]


def _complete(axis: Taps) -> bool:
    """Whether no target pixel reaches beyond the source."""
    return bool((axis.weight.sum(axis=1) == WEIGHT_SUM).all())


def _weigh_both(values: NDArray[np.uint8], rows: Taps, cols: Taps) -> NDArray[np.int32]:
    """Sum of weight times value: `[h, w, c]` to int32 `[n, m, c]`."""
    height, width, channels = values.shape
    down = _matrix(rows, height) @ values.reshape(height, -1).astype(np.int32)
    columns_first = down.reshape(-1, width, channels).swapaxes(0, 1).reshape(width, -1)
    across = _matrix(cols, width) @ columns_first
    return np.asarray(across.reshape(len(cols.index), -1, channels).swapaxes(0, 1))


def _matrix(axis: Taps, length: int) -> csr_array:
    """The weights as a sparse matrix `[n, length]`; taps cut off at an end share a column."""
    count, width = axis.index.shape
    pointers = np.arange(0, (count + 1) * width, width)
    return csr_array((axis.weight.ravel(), axis.index.ravel(), pointers), shape=(count, length))
