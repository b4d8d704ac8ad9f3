"""What lies on a road and is no crack: paint, joints, sealed cracks, patches, covers, shadows.

Each function changes a picture (float32 `[H, W, 3]`, linear light, 0 to 1) in place. `along` and
`across` are float32 `[H, W]`, the road's own coordinates in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .crack_shapes import Crack, draw_cracks
from .textures import Field, Image, Rng, Surface, bounding, layered_noise, smooth_noise

Colour = tuple[float, float, float]
_BITUMEN: Colour = (0.060, 0.059, 0.062)
_WHITE_PAINT: Colour = (0.64, 0.63, 0.59)
_SKY_LIGHT: Colour = (0.27, 0.31, 0.38)  # what is left in shadow: blue sky, no sun


def edge(distance_px: NDArray[np.floating[Any]], soft_px: float = 0.5) -> Field:
    """1 inside (negative distance), 0 outside, a ramp of `soft_px` to each side."""
    return np.asarray(np.clip(0.5 - distance_px / (2 * soft_px), 0, 1), np.float32)


def blend(picture: Image, cover: Field, colour: Image | Colour) -> None:
    """Lay a colour over a picture where `cover` is above 0, in place."""
    where = cover > 0
    share = cover[where][:, None]
    top = colour[where] if isinstance(colour, np.ndarray) else np.array(colour, np.float32)
    picture[where] = picture[where] * (1 - share) + top * share


def paint_stripe(
    picture: Image, rng: Rng, across: Field, along: Field, relief: Field, wear: float,
    *, centre_px: float, width_px: float, from_px: float, to_px: float,
) -> None:  # fmt: skip
    """A painted line with ragged edges, worn through on the tops of the stones, tyre-dirty."""
    box = bounding(np.abs(across - centre_px) < width_px / 2 + 12)
    picture, across, along, relief = picture[box], across[box], along[box], relief[box]
    shape = across.shape
    ragged = 1.1 * layered_noise(rng, shape, (1.5, 6, 25), 1.0)
    sides = np.abs(across - centre_px) - width_px / 2 + ragged
    ends = np.maximum(from_px - along, along - to_px) + 1.6 * ragged
    cover = edge(np.maximum(sides, ends), 0.9)
    thin = layered_noise(rng, shape, (5, 22, 80), 1.3) * 0.9 + 0.75 * relief
    rim = np.clip(1 + sides / 9, 0, 1) * 0.9  # edges wear first
    gone = np.clip((thin + rim - 2.6 + 2.2 * wear) * 1.3, 0, 0.96)
    dirt = 1 - 0.12 * np.clip(layered_noise(rng, shape, (4, 30, 120), 1.2), -0.5, 2)
    grain = (1 + 0.05 * relief) * dirt
    colour = np.array(_WHITE_PAINT, np.float32) * grain[..., None]
    blend(picture, cover * (1 - gone).astype(np.float32), colour.astype(np.float32))


def sealed_crack(picture: Image, rng: Rng, line: Crack) -> None:
    """A crack overbanded with bitumen: smooth, dark, blotchy, with a faint greasy margin."""
    drawn = draw_cracks([line], picture.shape[:2], reach_px=line.width_px * 1.5 + 12)
    box = bounding(drawn.width_px > 0)
    picture, drawn = picture[box], drawn.part(box)
    shape = picture.shape[:2]
    thick = layered_noise(rng, shape, (3, 9, 30), 1.2)
    worn = np.clip(thick - 1.7, 0, 0.55)
    colour = (
        np.array(_BITUMEN, np.float32)
        * (1 + 0.20 * thick + 0.10 * smooth_noise(rng, shape, 1.0))[..., None]
    )
    margin = edge(drawn.distance_px - drawn.width_px / 2 - 4, 5.0) * (drawn.width_px > 0)
    picture *= 1 - 0.10 * margin[..., None]
    blend(picture, drawn.cover * (0.97 - worn), np.clip(colour, 0.02, 1).astype(np.float32))


def joint(
    picture: Image, rng: Rng, offset_px: Field, reach: NDArray[np.bool_], width_px: float
) -> None:
    """A sawn joint between slabs: straight, sealed, chipped edges, dirt to both sides.

    Parameters
    ----------
    offset_px : float32 `[H, W]`, signed distance from the joint's middle
    reach : bool `[H, W]`, where the joint runs
    """
    box = bounding((np.abs(offset_px) < 8 * width_px) & reach)
    picture, offset_px, reach = picture[box], offset_px[box], reach[box]
    shape = picture.shape[:2]
    noise = layered_noise(rng, shape, (1.2, 4, 14), 1.0)
    chips = np.clip(layered_noise(rng, shape, (3, 7), 1.0) - 2.1, 0, 1.5) * 6
    side = np.abs(offset_px)
    dirt = np.exp(-((side / (3.2 * width_px)) ** 2)) * (0.16 + 0.05 * noise) * reach
    picture *= (1 - dirt)[..., None]
    cover = edge(side - width_px / 2 - 0.25 * noise - chips * (side < width_px * 2), 0.5) * reach
    fill = 0.10 * (1 + 0.28 * layered_noise(rng, shape, (1.0, 12, 50), 1.2))
    gap = 1 - 0.5 * edge(np.abs(offset_px - width_px * 0.36) - 0.6, 0.6)  # open on one side
    colour = np.clip(fill * gap, 0.02, 1)[..., None] * np.array((1.0, 0.98, 0.94), np.float32)
    blend(picture, cover.astype(np.float32), colour.astype(np.float32))


def lay_patch(picture: Image, rng: Rng, inside_px: Field, surface: Surface, seal_px: float) -> None:
    """A repair of other asphalt, its cut edge sealed with bitumen.

    `inside_px` is the signed distance from the patch's outline, negative inside.
    """
    shape = inside_px.shape
    wavy = inside_px + 0.9 * layered_noise(rng, shape, (4, 18, 70), 1.3)
    blend(picture, edge(wavy, 1.2), surface.colour)
    noise = layered_noise(rng, shape, (2, 8, 30), 1.2)
    seal = edge(np.abs(wavy) - seal_px / 2 - 1.2 * noise, 1.0) * np.clip(
        0.9 - 0.22 * noise, 0, 0.97
    )
    colour = np.array(_BITUMEN, np.float32) * (1.15 + 0.2 * noise)[..., None]
    blend(picture, seal.astype(np.float32), np.clip(colour, 0.02, 1).astype(np.float32))


def manhole(picture: Image, rng: Rng, centre_px: tuple[float, float], radius_px: float) -> None:
    """A cast-iron cover with studs and two lifting holes, in a frame and a mortar collar."""
    picture, centre_px = _around(picture, centre_px, 1.5 * radius_px)
    shape = picture.shape[:2]
    dx, dy, r = _polar(shape, centre_px)
    rust = layered_noise(rng, shape, (2, 9, 40), 1.2)
    collar = edge(r - radius_px * 1.34 - 3.5 * layered_noise(rng, shape, (6, 25), 1.2), 1.5)
    mortar = 0.33 * (1 + 0.10 * layered_noise(rng, shape, (0.8, 2.5, 15), 1.0))[..., None]
    blend(
        picture,
        collar * np.clip(0.75 + 0.15 * rust, 0, 0.9).astype(np.float32),
        (mortar * np.array((1.02, 1.0, 0.95))).astype(np.float32),
    )
    iron = 0.155 * (1 + 0.13 * rust) * (1 + 0.22 * _studs(dx, dy, radius_px))
    iron = iron * (1 + 0.16 * smooth_noise(rng, shape, 0.7))
    colour = (iron[..., None] * np.array((1.10, 1.0, 0.90))).astype(np.float32)
    blend(picture, edge(r - radius_px * 1.13, 0.8), np.clip(colour * 1.15, 0, 1))
    blend(picture, edge(r - radius_px, 0.8), np.clip(colour, 0, 1))
    for middle, width in ((1.0, 5.0), (1.13, 2.5), (1.34, 2.0)):
        ring = edge(np.abs(r - radius_px * middle) - width / 2, 0.8)
        lit = 0.8 + 0.2 * np.tanh((dx + dy) / radius_px)  # far side of the gap catches light
        blend(
            picture,
            ring * np.clip(0.85 - 0.12 * rust, 0, 1).astype(np.float32),
            (0.03 * lit)[..., None].repeat(3, -1).astype(np.float32),
        )
    for side in (-1, 1):
        hole = edge(np.maximum(np.abs(dx - side * 0.62 * radius_px) - 9, np.abs(dy) - 4), 0.8)
        blend(picture, hole, (0.02, 0.02, 0.02))


def _around(
    picture: Image, centre_px: tuple[float, float], reach_px: float
) -> tuple[Image, tuple[float, float]]:
    """The part of a picture around a place, as a view, and the place in it."""
    col, row = centre_px
    top, left = max(0, int(row - reach_px)), max(0, int(col - reach_px))
    part = picture[top : int(row + reach_px) + 1, left : int(col + reach_px) + 1]
    return part, (col - left, row - top)


def _polar(shape: tuple[int, ...], centre_px: tuple[float, float]) -> tuple[Field, Field, Field]:
    rows, cols = np.indices(shape, dtype=np.float32)
    dx, dy = cols + 0.5 - centre_px[0], rows + 0.5 - centre_px[1]
    return dx, dy, np.hypot(dx, dy)


def _studs(dx: Field, dy: Field, radius_px: float) -> Field:
    """Raised squares in a diagonal grid, lit from the upper left, about -1 to 1."""
    pitch = radius_px / 7
    u, v = (dx + dy) / np.sqrt(2), (dx - dy) / np.sqrt(2)
    top = np.maximum(np.abs((u / pitch) % 1 - 0.5), np.abs((v / pitch) % 1 - 0.5))
    height = edge((top - 0.30) * pitch, 1.5) * (np.hypot(dx, dy) < 0.88 * radius_px)
    lit = ndimage.gaussian_filter(height, 1.0)
    return np.asarray(2.2 * (lit - np.roll(lit, (2, 2), (0, 1))) + 0.3 * (height - 0.4), np.float32)


def oil_stain(picture: Image, rng: Rng, centre_px: tuple[float, float], size_px: float) -> None:
    """Dripped oil: dark in the middle, a ragged soft rim, spots around it."""
    picture, centre_px = _around(picture, centre_px, 4 * size_px)
    shape = picture.shape[:2]
    _, _, r = _polar(shape, centre_px)
    near = r < 4 * size_px
    ragged = r * (1 + 0.22 * layered_noise(rng, shape, (6, 16, 45), 1.3))
    core = 0.45 * np.exp(-((ragged / size_px) ** 2) * 1.2) + 0.12 * edge(ragged - 1.5 * size_px, 12)
    drops = ndimage.gaussian_filter(
        (rng.random(shape) < 2.5e-4 * np.exp(-((r / size_px / 1.6) ** 2))).astype(np.float32), 2.6
    )
    dark = np.clip(core + 0.5 * np.clip(drops * 42, 0, 0.7), 0, 0.75) * near
    picture *= 1 - dark[..., None] * np.array((0.96, 1.0, 1.03), np.float32)


def tyre_tracks(picture: Image, rng: Rng, across: Field, centres_px: tuple[float, ...]) -> None:
    """Wheel paths: polished a little darker, streaked along the road."""
    noise = layered_noise(rng, across.shape, (15, 60, 200), 1.2)
    for centre in centres_px:
        track = np.exp(-(((across - centre + 12 * noise) / 120) ** 2))
        picture *= (1 - 0.09 * track)[..., None]


def tree_shadow(
    picture: Image, rng: Rng, corner_px: tuple[float, float], radius_px: float
) -> Field:
    """Shade of a tree over a corner: leaves with soft rims, sun flecks, a few thin branches.

    Returns the shade, 0 (sun) to 1, float32 `[H, W]`.
    """
    shape = picture.shape[:2]
    dx, dy, r = _polar(shape, corner_px)
    crown = (radius_px - r) / radius_px * 3.2 + 0.55 * layered_noise(
        rng, shape, (40, 110, 260), 1.2
    )
    leaves = layered_noise(rng, shape, (9, 16, 30), 1.1)
    shade = np.clip((crown + 0.75 * leaves) * 1.6 + 0.2, 0, 1)
    for _ in range(5):
        bearing = rng.uniform(math.radians(10), math.radians(80))
        cos, sin = math.cos(bearing), math.sin(bearing)
        ahead = -dx * cos - dy * sin
        side = dx * sin - dy * cos - 0.0004 * rng.normal() * ahead**2
        width = np.clip(9 - 6.5 * r / (radius_px * 1.35), 0.0, 9)
        branch = edge(np.abs(side) - width, 4.5) * (ahead > 0) * (width > 0.2)
        shade = np.maximum(shade, 0.85 * branch)
    shade = ndimage.gaussian_filter(shade.astype(np.float32), 3.2)  # the sun is a disc, not a point
    picture *= 1 - shade[..., None] * (1 - np.array(_SKY_LIGHT, np.float32))
    return np.asarray(shade, np.float32)


@dataclass(frozen=True)
class Leaf:
    """A fallen leaf: centre (col, row), half length in pixels, heading in radians, colour."""

    centre_px: tuple[float, float]
    half_px: float
    heading: float
    colour: Colour


def scatter_leaves(picture: Image, rng: Rng, where: NDArray[np.floating[Any]], number: int) -> None:
    """Drop leaves and their small shadows, more of them where `where` is high."""
    chance = np.cumsum(where.ravel() / where.sum())
    spots = np.searchsorted(chance, rng.random(number))
    for spot in np.minimum(spots, where.size - 1):
        row, col = divmod(int(spot), where.shape[1])
        green, pale = rng.random(), rng.uniform(0.5, 1.25)
        colour = (0.30 * pale * (1 - 0.6 * green), 0.20 * pale, 0.065 * pale)
        leaf = Leaf((col + 0.5, row + 0.5), rng.uniform(5, 15), rng.uniform(0, np.pi), colour)
        _draw_leaf(picture, rng, leaf)


def _draw_leaf(picture: Image, rng: Rng, leaf: Leaf) -> None:
    col, row = leaf.centre_px
    pad = int(leaf.half_px) + 8
    top, left = max(0, int(row) - pad), max(0, int(col) - pad)
    part = picture[top : int(row) + pad, left : int(col) + pad]
    rows, cols = np.indices(part.shape[:2], dtype=np.float32)
    broad = rng.uniform(0.3, 0.5)
    curl = rng.normal(0, 0.02)
    for shift, colour, most in ((2.2, (0.02, 0.02, 0.02), 0.5), (0.0, leaf.colour, 0.96)):
        dx, dy = cols + left + 0.5 - col - shift, rows + top + 0.5 - row - shift
        u = dx * np.cos(leaf.heading) + dy * np.sin(leaf.heading)
        v = -dx * np.sin(leaf.heading) + dy * np.cos(leaf.heading) + curl * u**2
        outline = broad * leaf.half_px * np.clip(1 - (u / leaf.half_px) ** 2, 0, 1)
        inside = edge((np.abs(v) - outline).astype(np.float32), 0.7 + shift * 0.6)
        inside = inside * (np.abs(u) < leaf.half_px)
        vein = 1 + 0.25 * np.exp(-((v / 0.9) ** 2)) + 0.08 * np.sign(v)
        top_colour = (np.array(colour, np.float32) * vein[..., None]).astype(np.float32)
        blend(part, (inside * most).astype(np.float32), top_colour)


def scatter_grit(picture: Image, rng: Rng, where: NDArray[np.floating[Any]], number: int) -> None:
    """Loose stones of 2 to 7 px with a short shadow, more of them where `where` is high."""
    chance = np.cumsum(where.ravel() / where.sum())
    spots = np.minimum(np.searchsorted(chance, rng.random(number)), where.size - 1)
    for spot in spots:
        row, col = divmod(int(spot), where.shape[1])
        radius = float(np.exp(rng.normal(0.45, 0.45)))
        shade = float(rng.uniform(0.18, 0.75))
        leaf_like = Leaf(
            (col + 0.5, row + 0.5),
            radius,
            rng.uniform(0, np.pi),
            (shade, shade * 0.98, shade * 0.93),
        )
        _draw_stone(picture, leaf_like)


def _draw_stone(picture: Image, stone: Leaf) -> None:
    col, row = stone.centre_px
    pad = int(stone.half_px) + 5
    top, left = max(0, int(row) - pad), max(0, int(col) - pad)
    part = picture[top : int(row) + pad, left : int(col) + pad]
    rows, cols = np.indices(part.shape[:2], dtype=np.float32)
    for shift, colour, most in ((0.55, (0.03, 0.03, 0.03), 0.6), (0.0, stone.colour, 0.95)):
        away = shift * stone.half_px
        dx, dy = cols + left + 0.5 - col - away, rows + top + 0.5 - row - away
        u = dx * np.cos(stone.heading) + dy * np.sin(stone.heading)
        v = (-dx * np.sin(stone.heading) + dy * np.cos(stone.heading)) * 1.35
        inside = edge((np.hypot(u, v) - stone.half_px).astype(np.float32), 0.6)
        light: Field = np.asarray(1 - 0.22 * (dx + dy) / stone.half_px)
        top_colour = np.array(colour, np.float32) * np.clip(light, 0.5, 1.4)[..., None]
        blend(part, inside * np.float32(most), top_colour.astype(np.float32))
