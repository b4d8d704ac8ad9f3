"""How far widths along branches can be relied on, and their mean over what can be."""

from __future__ import annotations

import numpy as np

from .branches import CUT, FAINT, NEAR_NODE, TRUSTED, UNUSABLE, Branches, Codes, Floats, Ints, Nodes
from .chains import end_directions
from .jit import compiled

_LEAST_SINE = 0.17  # of 10 degrees; branches at a smaller angle are parted by chance
_ROUND_RADII = 1.5  # of a corner of 90 degrees, in which a radius grows more slowly than the line
_AVERAGED_PX = 4.0  # widths are averaged over their own length, but no less than this


def how_trusted(x: Floats, y: Floats, branches: Branches, nodes: Nodes, flags: Floats) -> Codes:
    """How far the width at every point can be relied on, uint8 `[m]`; see `Branches`.

    Parameters
    ----------
    x, y : float64 `[m]`, where the points lie now
    branches, nodes : radii are looked at, widths are not
    flags : float64 `[m, 2]`, whether a profile is cut, and whether it shows no outline
    """
    by_node = np.argsort(branches.nodes.reshape(-1), kind="stable")
    skip = nodes.radius_px[branches.nodes]
    leads = end_directions(x, y, branches.offsets, skip).reshape(-1, 4)
    trust = _beside_nodes(
        branches.radius_px, branches.offsets, branches.nodes, nodes.radius_px, nodes.degree
    )
    _distrust_trunks(
        branches.radius_px, branches.offsets, nodes.radius_px, leads, by_node, nodes.degree, trust
    )
    seen, cut = trust == TRUSTED, flags[:, 0] > 0
    faint = flags[:, 1] > 0
    trust[faint] = np.where(seen[faint], FAINT, UNUSABLE)
    trust[cut] = CUT
    return trust


@compiled
def _beside_nodes(
    radius: Floats, offsets: Ints, nodes: Ints, node_radius: Floats, node_degree: Ints
) -> Codes:
    """Less trust inside junctions and beside them, and in the round of ends; uint8 `[m]`."""
    trust = np.full(offsets[-1], TRUSTED, np.uint8)
    for branch in range(len(nodes)):
        begin, end = offsets[branch], offsets[branch + 1]
        for side in range(2):
            node = nodes[branch, side]
            if nodes[branch, 0] == nodes[branch, 1] and node_degree[node] == 2:
                continue  # a loop without a junction
            reach, junction = int(node_radius[node]), node_degree[node] > 1
            for i in range(end - begin):
                at = begin + i if side == 0 else end - 1 - i
                if i >= (reach + 2 if junction else _ROUND_RADII * radius[at]):
                    break
                inside = junction and i <= reach
                trust[at] = min(trust[at], UNUSABLE if inside else NEAR_NODE)
    return trust


@compiled
def _merged_behind(leads: Floats, half: Floats, a: int, b: int, c: int) -> int:
    """On how many points of branch end c, behind the junction, a and b have not parted yet."""
    cosine = leads[a, 0] * leads[b, 0] + leads[a, 1] * leads[b, 1]
    ahead = leads[c, 0] * (leads[a, 0] + leads[b, 0]) + leads[c, 1] * (leads[a, 1] + leads[b, 1])
    if cosine <= 0 or ahead >= 0:
        return 0
    sine = max(np.sqrt(1 - min(cosine, 1.0) ** 2), _LEAST_SINE)
    return int((2 * min(half[a], half[b]) + 1) / sine) + 1


@compiled
def _distrust_trunks(
    radius: Floats,
    offsets: Ints,
    node_radius: Floats,
    leads: Floats,
    by_node: Ints,
    degree: Ints,
    trust: Codes,
) -> None:
    """Lower the trust, in place, where two branches have not parted yet.

    At an angle below 90 degrees the junction lies where they have just parted. Behind it they still
    lie beside each other, and a profile is across both, for the narrower one's width over the sine
    of the angle.

    Parameters
    ----------
    node_radius, degree : of the nodes
    leads : float64 `[2 b, 4]`, `end_directions`; end e is side e % 2 of branch e // 2
    by_node : int64 `[2 b]`, branch ends sorted by node
    """
    half = np.empty(len(leads))
    first = 0
    for node in range(len(degree)):
        ends = by_node[first : first + degree[node]]
        first += degree[node]
        if len(ends) < 3:
            continue
        for e in ends:
            begin, last = offsets[e // 2], offsets[e // 2 + 1] - 1
            off = min(2 * int(node_radius[node]), last - begin)
            half[e] = radius[last - off if e % 2 else begin + off]
        for c in ends:
            merged = 0
            for a in ends:
                for b in ends:
                    if a < b:
                        merged = max(merged, _merged_behind(leads, half, a, b, c))
            begin, last = offsets[c // 2], offsets[c // 2 + 1] - 1
            for k in range(min(merged, last - begin + 1)):
                i = last - k if c % 2 else begin + k
                trust[i] = min(trust[i], NEAR_NODE)


@compiled
def averaged(x: Floats, y: Floats, width: Floats, trust: Codes, offsets: Ints) -> Floats:
    """Mean of the widths as trusted over one width along the branch, at least `_AVERAGED_PX`."""
    out = width.copy()
    along = np.zeros(len(width))
    for i in range(1, len(width)):
        along[i] = along[i - 1] + np.hypot(x[i] - x[i - 1], y[i] - y[i - 1])
    for branch in range(len(offsets) - 1):
        begin, end = offsets[branch], offsets[branch + 1]
        for i in range(begin, end):
            if trust[i] < FAINT:
                continue
            reach = 0.5 * max(width[i], _AVERAGED_PX)
            low, high = i, i
            while low > begin and along[i] - along[low - 1] <= reach:
                low -= 1
            while high + 1 < end and along[high + 1] - along[i] <= reach:
                high += 1
            total = 0.0
            count = 0
            for j in range(low, high + 1):
                if trust[j] == trust[i]:
                    total += width[j]
                    count += 1
            out[i] = total / count
    return out
