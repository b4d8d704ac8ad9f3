"""From a probability raster to measured cracks: composes the stages, holds none of the maths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from affine import Affine

from .attributes import (
    across_m,
    crack_lines,
    crack_table,
    line_geometries,
    node_table,
    station_table,
)
from .blocks import ArraySource, ProbabilitySource
from .branches import Bools, Branches, Floats, Ints, Nodes, place_branches
from .crossings import merge_crossings
from .errors import UsageError
from .grid import Grid
from .ground import has_ground_units, pixel_area_m2, pixel_size_m, segment_vectors_m, small_units
from .measure import measure_branches
from .monitor import SILENT, Monitor
from .network import (
    chosen_branches,
    find_links,
    join_cracks,
    network_of,
    split_cracks,
    with_links,
)
from .pixelgraph import components, prune
from .polygons import polygon_table
from .skeleton import Skeleton, high_code, skeletonize
from .specs import VectorSpec
from .vectors import Vectors

__all__ = ["ArraySource", "ProbabilitySource", "vectorize", "warm_up"]


def vectorize(
    source: ProbabilitySource,
    grid: Grid,
    spec: VectorSpec = VectorSpec(),  # noqa: B008 - frozen
    *,
    width_error_px: float = 1.0,
    width_error_share: float = 0.0,
    monitor: Monitor = SILENT,
    stations_m: float | None = None,
    workers: int = 2,
) -> Vectors:
    """Make measured crack lines, outlines and nodes of a probability raster.

    Parameters
    ----------
    source : probabilities, read by windows from several threads
    grid : size and place of the raster
    spec : thresholds and rules; `block_px` changes memory, never the result
    width_error_px, width_error_share : standard error of a width that comes from the model itself:
        pixels, plus a share of the width
    monitor : progress and cancelling
    stations_m : spacing of `width_stations` along each crack, metres on the ground
    workers : threads

    Returns
    -------
    Vectors : docs/layers.md names the columns. Without a CRS all lengths, widths and areas are
        in the units of the raster's transform.

    Raises
    ------
    UsageError : numbers that make no sense
    Cancelled : the monitor asked to stop
    """
    width_errors = width_error_px, width_error_share
    _check(source, grid, width_errors, stations_m, workers)
    skeleton = skeletonize(source, spec, workers=workers, monitor=monitor)
    skeleton = _reaching(skeleton, high_code(spec))
    branches, nodes, blobs = _network(source, skeleton, grid, spec, workers, monitor)
    skeleton = replace(skeleton, solid=np.union1d(skeleton.solid, blobs))
    branches, nodes = merge_crossings(branches, nodes, spec)
    cracks = join_cracks(branches, nodes, spec)
    network = network_of(branches, len(nodes.x)) + 1
    geometry = line_geometries(branches, cracks, grid, spec)
    if not (simple := shapely.is_simple(geometry)).all():  # branches that cross near a node
        cracks = split_cracks(cracks, ~simple, branches.link)
        geometry = line_geometries(branches, cracks, grid, spec)
    lines = crack_lines(branches, cracks, grid)
    crack_network = network[cracks.branch[cracks.offsets[:-1]]]
    table = crack_table(lines, crack_network, geometry, grid, *width_errors)
    return Vectors(
        cracks=table,
        crack_polygons=polygon_table(skeleton, branches, network, table, grid),
        crack_nodes=node_table(branches, nodes, network, grid),
        width_stations=None if stations_m is None else station_table(lines, stations_m, grid),
    )


def _check(
    source: ProbabilitySource,
    grid: Grid,
    width_errors: tuple[float, float],
    stations_m: float | None,
    workers: int,
) -> None:
    if source.shape != grid.shape:
        raise UsageError(f"the probabilities are {source.shape} pixels, the grid is {grid.shape}")
    if stations_m is not None and not stations_m > 0:
        raise UsageError(f"--stations must be a positive length, not {stations_m}")
    for error in width_errors:
        if not error >= 0:
            raise UsageError(f"the width error must not be negative, but is {error}")
    if workers < 1:
        raise UsageError(f"at least one worker is needed, not {workers}")


def _reaching(skeleton: Skeleton, high: int) -> Skeleton:
    """Only the components that reach the high threshold somewhere (hysteresis)."""
    component = components(skeleton.keys, skeleton.shape[1])
    peak = np.zeros(len(component), np.uint8)
    np.maximum.at(peak, component, skeleton.peak)
    keep = peak[component] >= high
    return replace(
        skeleton,
        keys=skeleton.keys[keep],
        radius_px=skeleton.radius_px[keep],
        peak=skeleton.peak[keep],
    )


def _network(
    source: ProbabilitySource,
    skeleton: Skeleton,
    grid: Grid,
    spec: VectorSpec,
    workers: int,
    monitor: Monitor,
) -> tuple[Branches, Nodes, Ints]:
    """Measured branches of the networks long enough to count, links included; and the blobs."""
    width = skeleton.shape[1]
    kept, graph = prune(skeleton.keys, skeleton.radius_px, width, spec.spur_radii, spec.spur_px)
    branches, nodes, closed = place_branches(graph, skeleton.radius_px[kept], width)
    branches, nodes = measure_branches(
        source, grid, branches, nodes, closed, spec, workers=workers, monitor=monitor
    )
    links = find_links(branches, nodes, graph.keys, width, spec)
    branches, nodes = with_links(branches, nodes, links, source)
    network = network_of(branches, len(nodes.x))
    keep = _long_enough(network, branches, grid, spec)
    narrow = _narrow_enough(network, branches, grid, spec)
    if not has_ground_units(grid) and spec.max_width_mm != VectorSpec().max_width_mm:
        monitor.warn(
            "--max-width is in mm on the ground, which nothing tells without a CRS: no crack is "
            "left out for its width"
        )
    if wide := int((keep & ~narrow).sum()):
        monitor.warn(
            f"{wide} networks wider than {spec.max_width_mm:g} mm on average were left out: plants,"
            " shadows or ditches rather than cracks (--max-width)"
        )
    of_branch = np.repeat(keep[network[~branches.link]], np.diff(graph.offsets))
    blobs = _blobs(skeleton, np.flatnonzero(kept)[graph.pixels[of_branch]], grid, spec)
    return *chosen_branches(branches, nodes, np.asarray((keep & narrow)[network])), blobs


def _blobs(skeleton: Skeleton, lined: Ints, grid: Grid, spec: VectorSpec) -> Ints:
    """Keys of pixels in components as wide as the shortest crack is long, but without a line.

    Parameters
    ----------
    lined : pixels under the branches of networks long enough to count
    """
    component = components(skeleton.keys, skeleton.shape[1])
    alone = ~np.isin(component, component[lined])
    width_px = np.minimum(2 * skeleton.radius_px, max(skeleton.shape))  # no border ends a radius
    wide = (width_px >= spec.min_length_px) & (width_px * _pixel_side(grid) >= spec.min_length_m)
    return skeleton.keys[alone & wide]


def _pixel_side(grid: Grid) -> float:
    """Ground pixel size, metres: the root of a pixel's area at the raster's centre."""
    return float(np.sqrt(np.prod(pixel_size_m(grid))))


def _long_enough(network: Ints, branches: Branches, grid: Grid, spec: VectorSpec) -> Bools:
    """Which networks are long enough to count."""
    length_px = np.bincount(network, branches.lengths_px)
    length_m = np.bincount(network, _lengths_m(branches, grid))
    keep = (length_px > 0) & (length_px >= spec.min_length_px) & (length_m >= spec.min_length_m)
    return np.asarray(keep)


def _narrow_enough(network: Ints, branches: Branches, grid: Grid, spec: VectorSpec) -> Bools:
    """Which networks are narrow enough, by the mean over their points, to be cracks.

    A rim counts: what is no crack may have a narrow core.
    """
    if not has_ground_units(grid):
        return np.ones(network.max(initial=-1) + 1, np.bool_)
    point_network = np.repeat(network, np.diff(branches.offsets))
    points = np.maximum(np.bincount(point_network), 1)
    width_px = np.maximum(branches.width_px, 2 * branches.radius_px * (spec.outline > 0))
    area_m2 = pixel_area_m2(grid, branches.x, branches.y)
    width = width_px * across_m(branches.x, branches.y, branches.offsets, area_m2, grid)
    width_mm = np.bincount(point_network, width) / points * small_units(grid)
    return np.asarray(width_mm <= spec.max_width_mm)


def _lengths_m(branches: Branches, grid: Grid) -> Floats:
    steps = np.hypot(*segment_vectors_m(grid, branches.x, branches.y).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    first, last = branches.ends.T
    return np.asarray(along[last] - along[first])


def warm_up() -> None:
    """Compile every kernel, or load it from the cache, on a tiny raster.

    The first `vectorize` on a machine has to compile; call this in a thread while other work
    (reading, the model) goes on.
    """
    codes = np.zeros((48, 96), np.uint8)
    codes[20:23, 8:44] = codes[20:23, 52:88] = codes[4:44, 24:27] = 254  # a cross and a gap
    codes[8:40, 70] = 100  # a crossing that only the low threshold sees
    codes[2:46:43, 60:92] = codes[2:46, 60:92:31] = 254  # a closed loop
    spec = VectorSpec(thin_iterations=1)  # solid rests, too
    vectorize(ArraySource(codes), Grid(96, 48, Affine.identity()), spec, stations_m=5.0)
