import subprocess
import sys

import numpy as np
import pytest
import shapely
import synth
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from scipy import ndimage
from scipy.spatial import cKDTree

from crackgeo import jit
from crackgeo.errors import Cancelled, UsageError
from crackgeo.grid import Grid
from crackgeo.monitor import Monitor
from crackgeo.specs import VectorSpec
from crackgeo.vectorize import ArraySource, vectorize

LAYERS = ("cracks", "crack_polygons", "crack_nodes", "width_stations")
UTM = CRS(32632).to_wkt()


def run(codes, transform=None, crs=None, monitor=None, stations_m=5.0, workers=2, **rules):
    height, width = codes.shape
    grid = Grid(width, height, transform or Affine(1, 0, 0, 0, -1, 0), crs)
    options = {"monitor": monitor} if monitor else {}
    return vectorize(
        ArraySource(codes), grid, VectorSpec(**rules), stations_m=stations_m, workers=workers,
        **options,
    )  # fmt: skip


def same(a, b):
    for layer in LAYERS:
        one, other = getattr(a, layer), getattr(b, layer)
        assert list(one.columns) == list(other.columns)
        for name, values in one.columns.items():
            np.testing.assert_array_equal(values, other.columns[name], err_msg=name)
        assert (shapely.to_wkb(one.geometry) == shapely.to_wkb(other.geometry)).all()


def scene(seed, height=300, width=330):
    """A net of cracks with wide parts, faint parts, specks, borders and missing data."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((height, width)), 12)
    d = np.abs(field) / field.std() * 12
    p = np.clip(1.6 - d * rng.uniform(0.5, 1.0), 0, 1)
    faint = ndimage.gaussian_filter(rng.standard_normal(p.shape), 25)
    p *= np.clip(0.75 + 0.4 * faint / faint.std(), 0.1, 1)
    p = np.clip(p + 0.05 * rng.standard_normal(p.shape), 0, 1)
    p[40:110, 150:230] = np.maximum(p[40:110, 150:230], 0.9)  # a solid region
    codes = synth.codes(p)
    codes[200:260, 20:80] = 255
    return codes


@pytest.mark.parametrize(("seed", "outline"), [(0, 0.0), (1, 0.0), (0, 0.75)])
def test_block_size_and_workers_change_nothing(seed, outline):
    codes = scene(seed)
    if outline:
        codes[:80] = np.where(codes[:80] < 255, np.minimum(codes[:80], 130), 255)  # mask alone
    rules = {"thin_iterations": 8, "min_length_px": 5.0, "outline": outline}
    whole = run(codes, block_px=1000, workers=1, **rules)
    assert len(whole.cracks) > 10
    assert whole.crack_polygons.columns["too_wide"].any()
    for block_px in (16, 37, 64, 150):
        same(run(codes, block_px=block_px, **rules), whole)


def alligator(height, width, cell_px, rng):
    """Cracks 4 px wide around the cells of random places."""
    places = rng.uniform(0, [width, height], (height * width // cell_px**2, 2))
    rows, cols = np.indices((height, width)) + 0.5
    near, next_near = cKDTree(places).query(np.stack([cols, rows], axis=-1), k=2)[0].T
    return synth.codes(np.clip(2.5 - (next_near - near).T / 2, 0, 1))


def test_seams_of_an_alligator_network_with_the_default_thinning():
    """One network over dozens of blocks, with a region that even 64 iterations leave solid."""
    codes = alligator(560, 600, 30, np.random.default_rng(7))
    codes[200:380, 300:600] = 254  # 180 px wide, out over the raster's border
    whole = run(codes, block_px=1000, workers=1)
    assert np.bincount(whole.cracks.columns["network_id"]).max() > 200
    assert whole.crack_polygons.columns["too_wide"].any()
    for block_px in (64, 150):
        same(run(codes, block_px=block_px), whole)


@given(st.integers(0, 2**31), st.integers(16, 90))
@settings(max_examples=15, deadline=None)
def test_any_raster_gives_valid_features(seed, block_px):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2)
    smooth = ndimage.gaussian_filter(rng.uniform(0, 1, (height, width)), rng.uniform(0, 2))
    spread = (smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)
    codes = synth.codes(spread ** rng.uniform(0.5, 3))
    codes[rng.random(codes.shape) < rng.choice([0, 0.01])] = 255
    vectors = run(codes, block_px=block_px, min_length_px=0.0, thin_iterations=4)
    lines, table = vectors.cracks.geometry, vectors.cracks.columns
    assert shapely.is_valid(lines).all()
    assert shapely.is_simple(lines).all()
    assert shapely.is_valid(vectors.crack_polygons.geometry).all()
    assert (table["length_m"] > 0).all()
    known = np.isfinite(table["width_mean_mm"])
    for name in ("width_sd_mm", "width_unc_mm", "width_p95_mm", "width_max_mm", "area_m2"):
        assert (np.isfinite(table[name]) == known).all()
    for name in ("width_mean_mm", "width_sd_mm", "width_unc_mm", "conf_mean", "area_m2"):
        assert not (table[name] < 0).any()
    assert not (table["width_max_mm"] < table["width_p95_mm"] - 1e-9).any()
    assert (table["conf_mean"] >= 0).all()
    assert (table["conf_min"] <= table["conf_mean"] + 1e-9).all()
    assert set(table["network_id"]) == set(range(1, len(set(table["network_id"])) + 1))


def test_nodes_meet_lines_exactly():
    vectors = run(scene(3))
    vertices = {tuple(p) for p in shapely.get_coordinates(vectors.cracks.geometry)}
    nodes = {tuple(p) for p in shapely.get_coordinates(vectors.crack_nodes.geometry)}
    assert len(nodes) > 10
    assert nodes <= vertices
    kinds, degree = (vectors.crack_nodes.columns[k] for k in ("kind", "degree"))
    assert ((kinds == "end") == (degree == 1)).all()
    assert (degree[kinds == "junction"] > 2).all()


def test_a_junction_does_not_widen_what_ends_there():
    codes = alligator(300, 300, 30, np.random.default_rng(3))
    vectors = run(synth.codes(synth.blurred(codes / 254)), stations_m=2.0)
    columns, stations = vectors.cracks.columns, vectors.width_stations.columns
    known = np.isfinite(columns["width_mean_mm"])
    assert known.sum() > 80
    assert columns["width_max_mm"][known].max() < 12  # a place where three cracks run together
    assert stations["width_mm"].max() < 12
    assert set(stations["crack_id"]) <= set(columns["crack_id"][known])


def test_between_two_junctions_too_near_no_width_is_known():
    rows, cols = np.indices((200, 200)) + 0.5
    d = np.abs(cols - 100)
    for row, side in ((98, cols < 100), (103, cols > 100)):  # neither goes on beyond
        d = np.minimum(d, np.where(side, np.abs(rows - row), 99))
    vectors = run(synth.codes(np.clip(3.5 - d, 0, 1)), continue_deg=1e-6)
    columns = vectors.cracks.columns
    (short,) = np.flatnonzero(columns["length_m"] < 10)
    for name in ("mean", "p95", "max", "sd", "unc"):
        assert np.isnan(columns[f"width_{name}_mm"][short])
        assert np.isfinite(np.delete(columns[f"width_{name}_mm"], short)).all()
    assert np.isnan(columns["area_m2"][short])
    assert not columns["below_gsd"][short]
    assert columns["crack_id"][short] not in vectors.width_stations.columns["crack_id"]


def test_a_crack_cut_along_its_whole_length_has_no_width():
    codes = np.zeros((60, 200), np.uint8)
    codes[:4] = 254  # the other half lies beyond the border
    vectors = run(codes)
    assert vectors.cracks.columns["touches_edge"].tolist() == [True]
    assert np.isnan(vectors.cracks.columns["width_mean_mm"]).all()
    assert len(vectors.width_stations) == 0


EMPTY = {
    "nothing": np.zeros((40, 50), np.uint8),
    "no data": np.full((40, 50), 255, np.uint8),
    "a pixel": np.pad(np.full((1, 1), 254, np.uint8), 20),
    "one pixel raster": np.full((1, 1), 254, np.uint8),
    "below the high threshold": np.pad(np.full((2, 40), 120, np.uint8), 10),
    "too short": np.pad(np.full((2, 10), 254, np.uint8), 10),
}


@pytest.mark.parametrize("case", EMPTY)
def test_nothing_found_gives_empty_tables_of_the_same_kind(case):
    empty = run(EMPTY[case])
    full = run(synth.codes(synth.render("line", np.array([[0.0, 0], [60, 9]]), 3).probability))
    for layer in LAYERS:
        one, other = getattr(empty, layer), getattr(full, layer)
        assert len(one) == 0
        assert {k: v.dtype for k, v in one.columns.items()} == {
            k: v.dtype for k, v in other.columns.items()
        }


def test_no_stations_unless_asked_for():
    assert run(np.zeros((9, 9), np.uint8), stations_m=None).width_stations is None


def straight(width_px=4.0, turn_deg=20.0, length=150.0):
    rng = np.random.default_rng(0)
    return synth.render("line", synth.line(length, turn_deg, rng), width_px)


PLACES = {
    "utm": (UTM, Affine(0.002, 0, 5e5, 0, -0.002, 5.3e6)),
    "oblong": (UTM, Affine(0.002, 0, 5e5, 0, -0.003, 5.3e6)),
    "south up": (UTM, Affine(0.002, 0, 5e5, 0, 0.002, 5.3e6)),
    "rotated": (UTM, Affine(0.0017, 0.001, 5e5, 0.001, -0.0017, 5.3e6)),
    "web mercator": (CRS(3857).to_wkt(), Affine(0.004, 0, 1e6, 0, -0.004, 8.4e6)),
    "degrees": (CRS(4326).to_wkt(), Affine(2e-8, 0, 10.0, 0, -2e-8, 60.0)),
    "feet": (CRS(2263).to_wkt(), Affine(0.005, 0, 984e3, 0, -0.005, 2e5)),
}


@pytest.mark.parametrize("place", PLACES)
def test_length_width_and_orientation_on_the_ground(place):
    wkt, transform = PLACES[place]
    truth = straight()
    vectors = run(synth.codes(truth.probability), transform, wkt)
    columns = vectors.cracks.columns
    crs = CRS.from_wkt(wkt)
    grid = Grid(truth.probability.shape[1], truth.probability.shape[0], transform, wkt)
    from pyproj import Transformer

    to_lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)

    def geodesic(points):
        lon, lat = to_lonlat.transform(*grid.xy(*np.asarray(points, float).T))
        azimuth, _, length = crs.get_geod().inv(lon[0], lat[0], lon[1], lat[1])
        return length, azimuth

    length_m, azimuth = geodesic(truth.xy[[0, -1]])
    assert abs((columns["orient_deg"][0] - azimuth + 90) % 180 - 90) < 0.3
    # The true width: area of the strip on the ground over its length.
    along = truth.xy[-1] - truth.xy[0]
    normal = np.array([-along[1], along[0]]) / np.hypot(*along) * truth.width_px
    corners = np.array([truth.xy[0], truth.xy[-1], truth.xy[-1] + normal, truth.xy[0] + normal])
    lon, lat = to_lonlat.transform(*grid.xy(*corners.T))
    area_m2 = abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0])
    assert columns["width_mean_mm"][0] == pytest.approx(1000 * area_m2 / length_m, rel=0.02)
    assert columns["area_m2"][0] == pytest.approx(area_m2, rel=0.02)
    # Its caps are round in pixels; lines end half a width on the ground inside of them.
    cap = along / np.hypot(*along) * truth.width_px / 2
    whole_m, _ = geodesic([truth.xy[0] - cap, truth.xy[-1] + cap])
    line_m = whole_m - area_m2 / length_m
    assert columns["length_m"][0] == pytest.approx(line_m, rel=0.004)


@pytest.mark.parametrize("along_rows", [False, True])
def test_ends_are_half_a_width_inside_on_the_ground(along_rows):
    transform = Affine(0.001, 0, 5e5, 0, -0.002, 5.3e6)
    rows, cols = np.indices((240, 360)) + 0.5
    across, along = 2 * (rows - 120.3), cols - 180.2  # millimetres
    if not along_rows:
        across, along = along, across
    d = np.hypot(across, np.maximum(np.abs(along) - 100, 0))
    codes = synth.codes(synth.blurred(np.clip(0.5 + (12 - d) / 2, 0, 1), 0.7))
    columns = run(codes, transform, UTM).cracks.columns
    assert columns["length_m"][0] == pytest.approx(0.2, abs=0.002)
    assert columns["width_mean_mm"][0] == pytest.approx(24, abs=0.5)


def test_without_crs_everything_is_in_local_units():
    columns = run(synth.codes(straight().probability)).cracks.columns
    assert columns["width_mean_mm"][0] == pytest.approx(4, abs=0.1)
    assert columns["length_m"][0] == pytest.approx(150, rel=0.004)
    assert columns["gsd_mm"][0] == 1.0
    assert not columns["below_gsd"][0]


def test_hairline_is_found_by_hysteresis_and_lost_without():
    rng = np.random.default_rng(1)
    found = lost = 0.0
    for turn in np.arange(0, 180, 15):
        truth = synth.render("line", synth.line(150, turn + 2.5, rng), 1.5)
        codes = synth.codes(synth.blurred(truth.probability))
        codes[: codes.shape[0] // 2] = np.minimum(codes[: codes.shape[0] // 2], 120)
        found += run(codes).cracks.columns["length_m"].sum()
        lost += run(codes, threshold_low=0.5).cracks.columns["length_m"].sum()
    assert found > 0.97 * 12 * 150
    assert lost < 0.7 * found


def test_faint_crack_that_nowhere_reaches_the_threshold_is_dropped():
    probability = 0.45 * straight().probability
    assert len(run(synth.codes(probability)).cracks) == 0
    probability[: probability.shape[0] // 3] *= 2.2
    assert len(run(synth.codes(probability)).cracks) == 1


def test_a_crack_at_the_side_of_a_wide_faint_mask_is_found():
    codes = np.zeros((80, 260), np.uint8)
    codes[40:55, 25:235] = 90  # the middle of this nowhere reaches the threshold
    codes[40:43, 30:230] = 240
    whole = run(codes)
    assert len(whole.cracks) == 1
    assert whole.cracks.columns["length_m"][0] == pytest.approx(200, abs=12)
    for block_px in (16, 60):
        same(run(codes, block_px=block_px), whole)


def test_border_of_missing_data_makes_no_line_but_is_named():
    codes = synth.codes(straight(6.0, 0.0).probability)
    codes[:, :60] = 255
    columns = run(codes).cracks.columns
    assert len(columns["crack_id"]) == 1
    assert columns["touches_edge"][0]
    left = straight(6.0, 0.0).xy[:, 0].max() - 60
    assert columns["length_m"][0] == pytest.approx(left, abs=1.0)
    codes[:] = 0
    codes[:, :60] = 255
    assert len(run(codes).cracks) == 0


def test_crack_that_leaves_the_raster_goes_to_its_border():
    codes = synth.codes(straight(6.0, 0.0).probability)[:, 50:]
    vectors = run(codes)
    assert vectors.cracks.columns["touches_edge"][0]
    assert shapely.get_coordinates(vectors.cracks.geometry)[:, 0].min() < 0.6
    assert vectors.cracks.columns["width_mean_mm"][0] == pytest.approx(6, abs=0.1)


def test_a_gap_is_bridged_and_told_by_the_confidence():
    codes = synth.codes(straight(4.0, 0.0).probability)
    middle = codes.shape[1] // 2
    codes[:, middle - 6 : middle + 6] = 0
    columns = run(codes).cracks.columns
    assert len(columns["crack_id"]) == 1
    assert columns["length_m"][0] == pytest.approx(150, rel=0.01)
    assert columns["conf_min"][0] == 0
    assert columns["width_mean_mm"][0] == pytest.approx(4, abs=0.1)
    assert len(run(codes, link_px=1.0).cracks) == 2


def test_short_networks_are_dropped_by_ground_length():
    codes = synth.codes(straight().probability)
    wkt, transform = PLACES["utm"]
    assert len(run(codes, transform, wkt, min_length_m=0.29).cracks) == 1
    assert len(run(codes, transform, wkt, min_length_m=0.31).cracks) == 0


def test_ring_is_one_closed_crack():
    xy = synth.arc(40, 2 * np.pi * 40, np.random.default_rng(0))
    truth = synth.render("ring", np.concatenate([xy, xy[:1]]), 4.0)
    vectors = run(synth.codes(truth.probability))
    (line,) = vectors.cracks.geometry
    assert line.is_closed
    assert line.is_simple
    assert vectors.cracks.columns["length_m"][0] == pytest.approx(2 * np.pi * 40, rel=0.006)
    assert np.isnan(vectors.cracks.columns["tortuosity"][0])
    assert len(vectors.crack_nodes) == 0


def test_a_crack_that_runs_into_a_wide_region_is_not_drawn_through_it():
    codes = np.zeros((400, 500), np.uint8)
    codes[198:202, 20:250] = 254
    codes[100:300, 250:450] = 254
    vectors = run(codes)
    (length,) = vectors.cracks.columns["length_m"]
    assert 228 < length < 228 + 64  # in the region thinning still draws as far as it goes


@pytest.mark.parametrize(("width_px", "along"), [(9.0, True), (22.0, True), (24.0, False)])
def test_the_largest_width_is_that_on_the_ground(width_px, along):
    """Pixels of 2 x 8 mm: across a crack along their long side they are 2 mm wide, else 8."""
    codes = synth.codes(straight(width_px, 90.0 if along else 0.0).probability)
    transform = Affine(0.002, 0, 500000, 0, -0.008, 5.4e6)
    width_mm = width_px * (2 if along else 8)
    for limit, kept in ((width_mm * 1.1, 1), (width_mm * 0.9, 0)):
        vectors = run(codes, transform, UTM, max_width_mm=limit)
        assert len(vectors.cracks) == kept


def test_without_a_crs_no_width_is_too_large_and_that_is_said():
    codes = synth.codes(straight(9.0, 30.0).probability)
    for limit, told in ((1.0, 1), (VectorSpec().max_width_mm, 0)):
        heard = []
        vectors = run(codes, monitor=Monitor(on_warning=heard.append), max_width_mm=limit)
        assert len(vectors.cracks) == 1
        assert [m for m in heard if m.startswith("--max-width is in mm")] == heard
        assert len(heard) == told


def test_region_too_wide_to_thin_is_a_polygon_and_says_so():
    codes = np.zeros((200, 200), np.uint8)
    codes[20:180, 20:180] = 254
    vectors = run(codes, thin_iterations=10)
    assert len(vectors.cracks) == 0
    columns = vectors.crack_polygons.columns
    assert columns["too_wide"].tolist() == [True]
    assert columns["n_cracks"].tolist() == [0]
    assert columns["area_m2"][0] == 160 * 160


def disc(radius_px, side=150, down=75.3, right=75.1):
    rows, cols = np.indices((side, side)) + 0.5
    return synth.codes(np.clip(0.5 + radius_px - np.hypot(rows - down, cols - right), 0, 1))


@pytest.mark.parametrize("radius_px", [12, 40, 65, 67])
@pytest.mark.parametrize("beside_a_crack", [False, True])
def test_a_blob_without_a_line_is_a_polygon(radius_px, beside_a_crack):
    codes = np.pad(disc(radius_px), ((0, 30), (0, 0)))
    if beside_a_crack:
        codes[160:164, 20:120] = 254
    vectors = run(codes)
    assert len(vectors.cracks) == beside_a_crack
    columns = vectors.crack_polygons.columns
    blob = columns["n_cracks"] == 0
    assert columns["too_wide"].tolist() == blob.tolist()
    assert columns["area_m2"][blob] == pytest.approx([np.pi * radius_px**2], rel=0.02)


def test_a_blob_smaller_than_the_shortest_crack_is_noise():
    codes = disc(12)
    assert len(run(codes, min_length_px=30).crack_polygons) == 0
    assert len(run(codes, min_length_m=30).crack_polygons) == 0


def test_polygon_area_is_length_times_width():
    truth = straight(8.0)
    vectors = run(synth.codes(truth.probability))
    polygon, crack = vectors.crack_polygons.columns, vectors.cracks.columns
    caps = np.pi * 4.0**2
    assert polygon["area_m2"][0] == pytest.approx(crack["area_m2"][0] + caps, rel=0.02)
    assert polygon["n_cracks"].tolist() == [1]
    assert shapely.area(vectors.crack_polygons.geometry)[0] == pytest.approx(
        polygon["area_m2"][0], rel=0.01
    )


def test_stations_follow_the_width_along_the_crack():
    t = np.linspace(0, 1, 400)
    codes = np.zeros((60, 420), np.uint8)
    for col, part in enumerate(t):
        codes[:, col + 10] = synth.codes(
            np.clip(0.5 + (4 + 8 * part) / 2 - np.abs(np.arange(60) + 0.5 - 30), 0, 1)
        )
    stations = run(codes, stations_m=40.0).width_stations
    chainage, width = stations.columns["chainage_m"], stations.columns["width_mm"]
    assert len(stations) in (10, 11)
    want = 4 + 8 * (shapely.get_x(stations.geometry) - 10) / 400
    np.testing.assert_allclose(width[1:-1], want[1:-1], atol=0.25)
    assert np.allclose(np.diff(chainage)[:-1], 40)


def test_uncertainty_has_the_model_and_the_scatter_in_it():
    codes = synth.codes(straight().probability)
    grid = Grid(codes.shape[1], codes.shape[0], Affine(1, 0, 0, 0, -1, 0))
    none, one = (
        vectorize(ArraySource(codes), grid, width_error_px=e).cracks.columns["width_unc_mm"][0]
        for e in (0.0, 1.0)
    )
    assert 0 <= none < 0.05
    assert one == pytest.approx(np.hypot(none, 1.0))


def test_the_models_error_may_grow_with_the_width():
    codes = synth.codes(straight().probability)
    grid = Grid(codes.shape[1], codes.shape[0], Affine(2, 0, 0, 0, -2, 0))
    columns = vectorize(
        ArraySource(codes), grid, width_error_px=0.5, width_error_share=0.1
    ).cracks.columns
    expected = 0.5 * 2 + 0.1 * columns["width_mean_mm"][0]
    assert columns["width_unc_mm"][0] == pytest.approx(expected, rel=0.01)
    for wrong in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="must not be negative"):
            vectorize(ArraySource(codes), grid, width_error_share=wrong)


def test_narrower_than_a_pixel_is_said():
    truth = straight(0.7)
    columns = run(synth.codes(truth.probability)).cracks.columns
    assert columns["below_gsd"].tolist() == [True]


def test_cancelling_stops():
    with pytest.raises(Cancelled):
        run(scene(0), monitor=Monitor(is_cancelled=lambda: True), block_px=64)


def test_progress_comes_to_its_end():
    seen = {}
    run(scene(0), monitor=Monitor(lambda stage, done, total: seen.update({stage: (done, total)})))
    assert set(seen) == {"skeleton", "widths"}
    assert all(done == total for done, total in seen.values())


@pytest.mark.parametrize("options", [{"stations_m": 0.0}, {"stations_m": -1.0}, {"workers": 0}])
def test_senseless_numbers_are_refused(options):
    with pytest.raises(UsageError):
        run(np.zeros((9, 9), np.uint8), **options)


def test_other_grid_is_refused():
    with pytest.raises(UsageError, match="grid"):
        vectorize(ArraySource(np.zeros((9, 9), np.uint8)), Grid(8, 9, Affine.identity()))


def test_after_warm_up_nothing_is_left_to_compile_and_the_package_starts_without_numba(
    tmp_path,
):
    code = (
        "import sys, crackgeo, crackgeo.grid, crackgeo.ground, crackgeo.specs\n"
        "assert 'numba' not in sys.modules\n"
        "import numpy as np\n"
        "from numba.core import event\n"
        "from affine import Affine\n"
        "from crackgeo.grid import Grid\n"
        "from crackgeo.vectorize import ArraySource, vectorize, warm_up\n"
        "warm_up()\n"
        "codes = np.load(sys.argv[1])\n"
        "with event.install_recorder('numba:compile') as recorder:\n"
        "    grid = Grid(codes.shape[1], codes.shape[0], Affine.identity())\n"
        "    vectorize(ArraySource(codes), grid, stations_m=5.0)\n"
        "names = [e.data['dispatcher'].py_func.__name__ for _, e in recorder.buffer]\n"
        "assert not names, names\n"
    )
    path = tmp_path / "codes.npy"
    np.save(path, scene(0))
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_place_for_the_cache_is_no_error(monkeypatch):
    real = jit.numba.njit

    def refusing(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'f': no locator available for file")
        return real(**options)

    monkeypatch.setattr(jit.numba, "njit", refusing)
    assert jit.compiled(lambda x: x + 1)(1) == 2
