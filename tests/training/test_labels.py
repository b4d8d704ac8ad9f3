import numpy as np
import pytest
from crackgeo_training.labelling.labels import LabelSpec, read_labels
from pyproj import CRS
from rasters import TRANSFORM, UTM
from survey import write_lines, write_polygons

from crackgeo.errors import InputError
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor

GRID = Grid(120, 90, TRANSFORM, CRS.from_user_input(UTM).to_wkt())
LINE = [(20, 40.5), (80, 40.5)]


def draw(path, warnings=None, area=None, window=GRID.window, **spec):
    heard = [] if warnings is None else warnings
    labels = read_labels(path, GRID, LabelSpec(**spec), area, Monitor(on_warning=heard.append))
    return labels.draw(window)


def test_a_line_becomes_a_band_of_its_width(tmp_path):
    path = write_lines(tmp_path / "a.gpkg", [LINE], width_mm=[10.0])  # 5 px of 2 mm
    label = draw(path)
    assert label[:, 50].tolist() == [0] * 38 + [1] * 5 + [0] * 47
    part = draw(path, window=Window(30, 40, 20, 20))
    np.testing.assert_array_equal(part, label[30:50, 40:60])


def test_width_comes_from_the_field_then_the_option_then_the_median(tmp_path):
    lines = [LINE, [(20, 10.5), (80, 10.5)], [(20, 70.5), (80, 70.5)]]
    path = write_lines(tmp_path / "a.gpkg", lines, width_mm=[6.0, np.nan, 14.0])
    heard = []
    assert draw(path, heard)[:, 50].sum() == 3 + 5 + 7
    assert "1 of 3 lines have no width; the median of the others, 10 mm" in heard[0]
    assert draw(path, width_mm=18.0)[:, 50].sum() == 3 + 9 + 7
    bare = write_lines(tmp_path / "bare.gpkg", lines)
    with pytest.raises(InputError, match="no width") as caught:
        draw(bare)
    assert "--label-width-mm" in caught.value.remedy
    with pytest.raises(InputError, match="no field breadth"):
        draw(path, width_field="breadth")


def test_absurd_widths_are_told(tmp_path):
    heard = []
    lines = [LINE, [(20, 10.5), (80, 10.5)]]
    draw(write_lines(tmp_path / "a.gpkg", lines, width_mm=[0.2, 130.0]), heard)
    assert any("1 of 2 labels are narrower than half a pixel" in w for w in heard)
    assert any("1 of 2 labels are wider than 100 mm" in w for w in heard)


def test_status_decides_what_is_learned(tmp_path):
    lines = [[(20, y), (80, y)] for y in (10.5, 30.5, 50.5, 70.5)]
    status = ["accepted", "Rejected", "edited", ""]
    path = write_lines(tmp_path / "a.gpkg", lines, width_mm=[6.0] * 4, status=status)
    label = draw(path)
    assert [int(label[y, 50]) for y in (10, 30, 50, 70)] == [1, 0, 1, 255]
    assert label[75, 50] == 255  # the margin of the crack that nobody judged
    assert label[86, 50] == 0  # beside a reviewed one
    wrong = write_lines(tmp_path / "b.gpkg", [LINE], width_mm=[6.0], status=["maybe"])
    with pytest.raises(InputError, match="status 'maybe' means nothing"):
        draw(wrong)
    nobody = write_lines(tmp_path / "c.gpkg", [LINE], width_mm=[6.0], status=[""])
    with pytest.raises(InputError, match="nobody has looked"):
        draw(nobody)


def test_the_case_of_field_names_does_not_matter(tmp_path):
    lines = [[(20, y), (80, y)] for y in (10.5, 30.5)]
    judged = {"STATUS": ["accepted", "rejected"], "Width_MM": [6.0, 6.0]}
    path = write_lines(tmp_path / "a.gpkg", lines, **judged)
    assert [int(draw(path)[y, 50]) for y in (10, 30)] == [1, 0]
    assert [int(draw(path, width_field="width_mm")[y, 50]) for y in (10, 30)] == [1, 0]
    both = write_lines(tmp_path / "b.geojson", [LINE], Status=["rejected"], status=["accepted"])
    assert draw(both, width_mm=6.0)[40, 50] == 1
    unclear = write_lines(tmp_path / "c.geojson", [LINE], Status=["accepted"], STATUS=[""])
    with pytest.raises(InputError, match=r"meant by status\? It has: Status, STATUS"):
        draw(unclear, width_mm=6.0)


def test_far_from_reviewed_cracks_nothing_is_learned(tmp_path):
    path = write_lines(
        tmp_path / "a.gpkg", [[(10, 5), (20, 5)]], width_mm=[4.0], status=["rejected"]
    )
    label = draw(path)
    assert label[5, 15] == 0
    assert label[5, 60] == 0
    assert label[85, 110] == 255


def test_outside_the_area_nothing_is_learned(tmp_path):
    path = write_lines(tmp_path / "a.gpkg", [LINE], width_mm=[10.0])
    area = write_polygons(tmp_path / "area.gpkg", [[(0, 0), (50, 0), (50, 90), (0, 90)]])
    label = draw(path, area=area)
    assert (label[:, 50:] == 255)[:20].all()
    assert set(np.unique(label[:, :50])) == {0, 1}


def test_labels_in_another_crs_land_on_the_same_pixels(tmp_path):
    here = write_lines(tmp_path / "a.gpkg", [LINE], width_mm=[10.0])
    import geopandas

    geopandas.read_file(here).to_crs("EPSG:4326").to_file(tmp_path / "b.gpkg", layer="cracks")
    np.testing.assert_array_equal(draw(here), draw(tmp_path / "b.gpkg"))


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_wrong_places_are_named(tmp_path):
    far = write_lines(tmp_path / "far.gpkg", [LINE], offset=(5000, 0), width_mm=[10.0])
    with pytest.raises(InputError, match="all labels lie outside the raster") as caught:
        draw(far)
    assert "WGS 84 / UTM zone 32N" in caught.value.remedy
    bare = write_lines(tmp_path / "bare.gpkg", [LINE], crs=None, width_mm=[10.0])
    with pytest.raises(InputError, match="names no CRS"):
        draw(bare)
    with pytest.raises(InputError, match="no such file"):
        draw(tmp_path / "missing.gpkg")
    (tmp_path / "text.gpkg").write_text("no vector file")
    with pytest.raises(InputError, match="not a vector layer"):
        draw(tmp_path / "text.gpkg")


def test_features_without_a_shape_are_told(tmp_path):
    import geopandas
    import shapely

    path = write_lines(tmp_path / "a.gpkg", [LINE, LINE], width_mm=[10.0, 10.0])
    table = geopandas.read_file(path)
    table.loc[1, "geometry"] = shapely.LineString()
    table.to_file(tmp_path / "b.gpkg", layer="cracks")
    said = []
    draw(tmp_path / "b.gpkg", said)
    assert any("1 features without line or polygon are left out" in text for text in said)


def test_the_layer_is_asked_for_where_it_is_not_clear(tmp_path):
    path = write_lines(tmp_path / "a.gpkg", [LINE], layer="one", width_mm=[10.0])
    assert draw(path).sum() > 0
    write_lines(path, [LINE], layer="two", width_mm=[4.0])
    with pytest.raises(InputError, match="which layer") as caught:
        draw(path)
    assert "--layer" in caught.value.remedy
    assert draw(path, layer="two").sum() < draw(path, layer="one").sum()
