"""Outlines of pixel regions from their runs: memory grows with the outline, not with the area.

Regions are 4-connected. An outline follows the middles of the vertical pixel sides, which cuts
the corners of pixel stairs evenly (the area stays); where it turns back it keeps the pixel's
side, drawn in by a quarter pixel at both corners, so that no two outlines ever touch and every
polygon is valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import compiled
from .pixelgraph import find_root

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]

# The corners of run i: 4 i + one of these.
_LEFT_TOP, _LEFT_BOTTOM, _RIGHT_TOP, _RIGHT_BOTTOM = 0, 1, 2, 3
_CHAMFER_PX = 0.25


@compiled
def merge_runs(runs: Ints32) -> Ints32:
    """Runs (row, first column, end column) sorted by place, made one where they touch."""
    out = np.empty_like(runs)
    n = 0
    for i in range(len(runs)):
        if n > 0 and runs[i, 0] == out[n - 1, 0] and runs[i, 1] <= out[n - 1, 2]:
            out[n - 1, 2] = max(out[n - 1, 2], runs[i, 2])
        else:
            out[n] = runs[i]
            n += 1
    return out[:n].copy()


@compiled
def label_runs(runs: Ints32) -> Ints32:
    """First run of the 4-connected region of every run of `merge_runs`."""
    n = len(runs)
    parent = np.arange(n).astype(np.int32)
    above = 0
    for i in range(n):
        row, begin, end = runs[i]
        while above < i and (
            runs[above, 0] < row - 1 or (runs[above, 0] == row - 1 and runs[above, 2] <= begin)
        ):
            above += 1
        j = above
        while j < i and runs[j, 0] == row - 1 and runs[j, 1] < end:
            if runs[j, 2] > begin:
                a, b = find_root(parent, i), find_root(parent, j)
                parent[max(a, b)] = min(a, b)
            j += 1
    for i in range(n):
        parent[i] = find_root(parent, i)
    return parent


@compiled
def _row_ends(runs: Ints32, begin: int) -> Any:
    """Number of the first run after those of the row of run `begin`."""
    end = begin
    while end < len(runs) and runs[end, 0] == runs[begin, 0]:
        end += 1
    return end


@compiled
def _paired_corners(runs: Ints32) -> Ints32:
    """The corner at the other end of the horizontal side at each corner, int32 `[4 n]`.

    Along a line between two rows, sides begin and end at the corners of the runs above and
    below, in turn. At equal places a run's end comes before a run's begin, so that an outline
    stays with its own region where two touch at a corner.
    """
    n = len(runs)
    pair = np.full(4 * n, -1, np.int32)
    row_begin = 0
    above_begin = above_end = 0
    while row_begin < n or above_begin < above_end:
        follows = row_begin < n and (
            above_begin == above_end or runs[row_begin, 0] == runs[above_begin, 0] + 1
        )
        row_end = _row_ends(runs, row_begin) if follows else row_begin
        a, b = 2 * above_begin, 2 * row_begin  # run a // 2, its begin (even) or end (odd)
        opened = -1
        while a < 2 * above_end or b < 2 * row_end:
            take_above = b >= 2 * row_end
            if not take_above and a < 2 * above_end:
                xa, xb = runs[a // 2, 1 + a % 2], runs[b // 2, 1 + b % 2]
                take_above = xa < xb or (xa == xb and a % 2 == 1)
            if take_above:
                corner = 4 * (a // 2) + (_RIGHT_BOTTOM if a % 2 else _LEFT_BOTTOM)
                a += 1
            else:
                corner = 4 * (b // 2) + (_RIGHT_TOP if b % 2 else _LEFT_TOP)
                b += 1
            if opened < 0:
                opened = corner
            else:
                pair[opened], pair[corner] = corner, opened
                opened = -1
        above_begin, above_end = row_begin, row_end
        row_begin = row_end
    return pair


@compiled
def _place(runs: Ints32, corner: int) -> Any:
    """Lattice column and row of a corner."""
    run, kind = corner // 4, corner % 4
    x = runs[run, 1] if kind < 2 else runs[run, 2]
    return x, runs[run, 0] + kind % 2


@compiled
def _trace(runs: Ints32, pair: Ints32) -> tuple[Floats, Ints, Ints32]:
    """All rings: their points `[m, 2]` (col, row), where each begins, and a run of each.

    Right sides of runs are followed down, left sides up, so the region lies on the right (on
    the screen): outer rings go clockwise, holes the other way.
    """
    n = len(runs)
    points = np.empty((6 * n, 2))
    offsets = np.zeros(n + 1, np.int64)
    members = np.empty(n, np.int32)
    used = np.zeros(n, np.bool_)
    size = count = 0
    for start in range(n):
        if used[start]:
            continue
        corner = 4 * start + _RIGHT_TOP
        came_straight = False
        while True:
            run, kind = corner // 4, corner % 4
            if kind == _RIGHT_TOP:
                if used[run]:
                    break
                used[run] = True
            leaving = corner + 1 if kind == _RIGHT_TOP else corner - 1
            following = pair[leaving]
            x, y = _place(runs, leaving)
            next_x, _ = _place(runs, following)
            turns = leaving % 2 == following % 2
            if not (came_straight and x == next_x and not turns):
                points[size, 0], points[size, 1] = x, runs[run, 0] + 0.5
                size += 1
            if turns:
                inward = _CHAMFER_PX if next_x > x else -_CHAMFER_PX
                points[size, 0], points[size, 1] = x + inward, y
                points[size + 1, 0], points[size + 1, 1] = next_x - inward, y
                size += 2
            came_straight = x == next_x and not turns
            corner = following
        members[count] = start
        count += 1
        offsets[count] = size
    return points[:size].copy(), offsets[: count + 1].copy(), members[:count].copy()


def trace_outlines(runs: Ints32) -> tuple[Floats, Ints, Ints32]:
    """Rings around regions and their holes.

    Parameters
    ----------
    runs : int32 `[n, 3]` as `merge_runs` gives them

    Returns
    -------
    points : float64 `[m, 2]`, (col, row); a ring's first point is not repeated
    offsets : int64 `[r + 1]`; ring i has points `offsets[i]:offsets[i + 1]`
    members : int32 `[r]`, a run of the region that each ring bounds
    """
    return _trace(runs, _paired_corners(runs))
