"""Branches with sub-pixel position, width and probability at every point.

The thinned pixels are smoothed, moved onto the ridge of probability and smoothed again; the
width comes from profiles across them. Everything is in pixels here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from .blocks import ProbabilitySource, grown, parallel
from .chains import smooth, tangents
from .grid import Grid, Window
from .ground import pixel_area_m2, vectors_m
from .jit import compiled
from .monitor import SILENT, Monitor
from .pixelgraph import PixelGraph
from .profiles import BEYOND_PX, measure_profiles, measure_tips
from .specs import VectorSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]
Columns = tuple[Floats, ...]

# How far a width can be relied on; inside a junction a profile runs down the other crack.
CUT, UNUSABLE, FAINT, NEAR_NODE, TRUSTED = 0, 1, 2, 3, 4

_MAX_SHIFT_PX = 1.5  # a ridge farther away is another crack's
_RIDGE_SIGMA_PX = 1.0  # smoothing after the move to the ridge
_TIP_CHORD_PX = 8.0  # with twice the radius: length of the chord that gives a tip's direction
_CHAINS_AT_ONCE = 500  # bounds the memory of shapely's lines
_ROUNDED_PX = 1.0  # so much wider than twice its radius, between pixels' centres, a crack can be
_MAX_TRIM = 0.4  # at most this part of a branch is cut off at a tip


@dataclass(frozen=True)
class Nodes:
    """Ends and junctions.

    Parameters
    ----------
    x, y : float64 `[k]`, pixel coordinates (corner origin)
    degree : int64 `[k]`, branch ends that meet here
    radius_px : float64 `[k]`, distance to background
    """

    x: Floats
    y: Floats
    degree: Ints
    radius_px: Floats


@dataclass(frozen=True)
class Branches:
    """Chains of points between nodes, one after the other.

    Parameters
    ----------
    x, y : float64 `[m]`, pixel coordinates (corner origin)
    radius_px : float64 `[m]`, distance to background
    width_px : float64 `[m]`, across the chain, averaged along it over about one width
    trust : uint8 `[m]`, `TRUSTED`, `NEAR_NODE` (beside a junction or within the round of an
        end), `FAINT` (of the mask, as no outline shows), `UNUSABLE` (in a junction, or both) or
        `CUT` (by the raster's border or missing data)
    conf : float64 `[m]`, highest probability across the chain, 0 to 1
    offsets : int64 `[b + 1]`; branch i has points `offsets[i]:offsets[i + 1]`
    nodes : int64 `[b, 2]`, node at its first and last point; the same twice for a loop
    link : bool `[b]`, whether the branch only bridges a gap
    """

    x: Floats
    y: Floats
    radius_px: Floats
    width_px: Floats
    trust: Codes
    conf: Floats
    offsets: Ints
    nodes: Ints
    link: Bools

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def ends(self) -> Ints:
        """Index of the first and last point of every branch, int64 `[b, 2]`."""
        return np.stack([self.offsets[:-1], self.offsets[1:] - 1], axis=-1)

    @property
    def lengths_px(self) -> Floats:
        """Length of every branch, float64 `[b]`."""
        steps = np.hypot(np.diff(self.x), np.diff(self.y))
        along = np.concatenate([[0.0], np.cumsum(steps)])
        first, last = self.ends.T
        return np.asarray(along[last] - along[first])


def place_branches(
    graph: PixelGraph, radius_px: NDArray[np.float32], width: int
) -> tuple[Branches, Nodes, Bools]:
    """Branches through pixel centres, their nodes, and which are loops without a junction.

    A junction lies at the centre of its cluster's pixels, and all its branches end there.

    Parameters
    ----------
    graph : of the pixels
    radius_px : float32 `[n]`, of the graph's pixels
    width : of the raster
    """
    rows, cols = (v + 0.5 for v in np.divmod(graph.keys, width))
    x, y = cols[graph.pixels], rows[graph.pixels]
    closed = graph.roots[:, 0] < 0
    ends = np.stack([graph.offsets[:-1], graph.offsets[1:] - 1], axis=-1)
    roots = np.where(closed[:, None], graph.pixels[ends], graph.roots)
    pixel_of, nodes = np.unique(roots, return_inverse=True)
    nodes = nodes.reshape(-1, 2).astype(np.int64)
    node_x, node_y = cols[pixel_of], rows[pixel_of]
    node_radius = radius_px[pixel_of].astype(np.float64)
    member = np.flatnonzero((graph.degree > 2) & np.isin(graph.root, pixel_of))
    of = np.searchsorted(pixel_of, graph.root[member])
    count = np.bincount(of, minlength=len(pixel_of))
    junction = count > 0
    for place, pixel_place in ((node_x, cols), (node_y, rows)):
        total = np.bincount(of, pixel_place[member], len(count))
        place[junction] = total[junction] / count[junction]
    np.maximum.at(node_radius, of, radius_px[member])
    x[ends], y[ends] = node_x[nodes], node_y[nodes]
    blank = np.zeros(len(x))
    branches = Branches(
        x,
        y,
        radius_px[graph.pixels].astype(np.float64),
        blank,
        blank.astype(np.uint8),
        blank,
        graph.offsets,
        nodes,
        np.zeros(len(nodes), np.bool_),
    )
    degree = np.bincount(nodes.reshape(-1), minlength=len(pixel_of))
    return branches, Nodes(node_x, node_y, degree, node_radius), closed


def measure_branches(
    source: ProbabilitySource,
    grid: Grid,
    branches: Branches,
    nodes: Nodes,
    closed: Bools,
    spec: VectorSpec,
    *,
    workers: int = 2,
    monitor: Monitor = SILENT,
) -> tuple[Branches, Nodes]:
    """Move branches onto the ridge, measure widths, and set free ends where the crack ends.

    A free end comes to lie half a width inside the crack's outline, the end of a medial axis;
    or on the raster's border (or the data's), if the crack runs out there.
    """
    x, y = smooth(branches.x, branches.y, branches.offsets, closed, spec.smooth_px)
    tx, ty = tangents(x, y, branches.offsets, closed)
    reach = branches.radius_px + BEYOND_PX
    free = _free_ends(branches, nodes, closed)
    tips = _tip_points(x, y, reach, branches, free)
    along, beyond = _in_blocks(source, (x, y, tx, ty, reach), tips, spec, workers, monitor)
    shift = np.clip(along[:, 1], -_MAX_SHIFT_PX, _MAX_SHIFT_PX)
    shift[branches.ends[~closed]] = 0.0
    shift, _ = smooth(shift, shift, branches.offsets, closed, spec.smooth_px)  # quiets noise
    x, y = smooth(x - shift * ty, y + shift * tx, branches.offsets, closed, _RIDGE_SIGMA_PX)
    x, y = _simple(x, y, branches)
    trust = _trust(branches.offsets, branches.nodes, nodes.radius_px, nodes.degree, along[:, 3:])
    inscribed_px = 2 * branches.radius_px + _ROUNDED_PX
    width_px = _averaged(np.minimum(along[:, 0], inscribed_px), trust, branches.offsets)
    moved = replace(
        branches, x=x, y=y, width_px=width_px, trust=trust, conf=np.clip(along[:, 2], 0, 1)
    )
    return _set_tips(moved, nodes, free, closed, tips, beyond, grid)


def _simple(x: Floats, y: Floats, branches: Branches) -> tuple[Floats, Floats]:
    """Smoothed chains, but unsmoothed where smoothing made a tight bend cross itself."""
    crossing = np.empty(len(branches), np.bool_)
    for first in range(0, len(branches), _CHAINS_AT_ONCE):
        offsets = branches.offsets[first : first + _CHAINS_AT_ONCE + 1]
        chain = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        points = slice(offsets[0], offsets[-1])
        lines = shapely.linestrings(np.stack([x[points], y[points]], axis=-1), indices=chain)
        simple = shapely.is_simple(lines) & shapely.is_valid(lines)
        crossing[first : first + len(simple)] = ~simple
    crosses = np.repeat(crossing, np.diff(branches.offsets))
    return np.where(crosses, branches.x, x), np.where(crosses, branches.y, y)


def _free_ends(branches: Branches, nodes: Nodes, closed: Bools) -> Bools:
    """Which branch ends, bool `[b, 2]`, are ends of a crack."""
    return np.asarray((nodes.degree[branches.nodes] == 1) & ~closed[:, None])


def _tip_points(x: Floats, y: Floats, reach: Floats, branches: Branches, free: Bools) -> Floats:
    """Points at the free ends, float64 `[t, 5]`, with the direction that leads out of them."""
    branch, side = np.nonzero(free)
    end, other = branches.ends[branch, side], branches.ends[branch, 1 - side]
    back = np.ceil(_TIP_CHORD_PX + 2 * branches.radius_px[end]).astype(np.int64)
    inner = np.where(side == 0, np.minimum(end + back, other), np.maximum(end - back, other))
    dx, dy = x[end] - x[inner], y[end] - y[inner]
    length = np.maximum(np.hypot(dx, dy), 1e-9)
    return np.stack([x[end], y[end], dx / length, dy / length, 2 * reach[end]], axis=-1)


def _in_blocks(
    source: ProbabilitySource,
    points: Columns,
    tips: Floats,
    spec: VectorSpec,
    workers: int,
    monitor: Monitor,
) -> tuple[Floats, Floats]:
    """`measure_profiles` at the points and `measure_tips` at the tips; each block is read once.

    `points` are the columns of the array that the kernel takes: x, y, tangent, reach.
    """
    along, beyond = np.zeros((len(points[0]), 5)), np.zeros((len(tips), 2))
    groups = _by_block(points[0], points[1], source.shape, spec.block_px)
    tip_groups = _by_block(tips[:, 0], tips[:, 1], source.shape, spec.block_px)
    # A tip is also a point, so blocks without points have no tips.
    pairs = [(own, ends) for own, ends in zip(groups, tip_groups, strict=True) if len(own)]
    levels = spec.threshold_low, spec.outline
    function = partial(_measure_block, source, points, tips, levels)
    parts: Iterator[tuple[Floats, Floats]] = parallel(function, pairs, workers)
    for done, ((own, ends), part) in enumerate(zip(pairs, parts, strict=True), 1):
        monitor.step("widths", done, len(pairs))
        along[own], beyond[ends] = part
    return along, beyond


def _by_block(x: Floats, y: Floats, shape: tuple[int, int], block_px: int) -> list[Ints]:
    """Numbers of the points in every block of a raster."""
    rows, columns = (-(-side // block_px) for side in shape)
    col = np.clip((x // block_px).astype(np.int64), 0, columns - 1)
    row = np.clip((y // block_px).astype(np.int64), 0, rows - 1)
    cell = row * columns + col
    order = np.argsort(cell, kind="stable")
    return np.split(order, np.searchsorted(cell[order], np.arange(1, rows * columns)))


def _measure_block(
    source: ProbabilitySource,
    points: Columns,
    tips: Floats,
    levels: tuple[float, float],
    groups: tuple[Ints, Ints],
) -> tuple[Floats, Floats]:
    own, ends = np.stack([column[groups[0]] for column in points], axis=-1), tips[groups[1]]
    low = np.floor(own[:, :2].min(axis=0)).astype(np.int64)
    high = np.ceil(own[:, :2].max(axis=0)).astype(np.int64)
    tight = Window(int(low[1]), int(low[0]), int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1)
    reach = max(own[:, 4].max(), ends[:, 4].max(initial=0.0))
    window = grown(tight, int(np.ceil(reach)) + 2, source.shape)
    codes = np.ascontiguousarray(source.read(window))
    place = (codes, window.row, window.col, *source.shape)
    return measure_profiles(*place, own, *levels), measure_tips(*place, ends, levels[0])


@compiled
def _trust(
    offsets: Ints, nodes: Ints, node_radius: Floats, node_degree: Ints, flags: Floats
) -> Codes:
    """How far the width at each point can be relied on.

    Parameters
    ----------
    flags : float64 `[m, 2]`, whether a profile is cut, and whether it shows no outline
    """
    trust = np.full(offsets[-1], TRUSTED, np.uint8)
    for branch in range(len(nodes)):
        begin, end = offsets[branch], offsets[branch + 1]
        for side in range(2):
            node = nodes[branch, side]
            if nodes[branch, 0] == nodes[branch, 1] and node_degree[node] == 2:
                continue  # a loop without a junction
            radius, junction = int(node_radius[node]), node_degree[node] > 1
            for i in range(min(radius + 2 * junction, end - begin)):
                at = begin + i if side == 0 else end - 1 - i
                inside = junction and i <= radius
                trust[at] = min(trust[at], UNUSABLE if inside else NEAR_NODE)
    for i in range(len(trust)):
        if flags[i, 1] > 0:
            trust[i] = FAINT if trust[i] == TRUSTED else UNUSABLE
        if flags[i, 0] > 0:
            trust[i] = CUT
    return trust


@compiled
def _averaged(width: Floats, trust: Codes, offsets: Ints) -> Floats:
    """Mean of the widths as trusted within about one width along the branch."""
    out = width.copy()
    for branch in range(len(offsets) - 1):
        begin, end = offsets[branch], offsets[branch + 1]
        for i in range(begin, end):
            if trust[i] < FAINT:
                continue
            reach = max(2, round(width[i]))
            total = 0.0
            count = 0
            for j in range(max(begin, i - reach), min(end, i + reach + 1)):
                if trust[j] == trust[i]:
                    total += width[j]
                    count += 1
            out[i] = total / count
    return out


def _set_tips(
    branches: Branches,
    nodes: Nodes,
    free: Bools,
    closed: Bools,
    tips: Floats,
    beyond: Floats,
    grid: Grid,
) -> tuple[Branches, Nodes]:
    """Move free ends along their direction; points that are cut off leave the branch."""
    branch, side = np.nonzero(free)
    ends = np.stack([branch, side], axis=-1).astype(np.int64)
    x, y = branches.x.copy(), branches.y.copy()
    keep = _move_tips(
        x, y, branches.width_px, branches.radius_px, branches.offsets, ends, tips, beyond,
        _oblong(tips, grid), _MAX_TRIM,
    )  # fmt: skip
    counts = (
        np.add.reduceat(keep.astype(np.int64), branches.offsets[:-1])
        if len(branches)
        else np.empty(0)
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    trust = branches.trust.copy()
    at_end = branches.ends[branch, side]
    trust[at_end[beyond[:, 1] > 0]] = CUT
    moved = Branches(
        x[keep],
        y[keep],
        branches.radius_px[keep],
        branches.width_px[keep],
        trust[keep],
        branches.conf[keep],
        offsets,
        branches.nodes,
        branches.link,
    )
    return _meet(moved, nodes, free | closed[:, None])


def _oblong(tips: Floats, grid: Grid) -> Floats:
    """Pixels along the line that are on the ground what a pixel of width is across it."""
    x, y, tx, ty = tips[:, :4].T
    step_m2 = (vectors_m(grid, x, y, tx, ty) ** 2).sum(axis=1)
    area_m2 = pixel_area_m2(grid, x, y)
    return np.asarray(area_m2 / np.where(step_m2 > 0, step_m2, area_m2))


def _meet(branches: Branches, nodes: Nodes, leads: Bools) -> tuple[Branches, Nodes]:
    """Give nodes the place of the ends that lead them, and all other ends their node's place."""
    x, y = branches.x.copy(), branches.y.copy()
    node_x, node_y = nodes.x.copy(), nodes.y.copy()
    leading = branches.ends[leads]
    node_x[branches.nodes[leads]], node_y[branches.nodes[leads]] = x[leading], y[leading]
    x[branches.ends], y[branches.ends] = node_x[branches.nodes], node_y[branches.nodes]
    return replace(branches, x=x, y=y), replace(nodes, x=node_x, y=node_y)


@compiled
def _move_tips(
    x: Floats,
    y: Floats,
    width: Floats,
    radius: Floats,
    offsets: Ints,
    ends: Ints,
    tips: Floats,
    beyond: Floats,
    oblong: Floats,
    max_trim: float,
) -> Bools:
    """Set the free ends' coordinates in place; which points stay."""
    keep = np.ones(len(x), np.bool_)
    for t in range(len(ends)):
        branch, side = ends[t]
        begin, last = offsets[branch], offsets[branch + 1] - 1
        step = 1 if side == 0 else -1
        end = begin if side == 0 else last
        count = min(last - begin + 1, int(2 * radius[end]) + 5)
        near = width[begin : begin + count] if side == 0 else width[last + 1 - count : last + 1]
        round_px = 0.0 if beyond[t, 1] > 0 else 0.5 * np.median(near) * oblong[t]
        ahead = beyond[t, 0] - round_px
        if ahead >= 0:
            x[end] += ahead * tips[t, 2]
            y[end] += ahead * tips[t, 3]
            continue
        length = 0.0
        for i in range(begin, last):
            length += np.hypot(x[i + 1] - x[i], y[i + 1] - y[i])
        left = min(-ahead, max_trim * length)
        i = end
        while True:
            piece = np.hypot(x[i + step] - x[i], y[i + step] - y[i])
            if piece >= left or i + 2 * step < begin or i + 2 * step > last:
                break
            left -= piece
            keep[i] = False
            i += step
        part = min(left / piece, 0.5) if piece > 0 else 0.0
        x[end] = x[i] + part * (x[i + step] - x[i])
        y[end] = y[i] + part * (y[i + step] - y[i])
        if i != end:
            x[i], y[i] = x[end], y[end]
            keep[i] = False
            keep[end] = True
    return keep
