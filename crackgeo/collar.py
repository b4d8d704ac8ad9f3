"""What a raster holds beside its picture without saying so: black borders, unnamed masks.

Programs that warp or export a raster fill what they do not have with black, and many do not mark
it. A network takes such a border for a crack and the black for surveyed ground. Only exactly
black areas of `SOLID_PX` a side count, or such as become that large with what is beyond the
raster: nothing can be seen there, and no crack is that wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Window

SOLID_PX = 63  # 10 cm, wider than any crack, on pixels of 1.6 mm; odd, for a middle
REACH_PX = 24  # black this near to such a square belongs to it: points and fringes of a border
BLUR_PX = 8  # lossy compression blurs the border of the black; a block of JPEG
NEARLY = 10  # of 255: how black the blurred border is at most
MARGIN_PX = SOLID_PX - 1 + REACH_PX + BLUR_PX  # how far around a pixel decides on it
_SAMPLES = 4  # steps along each side of a raster: a ragged border reaches into a corner
_SAMPLE_PX = 4

Bools = NDArray[np.bool_]
Pixels = NDArray[Any]


def border_samples(shape: tuple[int, int]) -> list[Window]:
    """Small windows along the four sides of a raster, its corners among them."""
    height, width = shape
    size = _SAMPLE_PX
    rows, cols = _spread(height - size), _spread(width - size)
    corners = {(r, c) for r in rows for c in (cols[0], cols[-1])}
    corners |= {(r, c) for r in (rows[0], rows[-1]) for c in cols}
    whole = Window(0, 0, height, width)
    cut = (Window(r, c, size, size).intersect(whole) for r, c in sorted(corners))
    return [window for window in cut if window is not None]


def _spread(last: int) -> list[int]:
    return sorted({int(at) for at in np.linspace(0, max(last, 0), _SAMPLES + 1).round()})


def is_black(stored: Pixels) -> Bools:
    """Where all bands are 0, `[n, h, w]` to `[h, w]`."""
    return np.asarray(~stored.any(axis=0))


def is_mask(values: Pixels) -> bool:
    """Whether a band's values say nothing but no and yes: 0 and 1, or 0 and the largest."""
    found = np.unique(values).tolist()
    yes = {1, np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1}
    return len(found) == 2 and found[0] == 0 and found[1] in yes


def solid_black(stored: Pixels, around: Window, whole: Window) -> Bools:
    """Where a picture is black without end.

    Parameters
    ----------
    stored : `[n, h, w]`, pixels of a window as they are stored
    around : that window; right are the answers `MARGIN_PX` from its border, and at the raster's
    whole : the raster

    Returns
    -------
    bool `[h, w]`
    """
    from scipy import ndimage

    black = is_black(stored)
    if not black.any():
        return black
    rows = _beyond(around.row == whole.row), _beyond(around.row_end == whole.row_end)
    cols = _beyond(around.col == whole.col), _beyond(around.col_end == whole.col_end)
    ends = (rows[0], rows[0] + black.shape[0]), (cols[0], cols[0] + black.shape[1])
    wide = np.pad(black, (rows, cols), constant_values=True)
    middles = _filtered(ndimage.minimum_filter1d, wide, SOLID_PX)
    solid = wide & _filtered(ndimage.maximum_filter1d, middles, SOLID_PX + 2 * REACH_PX)
    near = _filtered(ndimage.maximum_filter1d, solid, 2 * BLUR_PX + 1)
    here = tuple(slice(*pair) for pair in ends)
    return np.asarray(solid[here] | near[here] & _is_nearly_black(stored))


def _filtered(function: Callable[..., Any], flags: Bools, size_px: int) -> Bools:
    """A filter of odd size along both axes, False beyond the array."""
    values = flags.view(np.uint8)
    for axis in (0, 1):
        values = function(values, size_px, axis, mode="constant")
    return np.asarray(values.view(np.bool_))


def _beyond(is_border: bool) -> int:
    """Pixels to add beyond the raster's border, where everything is black."""
    return MARGIN_PX if is_border else 0


def _is_nearly_black(stored: Pixels) -> Bools:
    """Black but for what lossy compression of 8 bits does to it."""
    if stored.dtype == np.uint8:
        return np.asarray((stored <= NEARLY).all(axis=0))
    return is_black(stored)
