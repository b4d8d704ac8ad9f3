"""The graph of skeleton pixels: neighbours, spurs, branches. Compiled loops over sparse pixels.

Pixels are numbered 0 to n - 1 in the order of their keys (row * width + col). Two pixels are
neighbours if they touch by a side, or by a corner without a common side neighbour; so a corner
never makes a triangle, and no two edges cross. A pixel with one neighbour is an end, with more
than two a junction; touching junctions are one cluster, named by its first pixel ("root").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import compiled

Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]
Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

_TINY_LOOP_PX = 7  # a loop of so few pixels within one cluster is part of the cluster


@compiled
def _neighbour_lists(keys: Ints, width: int) -> tuple[Ints, Ints32]:
    """Neighbours of pixel i: `neighbours[first[i]:first[i + 1]]`."""
    pairs = _edges(keys, width)
    first = np.zeros(len(keys) + 1, np.int64)
    for e in range(len(pairs)):
        first[pairs[e, 0] + 1] += 1
        first[pairs[e, 1] + 1] += 1
    first = np.cumsum(first)
    free = first[:-1].copy()
    neighbours = np.empty(2 * len(pairs), np.int32)
    for e in range(len(pairs)):
        a, b = pairs[e, 0], pairs[e, 1]
        neighbours[free[a]], neighbours[free[b]] = b, a
        free[a] += 1
        free[b] += 1
    return first, neighbours


@compiled
def _edges(keys: Ints, width: int) -> Ints32:
    """Pairs of neighbours `[n, 2]`, each found at its upper or left pixel.

    `below` walks along the next row.
    """
    n = len(keys)
    pairs = np.empty((4 * n, 2), np.int32)
    size = 0
    below = 0
    for i in range(n):
        key = keys[i]
        col = key % width
        right = i + 1 < n and keys[i + 1] == key + 1 and col < width - 1
        left = i > 0 and keys[i - 1] == key - 1 and col > 0
        below = max(below, i + 1)
        while below < n and keys[below] < key + width - 1:
            below += 1
        south = south_west = south_east = -1
        for j in range(below, min(below + 3, n)):
            step = keys[j] - key - width
            if step == -1 and col > 0:
                south_west = j
            elif step == 0:
                south = j
            elif step == 1 and col < width - 1:
                south_east = j
        if right:
            pairs[size, 0], pairs[size, 1] = i, i + 1
            size += 1
        if south >= 0:
            pairs[size, 0], pairs[size, 1] = i, south
            size += 1
        else:
            if south_west >= 0 and not left:
                pairs[size, 0], pairs[size, 1] = i, south_west
                size += 1
            if south_east >= 0 and not right:
                pairs[size, 0], pairs[size, 1] = i, south_east
                size += 1
    return pairs[:size]


@compiled
def find_root(parent: Ints32, i: int) -> Any:
    """Root of i in a forest of parents, halving the path on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _merged(first: Ints, neighbours: Ints32, junctions_only: bool) -> Ints32:
    """Root of every pixel: of its component, or of its cluster of touching junctions."""
    n = len(first) - 1
    parent = np.arange(n).astype(np.int32)
    for i in range(n):
        if junctions_only and first[i + 1] - first[i] <= 2:
            continue
        for k in range(first[i], first[i + 1]):
            j = neighbours[k]
            if junctions_only and first[j + 1] - first[j] <= 2:
                continue
            a, b = find_root(parent, i), find_root(parent, j)
            parent[max(a, b)] = min(a, b)
    for i in range(n):
        parent[i] = find_root(parent, i)
    return parent


@compiled
def _walk(first: Ints, neighbours: Ints32, start: int, to: int, path: Ints32) -> Any:
    """Follow pixels of degree 2 from `start` over `to` to the next end or junction (or back to
    `start`); writes the pixels into `path` and gives their number.
    """
    path[0] = start
    size = 1
    last, here = start, to
    while first[here + 1] - first[here] == 2 and here != start:
        path[size] = here
        size += 1
        ahead = neighbours[first[here]]
        if ahead == last:
            ahead = neighbours[first[here] + 1]
        last, here = here, ahead
    path[size] = here
    return size + 1


@compiled
def _trace(first: Ints, neighbours: Ints32, root: Ints32) -> tuple[Ints32, Ints, Ints32]:
    """All branches: their pixels, where each begins in them, and their two roots.

    A closed loop without a junction begins and ends at its first pixel and has roots -1.
    Lone pixels make no branch.
    """
    n = len(root)
    n_ends = 0
    for i in range(n):
        if first[i + 1] - first[i] != 2:
            n_ends += first[i + 1] - first[i]
    pixels = np.empty(n + n // 2 + n_ends + 2, np.int32)
    offsets = np.zeros(n_ends + n // 4 + 2, np.int64)
    roots = np.empty((n_ends + n // 4 + 2, 2), np.int32)
    used = np.zeros(n, np.bool_)
    path = np.empty(n + 2, np.int32)
    size = count = 0
    for loops in (False, True):
        for p in range(n):
            degree = first[p + 1] - first[p]
            if (degree == 2) != loops or used[p]:
                continue
            for k in range(first[p], first[p] + 1 if loops else first[p + 1]):
                q = neighbours[k]
                inner = first[q + 1] - first[q] == 2
                if used[q] if inner else (q < p or root[q] == root[p]):
                    continue
                length = _walk(first, neighbours, p, q, path)
                end = path[length - 1]
                for t in range(1, length - 1):
                    used[path[t]] = True
                if not loops and root[end] == root[p] and length - 2 <= _TINY_LOOP_PX:
                    continue
                pixels[size : size + length] = path[:length]
                size += length
                roots[count, 0], roots[count, 1] = (-1, -1) if loops else (root[p], root[end])
                count += 1
                offsets[count] = size
    return pixels[:size].copy(), offsets[: count + 1].copy(), roots[:count].copy()


@compiled
def _spurs(
    keys: Ints,
    width: int,
    first: Ints,
    pixels: Ints32,
    offsets: Ints,
    roots: Ints32,
    radius: Floats32,
    factor: float,
    extra: float,
) -> tuple[Bools, Any]:
    """Pixels of the shortest spur at each junction, and the number of spurs.

    A spur is a branch from a junction to a free end with length < factor * radius + extra.
    """
    n = len(keys)
    best = np.full(n, -1, np.int32)
    best_length = np.empty(n)
    for b in range(len(roots)):
        head, tail = pixels[offsets[b]], pixels[offsets[b + 1] - 1]
        head_free = first[head + 1] - first[head] == 1
        tail_free = first[tail + 1] - first[tail] == 1
        if roots[b, 0] < 0 or head_free == tail_free:
            continue
        junction, at = (tail, roots[b, 1]) if head_free else (head, roots[b, 0])
        length = 0.0
        for i in range(offsets[b], offsets[b + 1] - 1):
            step = abs(keys[pixels[i + 1]] - keys[pixels[i]])
            length += 1.0 if step == 1 or step == width else np.sqrt(2.0)
        if length < factor * radius[junction] + extra and (
            best[at] < 0 or length < best_length[at]
        ):
            best[at] = b
            best_length[at] = length
    gone = np.zeros(n, np.bool_)
    count = 0
    for at in range(n):
        if best[at] >= 0:
            count += 1
            for i in range(offsets[best[at]], offsets[best[at] + 1]):
                pixel = pixels[i]
                if first[pixel + 1] - first[pixel] <= 2:
                    gone[pixel] = True
    return gone, count


@dataclass(frozen=True)
class PixelGraph:
    """Branches over skeleton pixels.

    Parameters
    ----------
    keys : int64 `[n]`, sorted; row * width + col
    degree : int64 `[n]`, number of neighbours
    root : int32 `[n]`, first pixel of the junction cluster, itself for other pixels
    pixels : int32 `[m]`, pixel numbers along the branches, one after the other
    offsets : int64 `[b + 1]`; branch i has `pixels[offsets[i]:offsets[i + 1]]`
    roots : int32 `[b, 2]`, roots at its two ends, -1 for a loop without a junction
    """

    keys: Ints
    degree: Ints
    root: Ints32
    pixels: Ints32
    offsets: Ints
    roots: Ints32


def components(keys: Ints, width: int) -> Ints32:
    """First pixel of the component of every pixel, int32 `[n]`."""
    return _merged(*_neighbour_lists(keys, width), False)


def prune(
    keys: Ints, radius_px: Floats32, width: int, factor: float, extra_px: float
) -> tuple[Bools, PixelGraph]:
    """Take away spurs, shortest first at each junction, until none is left.

    Parameters
    ----------
    keys : int64 `[n]`, sorted; row * width + col
    radius_px : float32 `[n]`, distance to background
    factor, extra_px : an end branch shorter than factor * radius + extra_px is a spur

    Returns
    -------
    kept : bool `[n]`
    graph : of the pixels kept
    """
    kept = np.ones(len(keys), np.bool_)
    while True:
        places = np.flatnonzero(kept)
        first, neighbours = _neighbour_lists(keys[places], width)
        root = _merged(first, neighbours, True)
        traced = _trace(first, neighbours, root)
        radius = radius_px[places]
        gone, count = _spurs(keys[places], width, first, *traced, radius, factor, extra_px)
        if count == 0:
            return kept, PixelGraph(keys[places], np.diff(first), root, *traced)
        kept[places[gone]] = False
