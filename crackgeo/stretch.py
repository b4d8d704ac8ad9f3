"""How values of any type become 0 to 255, the same over the whole raster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import is_local
from .grid import Floats, Window
from .monitor import SILENT, Monitor
from .source import Pixels, Source

Stretch = tuple[float, float]

AS_IT_IS: Stretch = (0.0, 255.0)  # of uint8

PERCENTILES = (1, 99)
ENDS = (40, 215)  # of 255, where the percentiles go: room for paint and the dark of cracks
FLAT = 90  # grey levels between the percentiles; asphalt in good light has 100 and more
MAX_GAIN = 5.0  # of 8 bits, beyond which their steps would show
_LATTICE = 24  # windows a side; 576 windows touch at most as many blocks of a tiled file
_LOOK = 8  # the same where the stretch is needed for few rasters
_SAMPLE_PX = 64  # side of a sampled window
_ENOUGH = _SAMPLE_PX**2  # fewer values do not tell the light of a picture
_PART_PX = 2**20
_FILL_SHARE = 0.001  # of the pixels; fewer are dead or glaring ones


def apply_stretch(values: Pixels, stretch: Stretch) -> NDArray[np.uint8]:
    """Values to 0 to 255, linear between the two ends of the stretch, cut off beyond.

    Parameters
    ----------
    values : any shape and real type, finite
    stretch : values that become 0 and 255
    """
    if values.dtype == np.uint8 and stretch == AS_IT_IS:
        return np.asarray(values, np.uint8)
    low, high = stretch
    # float32 holds 16-bit values exactly; wider ones lose their low bits before the difference
    kind = np.float32 if values.dtype.itemsize <= 2 else np.float64
    scaled = np.clip(values.astype(kind), low, high)
    scaled -= kind(low)
    scaled *= kind(255 / (high - low))
    return np.asarray(np.rint(scaled), np.uint8)


def find_stretch(source: Source, monitor: Monitor = SILENT) -> Stretch:
    """The stretch that a raster needs so that a model sees greys as in the pictures it learned.

    The 1st and 99th percentile of its valid values come to `ENDS`; uint8 stays as it is unless
    they are nearer together than `FLAT`, as in haze, and so it does on a server, where the look
    would cost more than what may be asked for. One stretch for all bands keeps the colour balance.

    The values come from a fixed lattice of windows, so that the effort is bounded on any size; of
    types other than uint8 a raster of up to 1536 px a side is read whole.

    Parameters
    ----------
    source : the raster
    monitor : told where it is flat, and of a value that seems to stand for no data
    """
    is_byte = source.dtype == np.uint8
    if is_byte and not is_local(source.dataset.name):
        return AS_IT_IS
    sample = sample_values(source, _LOOK if is_byte else _LATTICE)
    if sample.size == 0:
        return AS_IT_IS
    stretch = stretch_of(sample)
    if not is_byte:
        _tell_of_fill(source, sample.astype(np.float64), monitor)
    elif stretch != AS_IT_IS:
        gain = 255 / (stretch[1] - stretch[0])
        monitor.warn(
            f"{source.dataset.name}: hardly uses its range of greys, so its contrast is raised "
            f"{gain:.1f} times; --stretch 0,255 leaves it as it is"
        )
    return stretch


def stretch_of(values: Pixels) -> Stretch:
    """The stretch for such values, of any shape and type, at least one; see `find_stretch`."""
    low, high = (float(end) for end in np.percentile(values.astype(np.float64), PERCENTILES))
    if values.dtype != np.uint8:
        return _with_room(low, high if high > low else low + 1)
    # one grey alone has no contrast to raise
    if values.size < _ENOUGH or low == high or high - low >= FLAT:
        return AS_IT_IS
    lacking = max(0.0, (ENDS[1] - ENDS[0]) / MAX_GAIN - (high - low)) / 2
    return _with_room(low - lacking, high + lacking)


def _with_room(low: float, high: float) -> Stretch:
    """The stretch that brings two values to `ENDS`."""
    level = (high - low) / (ENDS[1] - ENDS[0])
    return low - ENDS[0] * level, high + (255 - ENDS[1]) * level


def _tell_of_fill(source: Source, values: Floats, monitor: Monitor) -> None:
    fill = find_fill(values)
    if fill is None:
        return
    named = f"{fill:g}" if float(f"{fill:g}") == fill else repr(fill)
    monitor.warn(
        f"{source.dataset.name}: many of its pixels are {named}, far from all others; if that "
        f"marks missing data, say --nodata={named}: taken as brightness it leaves the rest "
        "without contrast"
    )


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


def sample_values(source: Source, side: int = _LATTICE) -> Pixels:
    """Valid values from a fixed lattice of windows, any order, `[n]` of the file's type.

    From the first parts of the raster that have any if the lattice meets none; empty only where
    nothing is valid.

    Parameters
    ----------
    source : the raster
    side : windows along each side of it
    """
    found = [_values(source, window) for window in _lattice(source.window, side)]
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


def _lattice(whole: Window, side: int) -> list[Window]:
    """Windows spread evenly over a raster, row by row."""
    rows, cols = _starts(whole.height, side), _starts(whole.width, side)
    size = _SAMPLE_PX
    cut = [Window(row, col, size, size).intersect(whole) for row in rows for col in cols]
    return [window for window in cut if window is not None]


def _starts(length: int, most: int) -> list[int]:
    count = min(most, -(-length // _SAMPLE_PX))
    if count * _SAMPLE_PX >= length:
        return list(range(0, length, _SAMPLE_PX))
    return [int(start) for start in np.linspace(0, length - _SAMPLE_PX, count).round()]
