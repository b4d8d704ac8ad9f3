"""What crosses a picture as a line and is no crack: cables, shadows of poles and trunks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .street_objects import edge
from .textures import Field, Image, Rng

HIDES_FROM = 0.3  # share of a pixel that a cable covers, from which it hides what is below
_CABLE_PX = (1.0, 9.0)
_SHADOW_PX = (2.0, 40.0)
_CABLES = 0.75  # of the crops, the others get shadows


def draw_overhead(image: NDArray[np.uint8], rng: Rng) -> tuple[Image, NDArray[np.bool_]]:
    """Hang cables over a crop, or lay thin shadows on it.

    Parameters
    ----------
    image : uint8 `[H, W, 3]`
    rng : the only source of chance

    Returns
    -------
    tuple of float32 `[H, W, 3]`, 0 to 255, a new crop, and bool `[H, W]`, what is hidden in it:
    by cables; through a shadow one sees
    """
    draw: Callable[[Image, Rng], Field] = hang_cables if rng.random() < _CABLES else lay_shadows
    crop = image.astype(np.float32)
    return crop, draw(crop, rng) > HIDES_FROM


def hang_cables(crop: Image, rng: Rng) -> Field:
    """Up to four of one kind beside each other: dark, smooth, of one width, lit from one side.

    Draws into a crop, float32 `[H, W, 3]`, and returns their cover, 0 to 1.
    """
    _, across = _line(rng, crop.shape)
    reach = max(across.shape)
    width = float(np.exp(rng.uniform(*np.log(_CABLE_PX))))
    shade = rng.uniform(10, 80) if rng.random() < 0.8 else rng.uniform(80, 240)
    light = rng.uniform(-1, 1) * rng.uniform(0, 60)
    soft = rng.uniform(0.4, 1.3)
    gap = rng.uniform(3 * width, reach)
    shadow_px = rng.uniform(-1, 1) * rng.uniform(0, reach) if rng.random() < 0.5 else None
    hidden = np.zeros_like(across)
    for nth in range(int(rng.integers(1, 5))):
        beside = across - nth * gap
        if shadow_px is not None:
            _darken(crop, beside - shadow_px, width, rng)
        cover = edge(np.abs(beside) - width / 2, soft)
        colour = shade + light * np.clip(beside / width, -0.5, 0.5)
        crop += cover[..., None] * (colour[..., None] - crop)
        np.maximum(hidden, cover, out=hidden)
    return hidden


def lay_shadows(crop: Image, rng: Rng) -> Field:
    """Of poles, rails and trunks: straight or slightly crooked, tapered, soft.

    Draws into a crop, float32 `[H, W, 3]`, and returns 0, since they hide nothing.
    """
    size = max(crop.shape[:2])
    for _ in range(int(rng.integers(1, 4))):
        along, across = _line(rng, crop.shape)
        period = size / rng.uniform(1, 6)
        across += rng.normal(0, 0.02) * period * np.sin(along * np.float32(2 * np.pi / period))
        width = float(np.exp(rng.uniform(*np.log(_SHADOW_PX))))
        _darken(crop, across, width * np.clip(1 + rng.uniform(0, 2) * along / size, 0, 2), rng)
    return np.zeros(crop.shape[:2], np.float32)


def _darken(crop: Image, across: Field, width_px: Field | float, rng: Rng) -> None:
    """A shadow: what is below stays to be seen in it."""
    soft = 0.6 + rng.uniform(0, 0.5) * float(np.mean(width_px))
    share = np.float32(rng.uniform(0.15, 0.65)) * edge(np.abs(across) - width_px / 2, soft)
    crop *= 1 - share[..., None]


def _line(rng: Rng, shape: tuple[int, ...]) -> tuple[Field, Field]:
    """Along and across a line through a crop that sags a little: two `[H, W]` in pixels."""
    height, width = shape[:2]
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x0, y0 = rng.uniform(0.1, 0.9, 2).astype(np.float32) * (width, height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = (x - np.float32(x0)) * cos + (y - np.float32(y0)) * sin
    sag = np.float32(rng.normal(0, 0.06) / max(height, width) if rng.random() < 0.6 else 0)
    return along, (y - np.float32(y0)) * cos - (x - np.float32(x0)) * sin + sag * along**2
