"""Colours of the sheets on which a person sees what is learned from and what came of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .records import IGNORE

GREEN, RED, BLUE = (40, 200, 60), (230, 40, 30), (40, 110, 255)  # right, invented, missed
OPEN_SHADE = 0.35  # ground that nobody labelled is darkened


def shaded(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with the ground that nobody labelled darkened, RGB uint8 `[H, W, 3]`."""
    return np.where((label == IGNORE)[..., None], image * OPEN_SHADE, image).astype(np.uint8)
