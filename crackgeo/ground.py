"""From pixels to true metres on the ground, in any coordinate reference system.

A CRS unit is not a ground metre: EPSG:3857 is twice too long at 60 degrees of latitude, UTM is up
to 1000 ppm off, degrees shrink towards the poles. So every measure goes through the local matrix
of the map from pixel steps to (east, north) metres on the ellipsoid, taken from the projection
itself by central differences.

A raster without a CRS has no metres; its values stay in the units of its transform ("local
units", pixels if it has none). An engineering CRS is a plane: its unit is turned into metres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .grid import Floats, Grid

if TYPE_CHECKING:
    from pyproj import CRS

_LOW_GSD_MM = 5.0  # where pixels are coarser, most cracks are narrower than one or two
_STEP_M = 10.0  # step of the central difference; its error is (step / earth radius)^2
_METRES_PER_DEGREE = 111_320.0  # only to choose steps, never to measure
_NODE_M = 5_000.0  # spacing of the field's nodes; bilinear error below 1 ppm up to 70 degrees
_MAX_NODES = 512
_POINTS_AT_ONCE = 65_536  # bounds the memory of an interpolation

Jacobian = Callable[[Floats, Floats], Floats]


def has_ground_units(grid: Grid) -> bool:
    """Whether lengths on this grid are metres; False without a CRS (local units)."""
    return grid.crs_wkt is not None


def small_units(grid: Grid) -> float:
    """How many of the unit of widths make one of lengths: 1000 mm a metre.

    1 without a CRS, where everything is in the raster's own unit.
    """
    return 1000.0 if has_ground_units(grid) else 1.0


def ground_matrix(grid: Grid, cols: Floats, rows: Floats) -> Floats:
    """Local map from a pixel step to metres on the ground.

    Parameters
    ----------
    grid : place of the raster
    cols, rows : float64 `[n]`, pixel coordinates (corner origin)

    Returns
    -------
    float64 `[n, 2, 2]`; `m[i] @ (dcol, drow)` is (east, north) in metres. For an engineering CRS
    (its x, y) in metres; without a CRS (x, y) in local units.

    Raises
    ------
    InputError : the place lies outside what the CRS can describe, or the CRS cannot be read
    """
    x, y = grid.xy(np.atleast_1d(cols).astype(np.float64), np.atleast_1d(rows).astype(np.float64))
    matrix = _jacobian(grid.crs_wkt)(x, y) @ grid.matrix
    if not np.isfinite(matrix).all():
        raise InputError(
            "the raster lies (partly) outside the area its coordinate system can describe",
            "check the raster's CRS and transform, e.g. with `crackgeo info`",
        )
    return matrix


def pixel_size_m(grid: Grid) -> tuple[float, float]:
    """Ground length of one pixel step along a row (next column) and along a column (next row).

    Taken at the raster's centre, in metres (local units without a CRS).
    """
    centre = np.array([grid.width / 2]), np.array([grid.height / 2])
    steps = np.linalg.norm(ground_matrix(grid, *centre)[0], axis=0)
    return float(steps[0]), float(steps[1])


def coarse_pixels(gsd_mm: float) -> str | None:
    """What cannot be seen where pixels are coarser than `_LOW_GSD_MM`; None where they are not."""
    if gsd_mm <= _LOW_GSD_MM:
        return None
    return f"a crack narrower than about {2 * gsd_mm:.0f} mm cannot be seen at this pixel size"


def pixel_area_m2(grid: Grid, cols: Floats, rows: Floats) -> Floats:
    """Ground area of a pixel at each place, square metres, float64 `[n]`; see `ground_matrix`."""
    field, out = ground_field(grid), np.empty(len(cols))
    for part in _parts(len(cols)):
        out[part] = field.areas(cols[part], rows[part])
    return out


def vectors_m(grid: Grid, cols: Floats, rows: Floats, dcols: Floats, drows: Floats) -> Floats:
    """East and north metres, float64 `[n, 2]`, of short pixel steps at pixel coordinates."""
    field, out = ground_field(grid), np.empty((len(cols), 2))
    for part in _parts(len(cols)):
        steps = np.stack([dcols[part], drows[part]], axis=-1)
        out[part] = np.einsum("nij,nj->ni", field.matrices(cols[part], rows[part]), steps)
    return out


def _parts(count: int) -> Iterator[slice]:
    for begin in range(0, count, _POINTS_AT_ONCE):
        yield slice(begin, begin + _POINTS_AT_ONCE)


def segment_vectors_m(grid: Grid, cols: Floats, rows: Floats) -> Floats:
    """East and north metres of the n - 1 steps of a path of n points, float64 `[n - 1, 2]`.

    Geodesic for steps short against the earth (metres to a few kilometres), as the matrix at
    the middle of a step is exact to second order.
    """
    middle = (cols[1:] + cols[:-1]) / 2, (rows[1:] + rows[:-1]) / 2
    return vectors_m(grid, *middle, np.diff(cols), np.diff(rows))


def azimuth_deg(vectors: Floats) -> Floats:
    """Direction of undirected (east, north) vectors `[n, 2]`: degrees from north, 0 <= a < 180."""
    degrees = np.degrees(np.arctan2(vectors[..., 0], vectors[..., 1])) % 180.0
    return np.where(degrees >= 180.0, 0.0, degrees)  # -1e-17 % 180 rounds to 180


@dataclass(frozen=True)
class GroundField:
    """`ground_matrix` on a lattice of nodes over the raster, interpolated between them.

    Millions of vertices ask for their matrix; the projection is evaluated at the nodes only.

    Parameters
    ----------
    nodes : float64 `[node_rows, node_cols, 2, 2]`
    step_col, step_row : pixels between nodes
    """

    nodes: Floats
    step_col: float
    step_row: float

    def matrices(self, cols: Floats, rows: Floats) -> Floats:
        """Matrices at pixel coordinates `[n]`, float64 `[n, 2, 2]`."""
        return self._interpolated(self.nodes, cols, rows)

    def areas(self, cols: Floats, rows: Floats) -> Floats:
        """Ground area of a pixel at pixel coordinates `[n]`, float64 `[n]`."""
        return self._interpolated(np.abs(np.linalg.det(self.nodes)), cols, rows)

    def _interpolated(self, nodes: Floats, cols: Floats, rows: Floats) -> Floats:
        """Values of the nodes `[node_rows, node_cols, ...]`, bilinear between them."""
        high_row, high_col = nodes.shape[0] - 2, nodes.shape[1] - 2
        u, v = cols / self.step_col, rows / self.step_row
        i, j = np.clip(v.astype(np.int64), 0, high_row), np.clip(u.astype(np.int64), 0, high_col)
        per_point = (-1,) + (1,) * (nodes.ndim - 2)
        fu, fv = (u - j).reshape(per_point), (v - i).reshape(per_point)
        top = nodes[i, j] * (1 - fu) + nodes[i, j + 1] * fu
        bottom = nodes[i + 1, j] * (1 - fu) + nodes[i + 1, j + 1] * fu
        return np.asarray(top * (1 - fv) + bottom * fv)


@lru_cache(maxsize=8)
def ground_field(grid: Grid) -> GroundField:
    """The field of ground matrices of a raster; raises like `ground_matrix`."""
    size_col, size_row = pixel_size_m(grid)
    n_cols = _node_count(grid.width * size_col)
    n_rows = _node_count(grid.height * size_row)
    cols, rows = np.linspace(0, grid.width, n_cols), np.linspace(0, grid.height, n_rows)
    mesh_rows, mesh_cols = np.meshgrid(rows, cols, indexing="ij")
    nodes = ground_matrix(grid, mesh_cols.ravel(), mesh_rows.ravel()).reshape(n_rows, n_cols, 2, 2)
    return GroundField(nodes, max(cols[1], 1e-9), max(rows[1], 1e-9))


def _node_count(extent_m: float) -> int:
    return int(min(max(np.ceil(extent_m / _NODE_M) + 1, 2), _MAX_NODES))


@lru_cache(maxsize=8)
def _jacobian(crs_wkt: str | None) -> Jacobian:
    if crs_wkt is None:
        return lambda x, y: _plane(x, 1.0)
    crs = _horizontal(_read_crs(crs_wkt))
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    if crs.is_engineering or crs.is_geocentric or crs.geodetic_crs is None:
        return lambda x, y: _plane(x, unit)
    return _ellipsoid_jacobian(crs, unit)


def _read_crs(crs_wkt: str) -> CRS:
    from pyproj import CRS  # takes 0.1 s to load
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_wkt(crs_wkt)
    except CRSError as error:
        raise InputError(
            f"the raster's coordinate system cannot be read: {error}",
            "give the raster a valid CRS, e.g. `gdal_edit.py -a_srs EPSG:25832 FILE`",
        ) from error


def _horizontal(crs: CRS) -> CRS:
    """The 2D part of bound and compound systems."""
    while crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    return crs.to_2d()


def _plane(x: Floats, unit: float) -> Floats:
    return np.broadcast_to(np.eye(2) * unit, (*x.shape, 2, 2))


def _ellipsoid_jacobian(crs: CRS, unit: float) -> Jacobian:
    """Metres (east, north) per CRS unit (x, y) on the CRS's own ellipsoid."""
    from pyproj import Transformer

    geodetic = crs.geodetic_crs
    geod = crs.get_geod()
    assert geodetic is not None  # the caller checked
    assert geod is not None  # follows from the former
    to_radians = geodetic.axis_info[0].unit_conversion_factor
    transformer = Transformer.from_crs(crs, geodetic, always_xy=True)
    step = _STEP_M / _METRES_PER_DEGREE if crs.is_geographic else _STEP_M / unit

    def lonlat(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        lon, lat = transformer.transform(x, y)
        lon, lat = np.asarray(lon) * to_radians, np.asarray(lat) * to_radians
        return np.where(np.isfinite(lon), lon, np.nan), np.where(np.isfinite(lat), lat, np.nan)

    def jacobian(x: Floats, y: Floats) -> Floats:
        _, lat = lonlat(x, y)
        lat = np.where(np.abs(lat) <= np.pi / 2, lat, np.nan)
        along_parallel, along_meridian = _radii_m(lat, geod.a, geod.es)
        columns = []
        for dx, dy in ((step, 0.0), (0.0, step)):
            lon1, lat1 = lonlat(x + dx, y + dy)
            lon0, lat0 = lonlat(x - dx, y - dy)
            dlon = (lon1 - lon0 + np.pi) % (2 * np.pi) - np.pi
            columns.append(np.stack([dlon * along_parallel, (lat1 - lat0) * along_meridian], -1))
        return np.stack(columns, axis=-1) / (2 * step)

    return jacobian


def _radii_m(lat: Floats, a: float, es: float) -> tuple[Floats, Floats]:
    """Metres per radian along the parallel and the meridian (Snyder 1987, eq. 4-18 to 4-21)."""
    w2 = 1 - es * np.sin(lat) ** 2
    return a / np.sqrt(w2) * np.cos(lat), a * (1 - es) / w2**1.5
