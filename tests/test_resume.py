"""Runs that end early: nothing is lost, nothing is mixed, two never meet."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio.shutil
import shapely
from fakes import ContextModel
from rasters import TRANSFORM, picture, write

from crackgeo.errors import Cancelled, InputError, ResourceError, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.pipeline import predict_raster
from crackgeo.work import WorkFolder

CHILD = Path(__file__).with_name("crash_child.py")


@pytest.fixture
def survey(tmp_path):
    """Two columns of tiles, five rows of them, with a hole in the data."""
    pixels = picture(1700, 600)
    pixels[:, 700:800, 100:300] = 0
    return write(tmp_path / "survey.tif", pixels, nodata=0)


def stopped(survey, output, model=None, after=10, **options):
    """Run until so many tiles are done; then the user stops it."""
    model, done = model or ContextModel(1), []
    monitor = Monitor(lambda *event: done.append(event), is_cancelled=lambda: len(done) >= after)
    with pytest.raises(Cancelled):
        predict_raster(survey, output, model=model, monitor=monitor, **options)
    return model


@pytest.mark.parametrize("how", ["faults", "moments"])
def test_killed_runs_go_on_to_the_same_bytes(tmp_path, how):
    survey = write(tmp_path / "survey.tif", picture(1200, 200))
    undisturbed = tmp_path / "undisturbed.tif"
    predict_raster(survey, undisturbed, model=ContextModel(2))
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CHILD), str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    runs = [line.split() for line in done.stdout.splitlines()]
    assert len(runs) >= {"faults": 20, "moments": 3}[how]
    for _, name, _ in runs:
        assert (tmp_path / name).read_bytes() == undisturbed.read_bytes(), name
    # one killed while it tidied up leaves some of its folder, and nothing else
    assert how == "moments" or not list(tmp_path.glob("*.work"))
    assert not list(tmp_path.glob(".*"))
    numbers = {int(number) for _, _, number in runs}  # bands that were there, or kills
    assert numbers > {0, 1} if how == "faults" else min(numbers) > 1


def test_what_is_done_is_not_done_again(survey, tmp_path):
    whole, out = tmp_path / "whole.tif", tmp_path / "p.tif"
    undisturbed = ContextModel(1)
    expected = predict_raster(survey, whole, model=undisturbed)
    first = stopped(survey, out)
    second = ContextModel(1)
    result = predict_raster(survey, out, model=second, resume=True)
    assert out.read_bytes() == whole.read_bytes()
    assert (result.tiles_run, result.pixels_valid) == (expected.tiles_run, expected.pixels_valid)
    again = first.tiles + second.tiles - undisturbed.tiles
    assert 0 < first.tiles < undisturbed.tiles
    assert 0 <= again <= 4  # two rows of tiles at most


def test_progress_goes_on_where_it_was(survey, tmp_path):
    stopped(survey, tmp_path / "p.tif")
    seen = []
    monitor = Monitor(lambda *event: seen.append(event))
    predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), resume=True, monitor=monitor)
    tiles = [event[1:] for event in seen if event[0] == "predict"]
    assert tiles[0][0] > 0
    assert tiles[-1] == (10, 10)


def test_a_part_and_an_area_go_on_too(survey, tmp_path):
    bbox = (500000.1, 5400000 - 3.1, 500000.9, 5400000 - 0.5)
    predict_raster(survey, tmp_path / "whole.tif", model=ContextModel(1), bbox=bbox)
    stopped(survey, tmp_path / "p.tif", bbox=bbox)
    predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), bbox=bbox, resume=True)
    assert (tmp_path / "p.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_an_option_that_is_no_number_is_the_same_one_again(tmp_path):
    survey = write(tmp_path / "survey.tif", picture(1700, 600).astype(np.float32))
    stopped(survey, tmp_path / "p.tif", nodata=np.nan)
    options = {"nodata": np.nan, "resume": True}
    predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), **options)


def draw_area(folder, right):
    """A folder with a shapefile, as some programs name their areas."""
    folder.mkdir(exist_ok=True)
    shape = shapely.box(500000.1, 5400000 - 3.1, right, 5400000 - 0.5)
    pyogrio.raw.write(
        folder / "area.shp",
        shapely.to_wkb(np.array([shape], object)),
        field_data=[],
        fields=[],
        crs="EPSG:32632",
        geometry_type="Polygon",
    )
    return folder


def test_polygons_in_a_folder_are_told_from_others(survey, tmp_path):
    out, aoi = tmp_path / "p.tif", draw_area(tmp_path / "area", 500000.9)
    stopped(survey, out, aoi=aoi)
    draw_area(aoi, 500000.8)
    with pytest.raises(UsageError, match="AOI was"):
        predict_raster(survey, out, model=ContextModel(1), aoi=aoi, resume=True)
    draw_area(aoi, 500000.9)
    predict_raster(survey, out, model=ContextModel(1), aoi=aoi, resume=True)


def test_without_resume_the_work_stays_unless_overwritten(survey, tmp_path):
    out = tmp_path / "p.tif"
    stopped(survey, out)
    with pytest.raises(UsageError, match=r"p\.tif\.work: holds the work") as caught:
        predict_raster(survey, out, model=ContextModel(1))
    assert "--resume" in caught.value.remedy
    model = ContextModel(1)
    predict_raster(survey, out, model=model, overwrite=True)
    assert model.tiles == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.tif", "survey.tif"]


def test_a_finished_output_is_not_gone_on_with(survey, tmp_path):
    out = tmp_path / "p.tif"
    predict_raster(survey, out, model=ContextModel(1), resume=True)  # nothing there: begins
    before = out.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        predict_raster(survey, out, model=ContextModel(1), resume=True)
    assert out.read_bytes() == before


def changed_model():
    model = ContextModel(1)
    object.__setattr__(model.info, "sha256", "1" * 64)
    return model


def changed_input(survey):
    pixels = picture(1700, 600, seed=2)
    write(survey, pixels, nodata=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overlap_px": 100}, "option overlap was 112 and is 100"),
        ({"gsd_m": 0.004}, "option gsd was null and is 0.004"),
        ({"bands": (1, 1, 2)}, "option bands"),
        ({"bbox": (500000.1, 5399998, 500000.9, 5399999)}, "option bbox"),
        ({"model": changed_model()}, "model was"),
        ("input", r"input 1 survey\.tif was"),
        ("touched", r"time of input 1 survey\.tif was"),
    ],
)
def test_other_options_models_or_inputs_do_not_mix(survey, tmp_path, change, words):
    out = tmp_path / "p.tif"
    stopped(survey, out)
    bands = {p: p.read_bytes() for p in tmp_path.glob("p.tif.work/*/rows*")}
    if change == "input":
        changed_input(survey)
        change = {}
    elif change == "touched":
        os.utime(survey, (10**9, 10**9))
        change = {}
    with pytest.raises(UsageError, match=words) as caught:
        predict_raster(survey, out, **{"model": ContextModel(1), **change}, resume=True)
    assert "--overwrite" in caught.value.remedy
    assert {p: p.read_bytes() for p in tmp_path.glob("p.tif.work/*/rows*")} == bands


def test_two_runs_on_one_output_do_not_meet(survey, tmp_path):
    out = tmp_path / "p.tif"
    with (
        WorkFolder(out),
        pytest.raises(ResourceError, match=f"process {os.getpid()} on .* is writing it"),
    ):
        predict_raster(survey, out, model=ContextModel(1), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["survey.tif"]
    predict_raster(survey, out, model=ContextModel(1))


def test_work_in_hand_is_not_taken_for_work_left(survey, tmp_path):
    out = tmp_path / "p.tif"
    stopped(survey, out)
    with (
        WorkFolder(out, resume=True),
        pytest.raises(ResourceError, match="is writing it"),
    ):
        predict_raster(survey, out, model=ContextModel(1))
    with pytest.raises(UsageError, match="ended early"):
        predict_raster(survey, out, model=ContextModel(1))
    predict_raster(survey, out, model=ContextModel(1), resume=True)


def test_bands_without_their_run_are_not_taken_over(tmp_path):
    with WorkFolder(tmp_path / "p.tif") as work:
        work.begin({"option": 1})
        (work.folder("0001") / "rows-000000000-000000010.tif").touch()
    (work.path / "run.json").unlink()
    with WorkFolder(tmp_path / "p.tif", resume=True) as work:
        work.begin({"option": 2})
        assert not list(work.path.glob("*/rows*"))


def test_of_runs_that_begin_at_once_one_gets_the_folder(tmp_path):
    """However they meet, no two work in the folder at the same time, and it is gone after all."""
    out, together = tmp_path / "p.tif", threading.Barrier(8)
    inside, most, refused = [], [], []

    def run():
        together.wait()
        try:
            with WorkFolder(out) as work:
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.02)
                work.finish()
                inside.pop()
        except ResourceError:
            refused.append(1)

    runs = [threading.Thread(target=run) for _ in range(8)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 8
    assert not out.with_name("p.tif.work").exists()


def test_what_a_power_cut_leaves_locks_nobody_out(tmp_path):
    out = tmp_path / "p.tif"
    folder = tmp_path / "p.tif.work"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "owner.json").write_text('{"pid": 1, "host": "elsewhere"}')
    with WorkFolder(out) as work:
        assert json.loads((folder / "owner.json").read_text())["pid"] == os.getpid()
        work.finish()
    assert not folder.exists()


def test_a_run_begun_with_a_clock_ahead_has_its_first_start(tmp_path):
    with WorkFolder(tmp_path / "p.tif") as work:
        started = work.begin({})
        (work.folder("0001") / "rows-000000000-000000010.tif").touch()
    run = json.loads((work.path / "run.json").read_text())
    run["started"] = "2999-01-01T00:00:00+00:00"
    (work.path / "run.json").write_text(json.dumps(run))
    with WorkFolder(tmp_path / "p.tif", resume=True) as work:
        assert work.begin({}) > started


def test_nothing_is_kept_of_a_raster_without_data(tmp_path):
    empty = write(tmp_path / "empty.tif", np.zeros((900, 500), np.uint8), nodata=0)
    with pytest.raises(InputError, match="no data"):
        predict_raster(empty, tmp_path / "p.tif", model=ContextModel(1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.tif"]


def test_a_source_of_a_virtual_raster_that_changes_is_found(survey, tmp_path):
    rasterio.shutil.copy(survey, tmp_path / "mosaic.vrt", driver="VRT")
    stopped(tmp_path / "mosaic.vrt", tmp_path / "p.tif")
    (tmp_path / "survey.tif.aux.xml").write_text("<PAMDataset/>")  # a GIS looked at it
    before = survey.stat()
    changed_input(survey)
    options = {"model": ContextModel(1), "resume": True}
    with pytest.raises(UsageError, match=r"time of input 1 mosaic\.vrt was"):
        predict_raster(tmp_path / "mosaic.vrt", tmp_path / "p.tif", **options)
    pixels = picture(1700, 600)
    pixels[:, 700:800, 100:300] = 0
    write(survey, pixels, nodata=0)
    os.utime(survey, ns=(before.st_atime_ns, before.st_mtime_ns))
    predict_raster(tmp_path / "mosaic.vrt", tmp_path / "p.tif", **options)


def test_rasters_of_the_same_name_are_not_taken_for_each_other(tmp_path):
    inputs = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        place = Grid(1, 1, TRANSFORM).part(Window(0, 500 * number, 1, 1)).transform
        inputs.append(write(tmp_path / str(number) / "a.tif", picture(700, 450), transform=place))
    stopped(inputs, tmp_path / "p.tif", after=9)
    place = Grid(1, 1, TRANSFORM).part(Window(0, 0, 1, 1)).transform
    write(inputs[0], picture(700, 450, seed=5), transform=place)
    with pytest.raises(UsageError, match=r"input 1 0/a\.tif was"):
        predict_raster(inputs, tmp_path / "p.tif", model=ContextModel(1), resume=True)


def test_a_band_damaged_meanwhile_is_predicted_anew(survey, tmp_path):
    whole, out = tmp_path / "whole.tif", tmp_path / "p.tif"
    predict_raster(survey, whole, model=ContextModel(1))
    stopped(survey, out)
    band = max(tmp_path.glob("p.tif.work/*/rows-*.tif"))
    content = bytearray(band.read_bytes())
    content[len(content) // 2] ^= 1
    band.write_bytes(content)
    predict_raster(survey, out, model=ContextModel(1), resume=True)
    assert out.read_bytes() == whole.read_bytes()
