"""Drawn walls with known cracks: concrete with its form-work, brick, painted or plastered masonry.

What road pictures lack: tie holes, panel joints, stains, bricks and their mortar. One seed gives
one picture. Light is linear until the end; lengths are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .crack_shapes import Crack, Points, branch, draw_cracks, open_crack, wander
from .engraving import engrave
from .street_objects import blend, edge
from .textures import Field, Image, Rng, layered_noise, shade_relief, smooth_noise, srgb, tint

CRACK_FREE_SHARE = 0.3
WIDTH_PX = (1.4, 8.0)  # mean widths, drawn log-uniformly
MASONRY_WIDTH_PX = (1.4, 24.0)  # where a wall settles, joints open wide
STONE_LENGTH_PX = (50, 300)  # from a whole wall to a close look at two bricks


@dataclass(frozen=True)
class Wall:
    """A picture of a wall and its cracks.

    Parameters
    ----------
    rgb : uint8 `[H, W, 3]`, sRGB
    cover : float32 `[H, W]`, share of each pixel that is crack
    cracks : the cracks themselves; empty on a sound wall
    """

    rgb: NDArray[np.uint8]
    cover: Field
    cracks: tuple[Crack, ...]


@dataclass(frozen=True)
class _Courses:
    """A running bond: sizes in pixels, and the same for every stone of the wall."""

    length: float
    height: float
    mortar: float
    first: float

    def offset(self, row: NDArray[np.intp] | int) -> NDArray[np.float64]:
        """Where the first head joint of a course lies."""
        return np.asarray(self.first + self.length / 2 * (np.asarray(row) % 2))


def draw_wall(seed: int, size_px: int = 600) -> Wall:
    """Draw a concrete, brick or plastered wall, square, of a kind and state chosen by the seed."""
    rng = np.random.default_rng((seed, 7))
    sound = rng.random() < CRACK_FREE_SHARE
    kind = rng.choice(3, p=(0.3, 0.55, 0.15))
    if kind == 1:
        courses = _courses(rng)
        picture = _masonry(rng, size_px, courses)
        cracks = [] if sound else _masonry_cracks(rng, size_px, courses)
    else:
        picture = _concrete(rng, size_px) if kind == 0 else _plaster(rng, size_px)
        cracks = [] if sound else _wall_cracks(rng, size_px)
    drawn = draw_cracks(cracks, (size_px, size_px))
    engrave(picture, rng, drawn, loose_stones=0.3)
    _weather(picture, rng)
    if cracks and rng.random() < 0.25:
        _efflorescence(picture, rng, drawn.distance_px, drawn.cover)
    return Wall(_photograph(rng, picture), drawn.cover, tuple(cracks))


def _concrete(rng: Rng, size: int) -> Image:
    shape = (size, size)
    grain = layered_noise(rng, shape, (0.7, 1.4, 3.0), 0.8)
    cloud = layered_noise(rng, shape, (12, 45, 140), 1.3)
    grey = rng.uniform(0.22, 0.6) * np.exp(
        rng.uniform(0.015, 0.05) * grain + rng.uniform(0.03, 0.12) * cloud
    )
    picture = tint(grey.astype(np.float32), (1.0 + rng.uniform(-0.02, 0.05), 1.0, 0.96))
    if rng.random() < 0.5:
        _boards(picture, rng)
    if rng.random() < 0.5:
        _panel_joints(picture, rng)
    if rng.random() < 0.6:
        _tie_holes(picture, rng)
    _blow_holes(picture, rng)
    return picture


def _plaster(rng: Rng, size: int) -> Image:
    """Render or paint: bright, any pale colour, a fine or a coarse coat."""
    shape = (size, size)
    coat = layered_noise(rng, shape, (rng.uniform(0.8, 3), rng.uniform(2, 6)), 0.8)
    cloud = layered_noise(rng, shape, (30, 120), 1.2)
    grey = rng.uniform(0.4, 0.8) * np.exp(0.03 * cloud) * shade_relief(coat, rng.uniform(0, 0.12))
    colour = 1 + rng.normal(0, 0.12, 3)
    return np.clip(tint(grey.astype(np.float32), tuple(colour)), 0.02, 1)


def _boards(picture: Image, rng: Rng) -> None:
    """Prints of the form's boards: each a shade of its own, a fine line between them."""
    size = picture.shape[0]
    width = rng.uniform(35, 130)
    at = np.arange(size, dtype=np.float64) / width + rng.random()
    shades = np.asarray(1 + 0.05 * rng.standard_normal(size), np.float32)
    beside = np.abs(at - np.round(at)) * width
    line = 1 - rng.uniform(-0.1, 0.3) * edge(beside - rng.uniform(0.4, 1.2), 0.5)
    profile = (shades[at.astype(np.intp)] * line).astype(np.float32)
    picture *= profile[:, None, None] if rng.random() < 0.5 else profile[None, :, None]


def _panel_joints(picture: Image, rng: Rng) -> None:
    """Straight grooves between panels, now and then two that cross, dark or filled."""
    size = picture.shape[0]
    for axis in (0, 1) if rng.random() < 0.5 else (int(rng.integers(2)),):
        place = np.arange(size) - rng.uniform(0.1, 0.9) * size
        wobble = 0.4 * ndimage.gaussian_filter1d(rng.standard_normal(size), 20) * 6
        away = place[:, None] + wobble[None, :] if axis == 0 else place[None, :] + wobble[:, None]
        cover = edge(np.abs(away) - rng.uniform(0.8, 5), 0.6)
        shade = float(rng.uniform(0.02, 0.2) if rng.random() < 0.8 else rng.uniform(0.5, 0.8))
        blend(picture, cover * np.float32(rng.uniform(0.5, 0.95)), (shade, shade, 0.95 * shade))


def _tie_holes(picture: Image, rng: Rng) -> None:
    """Holes that the form's ties left, in rows, open or plugged, with a rim."""
    size = picture.shape[0]
    radius, step = rng.uniform(4, 15), rng.uniform(130, 320)
    plug = rng.uniform(0.3, 0.55) if rng.random() < 0.4 else rng.uniform(0.01, 0.08)
    rows, cols = np.indices((size, size), dtype=np.float32)
    start = rng.uniform(0, step, 2)
    for y in np.arange(start[0], size, step):
        for x in np.arange(start[1], size, step * rng.uniform(0.9, 1.1)):
            away = np.hypot(rows - y, cols - x) + 0.4 * rng.standard_normal()
            blend(picture, 0.35 * edge(away - 1.25 * radius, 1.0), (0.1, 0.1, 0.09))
            blend(picture, 0.95 * edge(away - radius, 0.8), (plug, plug, 0.95 * plug))


def _blow_holes(picture: Image, rng: Rng) -> None:
    """Air bubbles at the form: small dark pits of irregular outline."""
    size = picture.shape[0]
    for radius, share in ((0.8, 1 / 2500), (1.6, 1 / 12000), (3.0, 1 / 60000)):
        seeds = rng.random((size, size)) < share * rng.uniform(0, 2)
        away = ndimage.distance_transform_edt(~seeds) if seeds.any() else np.full((size, size), 99)
        rough = 0.5 * radius * smooth_noise(rng, (size, size), radius + 0.5)
        blend(picture, 0.8 * edge(away - radius + rough, 0.6), (0.05, 0.05, 0.045))


def _courses(rng: Rng) -> _Courses:
    length = _width(rng, STONE_LENGTH_PX)
    height = length * rng.uniform(0.26, 0.5)
    return _Courses(length, height, rng.uniform(0.07, 0.2) * height, rng.uniform(0, length))


def _masonry(rng: Rng, size: int, courses: _Courses) -> Image:
    """Bricks or blocks in running bond; painted over in one colour now and then."""
    shape = (size, size)
    rows, cols = np.indices(shape, dtype=np.float32)
    uneven = courses.mortar * 0.12
    y = rows + uneven * layered_noise(rng, shape, (4, 25), 1.0)
    x = cols + uneven * layered_noise(rng, shape, (4, 25), 1.0)
    course = np.floor(y / courses.height).astype(int)
    along = (x - courses.offset(course)) / courses.length
    stone = np.floor(along).astype(int)
    from_bed = np.minimum(y / courses.height - course, course + 1 - y / courses.height)
    from_head = np.minimum(along - stone, stone + 1 - along) * courses.length
    away = np.minimum(from_bed * courses.height, from_head) - courses.mortar / 2
    picture = _bricks(rng, course, stone)
    painted = rng.random() < 0.25
    shade = rng.uniform(0.04, 0.12) if rng.random() < 0.15 else rng.uniform(0.15, 0.65)
    mortar = picture.mean((0, 1)) if painted else shade * np.array((1, 0.97, 0.9))
    joints = edge(away, rng.uniform(0.5, 1.6))
    mottle = (1 + 0.08 * layered_noise(rng, shape, (0.9, 3, 12), 1.0))[..., None]
    blend(picture, joints, (mortar * mottle).astype(np.float32))
    if rng.random() < 0.5:
        _shadow_lines(picture, rng, away)
    relief = np.clip(away / courses.mortar, -0.5, 0.5).astype(np.float32)
    return picture * shade_relief(relief, rng.uniform(0, 0.5))[..., None]


def _shadow_lines(picture: Image, rng: Rng, away: Field) -> None:
    """Thin dark lines where the stones stand out of the mortar: here and there, no crack."""
    line = edge(np.abs(away) - rng.uniform(0.2, 1.2), 0.5)
    patchy = np.clip(0.3 + smooth_noise(rng, (away.shape[0], away.shape[1]), 30), 0, 1)
    picture *= (1 - rng.uniform(0.2, 0.7) * line * patchy)[..., None]


def _bricks(rng: Rng, course: NDArray[np.intp], stone: NDArray[np.intp]) -> Image:
    """Faces of the stones: one colour for the wall, a shade for each stone, a rough grain."""
    shape = course.shape[0], course.shape[1]
    colours = ((0.32, 0.13, 0.08), (0.42, 0.24, 0.13), (0.4, 0.36, 0.3), (0.65, 0.64, 0.6))
    base = np.array(colours[rng.integers(4)]) * np.exp(rng.normal(0, 0.2))
    table = rng.standard_normal((64, 64, 3))
    shade = table[course % 64, stone % 64]
    spread = rng.uniform(0.03, 0.22)
    grain = layered_noise(rng, shape, (0.9, 2.5, 7), 0.9)[..., None] * rng.uniform(0.03, 0.12)
    return np.asarray(base * np.exp(spread * shade.mean(-1, keepdims=True) * 1.7 + grain), "f4")


def _width(rng: Rng, limits: tuple[float, float] = WIDTH_PX) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _wall_cracks(rng: Rng, size: int) -> list[Crack]:
    """One to three cracks across the wall, straight to ragged, some with side branches."""
    cracks = []
    for _ in range(int(rng.integers(1, 4))):
        heading = rng.uniform(0, np.pi)
        way = np.array([np.cos(heading), np.sin(heading)])
        middle = rng.uniform(0.15, 0.85, 2) * size
        reach = rng.uniform(0.25, 0.8) * size
        places = np.stack([middle + s * reach * way for s in (-1.0, -0.3, 0.4, 1.0)])
        places += rng.normal(0, 0.03 * size, places.shape)
        roughness = rng.uniform(0.3, 1.2)
        crack = open_crack(
            rng, "wall", wander(rng, places, roughness), _width(rng), crumble=rng.uniform(0.2, 0.8)
        )
        cracks.append(crack)
        for _ in range(rng.poisson(0.5)):
            thin = max(1.3, 0.6 * crack.width_px)
            cracks.append(branch(rng, crack, thin, rng.uniform(0.1, 0.35) * size, roughness))
    return cracks


def _masonry_cracks(rng: Rng, size: int, courses: _Courses) -> list[Crack]:
    """One or two cracks: joints that opened along the stones, stairs with ragged edges, or a tear
    across everything.
    """
    if rng.random() < 0.2:
        return _wall_cracks(rng, size)
    cracks = []
    for _ in range(int(rng.integers(1, 3))):
        opened = rng.random() < 0.5
        places = _stairs(rng, size, courses, through=0.0 if opened else None)
        if opened:  # beside the stones, as straight as they are
            places += rng.uniform(-0.5, 0.5) * courses.mortar
            rough, crumble, widest = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.5), courses.mortar
        else:
            rough, crumble = rng.uniform(0.3, 0.8), rng.uniform(0.3, 1)
            widest = 0.16 * courses.length
        width = _width(rng, (MASONRY_WIDTH_PX[0], max(2.0, min(MASONRY_WIDTH_PX[1], widest))))
        path = wander(rng, places, rough, bend=0.0)
        cracks.append(open_crack(rng, "masonry", path, width, crumble=crumble))
    return cracks


def _stairs(rng: Rng, size: int, courses: _Courses, through: float | None = None) -> Points:
    """Corners of a path down the wall: along the joints, or straight `through` that share of
    the stones.
    """
    through = rng.choice((0.1, 0.5, 0.95)) if through is None else through
    side = rng.choice((-1.0, 1.0))
    first, last = np.sort(rng.integers(-1, int(size / courses.height) + 2, 2))
    last = max(int(last), int(first) + 3)
    x = rng.uniform(0.15, 0.85) * size
    places: list[tuple[float, float]] = []
    for row in range(int(first), last):
        top = row * courses.height
        if rng.random() > through:
            offset = float(courses.offset(row))
            x = offset + np.round((x - offset) / courses.length) * courses.length
        places += [(x, top), (x, top + courses.height)]
        x += side * rng.uniform(0, 0.5) * courses.length
    return np.array(places) + rng.normal(0, 0.8, (len(places), 2))


def _weather(picture: Image, rng: Rng) -> None:
    """Runs of dirty water, wet patches, a coloured stain, a shadow."""
    shape = picture.shape[0], picture.shape[1]
    if rng.random() < 0.5:
        column = layered_noise(rng, shape, (6, 20), 1.0)[:1]
        runs = np.clip(column - 0.3, 0, 2) * np.clip(1.2 + 0.6 * smooth_noise(rng, shape, 90), 0, 2)
        picture *= (1 - np.clip(rng.uniform(0.05, 0.25) * runs, 0, 0.7))[..., None]
    for chance, colour, soft in (
        (0.4, (0.55, 0.55, 0.55), rng.uniform(0.5, 12)),  # wet
        (0.2, (0.85, 0.6, 0.4), rng.uniform(4, 20)),  # rust
        (0.2, (0.6, 0.7, 0.45), rng.uniform(2, 10)),  # algae
        (0.25, (0.35, 0.38, 0.45), rng.uniform(0.8, 6)),  # shadow
    ):
        if rng.random() < chance:
            level = smooth_noise(rng, shape, rng.uniform(25, 120)) * 40
            cover = edge(rng.uniform(15, 50) - level, soft)[..., None] * rng.uniform(0.3, 1)
            picture *= 1 - cover * (1 - np.array(colour, np.float32))


def _efflorescence(picture: Image, rng: Rng, distance: Field, cover: Field) -> None:
    """Lime that the water brought out of a crack: a pale, ragged border."""
    shape = picture.shape[0], picture.shape[1]
    ragged = distance + 4 * layered_noise(rng, shape, (2, 8, 30), 1.2)
    pale = edge(ragged - rng.uniform(1, 7), 2.0) * (1 - cover) * rng.uniform(0.2, 0.7)
    blend(picture, pale.astype(np.float32), (0.75, 0.75, 0.7))


def _photograph(rng: Rng, picture: Image) -> NDArray[np.uint8]:
    """The lens's blur, the sensor's noise, sRGB."""
    blur = rng.uniform(0.4, 1.1)
    light = ndimage.gaussian_filter(picture, (blur, blur, 0)) * rng.uniform(0.75, 1.25)
    code = 255 * srgb(np.clip(light, 0, 1).astype(np.float32))
    code += rng.uniform(0.5, 3) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.round(code), 0, 255).astype(np.uint8)
