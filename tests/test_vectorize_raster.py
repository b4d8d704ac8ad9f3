"""From a probability raster on disk to the layers of a GeoPackage."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasters
import shapely
import synth
from fakes import IdentityModel

from crackgeo.errors import InputError
from crackgeo.monitor import Monitor
from crackgeo.pipeline import predict_raster, vectorize_raster
from crackgeo.specs import PROB_SCALE, RESULT_TAG

PIXEL_M = rasters.TRANSFORM.a


def probability_file(path, probability):
    """A raster as `predict` writes it, 2 mm a pixel."""
    return rasters.write(path, synth.codes(probability), nodata=255, scale=PROB_SCALE)


def test_hairlines_from_file_to_geopackage(tmp_path):
    """Cracks of 1.5 px blurred by 1 px, at all angles: share of the true lines that is found."""
    rng = np.random.default_rng(5)
    side = 200
    tiles, lines = [], []
    for k, turn in enumerate(np.arange(7, 180, 30)):
        truth = synth.render("line", synth.line(150, turn, rng), 1.5)
        tile = np.zeros((side, side))
        height, width = truth.probability.shape
        tile[:height, :width] = synth.blurred(truth.probability)
        tiles.append(tile)
        lines.append(np.add(truth.xy, [k * side, 0]))
    raster = probability_file(tmp_path / "prob.tif", np.hstack(tiles))
    vectorize_raster(raster, tmp_path / "out.gpkg")
    found = shapely.union_all(gpd.read_file(tmp_path / "out.gpkg", layer="cracks").geometry)
    truths = shapely.points(*(rasters.TRANSFORM @ tuple(np.concatenate(lines).T)))
    assert (shapely.distance(found, truths) < PIXEL_M).mean() > 0.97


def test_a_mask_has_the_same_widths_with_its_background_as_nodata(tmp_path):
    truth = synth.render("line", synth.line(150, 20, np.random.default_rng(0)), 6.0)
    mask = (truth.probability > 0.5).astype(np.uint8)
    results, heard = [], []
    for name, marks in (("plain.tif", {}), ("tagged.tif", {"nodata": 0})):
        rasters.write(tmp_path / name, mask, **marks)
        monitor = Monitor(on_warning=heard.append)
        out = tmp_path / f"{name}.gpkg"
        results.append(vectorize_raster(tmp_path / name, out, monitor=monitor))
    plain, tagged = results
    assert tagged.surveyed_m2 == plain.surveyed_m2
    assert tagged.width_mean_mm == plain.width_mean_mm
    assert any("background" in text for text in heard)


def test_probabilities_of_another_version_are_read_or_refused(tmp_path):
    path = tmp_path / "p.tif"
    predict_raster(
        rasters.write(tmp_path / "a.tif", rasters.picture()), path, model=IdentityModel()
    )
    with rasterio.open(path) as raster:
        said = json.loads(raster.tags()[RESULT_TAG])
    for change, refused in (({"new_in_2027": 1}, False), ({"input_name": None}, True)):
        story = {k: v for k, v in {**said, **change}.items() if v is not None}
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
            raster.update_tags(**{RESULT_TAG: json.dumps(story)})
        if refused:
            with pytest.raises(InputError, match="does not understand") as caught:
                vectorize_raster(path, tmp_path / "no.gpkg")
            assert "crackgeo predict" in caught.value.remedy
        else:
            vectorize_raster(path, tmp_path / "o.gpkg")


def test_stations_reach_the_geopackage(tmp_path):
    truth = synth.render("line", synth.line(150, 20, np.random.default_rng(0)), 6.0)
    raster = probability_file(tmp_path / "prob.tif", truth.probability)
    out = tmp_path / "out.gpkg"
    vectorize_raster(raster, out, stations_m=0.02)
    stations, cracks = (gpd.read_file(out, layer=name) for name in ("width_stations", "cracks"))
    assert set(stations.geom_type) == {"Point"}
    assert len(stations) == 15  # 0.3 m
    np.testing.assert_allclose(stations["width_mm"], 12, atol=0.3)
    np.testing.assert_allclose(np.diff(stations["chainage_m"])[:-1], 0.02, atol=1e-9)
    (line,) = cracks.geometry
    along = shapely.line_locate_point(line, stations.geometry)
    np.testing.assert_allclose(along, stations["chainage_m"], atol=PIXEL_M / 4)
    assert shapely.distance(line, stations.geometry).max() < PIXEL_M / 2


def test_an_unknown_width_is_null_and_not_in_the_summary(tmp_path):
    probability = np.zeros((60, 400))
    probability[:4] = 1  # cut along its whole length
    raster = probability_file(tmp_path / "cut.tif", probability)
    result = vectorize_raster(raster, tmp_path / "cut.gpkg")
    assert (result.width_mean_mm, result.width_max_mm) == (None, None)
    assert "total length" in result.summary()
    assert "width  " not in result.summary()
    cracks = gpd.read_file(tmp_path / "cut.gpkg", layer="cracks")
    assert (
        cracks[["width_mean_mm", "width_max_mm", "width_unc_mm", "area_m2"]].isna().all(axis=None)
    )
    probability[30:36] = 1
    raster = probability_file(tmp_path / "both.tif", probability)
    result = vectorize_raster(raster, tmp_path / "both.gpkg")
    assert result.cracks == 2
    assert (result.width_mean_mm, result.width_max_mm) == pytest.approx((12, 12), abs=0.1)
