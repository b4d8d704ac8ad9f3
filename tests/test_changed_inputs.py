"""What a run reads is known whole: with masks, and with what lies inside virtual rasters."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from fakes import ContextModel
from rasters import picture, write

import crackgeo
from crackgeo.describe import file_stamp
from crackgeo.errors import Cancelled, UsageError
from crackgeo.monitor import Monitor
from crackgeo.virtual import sources_of


def stopped(inputs, output, **options):
    """Run until the first rows are kept; then the user stops it."""
    work = output.with_name(f"{output.name}.work")
    monitor = Monitor(is_cancelled=lambda: any(work.glob("*/rows-*.tif")))
    with pytest.raises(Cancelled):
        crackgeo.predict_raster(inputs, output, model=ContextModel(1), monitor=monitor, **options)
    return work


def virtual(path, source):
    """A virtual raster with relative names."""
    rasterio.shutil.copy(source, path, driver="VRT")
    text = path.read_text()
    assert 'relativeToVRT="1"' in text
    return path


@pytest.fixture
def survey(tmp_path):
    return write(tmp_path / "survey.tif", picture(1700, 600))


@pytest.fixture
def nested(survey, tmp_path):
    """A virtual raster of a virtual raster."""
    inner, outer = virtual(tmp_path / "inner.vrt", survey), tmp_path / "outer.vrt"
    outer.write_text(inner.read_text().replace(">survey.tif<", ">inner.vrt<"))
    return outer


def test_sources_are_found_at_any_depth(nested, survey, tmp_path):
    assert sources_of(nested) == [tmp_path / "inner.vrt", survey]
    assert sources_of(survey) == []
    assert sources_of(tmp_path / "missing.vrt") == []
    odd = tmp_path / "odd.vrt"
    names = "".join(f"<SourceFilename>{name}</SourceFilename>" for name in ("/", ".", "x" * 300))
    odd.write_text(f"<VRTDataset>{names}</VRTDataset>")
    assert file_stamp(odd)
    broken = tmp_path / "broken.vrt"
    broken.write_text("<VRTDataset><a></VRTDataset>")
    assert sources_of(broken) == []
    ring = tmp_path / "ring.vrt"
    name = '<SourceFilename relativeToVRT="1">ring.vrt</SourceFilename>'
    ring.write_text(f"<VRTDataset>{name}</VRTDataset>")
    assert sources_of(ring) == [ring]


def test_a_change_below_a_virtual_raster_is_noticed(nested, survey, tmp_path):
    out = tmp_path / "p.tif"
    stopped(nested, out)
    write(survey, picture(1700, 600, seed=2))
    with pytest.raises(UsageError, match="belongs to another run: time of input"):
        crackgeo.predict_raster(nested, out, model=ContextModel(1), resume=True)


def test_a_mask_beside_a_raster_that_changes_is_noticed(tmp_path):
    mask = np.ones((1700, 600), bool)
    survey = write(tmp_path / "m.tif", picture(1700, 600), mask=mask, sidecar_mask=True)
    assert (tmp_path / "m.tif.msk").exists()
    stopped(survey, tmp_path / "p.tif")
    mask[:, 300:] = False
    other = write(tmp_path / "other.tif", picture(1700, 600), mask=mask, sidecar_mask=True)
    shutil.copy(f"{other}.msk", f"{survey}.msk")
    with pytest.raises(UsageError, match="belongs to another run"):
        crackgeo.predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), resume=True)


@pytest.mark.parametrize("target", ["survey.tif", "inner.vrt"])
def test_what_a_virtual_raster_reads_is_not_replaced(nested, tmp_path, target):
    before = (tmp_path / target).read_bytes()
    probability = tmp_path / target
    with pytest.raises(UsageError, match=r"is an input of this run|what is written is a"):
        crackgeo.predict_raster(nested, probability, model=ContextModel(1), overwrite=True)
    with pytest.raises(UsageError, match=r"is an input of this run|what is written is a"):
        crackgeo.map_cracks(
            nested, tmp_path / "o.gpkg", probability=probability, model=ContextModel(1),
            overwrite=True,
        )  # fmt: skip
    assert probability.read_bytes() == before


def test_a_pattern_does_not_match_the_work_of_the_run(survey, tmp_path):
    pattern = f"{tmp_path}/**/*.tif"
    out = tmp_path / "p.tif"
    work = stopped(pattern, out)
    assert any(work.glob("*/rows-*.tif"))
    result = crackgeo.predict_raster(pattern, out, model=ContextModel(1), resume=True)
    assert (result.inputs, result.left_out) == (1, ())


@pytest.mark.parametrize("record", ["", "{}", "[]"])
def test_a_record_that_cannot_be_read_is_told(survey, tmp_path, record):
    out = tmp_path / "p.tif"
    work = stopped(survey, out)
    (work / "run.json").write_text(record)
    with pytest.raises(UsageError, match="record of the run") as caught:
        crackgeo.predict_raster(survey, out, model=ContextModel(1), resume=True)
    assert "--overwrite" in caught.value.remedy
    crackgeo.predict_raster(survey, out, model=ContextModel(1), resume=True, overwrite=True)
    assert out.exists()
    assert not work.exists()


def test_going_on_replaces_no_file_that_the_run_did_not_name(survey, tmp_path):
    named, precious = tmp_path / "named.json", tmp_path / "precious.json"
    out = tmp_path / "p.tif"
    stopped(survey, out, report=named)
    for path in (named, precious):
        path.write_text("precious")
    options = {"model": ContextModel(1), "resume": True}
    with pytest.raises(UsageError, match=r"precious.json: exists already"):
        crackgeo.predict_raster(survey, out, report=precious, **options)
    assert precious.read_text() == "precious"
    crackgeo.predict_raster(survey, out, report=named, **options)
    assert "tiles_run" in named.read_text()


def test_with_overwrite_too_another_run_starts_anew(survey, tmp_path):
    out = tmp_path / "p.tif"
    work = stopped(survey, out)
    begun = json.loads((work / "run.json").read_text())["started"]
    crackgeo.predict_raster(
        survey, out, model=ContextModel(1), resume=True, overwrite=True, overlap_px=64
    )
    with rasterio.open(out) as dataset:
        assert begun not in str(dataset.tags())
    assert not work.exists()


def test_a_folder_of_the_user_is_not_emptied(survey, tmp_path):
    mine = tmp_path / "p.tif.work" / "mine"
    mine.mkdir(parents=True)
    with pytest.raises(UsageError, match="no run of crackgeo made it"):
        crackgeo.predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), overwrite=True)
    assert list(Path(tmp_path).iterdir()).count(mine.parent) == 1
    assert list(mine.parent.iterdir()) == [mine]
    mine.rmdir()
    for name in (".DS_Store", "Thumbs.db", "owner.json"):  # of the system, or of a run of ours
        (mine.parent / name).touch()
    crackgeo.predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1))


def test_what_a_killed_run_had_begun_is_removed(survey, tmp_path):
    names = ["prob.tif", "look.png", "run.json"]
    for name in names:
        stem, _, suffix = name.partition(".")
        (tmp_path / f".{stem}.part-0123abcd.{suffix}").touch()
    (tmp_path / ".prob.part-4567.tif").mkdir()  # no file: tidying passes it over
    prob, look, run = (tmp_path / name for name in names)
    crackgeo.map_cracks(
        survey, tmp_path / "o.gpkg", probability=prob, quicklook=look, report=run,
        model=ContextModel(1),
    )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*names, ".prob.part-4567.tif", "o.gpkg", "survey.tif"]
    )
