"""Crossings that thinning draws as two junctions with a bridge between them.

Where two cracks cross at an angle, the middle line of their union runs along the bisector for a
while. Only one of the cracks could use that bridge; the other would be cut in two.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .branches import Branches, Nodes
from .chains import end_directions
from .network import chosen_branches
from .specs import VectorSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A bridge is at most so many times as long as the radii of its junctions together: with half
# widths h and s the sine of half the angle, it is 2 h (1 - s) / (s (1 + s)), the radii
# 2 h (1 + (1 - s) / (1 + s)); 2.4 times at 20 degrees, of thin cracks more, as notches fill up.
_BRIDGE_RADII = 3.5
_BRIDGE_PX = 2.0  # and by so much longer, as pixels go
_OFFSET_PX = 1.0  # beside half a width: how far the arms of one crack may lie off one line


def merge_crossings(branches: Branches, nodes: Nodes, spec: VectorSpec) -> tuple[Branches, Nodes]:
    """Make one node of two junctions wherever the branches beyond go on straight across a bridge.

    Each junction has the bridge and two arms. They are one crossing if every arm of the one has an
    arm of the other on its own line: turned by less than `continue_deg`, and beside it by no more
    than about half a width. The bridge goes; the arms meet in its middle.

    Parameters
    ----------
    branches, nodes : measured, links included
    spec : its `continue_deg`

    Returns
    -------
    tuple
        The branches without the bridges, and the nodes; those that became part of another have no
        branches any more.
    """
    bridges = _short_bridges(branches, nodes)
    arms, apart = _arms(branches, bridges)
    bridges, arms = bridges[apart], arms[apart]
    straight = _straight(branches, nodes, bridges, arms, spec.continue_deg)
    bridges = _without_shared(branches.nodes, bridges[straight], len(nodes.x))
    if not len(bridges):
        return branches, nodes
    return _merged(branches, nodes, bridges)


def _short_bridges(branches: Branches, nodes: Nodes) -> Ints:
    """Branches between two junctions of three that are hardly longer than wide, shortest first."""
    three = (nodes.degree[branches.nodes] == 3).all(axis=1)
    between = three & (branches.nodes[:, 0] != branches.nodes[:, 1]) & ~branches.link
    radii = nodes.radius_px[branches.nodes].sum(axis=1)
    length = branches.lengths_px
    short = np.flatnonzero(between & (length <= _BRIDGE_RADII * radii + _BRIDGE_PX))
    return short[np.argsort(length[short], kind="stable")]


def _arms(branches: Branches, bridges: Ints) -> tuple[Ints, Bools]:
    """The two other branch ends at both ends of bridges, and whether all are of other branches.

    Returns
    -------
    int64 `[k, 2, 2]`, end e being side e % 2 of branch e // 2, and bool `[k]`
    """
    node = branches.nodes.reshape(-1)
    order = np.argsort(node, kind="stable")
    first = np.searchsorted(node[order], branches.nodes[bridges])
    three = order[first[..., None] + np.arange(3)]
    others = three // 2 != bridges[:, None, None]
    apart = others.sum(axis=(1, 2)) == 4
    arms = np.zeros((len(bridges), 2, 2), np.int64)
    arms[apart] = three[apart][others[apart]].reshape(-1, 2, 2)
    branch = np.sort(arms.reshape(-1, 4) // 2, axis=1)
    return arms, apart & (np.diff(branch, axis=1) > 0).all(axis=1)


def _straight(
    branches: Branches, nodes: Nodes, bridges: Ints, arms: Ints, continue_deg: float
) -> Bools:
    """Over which bridges both arms of the one junction go on in those of the other."""
    radius = nodes.radius_px[branches.nodes]
    out = end_directions(branches.x, branches.y, branches.offsets, radius).reshape(-1, 4)
    ahead, place = out[arms][..., :2], out[arms][..., 2:]
    reach = radius[bridges].mean(axis=1) + _OFFSET_PX
    fits = np.zeros(len(bridges), np.bool_)
    for other in ((0, 1), (1, 0)):  # which arm of the second junction each of the first goes on in
        theirs, there = ahead[:, 1][:, other], place[:, 1][:, other]
        along = ahead[:, 0] - theirs
        along /= np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-9)[..., None]
        gap = there - place[:, 0]
        aside = np.abs(along[..., 0] * gap[..., 1] - along[..., 1] * gap[..., 0])
        turn = -(ahead[:, 0] * theirs).sum(axis=-1)
        on = (aside <= reach[:, None]) & (turn > np.cos(np.radians(continue_deg)))
        fits |= on.all(axis=1)
    return fits


def _without_shared(nodes: Ints, bridges: Ints, count: int) -> Ints:
    """Bridges in their order, but none that ends where one before it ends."""
    taken = np.zeros(count, np.bool_)
    kept = []
    for bridge in bridges:
        if not taken[nodes[bridge]].any():
            taken[nodes[bridge]] = True
            kept.append(bridge)
    return np.array(kept, np.int64)


def _merged(branches: Branches, nodes: Nodes, bridges: Ints) -> tuple[Branches, Nodes]:
    """The first node of each bridge in its middle, with the branches of both."""
    first, second = branches.nodes[bridges].T
    x, y, radius = nodes.x.copy(), nodes.y.copy(), nodes.radius_px.copy()
    x[first], y[first] = (x[first] + x[second]) / 2, (y[first] + y[second]) / 2
    half_px = branches.lengths_px[bridges] / 2
    radius[first] = np.maximum(radius[first], radius[second]) + half_px
    now = np.arange(len(x))
    now[second] = first
    keep = np.ones(len(branches), np.bool_)
    keep[bridges] = False
    moved = replace(branches, nodes=now[branches.nodes], x=branches.x.copy(), y=branches.y.copy())
    for side in (0, 1):
        here = np.isin(moved.nodes[:, side], first)
        end, node = moved.ends[here, side], moved.nodes[here, side]
        moved.x[end], moved.y[end] = x[node], y[node]
    return chosen_branches(moved, replace(nodes, x=x, y=y, radius_px=radius), keep)
