"""What vectorization gives and the GeoPackage writer takes: geometries with columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureTable:
    """Features of one layer.

    Parameters
    ----------
    geometry : shapely geometries in CRS coordinates, object array `[n]`
    columns : name to array `[n]`, in the order of the layer's fields
    """

    geometry: NDArray[np.object_]
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.geometry)


@dataclass(frozen=True)
class Vectors:
    """All layers that come from one probability raster, see docs/layers.md for the fields.

    `width_stations` is None unless station spacing was asked for.
    """

    cracks: FeatureTable
    crack_polygons: FeatureTable
    crack_nodes: FeatureTable
    width_stations: FeatureTable | None = None
