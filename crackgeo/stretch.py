"""How values of any type become 0 to 255, the same over the whole raster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import Floats, Window
from .monitor import SILENT, Monitor
from .source import Pixels, Source

Stretch = tuple[float, float]

PERCENTILES = (1, 99)
_LATTICE = 24  # windows a side; 576 windows touch at most as many blocks of a tiled file
_SAMPLE_PX = 64  # side of a sampled window
_PART_PX = 2**20
_FILL_SHARE = 0.001  # of the pixels; fewer are dead or glaring ones
_NO_DATA: Stretch = (0.0, 1.0)


def apply_stretch(values: Pixels, stretch: Stretch | None) -> NDArray[np.uint8]:
    """Values to 0 to 255, linear between the two ends of the stretch, cut off beyond.

    Parameters
    ----------
    values : any shape and real type, finite
    stretch : values that become 0 and 255; None for uint8, which stays as it is
    """
    if stretch is None:
        return values.astype(np.uint8, copy=False)
    low, high = stretch
    # float32 holds 16-bit values exactly; wider ones lose their low bits before the difference
    kind = np.float32 if values.dtype.itemsize <= 2 else np.float64
    scaled = np.clip(values.astype(kind), low, high)
    scaled -= kind(low)
    scaled *= kind(255 / (high - low))
    return np.asarray(np.rint(scaled), np.uint8)


def percentile_stretch(source: Source, monitor: Monitor = SILENT) -> Stretch:
    """The 1st and 99th percentile of a raster's valid values, all bands together.

    Warns where one of the values seems to stand for no data, which the raster does not mark.

    One pair for all bands keeps the colour balance. The values come from a fixed lattice of
    windows, so that the effort is bounded on any size; a raster of up to 1536 px a side is
    read whole.
    """
    sample = sample_values(source)
    if sample.size == 0:
        return _NO_DATA
    values = sample.astype(np.float64)
    fill = find_fill(values)
    if fill is not None:
        named = f"{fill:g}" if float(f"{fill:g}") == fill else repr(fill)
        monitor.warn(
            f"{source.dataset.name}: many of its pixels are {named}, far from all others; if that "
            f"marks missing data, say --nodata={named}: taken as brightness it leaves the rest "
            "without contrast"
        )
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def find_fill(values: Floats) -> float | None:
    """A value that looks like a mark of missing data, such as -9999; None if there is none.

    The least or the greatest, which many share, and further from the others than they reach.
    """
    for fill in (values.min(), values.max()):
        others = values[values != fill]
        if others.size == 0 or values.size - others.size < _FILL_SHARE * values.size:
            continue
        low, high = others.min(), others.max()
        with np.errstate(over="ignore"):  # of marks near the largest number
            gap = max(low - fill, fill - high)
        if gap > high - low > 0:
            return float(fill)
    return None


def has_data(source: Source) -> bool:
    """Whether a raster holds any valid pixel; quick where it does."""
    if any(source.read(window)[1].any() for window in _lattice(source.window)):
        return True
    return any(source.read(part)[1].any() for part in source.parts(source.window, _PART_PX))


def sample_values(source: Source) -> Pixels:
    """Valid values from a fixed lattice of windows, any order, `[n]` of the file's type.

    From the first parts of the raster that have any if the lattice meets none; empty only
    where nothing is valid.
    """
    found = [_values(source, window) for window in _lattice(source.window)]
    sample = np.concatenate(found)
    if sample.size:
        return sample
    parts = source.parts(source.window, _PART_PX)
    return next((v for part in parts if (v := _values(source, part)).size), sample)


def _values(source: Source, window: Window) -> Pixels:
    if source.is_empty(window):
        return np.empty(0, source.dtype)
    pixels, valid = source.read(window)
    return np.asarray(pixels[valid].ravel())


def _lattice(whole: Window) -> list[Window]:
    """Windows spread evenly over a raster, row by row."""
    rows, cols = _starts(whole.height), _starts(whole.width)
    size = _SAMPLE_PX
    cut = [Window(row, col, size, size).intersect(whole) for row in rows for col in cols]
    return [window for window in cut if window is not None]


def _starts(length: int) -> list[int]:
    count = min(_LATTICE, -(-length // _SAMPLE_PX))
    if count * _SAMPLE_PX >= length:
        return list(range(0, length, _SAMPLE_PX))
    return [int(start) for start in np.linspace(0, length - _SAMPLE_PX, count).round()]
