"""Where cracks end: half a width inside their outline, or on the border of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .branches import CUT, Bools, Branches, Floats, Ints, Nodes
from .grid import Grid
from .ground import pixel_area_m2, vectors_m
from .jit import compiled

_TIP_CHORD_PX = 8.0  # with twice the radius: length of the chord that gives a tip's direction
_MAX_TRIM = 0.4  # at most this part of a branch is cut off at a tip


def free_ends(branches: Branches, nodes: Nodes, closed: Bools) -> Bools:
    """Which branch ends, bool `[b, 2]`, are ends of a crack."""
    return np.asarray((nodes.degree[branches.nodes] == 1) & ~closed[:, None])


def tip_points(x: Floats, y: Floats, reach: Floats, branches: Branches, free: Bools) -> Floats:
    """Points at the free ends, float64 `[t, 5]`, with the direction that leads out of them."""
    branch, side = np.nonzero(free)
    end, other = branches.ends[branch, side], branches.ends[branch, 1 - side]
    back = np.ceil(_TIP_CHORD_PX + 2 * branches.radius_px[end]).astype(np.int64)
    inner = np.where(side == 0, np.minimum(end + back, other), np.maximum(end - back, other))
    dx, dy = x[end] - x[inner], y[end] - y[inner]
    length = np.maximum(np.hypot(dx, dy), 1e-9)
    return np.stack([x[end], y[end], dx / length, dy / length, 2 * reach[end]], axis=-1)


def set_tips(
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
