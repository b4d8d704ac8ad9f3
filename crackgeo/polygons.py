"""Outlines of crack networks: pixels inside the outline, and the line where it is fainter.

The whole mask is the outline of a network that shows none.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from .branches import Branches
from .grid import Grid
from .ground import pixel_area_m2
from .outlines import Ints32, label_runs, merge_runs, trace_outlines
from .profiles import FAINT
from .skeleton import Ints, Skeleton
from .vectors import FeatureTable

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def polygon_table(
    skeleton: Skeleton, branches: Branches, network_id: Ints, cracks: FeatureTable, grid: Grid
) -> FeatureTable:
    """The layer `crack_polygons`: one multipolygon a network.

    A region too wide for a line that no line leads to has an outline but no crack; it counts as a
    network of its own, numbered after the others. Where several networks run into one such
    region, it belongs to the first of them.

    Parameters
    ----------
    network_id : int64 `[b]`, of every branch, from 1
    cracks : the layer `cracks`
    """
    height, width = skeleton.shape
    line_keys, line_network = _line_pixels(branches, network_id, height, width)
    keys = line_keys[_is_faint(branches, network_id)[line_network]]
    runs = np.concatenate([skeleton.runs, _under(skeleton.faint, keys, width)])
    runs = _all_runs(runs, line_keys, width)
    label = label_runs(runs)
    network = _network_of_runs(runs, label, line_keys, line_network, skeleton.solid, width)
    solid = np.zeros(len(runs), np.bool_)
    solid[label[_run_of(runs, skeleton.solid, width)]] = True
    wide = solid[label]
    shown = network[label] > 0
    runs, owner, wide = runs[shown], network[label][shown], wide[shown]
    ids = np.unique(owner)
    geometry = _multipolygons(runs, owner, ids, grid)
    rows, begin, end = runs.T.astype(np.float64)
    area = pixel_area_m2(grid, (begin + end) / 2, rows + 0.5) * (end - begin)
    known, size = cracks.columns["network_id"], int(ids.max(initial=0)) + 1
    length = np.bincount(known, cracks.columns["length_m"], size)
    columns = {
        "network_id": ids,
        "area_m2": np.bincount(owner, area, size)[ids].astype(np.float64),
        "length_m": length[ids].astype(np.float64),
        "n_cracks": np.bincount(known, minlength=size)[ids],
        "too_wide": np.bincount(owner, wide, size)[ids] > 0,
    }
    return FeatureTable(geometry, columns)


def _line_pixels(
    branches: Branches, network_id: Ints, height: int, width: int
) -> tuple[Ints, Ints]:
    """Keys of the pixels under the lines, sorted, and their networks; none under links."""
    per_point = np.repeat(np.where(branches.link, 0, network_id), np.diff(branches.offsets))
    drawn = per_point > 0
    cols = np.clip(np.floor(branches.x[drawn]), 0, width - 1).astype(np.int64)
    rows = np.clip(np.floor(branches.y[drawn]), 0, height - 1).astype(np.int64)
    keys, first = np.unique(rows * width + cols, return_index=True)
    return keys, per_point[drawn][first]


def _is_faint(branches: Branches, network_id: Ints) -> Bools:
    """Whether a network (from 1) nowhere shows an outline, bool."""
    peak = np.zeros(network_id.max(initial=0) + 1)
    np.maximum.at(peak, np.repeat(network_id, np.diff(branches.offsets)), branches.conf)
    return np.asarray(peak <= FAINT)


def _under(runs: Ints32, keys: Ints, width: int) -> Ints32:
    """Runs in the regions that hold any of the pixels; nothing where there are no runs."""
    if len(runs) == 0 or len(keys) == 0:
        return np.empty((0, 3), np.int32)
    runs = _all_runs(runs, keys, width)
    label = label_runs(runs)
    held = np.zeros(len(runs), np.bool_)
    held[label[_run_of(runs, keys, width)]] = True
    return runs[held[label]]


def _all_runs(runs: Ints32, keys: Ints, width: int) -> Ints32:
    rows, cols = np.divmod(keys, width)
    single = np.stack([rows, cols, cols + 1], axis=-1).astype(np.int32)
    together = np.concatenate([runs, single])
    return merge_runs(together[np.lexsort((together[:, 1], together[:, 0]))])


def _run_of(runs: Ints32, keys: Ints, width: int) -> Ints:
    """Number of the run that holds each pixel; pixels in no run are left out."""
    if len(runs) == 0:
        return np.empty(0, np.int64)
    begins = runs[:, 0].astype(np.int64) * width + runs[:, 1]
    at = np.searchsorted(begins, keys, side="right") - 1
    inside = (at >= 0) & (keys - begins[at] < runs[at, 2] - runs[at, 1])
    return np.asarray(at[inside])


def _network_of_runs(
    runs: Ints32, label: Ints32, line_keys: Ints, line_network: Ints, solid: Ints, width: int
) -> Ints:
    """Network of every region (at its label), 0 for what belongs to none."""
    none = np.iinfo(np.int64).max
    network = np.full(len(runs), none)
    np.minimum.at(network, label[_run_of(runs, line_keys, width)], line_network)
    alone = np.unique(label[_run_of(runs, solid, width)])
    alone = alone[network[alone] == none]
    network[alone] = line_network.max(initial=0) + 1 + np.arange(len(alone))
    network[network == none] = 0
    return network


def _multipolygons(runs: Ints32, owner: Ints, ids: Ints, grid: Grid) -> NDArray[np.object_]:
    """One multipolygon in CRS coordinates for every id."""
    points, offsets, members = trace_outlines(runs)
    if len(members) == 0:
        return np.empty(0, object)
    xy = np.stack(grid.xy(points[:, 0], points[:, 1]), axis=-1)
    ring_of = np.repeat(np.arange(len(members)), np.diff(offsets))
    rings = shapely.linearrings(xy, indices=ring_of)
    outer = _doubled_area(points, offsets) > 0
    region = label_runs(runs)[members]
    polygons = _with_holes(rings, outer, region)
    order = np.argsort(owner[members[outer]], kind="stable")
    index = np.searchsorted(ids, owner[members[outer]][order])
    return np.asarray(shapely.multipolygons(polygons[order], indices=index), dtype=object)


def _doubled_area(points: Floats, offsets: Ints) -> Floats:
    """Twice the signed area of every ring; positive is clockwise on the screen."""
    following = np.arange(1, len(points) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    ahead = points[following]
    cross = points[:, 0] * ahead[:, 1] - ahead[:, 0] * points[:, 1]
    return np.asarray(np.add.reduceat(cross, offsets[:-1]))


def _with_holes(rings: NDArray[np.object_], outer: Bools, region: Ints32) -> NDArray[np.object_]:
    """Polygons of the outer rings with the holes of their regions."""
    shells, holes = rings[outer], rings[~outer]
    polygons = np.asarray(shapely.polygons(shells), dtype=object)
    order = np.argsort(region[~outer], kind="stable")
    hole_region = region[~outer][order]
    place_of = np.argsort(region[outer], kind="stable")
    found, begin = np.unique(hole_region, return_index=True)
    places = place_of[np.searchsorted(region[outer][place_of], found)]
    for place, own in zip(places, np.split(holes[order], begin[1:]), strict=False):
        polygons[place] = shapely.polygons(shells[place], holes=own)
    return polygons
