"""Give empty pixels of a tile a quiet colour: the border of the data must look like no crack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def fill_invalid(image: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Replace pixels without data by a smooth continuation of those that have some.

    A pyramid of averages over valid pixels only: each empty pixel takes the finest level
    that saw data. A mirror or the nearest colour would continue cracks and draw streaks.

    Parameters
    ----------
    image : uint8 `[H, W, 3]`
    valid : bool `[H, W]`, True where there is data

    Returns
    -------
    uint8 `[H, W, 3]`; the image itself if all is valid or nothing is
    """
    if valid.all() or not valid.any():
        return image
    filled = _pull_push(image.astype(np.float32), valid.astype(np.float32))
    out: NDArray[np.uint8] = np.where(valid[..., None], image, (filled + 0.5).astype(np.uint8))
    return out


def _pull_push(image: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average down to one pixel, then hand the coarse colours up to where the fine ones lack."""
    height, width = weight.shape
    if (weight > 0).all() or max(height, width) == 1:
        return image
    pad = ((0, height % 2), (0, width % 2))
    colour = np.pad(image * weight[..., None], (*pad, (0, 0)))
    cover = np.pad(weight, pad)
    colour, cover = _halve(colour), _halve(cover)
    mean = np.divide(
        colour, cover[..., None], out=np.zeros_like(colour), where=cover[..., None] > 0
    )
    coarse = _pull_push(mean, (cover > 0).astype(np.float32))
    share = weight[..., None]
    return image * share + _double(coarse)[:height, :width] * (1 - share)


def _halve(array: NDArray[np.float32]) -> NDArray[np.float32]:
    total = array[::2, ::2] + array[1::2, ::2] + array[::2, 1::2] + array[1::2, 1::2]
    return total * np.float32(0.25)


def _double(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twice the size, bilinear, so that no block edge of the coarse level shows."""
    up = np.repeat(np.repeat(array, 2, axis=0), 2, axis=1)
    smooth: NDArray[np.float32] = ndimage.uniform_filter(up, size=(3, 3, 1), mode="nearest")
    return smooth
