"""Chains of points between ends and junctions: the graph of pixels as places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pixelgraph import PixelGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]

# How far a width can be relied on; inside a junction a profile runs down the other crack.
CUT, UNUSABLE, FAINT, NEAR_NODE, TRUSTED = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Nodes:
    """Ends and junctions.

    Parameters
    ----------
    x, y : float64 `[k]`, pixel coordinates (corner origin)
    degree : int64 `[k]`, branch ends that meet here
    radius_px : float64 `[k]`, distance to background
    """

    x: Floats
    y: Floats
    degree: Ints
    radius_px: Floats


@dataclass(frozen=True)
class Branches:
    """Chains of points between nodes, one after the other.

    Parameters
    ----------
    x, y : float64 `[m]`, pixel coordinates (corner origin)
    radius_px : float64 `[m]`, distance to background
    width_px : float64 `[m]`, across the chain, averaged along it over its own length
    trust : uint8 `[m]`, `TRUSTED`, `NEAR_NODE` (beside a junction or within the round of an
        end), `FAINT` (of the mask, as no outline shows), `UNUSABLE` (in a junction, or both) or
        `CUT` (by the raster's border or missing data)
    conf : float64 `[m]`, highest probability across the chain, 0 to 1
    offsets : int64 `[b + 1]`; branch i has points `offsets[i]:offsets[i + 1]`
    nodes : int64 `[b, 2]`, node at its first and last point; the same twice for a loop
    link : bool `[b]`, whether the branch only bridges a gap
    """

    x: Floats
    y: Floats
    radius_px: Floats
    width_px: Floats
    trust: Codes
    conf: Floats
    offsets: Ints
    nodes: Ints
    link: Bools

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def ends(self) -> Ints:
        """Index of the first and last point of every branch, int64 `[b, 2]`."""
        return np.stack([self.offsets[:-1], self.offsets[1:] - 1], axis=-1)

    @property
    def lengths_px(self) -> Floats:
        """Length of every branch, float64 `[b]`."""
        steps = np.hypot(np.diff(self.x), np.diff(self.y))
        along = np.concatenate([[0.0], np.cumsum(steps)])
        first, last = self.ends.T
        return np.asarray(along[last] - along[first])


def place_branches(
    graph: PixelGraph, radius_px: NDArray[np.float32], width: int
) -> tuple[Branches, Nodes, Bools]:
    """Branches through pixel centres, their nodes, and which are loops without a junction.

    A junction lies at the centre of its cluster's pixels, and all its branches end there.

    Parameters
    ----------
    graph : of the pixels
    radius_px : float32 `[n]`, of the graph's pixels
    width : of the raster
    """
    rows, cols = (v + 0.5 for v in np.divmod(graph.keys, width))
    x, y = cols[graph.pixels], rows[graph.pixels]
    closed = graph.roots[:, 0] < 0
    ends = np.stack([graph.offsets[:-1], graph.offsets[1:] - 1], axis=-1)
    roots = np.where(closed[:, None], graph.pixels[ends], graph.roots)
    pixel_of, nodes = np.unique(roots, return_inverse=True)
    nodes = nodes.reshape(-1, 2).astype(np.int64)
    node_x, node_y = cols[pixel_of], rows[pixel_of]
    node_radius = radius_px[pixel_of].astype(np.float64)
    member = np.flatnonzero((graph.degree > 2) & np.isin(graph.root, pixel_of))
    of = np.searchsorted(pixel_of, graph.root[member])
    count = np.bincount(of, minlength=len(pixel_of))
    junction = count > 0
    for place, pixel_place in ((node_x, cols), (node_y, rows)):
        total = np.bincount(of, pixel_place[member], len(count))
        place[junction] = total[junction] / count[junction]
    np.maximum.at(node_radius, of, radius_px[member])
    x[ends], y[ends] = node_x[nodes], node_y[nodes]
    blank = np.zeros(len(x))
    branches = Branches(
        x,
        y,
        radius_px[graph.pixels].astype(np.float64),
        blank,
        blank.astype(np.uint8),
        blank,
        graph.offsets,
        nodes,
        np.zeros(len(nodes), np.bool_),
    )
    degree = np.bincount(nodes.reshape(-1), minlength=len(pixel_of))
    return branches, Nodes(node_x, node_y, degree, node_radius), closed
