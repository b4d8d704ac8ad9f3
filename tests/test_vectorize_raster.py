"""From a probability raster on disk to the layers of a GeoPackage."""

import geopandas as gpd
import numpy as np
import rasters
import shapely
import synth

from crackgeo.pipeline import vectorize_raster
from crackgeo.specs import PROB_SCALE

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
