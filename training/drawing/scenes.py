"""Drawn scenes without a crack, for what road data lacks: plants, gravel, joints, paint, cables."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Rng = np.random.Generator


def draw_negative(rng: Rng, size_px: int) -> NDArray[np.uint8]:
    """Draw one crack-free picture, uint8 `[size, size, 3]`, of a kind chosen by chance."""
    kinds = (_grass, _leaves, _gravel, _slabs, _paint, _plain, _cables)
    kind = kinds[rng.choice(len(kinds), p=(0.2, 0.2, 0.1, 0.15, 0.15, 0.1, 0.1))]
    return np.clip(kind(rng, size_px), 0, 255).astype(np.uint8)


def texture(rng: Rng, size_px: int, sigmas: tuple[float, ...] = (0.6, 2, 8, 40)) -> Image:
    """Sum of noise at several scales in pixels, zero mean, unit deviation, `[size, size]`."""
    total = np.zeros((size_px, size_px), np.float32)
    for sigma in sigmas:
        layer = cv2.GaussianBlur(
            rng.standard_normal((size_px, size_px)).astype(np.float32), (0, 0), sigma
        )
        total += (layer / (layer.std() + 1e-6)).astype(np.float32) * np.float32(rng.uniform(0.3, 1))
    return np.asarray(total / (total.std() + 1e-6), np.float32)


def ground(rng: Rng, size_px: int) -> Image:
    """Asphalt or concrete: a grey with a slight tint and grain, `[size, size, 3]`."""
    level = rng.uniform(60, 200)
    tint = rng.normal(0, 5, 3)
    grain = texture(rng, size_px, (0.6, 1.2, 4, 60))[..., None] * rng.uniform(4, 18)
    return (level + tint + grain).astype(np.float32)


def _plain(rng: Rng, size_px: int) -> Image:
    return ground(rng, size_px)


def _gravel(rng: Rng, size_px: int) -> Image:
    image = ground(rng, size_px)
    for _ in range(int(rng.integers(200, 1500))):
        centre = tuple(int(v) for v in rng.integers(0, size_px, 2))
        axes = tuple(int(v) for v in rng.integers(1, 9, 2))
        shade = rng.uniform(50, 220)
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, (shade,) * 3, -1)
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.2))).astype(np.float32)


def _green(rng: Rng) -> tuple[float, float, float]:
    if rng.random() < 0.3:  # dry
        return tuple(rng.normal((165, 145, 95), 25))
    return tuple(rng.normal((85, 115, 60), 25))


def _grass(rng: Rng, size_px: int) -> Image:
    image = np.full((size_px, size_px, 3), _green(rng), np.float32)
    image += texture(rng, size_px, (2, 10, 40))[..., None] * 18
    heading = rng.uniform(0, np.pi)
    spread = rng.uniform(0.2, 3)
    for _ in range(int(rng.integers(500, 4000))):
        x, y = rng.uniform(0, size_px, 2)
        angle = heading + rng.normal(0, spread)
        reach = rng.uniform(3, 25)
        end = (int(x + reach * np.cos(angle)), int(y + reach * np.sin(angle)))
        shade = np.array(_green(rng)) * rng.uniform(0.4, 1.5)
        cv2.line(image, (int(x), int(y)), end, tuple(shade), int(rng.integers(1, 3)), cv2.LINE_AA)
    return image


def _leaves(rng: Rng, size_px: int) -> Image:
    image = np.full((size_px, size_px, 3), np.array(_green(rng)) * 0.4, np.float32)
    big = rng.uniform(3, 16)
    for _ in range(int(60000 / big**1.5)):
        centre = tuple(int(v) for v in rng.integers(0, size_px, 2))
        axes = (int(rng.uniform(1, big)) + 1, int(rng.uniform(1, big / 2)) + 1)
        shade = np.array(_green(rng)) * rng.uniform(0.5, 1.7)
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(image, centre, axes, turn, 0, 360, tuple(shade), -1, cv2.LINE_AA)
    return image


def _slabs(rng: Rng, size_px: int) -> Image:
    """Straight joints between slabs, bricks or panels, with dark or light filling."""
    image = ground(rng, size_px)
    angle = rng.uniform(0, np.pi)
    width = int(rng.integers(1, 8))
    shade = float(np.clip(image.mean() + rng.choice([-1, -1, 1]) * rng.uniform(25, 90), 5, 250))
    for turn in (0.0, np.pi / 2) if rng.random() < 0.6 else (0.0,):
        _parallel_lines(image, angle + turn, rng.uniform(35, 200), rng, shade, width)
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2))).astype(np.float32)


def _parallel_lines(
    image: Image, angle: float, spacing_px: float, rng: Rng, shade: float, width_px: int
) -> None:
    size = image.shape[0]
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    start = rng.uniform(0, spacing_px)
    for offset in np.arange(start - size, 2 * size, spacing_px):
        middle = np.array([size / 2, size / 2]) + across * (offset - size / 2)
        ends = [tuple(int(v) for v in middle + s * 2 * size * along) for s in (-1, 1)]
        cv2.line(image, ends[0], ends[1], (shade,) * 3, width_px, cv2.LINE_AA)


def _paint(rng: Rng, size_px: int) -> Image:
    """Road paint with worn edges on asphalt."""
    image = ground(rng, size_px)
    cover = np.zeros((size_px, size_px), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        ends = [tuple(int(v) for v in rng.uniform(-0.5, 1.5, 2) * size_px) for _ in range(2)]
        cv2.line(cover, ends[0], ends[1], 1.0, int(rng.integers(5, 60)), cv2.LINE_AA)
    wear = texture(rng, size_px, (0.8, 3, 15)) > rng.uniform(0.8, 2.5)
    cover[wear] *= rng.uniform(0, 0.6)
    cover = cv2.GaussianBlur(cover, (0, 0), float(rng.uniform(0.4, 1))).astype(np.float32)
    colour = np.array((240, 238, 230) if rng.random() < 0.7 else (230, 190, 60), np.float32)
    share = cover[..., None]
    return image * (1 - share) + share * (colour + texture(rng, size_px, (0.7,))[..., None] * 6)


def _cables(rng: Rng, size_px: int) -> Image:
    """Cables, hoses or ropes on or above the ground: smooth, of one width, round, with a shadow."""
    image = ground(rng, size_px)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.uniform(-0.2, 1.2, (3, 2)) * size_px
        ends[1] = ends[[0, 2]].mean(0) + rng.normal(0, 0.15 * size_px, 2)
        t = np.linspace(0, 1, 60)[:, None]
        curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        width = int(rng.integers(2, 10))
        shadow = _stroke(curve + rng.uniform(-1.5, 1.5, 2) * width, width, size_px)
        soft = cv2.GaussianBlur(shadow, (0, 0), float(rng.uniform(0.6, 4)))[..., None]
        image *= 1 - np.float32(rng.uniform(0.2, 0.6)) * soft
        colour = np.array([20, 20, 22]) if rng.random() < 0.7 else rng.uniform(20, 230, 3)
        for share, light in ((1.0, 0.0), (0.4, rng.uniform(10, 60))):  # a round thing shines
            cover = _stroke(curve, max(1, round(share * width)), size_px)[..., None]
            image = (image * (1 - cover) + cover * (colour + light)).astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.0))).astype(np.float32)


def _stroke(curve: NDArray[np.float64], width_px: int, size_px: int) -> Image:
    """Cover of a line of one width, 0 to 1, `[size, size]`."""
    cover = np.zeros((size_px, size_px), np.float32)
    cv2.polylines(cover, [np.round(curve).astype(np.int32)], False, 1.0, width_px)
    return cover
