"""Branches with sub-pixel position, width and probability at every point.

The thinned pixels are smoothed, moved onto the ridge of probability and smoothed again; the
width comes from profiles across them. Everything is in pixels here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import shapely

from .blocks import ProbabilitySource, grown, parallel
from .branches import Bools, Branches, Floats, Ints, Nodes
from .chains import smooth, tangents
from .grid import Grid, Window
from .monitor import SILENT, Monitor
from .profiles import BEYOND_PX, measure_profiles, measure_tips
from .specs import VectorSpec
from .tips import free_ends, set_tips, tip_points
from .trust import averaged, how_trusted

Columns = tuple[Floats, ...]

_MAX_SHIFT_PX = 1.5  # a ridge farther away is another crack's
_RIDGE_SIGMA_PX = 1.0  # smoothing after the move to the ridge
_CHAINS_AT_ONCE = 500  # bounds the memory of shapely's lines
_ROUNDED_PX = 1.0  # so much wider than twice its radius, between pixels' centres, a crack can be


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
    free = free_ends(branches, nodes, closed)
    tips = tip_points(x, y, reach, branches, free)
    along, beyond = _in_blocks(source, (x, y, tx, ty, reach), tips, spec, workers, monitor)
    shift = np.clip(along[:, 1], -_MAX_SHIFT_PX, _MAX_SHIFT_PX)
    shift[branches.ends[~closed]] = 0.0
    shift, _ = smooth(shift, shift, branches.offsets, closed, spec.smooth_px)  # quiets noise
    x, y = smooth(x - shift * ty, y + shift * tx, branches.offsets, closed, _RIDGE_SIGMA_PX)
    x, y = _simple(x, y, branches)
    trust = how_trusted(x, y, branches, nodes, along[:, 3:])
    inscribed_px = 2 * branches.radius_px + _ROUNDED_PX
    width_px = averaged(x, y, np.minimum(along[:, 0], inscribed_px), trust, branches.offsets)
    moved = replace(
        branches, x=x, y=y, width_px=width_px, trust=trust, conf=np.clip(along[:, 2], 0, 1)
    )
    return set_tips(moved, nodes, free, closed, tips, beyond, grid)


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
