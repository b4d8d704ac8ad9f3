"""Masks thinned to lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize as _skeletonize


def centrelines(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask thinned to lines one pixel wide (Zhang and Suen 1984), bool `[H, W]`."""
    return np.asarray(_skeletonize(mask), np.bool_)  # type: ignore[no-untyped-call]
