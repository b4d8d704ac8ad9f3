"""Chains of points: smoothing, and the direction at each point.

The coordinates of each chain lie between two offsets; a closed chain ends with its first point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_DIRECTION_PX = 15.0  # a chain's direction at its end is taken over this distance


@compiled
def smooth(
    x: Floats, y: Floats, offsets: Ints, closed: Bools, sigma: float
) -> tuple[Floats, Floats]:
    """Chains smoothed by a Gaussian over their points; ends stay where they are.

    Beyond an end the chain goes on as its own point reflection, so that it neither shrinks
    nor bends; a closed chain (first point = last point) goes round.
    """
    reach = int(np.ceil(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    out_x, out_y = np.empty_like(x), np.empty_like(y)
    for chain in range(len(offsets) - 1):
        begin, n = offsets[chain], offsets[chain + 1] - offsets[chain]
        last = begin + n - 1
        for i in range(n):
            sum_x = sum_y = 0.0
            for k in range(-reach, reach + 1):
                t, weight = i + k, weights[k + reach]
                if closed[chain]:
                    j = begin + t % (n - 1)
                    sum_x += weight * x[j]
                    sum_y += weight * y[j]
                elif t < 0:
                    j = begin + min(-t, n - 1)
                    sum_x += weight * (2 * x[begin] - x[j])
                    sum_y += weight * (2 * y[begin] - y[j])
                elif t >= n:
                    j = begin + max(2 * (n - 1) - t, 0)
                    sum_x += weight * (2 * x[last] - x[j])
                    sum_y += weight * (2 * y[last] - y[j])
                else:
                    sum_x += weight * x[begin + t]
                    sum_y += weight * y[begin + t]
            out_x[begin + i], out_y[begin + i] = sum_x, sum_y
    return out_x, out_y


@compiled
def tangents(x: Floats, y: Floats, offsets: Ints, closed: Bools) -> tuple[Floats, Floats]:
    """Unit tangent at every point, from its two neighbours in the chain."""
    tx, ty = np.empty_like(x), np.empty_like(y)
    for chain in range(len(offsets) - 1):
        begin, last = offsets[chain], offsets[chain + 1] - 1
        for i in range(begin, last + 1):
            before, after = max(i - 1, begin), min(i + 1, last)
            if closed[chain] and i == begin:
                before = last - 1
            if closed[chain] and i == last:
                after = begin + 1
            dx, dy = x[after] - x[before], y[after] - y[before]
            length = np.sqrt(dx * dx + dy * dy)
            tx[i], ty[i] = (dx / length, dy / length) if length > 0 else (1.0, 0.0)
    return tx, ty


@compiled
def end_directions(x: Floats, y: Floats, offsets: Ints, skip: Floats) -> Floats:
    """Unit vectors out of both ends of every chain, and where they are taken.

    From the point `skip` and `_DIRECTION_PX` along the chain to the point `skip` along it; both
    come nearer where the chain is short.

    Parameters
    ----------
    skip : float64 `[b, 2]`, pixels at its first and at its last point

    Returns
    -------
    float64 `[b, 2, 4]`: vector x, y, and x, y of the point that it leads to
    """
    out = np.empty((len(offsets) - 1, 2, 4))
    for branch in range(len(offsets) - 1):
        begin, last = offsets[branch], offsets[branch + 1] - 1
        for side in range(2):
            step, i = (1, begin) if side == 0 else (-1, last)
            stop = last if side == 0 else begin
            near = far = i
            along = 0.0
            while i != stop and along < skip[branch, side] + _DIRECTION_PX:
                along += np.hypot(x[i + step] - x[i], y[i + step] - y[i])
                i += step
                far = i
                if along <= skip[branch, side]:
                    near = i
            if near == far:
                near = begin if side == 0 else last
            dx, dy = x[near] - x[far], y[near] - y[far]
            length = max(np.sqrt(dx * dx + dy * dy), 1e-12)
            out[branch, side, 0], out[branch, side, 1] = dx / length, dy / length
            out[branch, side, 2], out[branch, side, 3] = x[near], y[near]
    return out
