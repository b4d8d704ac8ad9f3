"""Values of an image between its pixels, in whole numbers, so that sums are exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import Floats
from .jit import compiled

_STEPS = 64  # a place is known to this part of a pixel
_FULL_SHARE = _STEPS**2


@compiled
def interpolate(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], cols: Floats, rows: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Bilinear interpolation between the valid pixels.

    Parameters
    ----------
    pixels, valid : uint8 `[H, W, 3]` and bool `[H, W]`
    cols, rows : float64 `[h, w]`, pixel coordinates (corner origin), may lie beyond the array

    Returns
    -------
    uint8 `[h, w, 3]` and bool `[h, w]`
        Valid where valid pixels hold at least half of the weight; 0 elsewhere.
    """
    height, width = valid.shape
    found = np.zeros((*cols.shape, 3), np.uint8)
    known = np.zeros(cols.shape, np.bool_)
    for i in range(cols.shape[0]):
        for j in range(cols.shape[1]):
            left, top = np.floor(cols[i, j] - 0.5), np.floor(rows[i, j] - 0.5)
            if not (-1 <= left < width and -1 <= top < height):
                continue
            across = int(np.floor((cols[i, j] - 0.5 - left) * _STEPS + 0.5))
            down = int(np.floor((rows[i, j] - 0.5 - top) * _STEPS + 0.5))
            share = red = green = blue = 0
            for r in range(int(top), int(top) + 2):
                for c in range(int(left), int(left) + 2):
                    if 0 <= r < height and 0 <= c < width and valid[r, c]:
                        weight = down if r > top else _STEPS - down
                        weight *= across if c > left else _STEPS - across
                        share += weight
                        red += weight * pixels[r, c, 0]
                        green += weight * pixels[r, c, 1]
                        blue += weight * pixels[r, c, 2]
            if 2 * share >= _FULL_SHARE:
                known[i, j] = True
                found[i, j, 0] = (red + share // 2) // share
                found[i, j, 1] = (green + share // 2) // share
                found[i, j, 2] = (blue + share // 2) // share
    return found, known
