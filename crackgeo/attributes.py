"""Cracks as features: lines in the CRS with length, width and the rest on the ground.

Without a CRS nothing is known of metres: every field then counts in the units of the raster's
transform (its square for areas), also those whose names say metres or millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from .branches import CUT, FAINT, Branches, Nodes
from .chains import tangents
from .grid import Grid
from .ground import azimuth_deg, pixel_area_m2, segment_vectors_m, small_units, vectors_m
from .jit import compiled
from .network import Cracks
from .specs import VectorSpec
from .vectors import FeatureTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_COARSER = 1.01  # times the grid's pixel size: a projection stretches by less over a survey

CRACK_COLUMNS: dict[str, type] = {
    "crack_id": np.int64,
    "network_id": np.int64,
    "length_m": np.float64,
    "width_mean_mm": np.float64,
    "width_p95_mm": np.float64,
    "width_max_mm": np.float64,
    "width_sd_mm": np.float64,
    "width_unc_mm": np.float64,
    "area_m2": np.float64,
    "orient_deg": np.float64,
    "tortuosity": np.float64,
    "conf_mean": np.float64,
    "conf_min": np.float64,
    "gsd_mm": np.float64,
    "below_gsd": np.bool_,
    "touches_edge": np.bool_,
}


@compiled
def _expanded(
    branch: Ints, backward: Bools, crack_offsets: Ints, branch_offsets: Ints
) -> tuple[Ints, Ints]:
    """Numbers of the points along every crack, and where each crack begins in them.

    Where two branches meet, their common point comes once.
    """
    size = 0
    for b in branch:
        size += branch_offsets[b + 1] - branch_offsets[b]
    points = np.empty(size, np.int64)
    offsets = np.zeros(len(crack_offsets), np.int64)
    size = 0
    for crack in range(len(crack_offsets) - 1):
        for k in range(crack_offsets[crack], crack_offsets[crack + 1]):
            begin, end = branch_offsets[branch[k]], branch_offsets[branch[k] + 1]
            for t in range(1 if k > crack_offsets[crack] else 0, end - begin):
                points[size] = end - 1 - t if backward[k] else begin + t
                size += 1
        offsets[crack + 1] = size
    return points[:size].copy(), offsets


@dataclass(frozen=True)
class CrackLines:
    """Points along every crack with their measures on the ground.

    Parameters
    ----------
    x, y : float64 `[m]`, pixel coordinates
    offsets : int64 `[c + 1]`; crack i has points `offsets[i]:offsets[i + 1]`
    crack : int64 `[m]`, number of the crack of each point
    steps_m : float64 `[m, 2]`, east and north from each point to the next; 0 at the last
    width_m : float64 `[m]`
    used : bool `[m]`, whether the width here counts: the most reliable of its crack do, but none
        in a junction or cut
    conf : float64 `[m]`
    at_edge : bool `[m]`, cut by the raster's border or missing data
    pixel_m : float64 `[m]`, ground pixel size, the root of a pixel's area
    """

    x: Floats
    y: Floats
    offsets: Ints
    crack: Ints
    steps_m: Floats
    width_m: Floats
    used: Bools
    conf: Floats
    at_edge: Bools
    pixel_m: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def step_lengths_m(self) -> Floats:
        """Length from each point to the next, float64 `[m]`; 0 at the last of a crack."""
        return np.hypot(self.steps_m[:, 0], self.steps_m[:, 1])

    @property
    def weights_m(self) -> Floats:
        """Length of line that each point stands for, float64 `[m]`."""
        ahead = self.step_lengths_m
        return 0.5 * (ahead + np.concatenate([[0.0], ahead[:-1]])) if len(ahead) else ahead

    def total(self, values: Floats) -> Floats:
        """Sum of values over the points of every crack."""
        return np.bincount(self.crack, values, len(self)).astype(np.float64)


def across_m(x: Floats, y: Floats, offsets: Ints, area_m2: Floats, grid: Grid) -> Floats:
    """Metres on the ground of a pixel of width across chains at their points, float64 `[m]`.

    A strip of unit width across a line of direction t covers area / |M t| of ground width, with M
    from pixels to the ground and the area `area_m2` of a pixel there.
    """
    tx, ty = tangents(x, y, offsets, np.zeros(len(offsets) - 1, np.bool_))
    step_m = np.hypot(*vectors_m(grid, x, y, tx, ty).T)
    return np.asarray(area_m2 / step_m)


def crack_lines(branches: Branches, cracks: Cracks, grid: Grid) -> CrackLines:
    """Lay the branches of every crack end to end and measure them on the ground."""
    points, offsets = _expanded(cracks.branch, cracks.backward, cracks.offsets, branches.offsets)
    x, y = branches.x[points], branches.y[points]
    crack = np.repeat(np.arange(len(cracks)), np.diff(offsets))
    steps = np.zeros((len(points), 2))
    if len(points):
        steps[:-1] = segment_vectors_m(grid, x, y)
        steps[offsets[1:] - 1] = 0.0
    area = pixel_area_m2(grid, x, y)
    stretch = across_m(x, y, offsets, area, grid)
    trust = branches.trust[points]
    best = np.zeros(len(cracks), np.uint8)
    np.maximum.at(best, crack, trust)
    used = (trust == best[crack]) & (trust >= FAINT)
    on_link = np.repeat(branches.link, np.diff(branches.offsets))[points]
    return CrackLines(
        x, y, offsets, crack, steps, branches.width_px[points] * stretch,
        used, branches.conf[points], (trust == CUT) & ~on_link, np.sqrt(area),
    )  # fmt: skip


def crack_table(
    lines: CrackLines,
    network_id: Ints,
    geometry: NDArray[np.object_],
    grid: Grid,
    width_error_px: float,
    width_error_share: float,
) -> FeatureTable:
    """The layer `cracks`; docs/layers.md names the fields.

    Parameters
    ----------
    lines : points along the cracks, measured
    network_id : int64 `[c]`
    geometry : lines `[c]`, in the coordinates of the CRS
    grid : place of the raster
    width_error_px, width_error_share : standard error of widths that comes from the model: pixels,
        plus a share of the width
    """
    small = small_units(grid)
    length = lines.total(lines.step_lengths_m)
    gsd = lines.total(lines.pixel_m) / np.diff(lines.offsets)
    widths = _width_statistics(lines)
    mean, sd = widths["mean"], widths["sd"]
    measured = lines.total(lines.weights_m * lines.used)
    independent = np.maximum(measured / np.maximum(2 * mean, gsd), 1.0)
    model_error = width_error_px * gsd + width_error_share * mean
    columns = {
        "crack_id": np.arange(1, len(lines) + 1),
        "network_id": network_id,
        "length_m": length,
        "width_mean_mm": mean * small,
        "width_p95_mm": widths["p95"] * small,
        "width_max_mm": widths["max"] * small,
        "width_sd_mm": sd * small,
        "width_unc_mm": np.hypot(model_error, sd / np.sqrt(independent)) * small,
        "area_m2": length * mean,
        **_shape_columns(lines, length),
        "conf_mean": lines.total(lines.conf * lines.weights_m) / lines.total(lines.weights_m),
        "conf_min": _per_crack(np.minimum, lines.conf, lines),
        "gsd_mm": gsd * small,
        "below_gsd": mean < gsd,
        "touches_edge": lines.total(lines.at_edge.astype(np.float64)) > 0,
    }
    return FeatureTable(
        geometry, {name: columns[name].astype(kind) for name, kind in CRACK_COLUMNS.items()}
    )


def judge_by_own_pixels(
    cracks: FeatureTable, own_mm: Floats, width_error_px: float, width_error_share: float
) -> None:
    """Give cracks that were seen in coarser pixels than the grid's what those allow to tell.

    Interpolating adds no detail. Changes `gsd_mm`, `below_gsd` and `width_unc_mm` of the layer.

    Parameters
    ----------
    own_mm : float64 `[c]`, size of the pixels that each crack was seen in; NaN where not known
    width_error_px, width_error_share : see `crack_table`
    """
    columns = cracks.columns
    grid_mm, mean_mm = columns["gsd_mm"], columns["width_mean_mm"]
    coarse = own_mm > _COARSER * grid_mm
    by_share = width_error_share * mean_mm
    added = (width_error_px * own_mm + by_share) ** 2 - (width_error_px * grid_mm + by_share) ** 2
    unc_mm = columns["width_unc_mm"]
    columns["width_unc_mm"] = np.where(coarse, np.sqrt(unc_mm**2 + added), unc_mm)
    columns["gsd_mm"] = np.where(coarse, own_mm, grid_mm)
    columns["below_gsd"] = np.asarray(mean_mm < columns["gsd_mm"])


def _per_crack(ufunc: np.ufunc, values: Floats, lines: CrackLines) -> Floats:
    return ufunc.reduceat(values, lines.offsets[:-1]) if len(lines) else np.empty(0)


def _width_statistics(lines: CrackLines) -> dict[str, Floats]:
    """Mean, standard deviation, 95 % quantile and maximum by length of the widths used.

    NaN where none of a crack's is.
    """
    weight = lines.weights_m * lines.used
    total = lines.total(weight)
    known = np.where(total > 0, total, np.nan)
    mean = lines.total(weight * lines.width_m) / known
    variance = lines.total(weight * (lines.width_m - mean[lines.crack]) ** 2) / known
    order = np.lexsort((lines.width_m, lines.crack))
    running = np.cumsum(weight[order])
    before = np.concatenate([[0.0], np.cumsum(total)])[:-1]
    share = (running - before[lines.crack[order]]) / known[lines.crack[order]]
    reached = np.where(share >= 0.95 - 1e-9, lines.width_m[order], np.inf)
    highest = np.where(lines.used, lines.width_m, 0.0)
    return {
        "mean": mean,
        "sd": np.sqrt(variance),
        "p95": np.where(total > 0, _per_crack(np.minimum, reached, lines), np.nan),
        "max": np.where(total > 0, _per_crack(np.maximum, highest, lines), np.nan),
    }


def _shape_columns(lines: CrackLines, length: Floats) -> dict[str, Floats]:
    """Mean direction (of undirected steps, by length) and length over distance of the ends."""
    step = lines.step_lengths_m
    east, north = lines.steps_m.T
    unit = np.where(step > 0, step, 1.0)
    twice_sin = lines.total(2 * east * north / unit)
    twice_cos = lines.total((north**2 - east**2) / unit)
    half = 0.5 * np.arctan2(twice_sin, twice_cos)
    chord = np.hypot(lines.total(east), lines.total(north))
    open_line = chord > 1e-6 * length
    tortuosity = np.full(len(lines), np.nan)
    tortuosity[open_line] = np.maximum(length[open_line] / chord[open_line], 1.0)
    orient = azimuth_deg(np.stack([np.sin(half), np.cos(half)], axis=-1))
    return {"orient_deg": orient, "tortuosity": tortuosity}


def line_geometries(
    branches: Branches, cracks: Cracks, grid: Grid, spec: VectorSpec
) -> NDArray[np.object_]:
    """Lines of the cracks in CRS coordinates, simplified between nodes, so that nodes stay.

    Where simplifying makes a line cross itself or collapse, it is left as it is.
    """
    full = _crack_coordinates(branches.x, branches.y, branches.offsets, cracks)
    pieces = shapely.linestrings(
        np.stack([branches.x, branches.y], axis=-1),
        indices=np.repeat(np.arange(len(branches)), np.diff(branches.offsets)),
    )
    reduced = shapely.simplify(pieces, spec.simplify_px, preserve_topology=False)
    xy, index = shapely.get_coordinates(reduced, return_index=True)
    offsets = np.searchsorted(index, np.arange(len(branches) + 1))
    lines = _crack_coordinates(xy[:, 0], xy[:, 1], offsets, cracks)
    spoilt = ~(shapely.is_simple(lines) & shapely.is_valid(lines))
    lines[spoilt] = full[spoilt]
    moved = shapely.transform(lines, lambda p: np.stack(grid.xy(p[:, 0], p[:, 1]), axis=-1))
    return np.asarray(moved, dtype=object)


def _crack_coordinates(
    x: Floats, y: Floats, branch_offsets: Ints, cracks: Cracks
) -> NDArray[np.object_]:
    points, offsets = _expanded(cracks.branch, cracks.backward, cracks.offsets, branch_offsets)
    crack = np.repeat(np.arange(len(cracks)), np.diff(offsets))
    lines = shapely.linestrings(np.stack([x[points], y[points]], axis=-1), indices=crack)
    return np.asarray(lines, dtype=object)


def node_table(branches: Branches, nodes: Nodes, network_id: Ints, grid: Grid) -> FeatureTable:
    """The layer `crack_nodes`: free ends and junctions.

    Parameters
    ----------
    network_id : int64 `[b]`, of every branch
    """
    of_node = np.zeros(len(nodes.x), np.int64)
    of_node[branches.nodes] = network_id[:, None]
    shown = np.flatnonzero((nodes.degree == 1) | (nodes.degree > 2))
    points = shapely.points(np.stack(grid.xy(nodes.x[shown], nodes.y[shown]), axis=-1))
    kinds = np.where(nodes.degree[shown] == 1, "end", "junction").astype(object)
    columns = {"kind": kinds, "degree": nodes.degree[shown], "network_id": of_node[shown]}
    return FeatureTable(np.asarray(points, dtype=object).reshape(-1), columns)


def station_table(lines: CrackLines, stations_m: float, grid: Grid) -> FeatureTable:
    """The layer `width_stations`: mean width of every stretch of `stations_m` along a crack.

    A point lies at the middle of its stretch; stretches without a reliable width are left out.
    """
    small = small_units(grid)
    ahead = lines.step_lengths_m
    begin = np.concatenate([[0.0], np.cumsum(ahead)])[:-1]
    chainage = begin - begin[lines.offsets[:-1]][lines.crack]
    station = np.floor(chainage / stations_m).astype(np.int64)
    used = np.flatnonzero(lines.used & (lines.width_m > 0))
    if len(used) == 0:
        return FeatureTable(
            np.empty(0, object),
            {
                "crack_id": np.empty(0, np.int64),
                "width_mm": np.empty(0),
                "chainage_m": np.empty(0),
            },
        )
    where, group = np.unique(
        np.stack([lines.crack[used], station[used]], axis=-1), axis=0, return_inverse=True
    )
    group = group.reshape(-1)
    width = np.bincount(group, lines.width_m[used]) / np.bincount(group)
    last = chainage[lines.offsets[1:] - 1][where[:, 0]]
    low = where[:, 1] * stations_m
    middle = 0.5 * (low + np.minimum(low + stations_m, last))
    at = begin[lines.offsets[:-1]][where[:, 0]] + middle
    cols, rows = (np.interp(at, begin, v) for v in (lines.x, lines.y))
    xs, ys = grid.xy(cols, rows)
    points = np.asarray(shapely.points(np.stack([xs, ys], axis=-1)), dtype=object).reshape(-1)
    columns = {"crack_id": where[:, 0] + 1, "width_mm": width * small, "chainage_m": middle}
    return FeatureTable(points, columns)
