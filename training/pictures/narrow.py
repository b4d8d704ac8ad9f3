"""Labels wider than the crack, narrowed to what the picture shows.

Labels drawn as lines of one width say where a crack runs, not how wide it is, and often lie a few
pixels beside it. Learned as they are they teach fat masks; without their rims they teach a wrong
centre. The picture itself tells more: a crack is darker than the ground beside the label.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

SMOOTH_PX = 0.8  # the grain of the picture, taken out before it is looked at
GROUND_PX = 10.0  # reach of the ground beside a label
LABEL_PX = 6  # half the width of the widest labels: how far off the crack may lie
HALF = 0.5  # of the greatest darkness nearby: where a blurred slit has its edges
CLEAR = 2.3  # that many deviations of the ground; fainter cracks keep their label
GAP_PX = 11  # shorter gaps along a crack may be crack
LEAST_PX = 6  # smaller dark spots are grain


def narrow(
    rgb: NDArray[np.uint8], mask: NDArray[np.uint8], ignore: int, whole: bool = False
) -> NDArray[np.uint8]:
    """Keep of a label what is dark, at least half as dark as the darkest nearby.

    Parameters
    ----------
    rgb : uint8 `[H, W, 3]`
    mask : uint8 `[H, W]`, 0 or 1
    ignore : label of pixels not to learn from
    whole : what is not dark is background, but for short gaps along a crack

    Returns
    -------
    uint8 `[H, W]`
        1 where the label is dark, `ignore` elsewhere within it (with `whole` in the gaps alone), 0
        outside; the label itself where nothing in it is clearly darker than the ground. Unless
        `whole`, the outline is thus left to what sets with true outlines teach, the place is not.
    """
    if not mask.any():
        return mask
    grey = cv2.GaussianBlur(rgb.astype(np.float32).mean(axis=2), (0, 0), SMOOTH_PX)
    beside = (mask == 0).astype(np.float32)
    ground = _mean(grey, beside, GROUND_PX)
    deviation = np.sqrt(_mean((grey - ground) ** 2, beside, GROUND_PX))
    inside = mask > 0
    dark = np.where(inside, ground - grey, 0).astype(np.float32)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * LABEL_PX + 1, 2 * LABEL_PX + 1))
    peak = _mean(cv2.dilate(dark, disc).astype(np.float32), 1 - beside, LABEL_PX / 2)
    clear = inside & (peak > CLEAR * deviation)
    crack = _without_specks(clear & (dark >= HALF * peak))
    unsure = clear & _bridged(crack) if whole else clear
    label = np.where(unsure, np.uint8(ignore), np.where(clear, np.uint8(0), mask))
    label[crack] = 1
    return np.asarray(label, np.uint8)


def _bridged(crack: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The dark pixels and the gaps between them along rows, columns and diagonals."""
    straight, diagonal = np.ones((1, GAP_PX), np.uint8), np.eye(GAP_PX, dtype=np.uint8)
    dark = crack.astype(np.uint8)
    closed = [
        cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ascontiguousarray(line))
        for line in (straight, straight.T, diagonal, diagonal[::-1])
    ]
    return np.asarray(np.max(closed, axis=0) > 0)


def _mean(values: Field, weight: Field, sigma_px: float) -> Field:
    """Mean around each pixel over those with a weight."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma_px)
    return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma_px) / (total + 1e-4), "f4")


def _without_specks(crack: NDArray[np.bool_]) -> NDArray[np.bool_]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(crack.astype(np.uint8), connectivity=8)
    big = stats[:, cv2.CC_STAT_AREA] >= LEAST_PX
    big[0] = False
    return np.asarray(big[parts], np.bool_)
