"""Cracks put into a drawn surface: dark inside, dirty edges, one side lit by the sun."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .crack_shapes import CrackDrawing
from .street_objects import blend
from .textures import Image, Rng, layered_noise, smooth_noise, stones


def engrave(picture: Image, rng: Rng, drawn: CrackDrawing, loose_stones: float = 1.0) -> None:
    """Draw cracks into a picture (float32 `[H, W, 3]`, linear light, 0 to 1), in place.

    Parameters
    ----------
    drawn : where the cracks are and how wide
    loose_stones : 1 for asphalt, whose stones come out along a crack; 0 for a smooth wall
    """
    shape = picture.shape[0], picture.shape[1]
    dirt = np.clip(layered_noise(rng, shape, (2.2, 6, 18, 60), 1.1), -1.5, 2.5)
    deep = np.clip(drawn.width_px / 8, 0, 1)
    inside = np.clip(0.045 - 0.02 * deep + (0.03 + 0.012 * (1 - deep)) * dirt, 0.008, 0.2)
    fill = inside[..., None] * np.array((1.04, 1.0, 0.93), np.float32)
    _weather(picture, rng, drawn, loose_stones)
    depth = ndimage.gaussian_filter(drawn.cover, 0.9)
    slope = np.roll(depth, (1, 1), (0, 1)) - np.roll(depth, (-1, -1), (0, 1))
    lit = 1 + np.where(slope > 0, 0.55, 0.28) * slope * (1 - drawn.cover)
    picture *= lit[..., None].astype(np.float32)
    blend(picture, drawn.cover, fill.astype(np.float32))


def _weather(picture: Image, rng: Rng, drawn: CrackDrawing, loose_stones: float) -> None:
    """Edges of cracks: a dirty margin, and pits where stones have come loose."""
    shape = picture.shape[0], picture.shape[1]
    beside = np.clip(drawn.distance_px - drawn.width_px / 2, 0, None)
    near = drawn.width_px > 0
    margin = near * np.exp(-beside / (1.5 + 0.55 * drawn.width_px)) * (drawn.width_px / 12) ** 0.5
    loose, rim = stones(rng, shape, 5.0)
    pits = (loose > 1.35) * np.clip(rim - 0.25, 0, 1) * np.exp(-beside / 3.5) * near
    stain = 1 + 0.5 * smooth_noise(rng, shape, 9)
    dark = 0.20 * margin * np.clip(stain, 0, 2) + 0.45 * loose_stones * pits
    picture *= (1 - dark)[..., None]
