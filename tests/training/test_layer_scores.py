import json

import numpy as np
import pytest
import shapely
from crackgeo_training.scoring.layer_scores import score_layers
from survey import write_lines, write_polygons, write_shapes

from crackgeo import cli
from crackgeo.errors import InputError, UsageError
from crackgeo.monitor import Monitor

# pixels of 2 mm: one true crack of 2 m and one of 1 m, 100 px apart
TRUE = [[(100, 100), (1100, 100)], [(100, 200), (600, 200)]]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.gpkg"
    return write_lines(path, TRUE, width_mm=[6.0, 2.0])


def test_lengths_matched_missed_and_invented(truth, tmp_path):
    # the first crack found 4 px (8 mm) off, the second missed, half a metre invented
    lines = [[(100, 104), (1100, 104)], [(100, 400), (350, 400)]]
    found = write_lines(tmp_path / "found.gpkg", lines, width_mean_mm=[7.5, 3.0])
    scores = score_layers(found, truth, tolerances_m=(0.01, 0.005))
    near, far = scores.agreements
    assert near.tolerance_m == 0.005
    assert (near.matched_m, near.right_m) == (0, 0)
    # UTM is not true to length: up to 1 part in 1000
    assert far.matched_m == pytest.approx(2.0, rel=2e-3)
    assert far.missed_m == pytest.approx(1.0, rel=2e-3)
    assert far.invented_m == pytest.approx(0.5, rel=2e-3)
    assert far.completeness == pytest.approx(2 / 3, rel=1e-6)
    assert far.correctness == pytest.approx(0.8, rel=1e-6)
    assert scores.width_mae_mm == scores.width_bias_mm == pytest.approx(1.5)
    assert scores.width_stations == pytest.approx(100, abs=2)


def test_layers_that_lie_apart_are_told(truth, tmp_path):
    told = []
    elsewhere = write_lines(tmp_path / "found.gpkg", [[(5000, 100), (6000, 100)]])
    score_layers(elsewhere, truth, monitor=Monitor(on_warning=told.append))
    assert len(told) == 1
    assert "found.gpkg and truth.gpkg lie 7.8 m apart" in told[0]


def test_the_truth_agrees_with_itself(truth):
    scores = score_layers(truth, truth)
    assert all(a.completeness == a.correctness == pytest.approx(1) for a in scores.agreements)
    assert scores.width_mae_mm == 0


def test_only_the_area_and_unrejected_cracks_count(truth, tmp_path):
    found = write_lines(
        tmp_path / "found.gpkg",
        [*TRUE, [(100, 400), (350, 400)]],
        width_mm=[6.0, 2.0, 2.0],
        status=["accepted", "", "rejected"],
    )
    assert score_layers(found, truth).agreements[0].invented_m == pytest.approx(0, abs=1e-9)
    area = write_polygons(tmp_path / "a.gpkg", [[(0, 0), (350, 0), (350, 150), (0, 150)]])
    inside = score_layers(found, truth, area).agreements[0]
    assert inside.matched_m == pytest.approx(0.5, rel=2e-3)
    assert inside.missed_m == pytest.approx(0, abs=1e-9)


def test_layers_in_different_crs_are_compared_on_the_ground(truth, tmp_path):
    import geopandas

    geopandas.read_file(truth).to_crs("EPSG:3857").to_file(tmp_path / "m.gpkg", layer="cracks")
    scores = score_layers(tmp_path / "m.gpkg", truth, tolerances_m=(0.001,))
    assert scores.agreements[0].completeness == pytest.approx(1)
    assert scores.agreements[0].right_m == pytest.approx(3.0, rel=2e-3)


def test_a_layer_without_cracks_misses_all(truth, tmp_path, capsys):
    found = write_lines(tmp_path / "found.gpkg", [], width_mm=[])
    scores = score_layers(found, truth)
    assert {a.completeness for a in scores.agreements} == {0.0}
    assert (scores.width_mae_mm, scores.width_stations) == (None, 0)
    assert "| 0.0% | 0.00 m | - |" in scores.to_markdown()


def test_an_area_is_made_of_polygons_that_meet_cracks(truth, tmp_path):
    with pytest.raises(InputError, match="polygons") as caught:
        score_layers(truth, truth, truth)
    assert "--aoi" not in str(caught.value)
    away = write_polygons(tmp_path / "away.gpkg", [[(0, 900), (9, 900), (9, 990)]])
    with pytest.raises(InputError, match="nothing to compare"):
        score_layers(truth, truth, away)
    with pytest.raises(InputError, match="no such file") as caught:
        score_layers(tmp_path / "none.gpkg", truth)
    assert "--labels" not in caught.value.remedy


def test_layers_of_a_raster_without_crs_have_none(tmp_path):
    """crackgeo writes them with the CRS that a GeoPackage has for that."""
    paths = [tmp_path / "found.gpkg", tmp_path / "truth.gpkg"]
    undefined = 'LOCAL_CS["Undefined Cartesian SRS",UNIT["Meter",1]]'
    for path, crs in zip(
        paths, (undefined, 'LOCAL_CS["Bridge deck",UNIT["Meter",1]]'), strict=True
    ):
        write_lines(path, TRUE, crs=crs)
    assert score_layers(*paths).agreements[0].completeness == 1
    area = write_polygons(tmp_path / "a.gpkg", [[(0, 0), (350, 0), (350, 150)]], crs=undefined)
    assert score_layers(*paths, area).agreements[0].completeness == 1


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_layers_that_cannot_be_compared(truth, tmp_path):
    bare = write_lines(tmp_path / "bare.gpkg", TRUE, crs=None)
    with pytest.raises(InputError, match="has no CRS, unlike the truth"):
        score_layers(bare, truth)
    ground = write_polygons(tmp_path / "p.gpkg", [[(0, 0), (9, 0), (9, 9)]])
    with pytest.raises(InputError, match="holds no crack line"):
        score_layers(ground, truth)
    with pytest.raises(UsageError, match="positive"):
        score_layers(truth, truth, tolerances_m=(0.0,))
    with pytest.raises(UsageError, match="positive"):
        score_layers(truth, truth, tolerances_m=(0.01, float("nan")))


def test_a_site_grid_in_feet_is_compared_in_metres(tmp_path):
    feet = (
        'ENGCRS["s",EDATUM["s"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        'LENGTHUNIT["foot",0.3048]]'
    )
    shapes = [shapely.LineString([(0, 0), (10, 0)])]
    path = write_shapes(tmp_path / "t.gpkg", shapes, "LineString", feet, "cracks", width_mm=[3.0])
    scores = score_layers(path, path, tolerances_m=(0.01,))
    assert scores.agreements[0].matched_m == pytest.approx(3.048)
    assert "| 10 mm | 3.05 m |" in scores.to_markdown()


def test_layers_over_the_antimeridian(tmp_path):
    shapes = [
        shapely.LineString([(179.99999, 0), (180, 0)]),
        shapely.LineString([(-180, 0), (-179.99999, 0)]),
    ]
    path = write_shapes(tmp_path / "t.gpkg", shapes, "LineString", "EPSG:4326", "cracks")
    scores = score_layers(path, path, tolerances_m=(0.01,))
    assert scores.agreements[0].matched_m == pytest.approx(2 * 1e-5 * 111_319.5, rel=1e-4)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_pictures_are_compared_in_their_pixels(tmp_path):
    true, found = [shapely.LineString([(0, y), (100, y)]) for y in (0, 3)]
    layers = [
        write_shapes(tmp_path / f"{name}.gpkg", [line], "LineString", None, "cracks", width_mm=[w])
        for name, line, w in (("found", found, 5.0), ("true", true, 4.0))
    ]
    scores = score_layers(*layers)
    assert [a.tolerance_m for a in scores.agreements] == [1, 2, 5, 10]
    assert [a.completeness for a in scores.agreements] == pytest.approx([0, 0, 1, 1])
    text = scores.to_markdown()
    assert "| 5 units | 100.00 units | 0.00 units |" in text
    assert "mean absolute error 1.00 units" in text
    assert " mm" not in text


def test_the_command_prints_and_stores(truth, tmp_path, capsys):
    arguments = ["evaluate", str(truth), "--truth", str(truth), "-o", str(tmp_path / "out")]
    assert cli.run([*arguments, "--tolerance", "0.01"]) == 0
    assert "| 10 mm | 3.00 m | 0.00 m | 100.0% | 0.00 m | 100.0% |" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out" / "layers.json").read_text())
    assert stored["agreements"][0]["completeness"] == pytest.approx(1)
    assert np.isclose(stored["width_mae_mm"], 0)
    assert cli.run(["evaluate", str(truth)]) == 2
    assert cli.run(["evaluate", "--truth", str(truth), "--data", str(tmp_path)]) == 2
