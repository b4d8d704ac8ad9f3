"""Surfaces of roads seen from above: noise at several scales, asphalt, concrete.

Pictures are float32, linear in reflected light, 0 (black) to 1 (white); lengths are pixels
of a picture whose ground pixel is about 2 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Field = NDArray[np.float32]
Rng = np.random.Generator
Shape = tuple[int, int]


@dataclass(frozen=True)
class Surface:
    """A bare pavement.

    Parameters
    ----------
    colour : float32 `[H, W, 3]`, 0 to 1
    relief : float32 `[H, W]`, height of the texture, zero mean, unit deviation; decides where
        paint wears off and where dirt stays
    """

    colour: Image
    relief: Field


def smooth_noise(rng: Rng, shape: Shape, sigma_px: float) -> Field:
    """Gaussian noise of one scale, zero mean, unit deviation, float32 `[H, W]`.

    Coarse scales are drawn on a coarse raster and enlarged, at a cost that falls with scale.
    """
    step = max(1, int(sigma_px / 1.8))
    coarse = tuple(n // step + 4 for n in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, sigma_px / step, mode="reflect")
    if step > 1:
        noise = _enlarged(_enlarged(noise, shape[0], step).T, shape[1], step).T
    noise = noise[: shape[0], : shape[1]]
    return np.asarray((noise - noise.mean()) / (noise.std() + 1e-6), np.float32)


def _enlarged(rows: Field, number: int, step: int) -> Field:
    """Linear interpolation between rows, `number` of them, `step` to one."""
    at = np.arange(number, dtype=np.float32) / step + 1
    below = at.astype(np.intp)
    share = (at - below)[:, None]
    return np.asarray(rows[below] * (1 - share) + rows[below + 1] * share, np.float32)


def bounding(where: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds all that is True."""
    found = ndimage.find_objects(where.astype(np.int8))
    return found[0] if found else (slice(0, 1), slice(0, 1))


def layered_noise(rng: Rng, shape: Shape, sigmas_px: tuple[float, ...], fall: float = 1.0) -> Field:
    """Sum of noise of several scales; each next one weighs `fall` times the one before."""
    total = sum(fall**i * smooth_noise(rng, shape, s) for i, s in enumerate(sigmas_px))
    field = np.asarray(total, np.float32)
    return np.asarray(field / (field.std() + 1e-6), np.float32)


def stones(rng: Rng, shape: Shape, spacing_px: float) -> tuple[Field, Field]:
    """A packing of stones: brightness of each, and height falling towards their rims.

    Stones are the cells of random seeds, one a square of `spacing_px`; the height is 1 at a
    seed and falls to about 0 where two cells meet. Both float32 `[H, W]`.
    """
    height, width = shape
    n = max(1, int(height * width / spacing_px**2))
    seeds = rng.integers(0, height * width, n)
    free = np.ones(height * width, np.bool_)
    free[seeds] = False
    distance, index = ndimage.distance_transform_edt(free.reshape(shape), return_indices=True)
    shade = rng.standard_normal(height * width, dtype=np.float32)
    brightness = shade[index[0] * width + index[1]]
    rim = np.clip(1 - distance / (0.75 * spacing_px), 0, 1)
    return brightness, rim.astype(np.float32)


def shade_relief(height: Field, strength: float) -> Field:
    """Light from the upper left on a height field: a factor around 1."""
    slope = height - np.roll(height, (1, 1), (0, 1))
    return np.asarray(1 + strength * slope, np.float32)


def tint(grey: Field, colour: tuple[float, float, float], chroma: Field | None = None) -> Image:
    """Give a grey picture a colour of mean 1, warmer where `chroma` is high."""
    picture = grey[..., None] * np.array(colour, np.float32)
    if chroma is not None:
        picture = picture * (1 + chroma[..., None] * np.array((0.02, 0.0, -0.025), np.float32))
    return np.asarray(picture, np.float32)


def asphalt(rng: Rng, shape: Shape, level: float = 0.30, coarse_px: float = 5.0) -> Surface:
    """Weathered asphalt concrete: stones of two sizes in a dark binder, mottled and stained.

    Parameters
    ----------
    level : mean brightness; 0.15 is fresh, 0.35 is old and grey
    coarse_px : spacing of the coarse stones, 4 to 7 for 8 to 14 mm aggregate
    """
    big, big_rim = stones(rng, shape, coarse_px)
    small, small_rim = stones(rng, shape, coarse_px * 0.45)
    shows = smooth_noise(rng, shape, coarse_px * 0.8) > -0.1  # where coarse stones are at the top
    albedo = np.where(shows, big * 0.17, small * 0.12).astype(np.float32)
    pale = (big > 1.7) & shows  # single light stones catch the eye on real asphalt
    albedo = albedo + pale.astype(np.float32) * 0.28
    rim = np.where(shows, big_rim, 0.75 * small_rim).astype(np.float32)
    binder = (rim - rim.mean()) * 0.55
    mottle = 0.06 * layered_noise(rng, shape, (12, 35, 90, 260), 1.15)
    pits = np.clip(-1.9 - layered_noise(rng, shape, (1.1, 1.8), 0.8), 0, 1) * 0.35
    grey = level * np.exp(albedo + binder + mottle - pits)
    relief = rim + 0.3 * big - pits
    relief = (relief - relief.mean()) / relief.std()
    grey = grey * shade_relief(ndimage.gaussian_filter(relief, 0.6), 0.07)
    patchy = np.where(shows, small, big).astype(np.float32)
    chroma = smooth_noise(rng, shape, 70) + np.float32(0.9) * patchy
    return Surface(tint(grey.astype(np.float32), (1.01, 1.0, 0.985), chroma), relief)


def concrete(rng: Rng, shape: Shape, along: Field, level: float = 0.58) -> Surface:
    """Broomed concrete: sand grain, streaks across the road, pores, water stains.

    Parameters
    ----------
    along : float32 `[H, W]`, coordinate along the road in pixels; streaks lie across it
    level : mean brightness
    """
    grain = layered_noise(rng, shape, (0.7, 1.3, 2.6), 0.8)
    wobble = 2.5 * smooth_noise(rng, shape, 60)
    streak = _streaks(rng, along + wobble)
    stain = layered_noise(rng, shape, (10, 40, 120, 330), 1.2)
    dirt = np.clip(smooth_noise(rng, shape, 55) - 0.6, 0, 2)
    pores = _pores(rng, shape)
    bare, worn = _worn_through(rng, shape)
    grey = level * np.exp(0.05 * grain + 0.028 * streak + 0.045 * stain - 0.07 * dirt + worn)
    grey = grey * (1 - 0.55 * pores) * shade_relief(ndimage.gaussian_filter(grain, 0.5), 0.012)
    relief = (0.8 * grain + 0.5 * streak - 3 * pores + bare).astype(np.float32)
    chroma = smooth_noise(rng, shape, 90) + 0.25 * grain
    return Surface(
        tint(grey.astype(np.float32), (1.025, 1.0, 0.955), chroma), relief / relief.std()
    )


def _streaks(rng: Rng, along: Field) -> Field:
    """Broom marks: a random profile along the road, unit deviation."""
    first = float(along.min())
    n = int(along.max() - first) + 3
    profile = ndimage.gaussian_filter1d(rng.standard_normal(n), 1.2)
    profile = (profile / profile.std()).astype(np.float32)
    return np.asarray(np.interp(along - first, np.arange(n), profile), np.float32)


def _pores(rng: Rng, shape: Shape) -> Field:
    """Air pores of 1 to 4 px, 0 to 1."""
    pores = np.zeros(shape, np.float32)
    for size, share in ((0.6, 1 / 900), (1.1, 1 / 6000), (1.7, 1 / 40000)):
        points = (rng.random(shape, dtype=np.float32) < share).astype(np.float32)
        pores += np.clip(ndimage.gaussian_filter(points, size) * 2 * np.pi * size**2, 0, 1)
    return np.asarray(np.clip(pores, 0, 1), np.float32)


def _worn_through(rng: Rng, shape: Shape) -> tuple[Field, Field]:
    """Patches where the mortar is gone: how bare it is, and the change of log brightness."""
    bare = np.clip((layered_noise(rng, shape, (8, 30, 90), 1.3) - 1.5) * 3, 0, 1)
    pebbles, rim = stones(rng, shape, 6.0)
    return bare, np.asarray(bare * (0.13 * pebbles + 0.35 * (rim - 0.55)), np.float32)


def srgb(light: Image) -> Image:
    """Linear light to sRGB, both 0 to 1 (IEC 61966-2-1)."""
    low, high = 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, low, high).astype(np.float32)
