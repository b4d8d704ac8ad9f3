"""Cracks from branches: gaps linked, branches continued straight through junctions.

A crack visits no node twice (a closed crack only at its seam), so its line is simple.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .blocks import ProbabilitySource
from .branches import CUT, Branches, Nodes
from .chains import end_directions
from .grid import Window
from .jit import compiled
from .pixelgraph import find_root
from .specs import PROB_NODATA, PROB_SCALE, VectorSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

_TURN_COST = 2.0  # how much a turn makes a gap longer when links compete


def _directions(branches: Branches, skip: Floats) -> Floats:
    return end_directions(branches.x, branches.y, branches.offsets, skip)[..., :2]


def find_links(branches: Branches, nodes: Nodes, keys: Ints, width: int, spec: VectorSpec) -> Ints:
    """Pairs of free ends that face each other over a gap, int64 `[k, 4]`: branch, side, twice.

    Each is the other's best by distance and turn; no other crack's pixels lie between them.

    Parameters
    ----------
    keys : int64, sorted; all pixels of the kept skeleton, row * width + col
    """
    ends = np.argwhere(nodes.degree[branches.nodes] == 1).astype(np.int64)
    if len(ends) < 2:
        return np.empty((0, 4), np.int64)
    node = branches.nodes[ends[:, 0], ends[:, 1]]
    places = np.stack([nodes.x[node], nodes.y[node]], axis=-1)
    outward = _directions(branches, np.zeros((len(branches), 2)))[ends[:, 0], ends[:, 1]]
    pairs = cKDTree(places).query_pairs(spec.link_px, output_type="ndarray")
    pairs = pairs[ends[pairs[:, 0], 0] != ends[pairs[:, 1], 0]]
    i, j = pairs.T
    gap = places[j] - places[i]
    distance = np.maximum(np.hypot(*gap.T), 1e-9)
    first = (outward[i] * gap).sum(axis=1) / distance
    second = -(outward[j] * gap).sum(axis=1) / distance
    facing = np.minimum(first, second) >= np.cos(np.radians(spec.link_deg))
    cost = distance * (1 + _TURN_COST * (2 - first - second))
    pairs = _mutual_best(pairs[facing], cost[facing], len(ends))
    clear = [_is_clear(places[a], places[b], keys, width) for a, b in pairs]
    chosen = pairs[np.array(clear, np.bool_)]
    return np.concatenate([ends[chosen[:, 0]], ends[chosen[:, 1]]], axis=1)


def _mutual_best(pairs: Ints, cost: Floats, count: int) -> Ints:
    """Pairs in which each is the other's cheapest; ties by order."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0], cost))
    best = np.full(count, len(order))
    for rank, (a, b) in enumerate(pairs[order]):
        best[a], best[b] = min(best[a], rank), min(best[b], rank)
    ranked = pairs[order]
    mutual = best[ranked[:, 0]] == best[ranked[:, 1]]
    chosen = ranked[mutual & (best[ranked[:, 0]] == np.arange(len(ranked)))]
    return np.asarray(chosen[np.lexsort((chosen[:, 1], chosen[:, 0]))])


def _is_clear(a: Floats, b: Floats, keys: Ints, width: int) -> bool:
    """Whether no skeleton pixel lies between two ends, save near the ends themselves."""
    length = float(np.hypot(*(b - a)))
    margin = 3.0
    if length <= 2 * margin:
        return True
    t = np.arange(margin, length - margin, 0.5)[:, None] / length
    cols, rows = np.floor(a + t * (b - a)).astype(np.int64).T
    between = (rows[:, None] + np.array([-1, 0, 1])) * width + cols[:, None]
    at = np.minimum(np.searchsorted(keys, between), len(keys) - 1)
    return not (keys[at] == between).any()


def with_links(
    branches: Branches, nodes: Nodes, links: Ints, source: ProbabilitySource
) -> tuple[Branches, Nodes]:
    """Add links as branches of two points; links over missing data are left out."""
    if len(links) == 0:
        return branches, nodes
    node = np.stack(
        [branches.nodes[links[:, 0], links[:, 1]], branches.nodes[links[:, 2], links[:, 3]]],
        axis=-1,
    )
    lowest = np.array([_lowest_between(source, nodes, a, b) for a, b in node])
    node, lowest = node[lowest >= 0], lowest[lowest >= 0]
    k = len(node)
    flat = node.reshape(-1)
    zeros = np.zeros(2 * k)
    joined = Branches(
        x=np.concatenate([branches.x, nodes.x[flat]]),
        y=np.concatenate([branches.y, nodes.y[flat]]),
        radius_px=np.concatenate([branches.radius_px, zeros]),
        width_px=np.concatenate([branches.width_px, zeros]),
        trust=np.concatenate([branches.trust, np.full(2 * k, CUT, np.uint8)]),
        conf=np.concatenate([branches.conf, np.repeat(lowest, 2)]),
        offsets=np.concatenate([branches.offsets, branches.offsets[-1] + 2 * np.arange(1, k + 1)]),
        nodes=np.concatenate([branches.nodes, node]),
        link=np.concatenate([branches.link, np.ones(k, np.bool_)]),
    )
    return joined, replace(nodes, degree=nodes.degree + np.bincount(flat, minlength=len(nodes.x)))


def _lowest_between(source: ProbabilitySource, nodes: Nodes, a: int, b: int) -> float:
    """Lowest probability on the straight line between two nodes; -1 if it meets no data."""
    ends = np.array([[nodes.x[a], nodes.y[a]], [nodes.x[b], nodes.y[b]]])
    t = np.linspace(0, 1, int(2 * np.hypot(*(ends[1] - ends[0]))) + 2)[:, None]
    places = np.floor(ends[0] + t * (ends[1] - ends[0])).astype(np.int64)
    height, width = source.shape
    cols, rows = np.clip(places, 0, [width - 1, height - 1]).T
    row, col = int(rows.min()), int(cols.min())
    window = Window(row, col, int(rows.max()) - row + 1, int(cols.max()) - col + 1)
    codes = source.read(window)[rows - row, cols - col]
    return -1.0 if (codes == PROB_NODATA).any() else float(codes.min() * PROB_SCALE)


def network_of(branches: Branches, node_count: int) -> Ints:
    """Number of the network of every branch, int64 `[b]`, counted in the order of branches."""
    root = _node_roots(branches.nodes, node_count)[branches.nodes[:, 0]]
    _, first, inverse = np.unique(root, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


@compiled
def _node_roots(nodes: Ints, count: int) -> Ints32:
    parent = np.arange(count).astype(np.int32)
    for branch in range(len(nodes)):
        a, b = find_root(parent, nodes[branch, 0]), find_root(parent, nodes[branch, 1])
        parent[max(a, b)] = min(a, b)
    for i in range(count):
        parent[i] = find_root(parent, i)
    return parent


def chosen_branches(branches: Branches, nodes: Nodes, keep: Bools) -> tuple[Branches, Nodes]:
    """Only some branches; nodes keep their numbers, and count only these branches."""
    points = np.repeat(keep, np.diff(branches.offsets))
    lengths = np.diff(branches.offsets)[keep]
    chosen = Branches(
        x=branches.x[points],
        y=branches.y[points],
        radius_px=branches.radius_px[points],
        width_px=branches.width_px[points],
        trust=branches.trust[points],
        conf=branches.conf[points],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        nodes=branches.nodes[keep],
        link=branches.link[keep],
    )
    degree = np.bincount(chosen.nodes.reshape(-1), minlength=len(nodes.x))
    return chosen, replace(nodes, degree=degree)


@dataclass(frozen=True)
class Cracks:
    """Branches in the order in which cracks run through them.

    Parameters
    ----------
    branch : int64 `[s]`, branch numbers
    backward : bool `[s]`, whether the crack runs from the branch's end to its start
    offsets : int64 `[c + 1]`; crack i has entries `offsets[i]:offsets[i + 1]`
    """

    branch: Ints
    backward: Bools
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1


def join_cracks(branches: Branches, nodes: Nodes, spec: VectorSpec) -> Cracks:
    """Continue branches straight through junctions, the straightest pair first.

    Where just two branches meet (a linked gap) they always continue.
    """
    skip = nodes.radius_px[branches.nodes] * (nodes.degree[branches.nodes] > 2)
    directions = _directions(branches, skip).reshape(-1, 2)
    pairs, turn_deg = _turns(branches.nodes.reshape(-1), directions)
    two = nodes.degree[branches.nodes.reshape(-1)[pairs[:, 0]]] == 2
    turn_deg[two] = -1.0
    small = turn_deg < spec.continue_deg
    pairs, turn_deg = pairs[small], turn_deg[small]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], turn_deg))
    mate = _mates(branches.nodes.reshape(-1), pairs[order], len(nodes.x))
    return Cracks(*_follow(mate))


def split_cracks(cracks: Cracks, chosen: Bools, link: Bools) -> Cracks:
    """Let every branch of the chosen cracks (bool `[c]`) be a crack of its own.

    Parameters
    ----------
    link : bool `[b]`, of every branch; alone, what only bridges a gap is no crack
    """
    split = np.repeat(chosen, np.diff(cracks.offsets))
    kept = ~(split & link[cracks.branch])
    begins = np.zeros(len(cracks.branch), np.bool_)
    begins[cracks.offsets[:-1]] = True
    offsets = np.append(np.flatnonzero((begins | split)[kept]), kept.sum()).astype(np.int64)
    return Cracks(cracks.branch[kept], cracks.backward[kept], offsets)


def _turns(node: Ints, directions: Floats) -> tuple[Ints, Floats]:
    """Pairs of branch ends that meet at a node, and the turn in degrees from one to the other.

    End e is side e % 2 of branch e // 2.
    """
    order = np.argsort(node, kind="stable")
    begin = (
        np.flatnonzero(np.concatenate([[True], np.diff(node[order]) != 0])) if len(node) else order
    )
    pairs = _pairs_within(order, np.append(begin, len(order)))
    cosine = -(directions[pairs[:, 0]] * directions[pairs[:, 1]]).sum(axis=1)
    return pairs, np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@compiled
def _pairs_within(order: Ints, bounds: Ints) -> Ints:
    size = 0
    for g in range(len(bounds) - 1):
        n = bounds[g + 1] - bounds[g]
        size += n * (n - 1) // 2
    pairs = np.empty((size, 2), np.int64)
    size = 0
    for g in range(len(bounds) - 1):
        for i in range(bounds[g], bounds[g + 1]):
            for j in range(i + 1, bounds[g + 1]):
                pairs[size, 0], pairs[size, 1] = order[i], order[j]
                size += 1
    return pairs


@compiled
def _stays_simple(node: Ints, mate: Ints, a: int, b: int, stamp: Ints, mark: int) -> Any:
    """Whether the crack joined at branch ends a and b visits no node twice.

    Only its two last nodes may be the same: then it is a closed crack.
    """
    stamp[node[a]] = mark
    last_a = -1
    for start in (a, b):
        here = start
        while here >= 0:
            far = here ^ 1
            here = mate[far]
            closes = start == b and here < 0 and node[far] == last_a
            if stamp[node[far]] == mark and not closes:
                return False
            stamp[node[far]] = mark
            if start == a:
                last_a = node[far]
    return True


@compiled
def _mates(node: Ints, pairs: Ints, node_count: int) -> Ints:
    """Join branch ends in the order of `pairs`, if the crack stays simple; the mate or -1."""
    mate = np.full(len(node), -1, np.int64)
    stamp = np.full(node_count, -1, np.int64)
    for k in range(len(pairs)):
        a, b = pairs[k]
        if mate[a] < 0 and mate[b] < 0 and _stays_simple(node, mate, a, b, stamp, k):
            mate[a], mate[b] = b, a
    return mate


@compiled
def _follow(mate: Ints) -> tuple[Ints, Bools, Ints]:
    """Branches along every crack, from its end with the lower number."""
    count = len(mate) // 2
    branch, backward = np.empty(count, np.int64), np.empty(count, np.bool_)
    offsets = np.zeros(count + 1, np.int64)
    used = np.zeros(count, np.bool_)
    size = cracks = 0
    for start in range(len(mate)):
        if mate[start] >= 0 or used[start // 2]:
            continue
        here = start
        while here >= 0:
            used[here // 2] = True
            branch[size], backward[size] = here // 2, here % 2 == 1
            size += 1
            here = mate[here ^ 1]
        cracks += 1
        offsets[cracks] = size
    return branch, backward, offsets[: cracks + 1].copy()
