"""Cracks with a known centre-line and width: made as curves, drawn by exact cross-section.

A pixel's share of crack is the overlap of its square with the crack's cross-section, both taken
along the normal of the centre-line. Summed over pixels this gives the crack's true area at any
angle and any sub-pixel place.

Pixel coordinates are (col, row) with (0, 0) at the corner of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import Voronoi, cKDTree

from .textures import Field, Rng, Shape

Points = NDArray[np.float64]
_STEP_PX = 0.5  # between the points of a centre-line


@dataclass(frozen=True)
class Crack:
    """One crack.

    Parameters
    ----------
    kind : what it is, e.g. "transverse", "branch", "alligator"
    points : centre-line, float64 `[n, 2]`, (col, row), about `_STEP_PX` apart
    left_px, right_px : distance of each edge from the centre-line, float64 `[n]`
    """

    kind: str
    points: Points
    left_px: NDArray[np.float64]
    right_px: NDArray[np.float64]

    @property
    def length_px(self) -> float:
        """Length of the centre-line."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    @property
    def width_px(self) -> float:
        """Mean width."""
        return float((self.left_px + self.right_px).mean())


@dataclass(frozen=True)
class CrackDrawing:
    """Cracks on a raster.

    Parameters
    ----------
    cover : float32 `[H, W]`, share of each pixel that is crack, 0 to 1
    distance_px : float32 `[H, W]`, to the nearest centre-line, `reach_px` where there is none near
    width_px : float32 `[H, W]`, width of that crack there
    """

    cover: Field
    distance_px: Field
    width_px: Field

    def part(self, box: tuple[slice, slice]) -> CrackDrawing:
        """A rectangle of it."""
        return CrackDrawing(self.cover[box], self.distance_px[box], self.width_px[box])


def wander(rng: Rng, ends: Points, roughness: float, bend: float = 0.05) -> Points:
    """A crack's path through given points: bends, detours around stones, kinks.

    Parameters
    ----------
    ends : float64 `[k, 2]`, points it passes near
    roughness : 1 is a common crack in asphalt; 0.3 a straight one in concrete
    bend : size of the longest wave, in parts of the length
    """
    path = resample(ends, _STEP_PX)
    n = len(path)
    length = n * _STEP_PX
    offset = np.zeros(n)
    for wave in (length / 2, length / 5, 90.0, 38.0, 17.0, 8.0, 4.0):
        if wave < length:
            size = bend * length * (wave / length) if wave > 90 else 0.045 * min(wave, 40.0)
            offset += roughness * size * _profile(rng, n, wave / _STEP_PX / 4)
    offset -= np.linspace(offset[0], offset[-1], n)  # both ends stay where they were asked for
    path = path + _normals(path) * offset[:, None]
    return resample(_kinks(rng, path, roughness), _STEP_PX)


def _kinks(rng: Rng, path: Points, roughness: float) -> Points:
    """Turn a smooth path into short straight runs with sharp but small corners."""
    picks = np.cumsum(rng.gamma(2.0, 3.0, len(path)) / _STEP_PX).astype(int)
    picks = np.concatenate([[0], picks[picks < len(path) - 4], [len(path) - 1]])
    jitter = rng.normal(0, 0.75 * roughness, (len(picks), 2))
    jitter[[0, -1]] = 0
    corners = resample(path[picks] + jitter, _STEP_PX)
    soft = ndimage.gaussian_filter1d(corners, 1.2, axis=0, mode="nearest")
    soft[[0, -1]] = corners[[0, -1]]
    return np.asarray(soft)


def resample(points: Points, step_px: float) -> Points:
    """Points at equal steps along a polyline, both ends kept."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    n = max(2, round(at[-1] / step_px) + 1)
    where = np.linspace(0, at[-1], n)
    return np.stack([np.interp(where, at, points[:, k]) for k in (0, 1)], axis=-1)


def open_crack(
    rng: Rng,
    kind: str,
    path: Points,
    width_px: float,
    *,
    crumble: float = 1.0,
    taper: tuple[bool, bool] = (True, True),
) -> Crack:
    """Give a path two edges: width that varies along it, crumbled edges, tapering ends.

    Parameters
    ----------
    width_px : mean width of the crack, met exactly
    crumble : 1 for common asphalt edges, 0.3 for clean concrete
    taper : whether the start and the end run out
    """
    n = len(path)
    swell = np.exp(0.28 * _profile(rng, n, 120 / _STEP_PX) + 0.16 * _profile(rng, n, 25 / _STEP_PX))
    swell *= 1 - 0.55 * np.clip(_profile(rng, n, 22 / _STEP_PX) - 0.9, 0, 1)  # necks
    ramp = _ramp(n, min(90.0, n * _STEP_PX / 3) / _STEP_PX, taper)
    sides = []
    for _ in range(2):
        rough = 0.14 * _profile(rng, n, 6 / _STEP_PX) + 0.20 * _profile(rng, n, 1.5 / _STEP_PX)
        chips = np.clip(_profile(rng, n, 4 / _STEP_PX) - 1.6, 0, 2) * 0.8
        edge = 0.5 * swell * (1 + crumble * (rough + chips)) * ramp
        sides.append(np.maximum(edge, 0.02))
    scale = width_px / float((sides[0] + sides[1]).mean())
    return Crack(kind, path, sides[0] * scale, sides[1] * scale)


def branch(rng: Rng, parent: Crack, width_px: float, length_px: float, roughness: float) -> Crack:
    """A side branch of a crack: starts on its centre-line, runs off at 30 to 70 degrees, tapers."""
    n = len(parent.points)
    at = int(rng.uniform(0.15, 0.85) * n)
    ahead, behind = parent.points[min(at + 20, n - 1)], parent.points[max(at - 20, 0)]
    heading = np.arctan2(*(ahead - behind)[::-1]) + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
    if rng.random() < 0.5:
        heading += np.pi
    turn = rng.normal(0, 0.35)
    start = parent.points[at]
    middle = start + 0.5 * length_px * np.array([np.cos(heading), np.sin(heading)])
    end = middle + 0.5 * length_px * np.array([np.cos(heading + turn), np.sin(heading + turn)])
    path = wander(rng, np.stack([start, middle, end]), roughness)
    return open_crack(rng, "branch", path, width_px, taper=(False, True))


def alligator(
    rng: Rng, centre: Points, radii_px: tuple[float, float], cell_px: float
) -> list[Crack]:
    """Fatigue cracking: an ellipse of cells whose cracks are widest in the middle.

    Edges are those of a Voronoi tessellation of jittered points; some have not opened yet.
    """
    half = np.ceil(np.array(radii_px) / cell_px).astype(int) + 2
    lattice = np.stack(np.meshgrid(*(np.arange(-h, h + 1.0) for h in half)), -1).reshape(-1, 2)
    seeds = lattice * cell_px * np.array([1.0, 0.85]) + rng.normal(0, 0.27 * cell_px, lattice.shape)
    cells = Voronoi(seeds)
    cracks = []
    for first, last in cells.ridge_vertices:
        ends = cells.vertices[[first, last]]
        radius = float(np.linalg.norm(ends.mean(axis=0) / np.array(radii_px)))
        if first < 0 or radius > 1 or rng.random() < 0.04 + 0.45 * radius**5:
            continue
        if np.linalg.norm(ends[1] - ends[0]) < 8:
            continue
        width = (5.0 - 3.2 * radius) * float(np.exp(rng.normal(0, 0.22)))
        path = wander(rng, ends + centre, 0.8, bend=0.08)
        cracks.append(open_crack(rng, "alligator", path, width, crumble=1.3, taper=(False, False)))
    return cracks


def draw_cracks(cracks: Sequence[Crack], shape: Shape, reach_px: float = 24.0) -> CrackDrawing:
    """Exact cover of every pixel by the cracks, float32 `[H, W]`; see the module's text."""
    cover = np.zeros(shape, np.float32)
    distance = np.full(shape, reach_px, np.float32)
    width = np.zeros(shape, np.float32)
    for crack in cracks:
        _draw_crack(crack, cover, distance, width, reach_px)
    return CrackDrawing(cover, distance, width)


def _draw_crack(crack: Crack, cover: Field, distance: Field, width: Field, reach_px: float) -> None:
    """Add one crack to the three fields, in place."""
    enough_px = 10 + 1.2 * float((crack.left_px + crack.right_px).max())  # beyond, it has no effect
    rows, cols = _near(crack.points, cover.shape, min(reach_px, enough_px))
    if len(rows) == 0:
        return
    centres = np.stack([cols, rows], axis=-1) + 0.5
    away, index = cKDTree(crack.points).query(centres)
    to_pixel = centres - crack.points[index]
    normal = _normals(crack.points)[index]
    lateral = np.einsum("nk,nk->n", to_pixel, normal)
    share = _overlap(lateral, crack.left_px[index], crack.right_px[index], normal)
    share *= _within_ends(crack.points, to_pixel, index)
    cover[rows, cols] = np.maximum(cover[rows, cols], share)
    nearer = away < distance[rows, cols]
    rows, cols, index = rows[nearer], cols[nearer], index[nearer]
    distance[rows, cols] = away[nearer]
    width[rows, cols] = (crack.left_px + crack.right_px)[index]


def _overlap(
    lateral: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    normal: Points,
) -> NDArray[np.float64]:
    """Share of a pixel that lies in the section [-right, left] across the crack.

    Seen along the crack, a pixel is a trapezoid: the convolution of two boxes as wide as the
    normal's components. With it the shares add up to the exact width at every angle.
    """
    wide, narrow = np.sort(np.abs(normal), axis=1)[:, ::-1].T
    narrow = np.maximum(narrow, 1e-4)

    def below(x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the pixel that is below x."""
        outer, inner = (wide + narrow) / 2, (wide - narrow) / 2
        signs = ((1, outer), (-1, inner), (-1, -inner), (1, -outer))
        total = sum(sign * np.maximum(x + shift, 0) ** 2 for sign, shift in signs)
        return np.asarray(np.clip(total / (2 * wide * narrow), 0, 1))

    return below(left - lateral) - below(-right - lateral)


def _within_ends(points: Points, to_pixel: Points, index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of a pixel that is not beyond an end of the crack, measured along the crack."""
    share = np.ones(len(index))
    for end, inner, outward in ((0, 1, -1), (len(points) - 1, -2, 1)):
        at_end = index == end
        tangent = (points[end] - points[inner]) * abs(outward)
        tangent = tangent / np.linalg.norm(tangent)
        beyond = to_pixel[at_end] @ tangent
        share[at_end] = np.clip(0.5 - beyond, 0, 1)
    return share


def _near(points: Points, shape: tuple[int, ...], reach_px: float) -> tuple[NDArray[np.intp], ...]:
    """Rows and columns of the pixels within reach of a polyline."""
    pad = int(reach_px) + 2
    low = np.floor(points.min(axis=0)).astype(int) - pad
    high = np.ceil(points.max(axis=0)).astype(int) + pad
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, (shape[1], shape[0]))
    if left >= right or top >= bottom:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    away = np.ones((bottom - top, right - left), np.bool_)
    at = np.floor(points).astype(int) - (left, top)
    inside = (at >= 0).all(axis=1) & (at < away.shape[::-1]).all(axis=1)
    away[at[inside, 1], at[inside, 0]] = False
    if away.all():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, cols = np.nonzero(ndimage.distance_transform_edt(away) <= reach_px)
    return rows + top, cols + left


def _profile(rng: Rng, n: int, sigma: float) -> NDArray[np.float64]:
    """Smooth noise along a line, unit deviation in the long run, `[n]`."""
    noise = rng.standard_normal(n + 2 * int(4 * sigma + 1))
    smooth = ndimage.gaussian_filter1d(noise, sigma, mode="wrap")
    start = (len(noise) - n) // 2
    return np.asarray(smooth[start : start + n] * np.sqrt(2 * np.sqrt(np.pi) * max(sigma, 0.3)))


def _ramp(n: int, steps: float, ends: tuple[bool, bool]) -> NDArray[np.float64]:
    at = np.arange(n)
    ramp = np.ones(n)
    if ends[0]:
        ramp = np.minimum(ramp, (at + 1) / steps)
    if ends[1]:
        ramp = np.minimum(ramp, (n - at) / steps)
    return np.asarray(ramp**0.7)


def _normals(points: Points) -> Points:
    """Unit normals, to the left of the way, `[n, 2]`."""
    tangent = np.gradient(ndimage.gaussian_filter1d(points, 1.5, axis=0, mode="nearest"), axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
