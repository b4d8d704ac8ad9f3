import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from crackgeo.errors import InputError
from crackgeo.grid import Grid
from crackgeo.ground import (
    azimuth_deg,
    ground_field,
    ground_matrix,
    has_ground_units,
    pixel_area_m2,
    pixel_size_m,
    segment_vectors_m,
)

# A CRS and a place (lon, lat in its own datum's degrees) inside its area of use.
PLACES = [
    ("EPSG:32632", 9.0, 48.0),  # on the central meridian: 400 ppm short
    ("EPSG:32632", 11.9, 60.0),  # at the zone's border
    ("EPSG:3857", 10.0, 60.0),
    ("EPSG:3857", -120.0, -33.0),
    ("EPSG:4326", 10.0, 60.0),
    ("EPSG:4326", 179.9999999, 10.0),
    ("EPSG:2263", -74.0, 40.7),  # US survey foot
    ("EPSG:2223", -111.0, 33.0),  # international foot
    ("EPSG:2154", 3.0, 46.5),
    ("EPSG:4807", 2.0, 47.0),  # gon, counted from Paris
    ("EPSG:7405", -1.5, 52.5),  # compound
]
SHAPES = {
    "square": Affine.scale(0.002, -0.002),
    "oblong": Affine.scale(0.002, -0.003),
    "rotated": Affine.rotation(30) @ Affine.scale(0.002, -0.002),
    "sheared": Affine.shear(10) @ Affine.scale(0.002, -0.002),
    "south up": Affine.scale(0.002, 0.002),
}


def make_grid(code, lon, lat, shape, size=1000):
    crs = CRS(code)
    horizontal = crs.sub_crs_list[0] if crs.is_compound else crs
    to_crs = Transformer.from_crs(horizontal.geodetic_crs, horizontal, always_xy=True)
    per_degree = np.degrees(horizontal.geodetic_crs.axis_info[0].unit_conversion_factor)
    x, y = to_crs.transform(lon / per_degree, lat / per_degree)
    unit = 1 / 111_320 if horizontal.is_geographic else 1.0
    transform = Affine.translation(x, y) @ Affine.scale(unit, unit) @ SHAPES[shape]
    return Grid(size, size, transform, crs.to_wkt())


def geodesic_m(grid, cols, rows):
    """Length and azimuths by Karney's geodesics, the independent way."""
    crs = CRS.from_wkt(grid.crs_wkt)
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    to_degrees = np.degrees(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    transformer = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = (np.asarray(v) * to_degrees for v in transformer.transform(*grid.xy(cols, rows)))
    azimuth, _, length = crs.get_geod().inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    return length, azimuth


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("code", "lon", "lat"), PLACES)
def test_length_and_azimuth_agree_with_geodesics(code, lon, lat, shape):
    grid = make_grid(code, lon, lat, shape)
    angles = np.radians(np.arange(0, 360, 20))
    cols = np.ravel(np.stack([np.full_like(angles, 500), 500 + 400 * np.cos(angles)], -1))
    rows = np.ravel(np.stack([np.full_like(angles, 500), 500 + 400 * np.sin(angles)], -1))
    want_m, want_deg = geodesic_m(grid, cols, rows)
    vectors = segment_vectors_m(grid, cols, rows)
    np.testing.assert_allclose(np.hypot(*vectors.T), want_m, rtol=1e-5)
    turn = (azimuth_deg(vectors) - want_deg + 90) % 180 - 90
    assert np.abs(turn).max() < 0.01


@pytest.mark.parametrize(("code", "lon", "lat"), PLACES)
def test_pixel_area_agrees_with_the_geodesic_polygon(code, lon, lat):
    grid = make_grid(code, lon, lat, "sheared")
    crs = CRS.from_wkt(grid.crs_wkt)
    crs = crs.sub_crs_list[0] if crs.is_compound else crs
    to_degrees = np.degrees(crs.geodetic_crs.axis_info[0].unit_conversion_factor)
    transformer = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    ring = np.array([[0.0, 0], [1000, 0], [1000, 1000], [0, 1000]]).T
    corners = (np.asarray(v) * to_degrees for v in transformer.transform(*grid.xy(*ring)))
    want_m2, _ = crs.get_geod().polygon_area_perimeter(*corners)
    got_m2 = 1e6 * pixel_area_m2(grid, np.array([500.0]), np.array([500.0]))[0]
    assert got_m2 == pytest.approx(abs(want_m2), rel=1e-4)


def test_field_over_a_large_raster_agrees_with_the_exact_matrix():
    grid = Grid(100_000, 100_000, Affine(1.5, 0, 1.1e6, 0, -1.5, 8.5e6), CRS(3857).to_wkt())
    rng = np.random.default_rng(0)
    cols, rows = rng.uniform(0, 100_000, (2, 200))
    exact = ground_matrix(grid, cols, rows)
    np.testing.assert_allclose(ground_field(grid).matrices(cols, rows), exact, rtol=2e-6, atol=1e-9)


def test_web_mercator_at_60_degrees_is_halved():
    grid = make_grid("EPSG:3857", 10.0, 60.0, "square")
    col_m, row_m = pixel_size_m(grid)
    assert col_m == pytest.approx(0.001, rel=3e-3)  # the ellipsoid adds 0.2 percent
    assert row_m == pytest.approx(0.001, rel=3e-3)


def test_without_crs_the_transform_counts():
    grid = Grid(10, 10, Affine(2, 0, 0, 0, 3, 0))
    assert not has_ground_units(grid)
    assert pixel_size_m(grid) == (2.0, 3.0)
    [step] = segment_vectors_m(grid, np.array([0.0, 3.0]), np.array([0.0, 0.0]))
    assert tuple(step) == (6.0, 0.0)


@pytest.mark.parametrize(("unit", "factor"), [("metre", 1.0), ("foot", 0.3048)])
def test_engineering_plane_is_turned_into_metres(unit, factor):
    wkt = f'LOCAL_CS["site",UNIT["{unit}",{factor}],AXIS["X",EAST],AXIS["Y",NORTH]]'
    grid = Grid(10, 10, Affine(0.5, 0, 0, 0, -0.5, 0), wkt)
    assert has_ground_units(grid)
    assert pixel_size_m(grid) == pytest.approx((0.5 * factor, 0.5 * factor))


@pytest.mark.parametrize(("epsg", "origin"), [(32632, 1e30), (4326, 5000.0)])
def test_outside_of_the_projection_is_refused(epsg, origin):
    grid = Grid(10, 10, Affine(1, 0, origin, 0, -1, origin), CRS(epsg).to_wkt())
    with pytest.raises(InputError, match="outside"):
        pixel_size_m(grid)


def test_unreadable_crs_is_refused():
    with pytest.raises(InputError, match="cannot be read"):
        pixel_size_m(Grid(10, 10, Affine.identity(), "nonsense"))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=100)
def test_azimuth_is_undirected_and_in_range(east, north):
    forth = azimuth_deg(np.array([east, north]))
    back = azimuth_deg(np.array([-east, -north]))
    assert 0 <= forth < 180
    assert abs((forth - back + 90) % 180 - 90) < 1e-6


def test_azimuth_of_compass_directions():
    vectors = np.array([[0.0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, 0]])
    np.testing.assert_allclose(azimuth_deg(vectors), [0, 45, 90, 135, 0, 90], atol=1e-9)
