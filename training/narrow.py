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
LEAST_PX = 6  # smaller dark spots are grain


def narrow(rgb: NDArray[np.uint8], mask: NDArray[np.uint8], ignore: int) -> NDArray[np.uint8]:
    """Keep of a label what is dark, at least half as dark as the darkest nearby.

    Parameters
    ----------
    rgb : uint8 `[H, W, 3]`
    mask : uint8 `[H, W]`, 0 or 1
    ignore : label of pixels not to learn from

    Returns
    -------
    uint8 `[H, W]`
        1 where the label is dark, `ignore` elsewhere within it, 0 outside; the label itself where
        nothing in it is clearly darker than the ground. The outline is thus left to what sets with
        true outlines teach, the place is not.
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
    label = np.where(clear, np.uint8(ignore), mask)
    label[_without_specks(clear & (dark >= HALF * peak))] = 1
    return label


def _mean(values: Field, weight: Field, sigma_px: float) -> Field:
    """Mean around each pixel over those with a weight."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma_px)
    return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma_px) / (total + 1e-4), "f4")


def _without_specks(crack: NDArray[np.bool_]) -> NDArray[np.bool_]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(crack.astype(np.uint8), connectivity=8)
    big = stats[:, cv2.CC_STAT_AREA] >= LEAST_PX
    big[0] = False
    return np.asarray(big[parts], np.bool_)
