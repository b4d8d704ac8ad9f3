"""The disturbances that the CrackSAM paper tests robustness with (Ge et al. 2024, Figure 12)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VARIANTS = ("clean", "noise1", "noise2")
BLUR_SIDES_PX = (5, 9, 13, 17, 21, 25, 29)
BLURS = tuple(f"blur{side}" for side in BLUR_SIDES_PX)
DARKER = 50  # steps of the HSV value


def disturb(rgb: NDArray[np.uint8], variant: str) -> NDArray[np.uint8]:
    """Disturb a picture, uint8 `[H, W, 3]` RGB.

    `clean` leaves it. `noise1` lowers the HSV value by 50 and blurs with a Gaussian of 9 x 9.
    `noise2` blurs with one of 21 x 21, halves the size and doubles it again, both cubic.
    `blur9` blurs with a Gaussian of 9 x 9, other odd numbers likewise.
    """
    if variant == "clean":
        return rgb
    if variant == "noise1":
        hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
        hsv[..., 2] = np.maximum(hsv[..., 2], DARKER) - DARKER
        dark = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return cv2.GaussianBlur(dark, (9, 9), 0).astype(np.uint8)
    if variant == "noise2":
        blurred = cv2.GaussianBlur(rgb, (21, 21), 0)
        height, width = rgb.shape[:2]
        half = (max(1, width // 2), max(1, height // 2))
        small = cv2.resize(blurred, half, interpolation=cv2.INTER_CUBIC)
        back = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return back.astype(np.uint8)
    if variant in BLURS:
        side = int(variant.removeprefix("blur"))
        return cv2.GaussianBlur(rgb, (side, side), 0).astype(np.uint8)
    raise ValueError(f"no disturbance is called {variant!r}")
