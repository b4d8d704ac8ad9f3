"""Several rasters as one survey: one grid, each crack once, lines over borders, damage left out."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import IdentityModel
from rasterio.warp import Resampling, reproject, transform_bounds
from rasters import TRANSFORM, UTM, picture, write

from crackgeo import raster
from crackgeo.cli import run
from crackgeo.errors import InputError, OwnResult, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.inputs import find_inputs, names_of
from crackgeo.monitor import Monitor
from crackgeo.mosaic import SurveyImage, place_rasters
from crackgeo.pipeline import map_cracks, predict_raster
from crackgeo.raster import describe
from crackgeo.specs import BandSpec


def moved(row, col, transform=TRANSFORM):
    return Grid(1, 1, transform).part(Window(row, col, 1, 1)).transform


def crack_picture(height=300, width=900):
    """Grey with one straight crack of 6 px along row 150, from column 50 to 850."""
    pixels = np.full((3, height, width), 1, np.uint8)
    pixels[:, 147:153, 50:850] = 254
    return pixels


def pieces(folder, pixels, cuts, **profile):
    """Cut a picture into overlapping rasters of columns."""
    folder.mkdir()
    for number, (first, end) in enumerate(cuts):
        part = np.ascontiguousarray(pixels[:, :, first:end])
        write(folder / f"strip-{number}.tif", part, transform=moved(0, first), **profile)
    return folder


def codes_of(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


# ---------------------------------------------------------------- naming


def test_inputs_are_files_folders_patterns_and_lists(tmp_path, monkeypatch):
    for name in ("b.tif", "a.TIF", "c.vrt", "notes.txt", "b.tif.aux.xml"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("# first\nc.vrt\n\n*.tif\nhttps://x.org/y.tif\n")
    there = [tmp_path / name for name in ("a.TIF", "b.tif", "c.vrt")]
    assert find_inputs(tmp_path) == there
    assert find_inputs([there[1], str(tmp_path / "[bc].*f"), tmp_path]) == [there[1], there[0],
                                                                            there[2]]  # fmt: skip
    assert find_inputs(tmp_path / "list.txt") == [there[2], there[1], Path("https://x.org/y.tif")]
    assert find_inputs("nonesuch.tif") == [Path("nonesuch.tif")]


def test_hidden_files_of_a_folder_are_no_rasters(tmp_path):
    for name in ("a.tif", "._a.tif", ".b.part-1f.tif"):
        (tmp_path / name).touch()
    assert find_inputs(tmp_path) == [tmp_path / "a.tif"]


@pytest.mark.parametrize("gsd_m", [0.0, -0.002, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none(tmp_path, gsd_m):
    rasters = [write(tmp_path / name, picture(40, 50)) for name in ("a.tif", "b.tif")]
    with pytest.raises(UsageError, match="--gsd must be a positive number"):
        predict_raster(rasters, tmp_path / "p.tif", model=IdentityModel(), gsd_m=gsd_m)


def test_a_list_may_come_from_windows(tmp_path):
    text = f'\ufeff"{tmp_path / "a b.tif"}"\r\nc.tif\r\n'
    (tmp_path / "list.txt").write_bytes(text.encode())
    assert find_inputs(tmp_path / "list.txt") == [tmp_path / "a b.tif", tmp_path / "c.tif"]


def test_equal_file_names_are_told_apart_by_folders():
    paths = [Path(p) for p in ("a/x/o.tif", "b/x/o.tif", "c.tif", "o.tif", "d/p.tif", "/p.tif")]
    assert list(names_of(paths).values()) == [
        "a/x/o.tif",
        "b/x/o.tif",
        "c.tif",
        "o.tif",
        "d/p.tif",
        "/p.tif",
    ]


@pytest.mark.parametrize(
    ("name", "words"), [("*.jp2", "matches no"), ("empty", "without"), ("empty.txt", "without")]
)
def test_inputs_that_name_nothing(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match=words):
        find_inputs(tmp_path / name)


# ---------------------------------------------------------------- one grid


def test_parallel_rasters_keep_their_pixels(tmp_path):
    for number, (row, col) in enumerate([(10, 20), (-30.3, 5), (0, 70.4)]):
        write(tmp_path / f"{number}.tif", picture(40, 50), transform=moved(row, col))
    survey, errors = place_rasters(sorted(tmp_path.iterdir()), BandSpec())
    assert not errors
    assert [m.is_warped for m in survey.members] == [False] * 3
    assert [(m.window.row, m.window.col) for m in survey.members] == [(40, 15), (0, 0), (30, 65)]
    assert survey.grid.shape == (80, 115)
    origin = survey.grid.transform.c, survey.grid.transform.f
    assert origin == pytest.approx((500000.01, 5400000.06), abs=0.001)


def test_other_pixel_sizes_come_to_the_finest(tmp_path):
    write(
        tmp_path / "a.tif", picture(40, 50), transform=Affine(0.004, 0, 500000, 0, -0.004, 5400000)
    )
    write(tmp_path / "b.tif", picture(40, 50))
    survey, _ = place_rasters([tmp_path / "a.tif", tmp_path / "b.tif"], BandSpec())
    assert survey.grid.transform.a == pytest.approx(0.002, rel=1e-3)
    assert survey.grid.shape == pytest.approx((80, 100), abs=2)


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        ("EPSG:999999", "not a CRS"),
        ("nonsense", "not a CRS"),
        ("EPSG:4978", "Geocentric CRS, not one of maps"),
        ("EPSG:5783", "Vertical CRS, not one of maps"),
    ],
)
def test_a_crs_that_is_none(tmp_path, crs, words):
    path = write(tmp_path / "a.tif", picture(40, 50))
    with pytest.raises(UsageError, match=words):
        place_rasters([path], BandSpec(), crs)


@pytest.mark.parametrize("transform", [TRANSFORM, Affine.identity()])
def test_another_crs_needs_one_to_come_from(tmp_path, transform):
    path = write(tmp_path / "a.tif", picture(40, 50), crs=None, transform=transform)
    with pytest.raises(UsageError, match="name none to come from"):
        place_rasters([path], BandSpec(), UTM)


def test_rasters_with_and_without_crs_do_not_go_together(tmp_path):
    write(tmp_path / "a.tif", picture(40, 50))
    write(tmp_path / "b.tif", picture(40, 50), crs=None)
    survey, errors = place_rasters([tmp_path / "a.tif", tmp_path / "b.tif"], BandSpec())
    assert [member.path.name for member in survey.members] == ["a.tif"]
    assert "b.tif: names no CRS" in errors[tmp_path / "b.tif"].message


def test_a_site_grid_is_left_out_of_a_survey_on_earth(tmp_path):
    site = 'LOCAL_CS["site",UNIT["metre",1]]'
    ours = write(tmp_path / "a.tif", picture(40, 50))
    theirs = write(tmp_path / "b.tif", picture(40, 50), crs=site)
    survey, errors = place_rasters([ours, theirs], BandSpec())
    assert [member.path for member in survey.members] == [ours]
    assert "b.tif: nothing leads from the coordinate system 'site'" in errors[theirs].message
    for path, crs in ((theirs, UTM), (ours, site)):
        with pytest.raises(InputError, match="nothing leads"):
            place_rasters([path], BandSpec(), crs)


@pytest.mark.parametrize("placed", [{}, {"crs": None}])
def test_rasters_that_lie_nowhere_go_alone(tmp_path, placed):
    lost = [
        write(tmp_path / name, picture(40, 50), crs=None, transform=Affine.identity())
        for name in ("a.tif", "b.tif")
    ]
    with pytest.raises(InputError, match=r"a\.tif, .*b\.tif: no georeference"):
        place_rasters(lost, BandSpec())
    other = write(tmp_path / "c.tif", picture(40, 50), **placed)
    survey, errors = place_rasters([other, lost[1]], BandSpec())
    assert [member.path for member in survey.members] == [other]
    assert "b.tif: no georeference" in errors[lost[1]].message
    survey, _ = place_rasters(lost[:1], BandSpec())
    assert len(survey.members) == 1


def test_what_lies_nowhere_can_be_left_out(tmp_path):
    strips = pieces(tmp_path / "strips", crack_picture(), [(0, 900)])
    write(strips / "photo.tif", picture(40, 50), crs=None, transform=Affine.identity())
    out = tmp_path / "cracks.gpkg"
    with pytest.raises(InputError, match=r"photo\.tif: no georeference"):
        map_cracks(strips, out, model=IdentityModel())
    assert not out.exists()
    result = map_cracks(strips, out, model=IdentityModel(), on_error="skip")
    assert result.prediction.left_out == ("photo.tif",)
    assert result.vectors.length_m == pytest.approx(1.6, rel=0.01)


def test_results_of_crackgeo_are_no_imagery(tmp_path):
    strips = pieces(tmp_path / "strips", crack_picture(), [(0, 900)])
    kept, picture_of_it = strips / "a_probability.tif", strips / "look.png"
    options = {"model": IdentityModel(), "overwrite": True}
    first = map_cracks(
        strips, tmp_path / "a.gpkg", probability=kept, quicklook=picture_of_it, **options
    )
    told = []
    again = map_cracks(
        strips, tmp_path / "b.gpkg", monitor=Monitor(on_warning=told.append), **options
    )
    assert again.vectors.length_m == first.vectors.length_m
    assert again.prediction.left_out == ()
    assert [name for name in (kept.name, picture_of_it.name) if any(name in t for t in told)] == [
        kept.name,
        picture_of_it.name,
    ]
    for result in (kept, picture_of_it):
        with pytest.raises(OwnResult, match="made by crackgeo"):
            predict_raster(result, tmp_path / "c.tif", model=IdentityModel())


def test_pixels_too_coarse_for_cracks_are_told(tmp_path):
    strips = pieces(tmp_path / "strips", crack_picture(), [(0, 900)])
    told = []
    for gsd_m in (None, 0.02):
        predict_raster(
            strips, tmp_path / "p.tif", model=IdentityModel(), gsd_m=gsd_m, overwrite=True,
            monitor=Monitor(on_warning=told.append),
        )  # fmt: skip
    (message,) = told
    assert "narrower than about 40 mm" in message
    assert "--gsd is in metres" in message


def test_rasters_worlds_apart_are_refused(tmp_path):
    write(tmp_path / "a.tif", picture(40, 50))
    write(tmp_path / "b.tif", picture(40, 50), transform=moved(0, 2_000_000))
    with pytest.raises(UsageError, match="far apart"):
        place_rasters([tmp_path / "a.tif", tmp_path / "b.tif"], BandSpec())


# ---------------------------------------------------------------- one result


def test_strips_give_what_the_whole_gives(tmp_path):
    pixels = picture(700, 900)
    pixels[:, 300:400, 350:500] = 0
    write(tmp_path / "whole.tif", pixels, nodata=0)
    strips = pieces(tmp_path / "strips", pixels, [(0, 400), (300, 640), (600, 900)], nodata=0)
    predict_raster(tmp_path / "whole.tif", tmp_path / "p.tif", model=IdentityModel())
    result = predict_raster(strips, tmp_path / "q.tif", model=IdentityModel())
    np.testing.assert_array_equal(codes_of(tmp_path / "q.tif"), codes_of(tmp_path / "p.tif"))
    assert (result.inputs, result.pixels_valid) == (3, 700 * 900 - 100 * 150)


def test_where_rasters_overlap_the_first_that_has_data_counts(tmp_path):
    first, second = np.full((1, 60, 80), 10, np.uint8), np.full((1, 60, 80), 99, np.uint8)
    first[:, :, 40:60] = 0
    write(tmp_path / "a.tif", first, nodata=0)
    write(tmp_path / "b.tif", second, transform=moved(0, 20))
    predict_raster(
        [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "p.tif", model=IdentityModel()
    )
    row = codes_of(tmp_path / "p.tif")[30]
    expected = [(0, 40, 10), (40, 60, 99), (60, 80, 10), (80, 100, 99)]
    assert [(a, b, row[a]) for a, b, _ in expected] == expected
    assert all(len(set(row[a:b])) == 1 for a, b, _ in expected)


def test_a_crack_over_borders_is_one_and_knows_its_raster(tmp_path):
    strips = pieces(tmp_path / "strips", crack_picture(), [(0, 260), (200, 900)])
    out = tmp_path / "o.gpkg"
    result = map_cracks(strips, out, model=IdentityModel(), quicklook=tmp_path / "look.png")
    assert result.vectors.cracks == 1
    assert result.vectors.length_m == pytest.approx(1.6, abs=0.02)
    assert gpd.read_file(out, layer="cracks")["source"].tolist() == ["strip-1.tif"]
    with sqlite3.connect(out) as database:
        assert database.execute("SELECT input_name FROM runs").fetchone() == ("2 rasters",)
    database.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["look.png", "o.gpkg", "strips"]


def test_rasters_of_one_name_are_told_apart(tmp_path):
    strips = pieces(tmp_path / "strips", crack_picture(), [(0, 260), (200, 900)])
    inputs = []
    for number in range(2):
        folder = tmp_path / f"flight-{number}"
        folder.mkdir()
        inputs.append((strips / f"strip-{number}.tif").rename(folder / "ortho.tif"))
    out = tmp_path / "o.gpkg"
    map_cracks(inputs, out, model=IdentityModel(), quicklook=tmp_path / "look.png")
    assert gpd.read_file(out, layer="cracks")["source"].tolist() == ["flight-1/ortho.tif"]
    with sqlite3.connect(out) as database:
        (text,) = database.execute("SELECT inputs FROM runs").fetchone()
    database.close()
    assert [one["name"] for one in json.loads(text)] == [
        "flight-0/ortho.tif",
        "flight-1/ortho.tif",
    ]


def test_cracks_in_coarser_pixels_tell_of_these(tmp_path):
    fine = write(tmp_path / "fine.tif", crack_picture())
    coarse_pixels = np.full((3, 100, 300), 1, np.uint8)
    coarse_pixels[:, 49:51, 16:280] = 254
    coarse = write(
        tmp_path / "coarse.tif", coarse_pixels,
        transform=moved(400, 0) @ Affine.scale(3),
    )  # fmt: skip
    heard = []
    rasters = [fine, coarse]
    model = IdentityModel()
    model.info = replace(model.info, width_error_px=1.0, width_error_share=0.1)
    map_cracks(
        rasters, tmp_path / "o.gpkg", model=model, probability=tmp_path / "p.tif",
        monitor=Monitor(on_warning=heard.append),
    )  # fmt: skip
    cracks = gpd.read_file(tmp_path / "o.gpkg", layer="cracks").set_index("source")
    mine, theirs = cracks.loc["fine.tif"], cracks.loc["coarse.tif"]
    assert (mine.gsd_mm, theirs.gsd_mm) == pytest.approx((2, 6), rel=2e-3)
    assert mine.width_unc_mm == pytest.approx(2 + 0.1 * mine.width_mean_mm, rel=0.02)
    assert theirs.width_unc_mm == pytest.approx(6 + 0.1 * theirs.width_mean_mm, rel=0.02)
    assert any(message.startswith("coarse.tif: coarser pixels than the 2 mm") for message in heard)
    assert any("narrower than about 12 mm" in message for message in heard)
    alone = map_cracks(coarse, tmp_path / "alone.gpkg", model=model, gsd_m=0.002)
    assert alone.prediction.gsd_mm == pytest.approx((2, 2), rel=2e-3)
    alone = gpd.read_file(tmp_path / "alone.gpkg", layer="cracks").iloc[0]
    assert alone.gsd_mm == pytest.approx(6, rel=2e-3)


def test_a_raster_alone_in_the_part_asked_for_tells_of_its_pixels_too(tmp_path):
    fine = write(tmp_path / "fine.tif", crack_picture())
    pixels = np.full((3, 100, 300), 1, np.uint8)
    pixels[:, 49:51, 16:280] = 254
    coarse = write(tmp_path / "coarse.tif", pixels, transform=moved(400, 0) @ Affine.scale(3))
    with rasterio.open(coarse) as dataset:
        part = tuple(dataset.bounds)
    map_cracks([fine, coarse], tmp_path / "o.gpkg", model=IdentityModel(), bbox=part)
    (crack,) = gpd.read_file(tmp_path / "o.gpkg", layer="cracks").itertuples()
    assert (crack.source, crack.gsd_mm) == ("coarse.tif", pytest.approx(6, rel=2e-3))


def test_what_is_left_out_does_not_decide_on_the_grid(tmp_path):
    ours = write(tmp_path / "a.tif", picture(31, 51))
    alone, _ = place_rasters([ours], BandSpec())
    fine = write(
        tmp_path / "site.tif", picture(40, 50), crs='LOCAL_CS["site",UNIT["metre",1]]',
        transform=Affine(0.0004, 0, 0, 0, -0.0004, 0),
    )  # fmt: skip
    survey, errors = place_rasters([ours, fine], BandSpec())
    assert list(errors) == [fine]
    assert survey.grid == alone.grid


def test_the_first_raster_stays_where_it_is(tmp_path):
    ours = write(tmp_path / "a.tif", picture(31, 51))  # odd sides: its middle is off its lattice
    turned = TRANSFORM @ Affine.translation(60, 0) @ Affine.rotation(20)
    other = write(tmp_path / "b.tif", picture(40, 50), transform=turned)
    survey, _ = place_rasters([ours, other], BandSpec(), gsd_m=describe(ours).gsd_mm[0] / 1000)
    first, second = survey.members
    assert (first.is_warped, second.is_warped) == (False, True)
    shift_px = np.subtract(first.grid.transform[2:6:3], TRANSFORM[2:6:3]) / 0.002
    assert np.abs(shift_px).max() < 1e-3


def test_a_sliver_of_a_finer_raster_stops_nothing(tmp_path):
    ours = write(tmp_path / "a.tif", picture(40, 50), transform=TRANSFORM @ Affine.scale(10))
    sliver = write(tmp_path / "b.tif", picture(3, 300))
    result = predict_raster(
        [ours, sliver], tmp_path / "p.tif", model=IdentityModel(), crs="EPSG:25832", gsd_m=0.02
    )
    assert result.inputs == 2


def test_a_survey_lies_on_both_sides_of_the_antimeridian(tmp_path):
    step = 2e-8
    rasters = [
        write(
            tmp_path / f"{name}.tif", picture(100, 100), crs="EPSG:4326",
            transform=Affine(step, 0, x, 0, -step, 0.5),
        )
        for name, x in (("west", 180 - 100 * step), ("east", -180))
    ]  # fmt: skip
    survey, errors = place_rasters(rasters, BandSpec())
    assert not errors
    assert survey.grid.shape == (100, 200)
    utm = write(tmp_path / "utm.tif", picture(90, 120), crs="EPSG:32601",
                transform=Affine(0.002, 0, 166021.44 - 0.12, 0, -0.002, 0.1))  # fmt: skip
    survey, _ = place_rasters([utm], BandSpec(), "EPSG:4326")
    assert max(survey.grid.shape) < 300


def test_another_crs_is_warped_onto_the_survey(tmp_path):
    pixels = crack_picture()
    left = write(tmp_path / "left.tif", np.ascontiguousarray(pixels[:, :, :500]))
    right = write(
        tmp_path / "utm33.tif", np.ascontiguousarray(pixels[:, :, 400:]), transform=moved(0, 400)
    )
    with rasterio.open(right) as source:
        west, south, east, north = transform_bounds(UTM, "EPSG:32633", *source.bounds)
        transform = Affine(0.002, 0, west, 0, -0.002, north)
        shape = 3, int((north - south) / 0.002), int((east - west) / 0.002)
        other = np.zeros(shape, np.uint8)
        reproject(
            source.read(), other, src_transform=source.transform, src_crs=UTM,
            dst_transform=transform, dst_crs="EPSG:32633", resampling=Resampling.bilinear,
        )  # fmt: skip
    write(right, other, crs="EPSG:32633", transform=transform, nodata=0)
    result = map_cracks([left, right], tmp_path / "o.gpkg", model=IdentityModel())
    cracks = gpd.read_file(tmp_path / "o.gpkg", layer="cracks")
    assert cracks.crs.to_epsg() == 32632
    assert len(cracks) == 1
    assert result.vectors.length_m == pytest.approx(1.6, rel=0.02)
    assert result.vectors.width_mean_mm == pytest.approx(12, abs=1.5)


def test_a_survey_goes_on_raster_by_raster(tmp_path):
    from crackgeo.errors import Cancelled

    strips = pieces(tmp_path / "s", picture(500, 900), [(0, 400), (300, 640), (600, 900)])
    predict_raster(strips, tmp_path / "whole.tif", model=IdentityModel(1))
    seen = []
    monitor = Monitor(lambda *event: seen.append(event), is_cancelled=lambda: len(seen) > 4)
    with pytest.raises(Cancelled):
        predict_raster(strips, tmp_path / "p.tif", model=IdentityModel(1), monitor=monitor)
    model = IdentityModel(1)
    predict_raster(strips, tmp_path / "p.tif", model=model, resume=True)
    assert 0 < model.tiles < 6
    assert (tmp_path / "p.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


# ---------------------------------------------------------------- damage


def damaged(path):
    """Overwrite the middle of a raster of deflated blocks."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(bytes(data))


def test_a_raster_that_cannot_be_opened_stops_all_or_is_left_out(tmp_path):
    write(tmp_path / "a.tif", crack_picture())
    (tmp_path / "b.tif").write_text("no raster")
    inputs = [tmp_path / "b.tif", tmp_path / "a.tif"]
    with pytest.raises(InputError, match=r"b\.tif"):
        predict_raster(inputs, tmp_path / "p.tif", model=IdentityModel())
    heard = []
    result = predict_raster(
        inputs, tmp_path / "p.tif", model=IdentityModel(), on_error="skip",
        monitor=Monitor(on_warning=heard.append),
    )  # fmt: skip
    assert result.left_out == ("b.tif",)
    assert not result.is_complete
    assert "LEFT OUT        b.tif" in result.summary()
    assert any("b.tif" in message for message in heard)


def test_damaged_blocks_become_ground_that_was_not_surveyed(tmp_path):
    path = write(
        tmp_path / "a.tif", picture(640, 640, 1), compress="deflate", tiled=True,
        blockxsize=64, blockysize=64,
    )  # fmt: skip
    damaged(path)
    with pytest.raises(InputError, match="damaged or cut short"):
        predict_raster(path, tmp_path / "p.tif", model=IdentityModel())
    result = map_cracks(
        path, tmp_path / "o.gpkg", model=IdentityModel(), on_error="skip",
        probability=tmp_path / "p.tif",
    )  # fmt: skip
    skipped = result.prediction.skipped
    assert 1 <= skipped <= 2
    codes = codes_of(tmp_path / "p.tif")
    lost = (codes == 255).reshape(10, 64, 10, 64).all(axis=(1, 3))
    assert (lost.sum(), (codes == 255).sum()) == (skipped, skipped * 64 * 64)
    coverage = gpd.read_file(tmp_path / "o.gpkg", layer="coverage")
    reason = coverage.loc[~coverage["surveyed"], "reason"]
    assert set(reason) == {"damaged: the raster cannot be read here"}


def test_the_exit_code_says_that_something_was_left_out(tmp_path, monkeypatch, capfd):
    write(tmp_path / "a.tif", crack_picture())
    (tmp_path / "b.tif").write_text("no raster")
    monkeypatch.setattr("crackgeo.predict_options.load_model", lambda *_, **__: IdentityModel())
    command = ["predict", str(tmp_path), "-o", str(tmp_path.parent / "p.tif"), "--overwrite"]
    assert run(command) == 3
    assert run([*command, "--on-error", "skip"]) == 6
    assert "LEFT OUT        b.tif" in capfd.readouterr().out
    assert run([*command[:1], str(tmp_path / "a.tif"), *command[2:]]) == 0


@pytest.mark.parametrize(("kind", "factor"), [(np.uint16, 20), (np.uint8, 1)])
def test_a_picture_looks_for_the_stretch_of_a_raster_once(tmp_path, monkeypatch, kind, factor):
    path = write(tmp_path / "deep.tif", picture(300, 200).astype(kind) * factor)
    survey, _ = place_rasters([path], BandSpec())
    looks = []
    real = raster.find_stretch
    monkeypatch.setattr(raster, "find_stretch", lambda *a: looks.append(a) or real(*a))
    image = SurveyImage(survey, BandSpec())
    first, _ = image.read(Window(0, 0, 100, 200))
    again, _ = image.read(Window(0, 0, 100, 200))
    assert len(looks) == 1
    assert np.array_equal(first, again)


def test_damage_is_listed_where_it_is_in_a_part(tmp_path):
    """A block of 64 px at (256, 320) in a part that begins at (200, 100)."""
    tiled = {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64}
    path = write(tmp_path / "a.tif", picture(640, 640, 1), **tiled)
    with rasterio.open(path) as source:
        block = int(source.get_tag_item("BLOCK_OFFSET_5_4", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[block : block + 100] = bytes(100)
    path.write_bytes(bytes(content))
    x, y = TRANSFORM @ (100, 200)
    predict_raster(
        path, tmp_path / "p.tif", model=IdentityModel(), on_error="skip",
        bbox=(x, y - 0.6, x + 0.8, y), report=tmp_path / "p.json",
    )  # fmt: skip
    (lost,) = json.loads((tmp_path / "p.json").read_text())["run"]["skipped"]
    assert lost == {"input": "a.tif", "row": 56, "col": 220, "height": 64, "width": 64}
    codes = codes_of(tmp_path / "p.tif")
    assert (codes[56:120, 220:284] == 255).all()
    assert (codes == 255).sum() == 64 * 64
