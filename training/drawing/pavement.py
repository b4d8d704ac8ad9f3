"""A drawn pavement with known cracks, as an orthomosaic of a drone survey shows it.

One seed and one size give one picture, pixel for pixel. Ground pixel about 2 mm. Distances are
in pixels, (col, row) with (0, 0) at the corner of the first pixel; light is linear until the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from . import street_objects as objects
from .crack_shapes import (
    Crack,
    CrackDrawing,
    Points,
    alligator,
    branch,
    draw_cracks,
    open_crack,
    wander,
)
from .engraving import engrave
from .textures import (
    Field,
    Image,
    Rng,
    Shape,
    asphalt,
    bounding,
    concrete,
    layered_noise,
    smooth_noise,
    srgb,
)

Mask = NDArray[np.bool_]
_MIN_VISIBLE_PX = 12.0  # a shorter piece of a crack between two covered places is no crack


@dataclass(frozen=True)
class Pavement:
    """A picture and what is in it.

    Parameters
    ----------
    rgb : uint8 `[H, W, 3]`, sRGB; black where there is no data
    alpha : uint8 `[H, W]`, 255 with data, 0 without
    cracks : the visible pieces of all cracks
    cover : float32 `[H, W]`, share of each pixel that is visible crack
    distractors : kind and line, float64 `[n, 2]`, of what looks like a crack and is none
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    cracks: tuple[Crack, ...]
    cover: Field
    distractors: tuple[tuple[str, Points], ...]


@dataclass
class _Scene:
    """The picture while it is being drawn.

    `along` and `across` are the road's coordinates of each pixel; `hidden` is where something
    lies over the cracks.
    """

    seed: int
    picture: Image
    along: Field
    across: Field
    angle: float
    relief: Field
    hidden: Mask
    cracks: list[Crack] = field(default_factory=list)
    distractors: list[tuple[str, Points]] = field(default_factory=list)

    @property
    def shape(self) -> Shape:
        height, width = self.along.shape
        return height, width

    def rng(self, part: int) -> Rng:
        """Chance of its own for each part, so that one part's change leaves the others alone."""
        return np.random.default_rng((self.seed, part))

    def place(self, across: float, along: float) -> Points:
        """Pixel of a place given in parts of the picture's width and height on the road."""
        height, width = self.shape
        u, v = (across - 0.5) * width, (along - 0.5) * height
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([width / 2 + u * cos - v * sin, height / 2 + u * sin + v * cos])

    def line(self, *places: tuple[float, float]) -> Points:
        """Pixels of several places, float64 `[n, 2]`."""
        return np.stack([self.place(*p) for p in places])


def draw_pavement(seed: int, shape: Shape = (1800, 2400)) -> Pavement:
    """Draw a stretch of road: old asphalt to the left, concrete slabs to the right.

    Parameters
    ----------
    seed : decides on everything
    shape : rows and columns; at least 128 each
    """
    scene = _bare_road(seed, shape)
    patch = _lay_patch(scene)
    _paint(scene)
    _grow_cracks(scene)
    seals = [_route_seal(scene, 40, p) for p in _SEALS]
    _hide(scene, draw_cracks(seals, shape, reach_px=60).cover > 0.5)
    joints = _joints(scene)
    _set_manhole(scene, draw=False)
    drawn = draw_cracks(scene.cracks, shape)
    above = scene.picture[patch]
    engrave(scene.picture, scene.rng(35), drawn)
    scene.picture[patch] = above
    for number, line in enumerate(seals):
        objects.sealed_crack(scene.picture, scene.rng(50 + number), line)
        scene.distractors.append(("sealed_crack", line.points))
    for offset, reach, width_px in joints:
        objects.joint(scene.picture, scene.rng(60), offset, reach, width_px)
    _set_manhole(scene, draw=True)
    _litter(scene)
    _shade(scene)
    alpha = _ragged(scene.rng(90), shape)
    return _developed(scene, drawn, alpha)


_SEALS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.255, -0.1), (0.235, 0.2), (0.27, 0.45), (0.25, 0.63)),
    ((0.33, 0.93), (0.45, 0.89), (0.56, 0.92), (0.638, 0.90)),
)


def _bare_road(seed: int, shape: Shape) -> _Scene:
    """Asphalt and concrete side by side, on a road that runs a little askew."""
    rng = np.random.default_rng((seed, 0))
    angle = math.radians(rng.uniform(4, 9))
    rows, cols = np.indices(shape, dtype=np.float32)
    x, y = cols + 0.5 - shape[1] / 2, rows + 0.5 - shape[0] / 2
    cos, sin = math.cos(angle), math.sin(angle)
    across = np.asarray(x * cos + y * sin + shape[1] / 2, np.float32)
    along = np.asarray(-x * sin + y * cos + shape[0] / 2, np.float32)
    picture, relief = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    is_asphalt = across < 0.64 * shape[1] + 1.5 * smooth_noise(rng, shape, 8)
    left, right = bounding(is_asphalt), bounding(~is_asphalt)
    surfaces = (
        (left, is_asphalt[left], asphalt(rng, along[left].shape, level=0.235, coarse_px=5.5)),
        (right, ~is_asphalt[right], concrete(rng, along[right].shape, along[right])),
    )
    for box, where, surface in surfaces:
        picture[box][where] = surface.colour[where]
        relief[box][where] = surface.relief[where]
    objects.tyre_tracks(picture, rng, across, (0.17 * shape[1], 0.46 * shape[1]))
    hidden = np.zeros(shape, np.bool_)
    return _Scene(seed, picture, along, across, angle, relief, hidden)


def _lay_patch(scene: _Scene) -> Mask:
    """A repair in newer asphalt in the upper middle; tells where it lies over older cracks."""
    rng = scene.rng(10)
    height, width = scene.shape
    half = np.array([0.085 * width, 0.10 * height])
    u, v = scene.across - 0.43 * width, scene.along - 0.15 * height
    inside = np.maximum(np.abs(u) - half[0], np.abs(v + 0.06 * u) - half[1])
    box = bounding(inside < 20)
    surface = asphalt(rng, inside[box].shape, level=0.12, coarse_px=4.0)
    objects.lay_patch(scene.picture[box], rng, inside[box].astype(np.float32), surface, 17.0)
    covered: Mask = inside < 10
    _hide(scene, covered)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    scale = half / (width, height)
    places = [(0.43 + a * scale[0], 0.15 + b * scale[1]) for a, b in corners]
    scene.distractors.append(("patch_edge", scene.line(*places)))
    return covered


def _paint(scene: _Scene) -> None:
    """An edge line along the whole road and one dash of a lane line."""
    height, width = scene.shape
    stripes = ((0.575, 62.0, -1.0, 2.0, 0.55), (0.085, 58.0, 0.12, 0.66, 0.75))
    for number, (across, width_px, start, end, wear) in enumerate(stripes):
        objects.paint_stripe(
            scene.picture, scene.rng(20 + number), scene.across, scene.along, scene.relief, wear,
            centre_px=across * width, width_px=width_px,
            from_px=start * height, to_px=end * height,
        )  # fmt: skip
        for side in (-0.5, 0.5):
            at = across + side * width_px / width
            scene.distractors.append(
                ("paint", scene.line((at, max(start, -0.2)), (at, min(end, 1.2))))
            )


def _grow_cracks(scene: _Scene) -> None:
    """All cracks: transverse, longitudinal, slab and corner cracks, hairlines, an alligator."""
    rng = scene.rng(30)
    mains = (
        ("transverse", 8.5, 1.0, ((-0.05, 0.36), (0.17, 0.41), (0.36, 0.36), (0.637, 0.385))),
        ("transverse", 4.2, 1.0, ((0.30, 0.77), (0.44, 0.80), (0.58, 0.765), (0.637, 0.78))),
        ("longitudinal", 5.0, 1.1, ((0.525, 0.42), (0.515, 0.6), (0.54, 0.74), (0.53, 1.05))),
        ("longitudinal", 2.8, 1.2, ((0.33, -0.05), (0.315, 0.12), (0.335, 0.30))),
        ("slab", 3.4, 0.55, ((0.645, 0.56), (0.76, 0.585), (0.88, 0.55), (1.05, 0.60))),
        ("corner", 2.3, 0.5, ((0.645, 0.20), (0.71, 0.245), (0.765, 0.31))),
        ("hairline", 1.6, 0.9, ((0.02, 0.12), (0.09, 0.15), (0.17, 0.11), (0.225, 0.14))),
        ("hairline", 2.0, 0.55, ((0.84, 0.01), (0.86, 0.13), (0.85, 0.29))),
        ("hairline", 1.5, 0.6, ((0.70, 0.70), (0.78, 0.76), (0.87, 0.74))),
        ("transverse", 12.0, 0.9, ((0.66, 0.86), (0.76, 0.885), (0.87, 0.84), (1.05, 0.865))),
    )  # fmt: skip
    px = max(1.0, scene.shape[1] / 2400)
    for kind, width_px, roughness, places in mains:
        path = wander(rng, _jittered(scene, rng, places), roughness)
        ends = (kind in ("hairline", "longitudinal"), kind != "slab")
        crumble = 1.0 if roughness >= 0.9 else 0.45
        crack = open_crack(rng, kind, path, width_px, crumble=crumble, taper=ends)
        scene.cracks.append(crack)
        expected = 0.0 if kind == "corner" else 0.3 + crack.length_px / (900 * px)
        for _ in range(rng.poisson(expected)):
            share = float(rng.uniform(0.3, 0.55))
            length = float(rng.uniform(90, 330)) * scene.shape[0] / 1800
            side = branch(rng, crack, max(1.5, share * width_px), max(length, 20), roughness)
            scene.cracks.append(side)
    radii = (0.085 * scene.shape[1], 0.155 * scene.shape[0])
    scene.cracks += alligator(rng, scene.place(0.155, 0.74), radii, 62.0)


def _jittered(scene: _Scene, rng: Rng, places: tuple[tuple[float, float], ...]) -> Points:
    return scene.line(*places) + rng.normal(0, 0.006 * scene.shape[0], (len(places), 2))


def _route_seal(scene: _Scene, part: int, places: tuple[tuple[float, float], ...]) -> Crack:
    """The band of bitumen over an older crack."""
    rng = np.random.default_rng((scene.seed, part, round(places[0][0] * 1000)))
    path = wander(rng, _jittered(scene, rng, places), 0.9, bend=0.06)
    return open_crack(rng, "sealed", path, 27.0, crumble=0.45, taper=(False, False))


def _joints(scene: _Scene) -> list[tuple[Field, Mask, float]]:
    """Joints of the slabs: signed distance, where they run, width. Cracks do not cross them."""
    height, width = scene.shape
    concrete_side = scene.across > 0.64 * width - 3
    found = [(scene.across - 0.64 * width, np.ones(scene.shape, np.bool_), 7.0)]
    scene.distractors.append(("joint", scene.line((0.64, -0.2), (0.64, 1.2))))
    for at in (0.335, 0.79):
        found.append((scene.along - at * height, concrete_side, 4.5))
        scene.distractors.append(("joint", scene.line((0.64, at), (1.2, at))))
    for offset, reach, width_px in found:
        _hide(scene, (np.abs(offset) < width_px / 2 + 1) & reach)
    return found


def _set_manhole(scene: _Scene, draw: bool) -> None:
    """The cover in the middle of the lane; first only its place, later the picture."""
    centre = scene.place(0.405, 0.60)
    radius = 0.082 * scene.shape[0]
    if draw:
        objects.manhole(scene.picture, scene.rng(70), (centre[0], centre[1]), radius)
        turn = np.linspace(0, 2 * np.pi, 73)
        ring = centre + 1.13 * radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        scene.distractors.append(("manhole", ring))
        return
    rows, cols = np.indices(scene.shape, dtype=np.float32)
    _hide(scene, np.hypot(cols + 0.5 - centre[0], rows + 0.5 - centre[1]) < 1.32 * radius)


def _hide(scene: _Scene, where: Mask) -> None:
    scene.hidden |= where


def _litter(scene: _Scene) -> None:
    """Oil under parked cars, grit along the joint, leaves under the tree."""
    height, width = scene.shape
    for number, (across, along, size) in enumerate(
        ((0.33, 0.20, 34), (0.315, 0.50, 22), (0.49, 0.86, 27))
    ):
        centre = scene.place(across, along)
        objects.oil_stain(scene.picture, scene.rng(71 + number), (centre[0], centre[1]), size)
    gutter = np.exp(-(((scene.across - 0.655 * width) / 38) ** 2)) + 0.012
    objects.scatter_grit(scene.picture, scene.rng(75), gutter, int(2.4e-4 * height * width))
    tree = np.hypot(scene.across - width, scene.along - height)
    under = np.exp(-((tree / (0.5 * height)) ** 2)) + 0.03 * gutter + 0.006
    objects.scatter_leaves(scene.picture, scene.rng(76), under, int(1.6e-5 * height * width))


def _shade(scene: _Scene) -> None:
    """The shadow of a tree that stands beyond the lower right corner."""
    height, width = scene.shape
    corner = (1.02 * width, 1.04 * height)
    shade = objects.tree_shadow(scene.picture, scene.rng(80), corner, 0.72 * height)
    outlines = find_contours(shade, 0.45)  # type: ignore[no-untyped-call]
    for outline in sorted(outlines, key=len, reverse=True)[:20]:
        if len(outline) > 60:
            scene.distractors.append(("shadow_edge", outline[::6, ::-1] + 0.5))


def _ragged(rng: Rng, shape: Shape) -> NDArray[np.uint8]:
    """Outline of a mosaic: torn at several scales, with steps where single frames end."""
    height, width = shape
    rows, cols = np.indices(shape, dtype=np.float32)
    sides = np.stack([cols, width - 1 - cols, rows, height - 1 - rows])
    steps = np.round(1.1 * smooth_noise(rng, shape, 0.05 * width)) * 0.011 * width
    torn = 0.004 * width * layered_noise(rng, shape, (2.0, 9, 40), 1.3)
    data = sides.min(axis=0) > np.maximum(0.02 * width + steps + torn, 3)
    parts, _ = ndimage.label(data)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    whole = ndimage.binary_fill_holes(parts == largest)
    return np.where(whole, 255, 0).astype(np.uint8)


def _developed(scene: _Scene, drawn: CrackDrawing, alpha: NDArray[np.uint8]) -> Pavement:
    """What the camera and the mosaicking make of the scene."""
    rng = scene.rng(95)
    light = ndimage.gaussian_filter(scene.picture, (0.6, 0.6, 0))
    seam = smooth_noise(rng, scene.shape, 0.12 * scene.shape[1]) > 0.4  # two frames' exposures
    exposure = 1 + 0.035 * ndimage.gaussian_filter(seam.astype(np.float32), 14)
    code = 255 * srgb(np.clip(light * exposure[..., None], 0, 1))
    code += 1.3 * rng.standard_normal(scene.shape, dtype=np.float32)[..., None]
    code += 0.5 * rng.standard_normal((*scene.shape, 3), dtype=np.float32)
    rgb = np.clip(np.round(code), 0, 255).astype(np.uint8) * (alpha > 0)[..., None]
    seen = (alpha > 0) & ~scene.hidden
    cracks = tuple(piece for crack in scene.cracks for piece in visible_pieces(crack, seen))
    return Pavement(rgb, alpha, cracks, drawn.cover * seen, tuple(scene.distractors))


def visible_pieces(crack: Crack, seen: Mask) -> Iterator[Crack]:
    """Cut a crack where it runs out of the picture or under something."""
    cols, rows = np.floor(crack.points).astype(int).T
    height, width = seen.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    inside[inside] = seen[rows[inside], cols[inside]]
    runs, _ = ndimage.label(inside)
    for (run,) in ndimage.find_objects(runs):
        piece = replace(
            crack,
            points=crack.points[run],
            left_px=crack.left_px[run],
            right_px=crack.right_px[run],
        )
        if len(piece.points) > 1 and piece.length_px >= _MIN_VISIBLE_PX:
            yield piece
