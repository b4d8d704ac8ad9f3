"""Augmentation of a labelled image: one warp to the crop, then light, dirt and the camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import AugmentConfig
from ..drawing.overhead import draw_overhead

Image = NDArray[np.float32]
Rng = np.random.Generator
BLUR_PX = (0.4, 4.0)  # deviations; the paper's second noise blurs by 3.5 px
SHARPEN_PX = (0.6, 2.0)  # deviations of what is taken away
SMALL_PX = 200  # pictures smaller than this are enlarged, see `AugmentConfig.enlarge`


def augment(
    image: NDArray[np.uint8], label: NDArray[np.uint8], config: AugmentConfig, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut and change one training crop.

    Parameters
    ----------
    image : uint8 `[H, W, 3]`
    label : uint8 `[H, W]`, 0 background, 1 crack, 255 not learned from
    config : probabilities and ranges
    rng : the only source of chance

    Returns
    -------
    tuple of uint8 `[crop, crop, 3]` and uint8 `[crop, crop]`
    """
    _, crop, label = augment_beside(image, label, config, rng)
    return crop, label


def augment_beside(
    image: NDArray[np.uint8], label: NDArray[np.uint8], config: AugmentConfig, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """As `augment`, with the same crop in front, before what hangs over it, light and camera."""
    plain = config.plain > 0 and rng.random() < config.plain
    image, label = _warp(image, label, config, rng, plain)
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    clear, label = np.ascontiguousarray(image), np.ascontiguousarray(label)
    x: Image = clear.astype(np.float32)
    if config.overhead > 0 and rng.random() < config.overhead:
        x, hidden = draw_overhead(clear, rng)
        label = np.where(hidden & (label == 1), np.uint8(255), label).astype(np.uint8)
    if plain:
        return clear, np.clip(x, 0, 255).astype(np.uint8), label
    for chance, change in (
        (config.shadow, _shadow),
        (config.paint, _paint),
        (config.tone, _tone),
        (config.gamma, _gamma),
        (config.hue, _hue),
        (config.blur, _blur),
        (config.grey, _grey),
        (config.noise, _noise),
        (config.sharpen, _sharpen),
        (config.jpeg, _jpeg),
    ):
        if chance > 0 and rng.random() < chance:
            x = change(x, rng)
    return clear, np.clip(x, 0, 255).astype(np.uint8), label


def _warp(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    config: AugmentConfig,
    rng: Rng,
    plain: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    size = config.crop_px
    scale, turn = _scale_and_turn(label, config, rng, plain)
    centre = _centre(label, rng)
    if config.inside:
        centre = _moved_inside(centre, label.shape, size / scale)
    if plain:  # pixel on pixel: nothing is interpolated
        centre = (float(round(centre[0])), float(round(centre[1])))
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, scale), np.float64)
    matrix[:, 2] += np.array([size / 2 - centre[0], size / 2 - centre[1]])
    if scale < 0.8:  # a warp reads single pixels: take the fine detail out first
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale).astype(np.uint8)
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(
        image, matrix, (size, size), flags=smooth, borderMode=cv2.BORDER_REFLECT_101
    )
    return warped.astype(np.uint8), _warp_label(label, matrix, size)


def _scale_and_turn(
    label: NDArray[np.uint8], config: AugmentConfig, rng: Rng, plain: bool
) -> tuple[float, float]:
    """Magnification, and rotation in degrees; of plain crops 1 and a quarter turn."""
    low, high = np.log(config.scale)
    scale = 1.0 if plain else float(np.exp(rng.uniform(low, high)))
    if min(label.shape) < SMALL_PX:
        scale = max(scale, 1.0) * config.enlarge
    if not plain and rng.random() < config.rotate_any:
        return scale, float(rng.uniform(-180, 180))
    return scale, 90.0 * float(rng.integers(4))


def _warp_label(
    label: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Crack where at least 40 % of the pixel is, so that thin lines survive a smaller scale."""

    def warp(part: NDArray[np.bool_]) -> NDArray[np.float32]:
        return cv2.warpAffine(
            part.astype(np.float32),
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.float32)

    out = (warp(label == 1) > 0.4).astype(np.uint8)
    if (label == 255).any():
        out[(out == 0) & (warp(label > 0) > 0.3)] = 255
    return out


def _centre(label: NDArray[np.uint8], rng: Rng) -> tuple[float, float]:
    """A crop centre: half of the time on a crack, else anywhere."""
    height, width = label.shape
    if rng.random() < 0.5:
        rows, cols = np.nonzero(label == 1)
        if len(rows):
            i = rng.integers(len(rows))
            return float(cols[i] + rng.normal(0, 30)), float(rows[i] + rng.normal(0, 30))
    return rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height


def _moved_inside(
    centre: tuple[float, float], shape: tuple[int, ...], side_px: float
) -> tuple[float, float]:
    """The nearest centre (x, y) of a square of that side that lies within the picture."""
    row, col = (
        float(np.clip(at, side_px / 2, length - side_px / 2)) if length >= side_px else length / 2
        for at, length in zip(centre[::-1], shape, strict=True)
    )
    return col, row


def _soft_polygon(shape: tuple[int, ...], rng: Rng) -> Image:
    size = shape[0]
    corners = rng.uniform(-0.2 * size, 1.2 * size, (int(rng.integers(3, 7)), 2)).astype(np.int32)
    cover = np.zeros(shape[:2], np.float32)
    cv2.fillPoly(cover, [cv2.convexHull(corners)], 1.0)
    return cv2.GaussianBlur(cover, (0, 0), float(rng.uniform(0.6, 9))).astype(np.float32)[..., None]


def _shadow(x: Image, rng: Rng) -> Image:
    return x * (1 - _soft_polygon(x.shape, rng) * rng.uniform(0.2, 0.65)).astype(np.float32)


def _paint(x: Image, rng: Rng) -> Image:
    """A worn stripe of road paint; the crack below stays visible through it, as on the road."""
    size = x.shape[0]
    cover = np.zeros(x.shape[:2], np.float32)
    ends = rng.uniform(-0.3 * size, 1.3 * size, (2, 2)).astype(int)
    start, end = (int(v) for v in ends[0]), (int(v) for v in ends[1])
    cv2.line(cover, tuple(start), tuple(end), 1.0, int(rng.integers(6, 60)))
    cover = cv2.GaussianBlur(cover, (0, 0), float(rng.uniform(0.5, 1.5))).astype(np.float32)
    colour = np.array([235, 232, 225] if rng.random() < 0.7 else [225, 190, 70], np.float32)
    share = cover[..., None] * np.float32(rng.uniform(0.4, 0.75))
    return (x * (1 - share) + share * colour * (0.6 + 0.4 * x / 255)).astype(np.float32)


def _tone(x: Image, rng: Rng) -> Image:
    colour = rng.normal(1, 0.04, 3).astype(np.float32)
    return x * np.float32(rng.uniform(0.6, 1.3)) * colour + np.float32(rng.uniform(-55, 30))


def _gamma(x: Image, rng: Rng) -> Image:
    return (255 * np.clip(x / 255, 0, 1) ** rng.uniform(0.6, 1.7)).astype(np.float32)


def _hue(x: Image, rng: Rng) -> Image:
    """White balance and saturation of another camera, or of another kind of stone."""
    grey = x.mean(axis=2, keepdims=True)
    gains = np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    saturation = np.float32(rng.uniform(0.2, 1.8))
    return np.asarray((grey + (x - grey) * saturation) * gains, np.float32)


def _blur(x: Image, rng: Rng) -> Image:
    """Out of focus; every third time also stored at half the size, as an upscaled mosaic is."""
    blurred = cv2.GaussianBlur(x, (0, 0), float(np.exp(rng.uniform(*np.log(BLUR_PX)))))
    if rng.random() < 1 / 3:
        half = cv2.resize(blurred, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
        blurred = cv2.resize(half, x.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return blurred.astype(np.float32)


def _grey(x: Image, rng: Rng) -> Image:
    return np.repeat(x.mean(2, keepdims=True), 3, axis=2)


def _noise(x: Image, rng: Rng) -> Image:
    return x + rng.normal(0, rng.uniform(2, 14), x.shape).astype(np.float32)


def _sharpen(x: Image, rng: Rng) -> Image:
    """What phones and drones do to a picture before they store it: grain and edges come out."""
    soft = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(*SHARPEN_PX)))
    return np.asarray(x + np.float32(rng.uniform(0.3, 2.0)) * (x - soft), np.float32)


def _jpeg(x: Image, rng: Rng) -> Image:
    picture = np.clip(x, 0, 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.float32)
