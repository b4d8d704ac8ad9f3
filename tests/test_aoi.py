import json
import warnings
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from crackgeo.aoi import resolve_area
from crackgeo.errors import CrackgeoError, InputError, UsageError
from crackgeo.grid import Grid, Window

WKT = CRS.from_epsg(32632).to_wkt()
PLAIN = Grid(120, 90, Affine(0.5, 0, 500000, 0, -0.5, 5400000), WKT)
ROTATED = Grid(120, 90, Affine(0.4, 0.3, 500000, 0.3, -0.4, 5400000), WKT)
SOUTH_UP = Grid(120, 90, Affine(0.5, 0, 500000, 0, 0.5, 5400000), WKT)
LOCAL = Grid(120, 90, PLAIN.transform, None)


def save(path, shapes, crs="EPSG:32632", kind="Polygon", **options):
    wkb = shapely.to_wkb(np.array(shapes, dtype=object))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.raw.write(
            path, wkb, field_data=[], fields=[], crs=crs, geometry_type=kind, **options
        )
    return path


def in_crs(grid, pixels):
    """A polygon given by pixel coordinates, in the CRS of a grid."""
    return shapely.transform(
        shapely.Polygon(pixels), lambda p: np.stack(grid.xy(p[:, 0], p[:, 1]), axis=1)
    )


def centres_inside(grid, polygon):
    """Oracle: test every pixel centre in the coordinates of the CRS."""
    rows, cols = np.meshgrid(
        np.arange(grid.height) + 0.5, np.arange(grid.width) + 0.5, indexing="ij"
    )
    return shapely.contains_xy(polygon, *grid.xy(cols, rows))


def test_the_whole_raster_without_a_wish():
    area = resolve_area(PLAIN)
    assert area.window == PLAIN.window
    assert area.mask(PLAIN.window).all()


# ---------------------------------------------------------------- rectangles


@pytest.mark.parametrize("grid", [PLAIN, SOUTH_UP], ids=["north-up", "south-up"])
def test_a_box_takes_every_pixel_it_touches(grid):
    x, y = grid.xy(np.array([10.2, 20.0]), np.array([30.0, 39.01]))
    area = resolve_area(grid, (min(x), min(y), max(x), max(y)))
    assert area.window == Window(30, 10, 10, 10)
    mask = area.mask(Window(25, 5, 20, 20))
    assert mask[5:15, 5:15].all()
    assert mask.sum() == 100


@settings(max_examples=200, deadline=None)
@given(
    st.floats(1e-3, 2),
    st.tuples(st.floats(1e5, 9e5), st.floats(1e6, 9e6)),
    st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
)
def test_a_box_on_pixel_borders_takes_no_neighbour_by_rounding(pixel, origin, first):
    grid = Grid(5000, 5000, Affine(pixel, 0, origin[0], 0, -pixel, origin[1]), WKT)
    col, row = first
    x, y = grid.xy(np.array([col, col + 100.0]), np.array([row, row + 50.0]))
    assert resolve_area(grid, (x[0], y[1], x[1], y[0])).window == Window(row, col, 50, 100)


def test_a_box_on_a_rotated_grid_is_exact():
    box = (500010.0, 5399990.0, 500030.0, 5400008.0)
    area = resolve_area(ROTATED, box)
    expected = centres_inside(ROTATED, shapely.box(*box))
    np.testing.assert_array_equal(area.mask(ROTATED.window), expected)
    rows, cols = np.nonzero(expected)
    window = area.window
    assert window.row <= rows.min() <= rows.max() < window.row_end
    assert window.col <= cols.min() <= cols.max() < window.col_end


def test_a_box_is_cut_off_at_the_raster():
    assert resolve_area(PLAIN, (0, 0, 1e7, 1e7)).window == PLAIN.window


@pytest.mark.parametrize(
    "box",
    [
        (500020, 5399990, 500010, 5399995),
        (500010, 5399995, 500020, 5399990),
        (500010, 5399990, 500010, 5399995),
        (500010, float("nan"), 500020, 5399995),
        (10.0, 48.0, 10.1, 48.1),
    ],
    ids=["x reversed", "y reversed", "empty", "nan", "degrees"],
)
def test_boxes_that_make_no_sense(box):
    with pytest.raises(UsageError, match="--bbox") as caught:
        resolve_area(PLAIN, box)
    assert caught.value.remedy


def test_box_and_file_exclude_each_other():
    with pytest.raises(UsageError, match="exclude"):
        resolve_area(PLAIN, (0, 0, 1, 1), Path("a.gpkg"))


# ---------------------------------------------------------------- polygons

corners = st.lists(
    st.tuples(st.floats(-30, 150), st.floats(-30, 120)), min_size=3, max_size=9, unique=True
)


@settings(max_examples=60, deadline=None)
@given(corners, st.sampled_from([PLAIN, ROTATED, SOUTH_UP]), st.data())
def test_masks_agree_with_testing_every_centre(tmp_path_factory, pixels, grid, data):
    polygon = shapely.make_valid(in_crs(grid, pixels))
    polygon = shapely.union_all([p for p in shapely.get_parts(polygon) if p.area > 0.5])
    if polygon.area == 0 or not centres_inside(grid, polygon).any():
        return
    path = save(tmp_path_factory.mktemp("a") / "a.gpkg", [polygon], kind="Unknown")
    area = resolve_area(grid, aoi_path=path)
    mask = area.mask(grid.window)
    # centres closer to the border than rounding may fall on either side
    rows, cols = np.nonzero(mask != centres_inside(grid, polygon))
    points = shapely.points(*grid.xy(cols + 0.5, rows + 0.5))
    assert (shapely.distance(polygon.boundary, points) < 1e-6).all()
    row, col = data.draw(st.integers(-10, 95)), data.draw(st.integers(-10, 125))
    part = area.mask(Window(row, col, 20, 30))
    padded = np.zeros((90 + 60, 120 + 80), np.bool_)
    padded[20:110, 20:140] = mask
    np.testing.assert_array_equal(part, padded[row + 20 : row + 40, col + 20 : col + 50])


def test_holes_and_several_polygons(tmp_path):
    shell, hole = [(10, 10), (60, 10), (60, 60), (10, 60)], [(20, 20), (30, 20), (30, 30), (20, 30)]
    with_hole = in_crs(PLAIN, shell).difference(in_crs(PLAIN, hole))
    overlapping = in_crs(PLAIN, [(50, 50), (100, 50), (100, 80), (50, 80)])
    path = save(tmp_path / "a.gpkg", [with_hole, overlapping])
    area = resolve_area(PLAIN, aoi_path=path)
    assert area.window == Window(10, 10, 70, 90)
    expected = np.zeros((90, 120), np.bool_)
    expected[10:60, 10:60] = True
    expected[20:30, 20:30] = False
    expected[50:80, 50:100] = True
    np.testing.assert_array_equal(area.mask(PLAIN.window), expected)


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".fgb"])
def test_formats(tmp_path, suffix):
    polygon = in_crs(PLAIN, [(10, 10), (60, 10), (60, 60), (10, 60)])
    crs = "EPSG:32632"
    if suffix == ".geojson":  # always in WGS 84
        crs = "EPSG:4326"
        to_wgs = Transformer.from_crs(32632, 4326, always_xy=True).transform
        polygon = shapely.transform(polygon, lambda p: np.stack(to_wgs(p[:, 0], p[:, 1]), axis=1))
    area = resolve_area(PLAIN, aoi_path=save(tmp_path / f"a{suffix}", [polygon], crs=crs))
    assert area.mask(PLAIN.window).sum() == 2500


def assert_border_as_projected(grid, area, windows, inside, px_per_degree):
    """The mask is right but for centres a quarter of a pixel from the border.

    `inside` gives degrees into the polygon of (lon, lat).
    """
    to_wgs = Transformer.from_crs(32632, 4326, always_xy=True).transform
    for window in windows:
        rows, cols = np.meshgrid(
            np.arange(window.row, window.row_end) + 0.5,
            np.arange(window.col, window.col_end) + 0.5,
            indexing="ij",
        )
        depth = inside(*to_wgs(*grid.xy(cols, rows)))
        wrong = area.mask(window) != (depth > 0)
        assert 0 < (depth > 0).sum() < depth.size
        assert np.abs(depth[wrong] * px_per_degree).max(initial=0) < 0.25


def test_long_edges_bend_as_the_projection_does(tmp_path):
    """A parallel is no straight line in UTM: it bends by 33 m over 40 km here."""
    grid = Grid(400_000, 200_000, Affine(0.1, 0, 300000, 0, -0.1, 5415000), WKT)
    path = save(tmp_path / "a.gpkg", [shapely.box(5, 48.75, 12, 60)], "EPSG:4326")
    area = resolve_area(grid, aoi_path=path)
    to_utm = Transformer.from_crs(4326, 32632, always_xy=True).transform
    windows = []
    for lon in np.linspace(6.3, 6.75, 9):
        col, row = grid.pixel(*to_utm(lon, 48.75))
        windows.append(Window(int(row) - 20, int(col), 40, 30))
    bend = np.ptp(
        [
            w.row - np.interp(i, [0, 8], [windows[0].row, windows[-1].row])
            for i, w in enumerate(windows)
        ]
    )
    assert bend > 200  # the test sees the bend at all
    assert_border_as_projected(grid, area, windows, lambda lon, lat: lat - 48.75, 1_112_000)


def test_a_bend_whose_middle_is_straight(tmp_path):
    """A diagonal across the central meridian on the equator bends to both sides alike."""
    grid = Grid(
        400_000, 400_000, Affine(0.5, 0, 400000, 0, -0.5, 100000), CRS.from_epsg(32632).to_wkt()
    )
    triangle = shapely.Polygon([(8.1, -0.9), (9.9, 0.9), (8.1, 0.9)])
    area = resolve_area(grid, aoi_path=save(tmp_path / "a.gpkg", [triangle], "EPSG:4326"))
    to_utm = Transformer.from_crs(4326, 32632, always_xy=True).transform
    windows = []
    for offset in (-0.75, -0.6, -0.45, -0.3, 0.2, 0.4, 0.55, 0.7):
        col, row = grid.pixel(*to_utm(9 + offset, offset))
        windows.append(Window(int(row) - 20, int(col) - 20, 40, 40))
    assert_border_as_projected(
        grid, area, windows, lambda lon, lat: (lat - (lon - 9)) / 2**0.5, 222_000
    )


def test_a_polygon_of_half_the_world(tmp_path):
    path = save(tmp_path / "a.gpkg", [shapely.box(-179, -89, 179, 89)], "EPSG:4326")
    assert resolve_area(PLAIN, aoi_path=path).mask(PLAIN.window).all()


def test_local_coordinates_on_both_sides(tmp_path):
    path = save(tmp_path / "a.shp", [in_crs(LOCAL, [(0, 0), (20, 0), (20, 20), (0, 20)])], crs=None)
    assert resolve_area(LOCAL, aoi_path=path).mask(LOCAL.window).sum() == 400


# ---------------------------------------------------------------- bad input

SQUARE = in_crs(PLAIN, [(10, 10), (60, 10), (60, 60), (10, 60)])


def test_files_that_are_no_areas(tmp_path):
    (tmp_path / "text.gpkg").write_text("no geopackage")
    (tmp_path / "empty.geojson").touch()
    (tmp_path / "folder").mkdir()
    cases = {
        tmp_path / "missing.gpkg": "no such file",
        tmp_path / "text.gpkg": "not a vector file",
        tmp_path / "empty.geojson": "not a vector file",
        tmp_path / "folder": "not a vector file",
        save(tmp_path / "line.gpkg", [SQUARE.exterior], kind="LineString"): "polygons",
        save(tmp_path / "mixed.gpkg", [SQUARE.exterior], kind="Unknown"): "no polygons",
        save(tmp_path / "none.gpkg", []): "no polygons",
        save(tmp_path / "away.gpkg", [shapely.box(0, 0, 9, 9)]): "outside the raster",
        save(tmp_path / "flat.gpkg", [shapely.Polygon([(0, 0), (1, 1), (2, 2)])]): "no polygons",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            resolve_area(PLAIN, aoi_path=path)
        assert str(path) in caught.value.message
        assert caught.value.remedy


def test_empty_collections_and_null_geometries(tmp_path):
    features = [{"type": "Feature", "properties": {}, "geometry": None}]
    path = tmp_path / "null.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(InputError, match="polygons"):
        resolve_area(PLAIN, aoi_path=path)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(InputError, match="polygons"):
        resolve_area(PLAIN, aoi_path=path)


def test_an_ambiguous_file(tmp_path):
    path = save(tmp_path / "two.gpkg", [SQUARE], layer="first")
    save(path, [SQUARE], layer="second", append=True)
    with pytest.raises(InputError, match=r"first \(Polygon\), second"):
        resolve_area(PLAIN, aoi_path=path)


def test_one_polygon_layer_among_others_is_no_question(tmp_path):
    path = save(tmp_path / "two.gpkg", [SQUARE], layer="area")
    save(path, [SQUARE.exterior], layer="roads", kind="LineString", append=True)
    assert resolve_area(PLAIN, aoi_path=path).window == Window(10, 10, 50, 50)


def test_a_crs_on_one_side_only(tmp_path):
    with pytest.raises(InputError, match="names no CRS"):
        resolve_area(PLAIN, aoi_path=save(tmp_path / "a.shp", [SQUARE], crs=None))
    with pytest.raises(InputError, match="the raster names none"):
        resolve_area(LOCAL, aoi_path=save(tmp_path / "b.shp", [SQUARE]))


def test_an_undefined_crs_is_none(tmp_path):
    undefined = 'LOCAL_CS["Undefined Cartesian SRS",UNIT["Meter",1]]'
    path = save(tmp_path / "a.gpkg", [SQUARE], undefined)
    assert resolve_area(LOCAL, aoi_path=path).window == Window(10, 10, 50, 50)


def test_errors_are_ours_for_a_projection_that_fails(tmp_path):
    path = save(tmp_path / "a.gpkg", [shapely.box(-179, -89, -170, -80)], "EPSG:4326")
    with pytest.raises(CrackgeoError, match="outside"):
        resolve_area(PLAIN, aoi_path=path)
