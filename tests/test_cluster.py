"""The same bytes from many processes as from one, whatever becomes of them."""

import os
import signal
import sys
import time
import uuid
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from fakes import ContextModel
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.vrt import WarpedVRT
from rasters import TRANSFORM, picture, write

from crackgeo import cluster, cluster_worker
from crackgeo.cluster import row_ranges
from crackgeo.errors import Cancelled, InputError, ModelError, ResourceError, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.pipeline import predict_raster
from crackgeo.predict_options import PredictOptions
from crackgeo.specs import TileSpec
from crackgeo.tiling import TilePlan

distributed = pytest.importorskip("distributed")

STEP = TileSpec().step_px
PART = (500000.1, 5400000 - 6.5, 500000.9, 5400000 - 0.3)


class MortalModel(ContextModel):
    """Ends its process at the first tile; `grave` remembers that it did."""

    def __init__(self, grave):
        super().__init__(1)
        self.grave = grave

    def predict(self, images):
        if not self.grave.exists():
            self.grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(images)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """One or two rows of two tiles each."""
    monkeypatch.setattr("crackgeo.cluster.BATCHES_A_TASK", 2)


@pytest.fixture(scope="module")
def scheduler():
    """Two workers, one thread each; their number is kept up by their nannies."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Eleven rows of tiles, with a hole over a row where tasks meet."""
    pixels = picture(3500, 500)
    pixels[:, 4 * STEP - 400 : 4 * STEP + 30, :] = 0
    return write(tmp_path_factory.mktemp("survey") / "survey.tif", pixels, nodata=0)


@pytest.mark.parametrize("address", ["foo", "foo:bar", "foo://bar:1", "", "tcp://foo"])
def test_what_is_no_address_is_not_tried(survey, tmp_path, monkeypatch, address):
    monkeypatch.setattr("distributed.Client", None)  # one that fails keeps the program from ending
    with pytest.raises(UsageError, match="not the address"):
        predict_raster(survey, tmp_path / "p.tif", scheduler=address)


@settings(deadline=None)  # Python itself takes that long on a busy machine
@given(
    row=st.integers(0, 5000),
    height=st.integers(1, 9000),
    below=st.integers(0, 1000),
    rows=st.integers(1, 9),
)
def test_tasks_cover_a_part_and_meet_where_tiles_begin(row, height, below, rows):
    plan = TilePlan((row + height + below, 700), Window(row, 0, height, 700), TileSpec())
    ranges = row_ranges(plan, rows)
    assert ranges[0][0] == row
    assert ranges[-1][1] == row + height
    for (first, end), (following, _) in pairwise(ranges):
        assert first < end == following
        assert end % STEP == 0
        assert end <= plan.rows[-1] * STEP
    assert all(end - first < (rows + 2) * STEP for first, end in ranges)


@pytest.mark.parametrize("bbox", [None, PART])
def test_workers_give_the_bytes_of_a_single_process(survey, scheduler, tmp_path, bbox):
    one, many = tmp_path / "one.tif", tmp_path / "many.tif"
    alone = predict_raster(survey, one, model=ContextModel(2), bbox=bbox)
    seen = []
    monitor = Monitor(lambda *event: seen.append(event))
    together = predict_raster(
        survey, many, model=ContextModel(2), bbox=bbox, scheduler=scheduler, monitor=monitor
    )
    assert many.read_bytes() == one.read_bytes()
    assert together.tiles_run == alone.tiles_run
    tiles = [event[1:] for event in seen if event[0] == "predict"]
    assert tiles[-1] == (alone.tiles, alone.tiles)
    assert tiles == sorted(tiles)


def test_a_worker_killed_mid_run_loses_nothing(survey, scheduler, tmp_path):
    one, many = tmp_path / "one.tif", tmp_path / "many.tif"
    predict_raster(survey, one, model=ContextModel(1))
    model = MortalModel(tmp_path / "grave")
    predict_raster(survey, many, model=model, scheduler=scheduler)
    assert model.grave.exists()
    assert many.read_bytes() == one.read_bytes()


def test_a_stopped_run_goes_on_with_workers(survey, scheduler, tmp_path):
    one, many, done = tmp_path / "one.tif", tmp_path / "many.tif", []
    predict_raster(survey, one, model=ContextModel(1))
    monitor = Monitor(lambda *event: done.append(event), is_cancelled=lambda: len(done) > 12)
    with pytest.raises(Cancelled):
        predict_raster(survey, many, model=ContextModel(1), monitor=monitor)
    predict_raster(survey, many, model=ContextModel(1), scheduler=scheduler, resume=True)
    assert many.read_bytes() == one.read_bytes()


def test_the_user_can_stop_it(survey, scheduler, tmp_path):
    started = time.monotonic()
    monitor = Monitor(is_cancelled=lambda: time.monotonic() > started + 0.2)
    with pytest.raises(Cancelled):
        predict_raster(
            survey, tmp_path / "p.tif", model=ContextModel(1), scheduler=scheduler, monitor=monitor
        )
    assert not (tmp_path / "p.tif").exists()


def test_what_goes_wrong_on_a_worker_is_told_as_ever(scheduler, tmp_path):
    path = write(tmp_path / "s.tif", picture(900, 500), compress="deflate", tiled=True)
    content = path.read_bytes()
    path.write_bytes(
        content[: len(content) // 2] + bytes(2000) + content[len(content) // 2 + 2000 :]
    )
    with pytest.raises(InputError, match="the block at row") as caught:
        predict_raster(path, tmp_path / "p.tif", model=ContextModel(1), scheduler=scheduler)
    assert caught.value.remedy


def test_workers_of_our_own(tmp_path):
    """One process, started and ended by the run, with the real model."""
    path = write(tmp_path / "s.tif", np.full((3, 100, 120), 90, np.uint8))
    predict_raster(path, tmp_path / "one.tif")
    predict_raster(path, tmp_path / "many.tif", workers=1)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "many.tif").read_bytes()


def test_where_there_is_no_scheduler(survey, tmp_path, monkeypatch):
    monkeypatch.setattr("crackgeo.cluster.START_S", 0.2)
    options = {"model": ContextModel(), "scheduler": "tcp://127.0.0.1:9"}
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        predict_raster(survey, tmp_path / "p.tif", **options)
    with pytest.raises(UsageError, match="exclude each other"):
        predict_raster(survey, tmp_path / "p.tif", **options, workers=2)


def test_without_dask(survey, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="need Dask") as caught:
        predict_raster(survey, tmp_path / "p.tif", model=ContextModel(), workers=2)
    assert "crackgeo[dask]" in caught.value.remedy
    assert not Path(tmp_path / "p.tif").exists()


def test_surveys_give_the_bytes_of_a_single_process(scheduler, tmp_path):
    """Strips that overlap, one of them twice, with holes; one in another CRS, one damaged."""
    folder = tmp_path / "strips"
    folder.mkdir()
    tiled = {"nodata": 0, "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    for number, col in enumerate((0, 300, 300, 550)):
        pixels = picture(900, 400, seed=number)
        pixels[:, 350:500, 100:350] = 0
        place = Grid(1, 1, TRANSFORM).part(Window(40 * number, col, 1, 1)).transform
        write(folder / f"{number}.tif", pixels, transform=place, **tiled)
    with rasterio.open(folder / "1.tif") as source:
        block = int(source.get_tag_item("BLOCK_OFFSET_5_12", "TIFF", bidx=1))
    content = bytearray((folder / "1.tif").read_bytes())
    content[block : block + 100] = bytes(100)
    (folder / "1.tif").write_bytes(bytes(content))
    with rasterio.open(folder / "3.tif") as source, WarpedVRT(source, crs="EPSG:32633") as warped:
        rasterio.shutil.copy(warped, folder / "4.tif", driver="GTiff")
    (folder / "3.tif").unlink()
    results = {}
    for crs in (None, "EPSG:25832"):
        for name, options in (("one", {}), ("many", {"scheduler": scheduler})):
            results[name] = predict_raster(
                folder, tmp_path / f"{name}.tif", model=ContextModel(1), on_error="skip",
                crs=crs, overwrite=True, **options,
            )  # fmt: skip
        one, many = results["one"], results["many"]
        assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "many.tif").read_bytes()
        assert one.skipped == many.skipped > 0
        assert (one.tiles, one.tiles_run) == (many.tiles, many.tiles_run)
        assert one.inputs == many.inputs == 4


def test_a_raster_that_goes_is_left_out_by_workers_too(scheduler, tmp_path):
    """The second of three is there when the run begins and is not when it is opened.

    The third, which overlaps it, is surveyed all the same.
    """
    folder = tmp_path / "s"
    folder.mkdir()

    def strip(number):
        place = Grid(1, 1, TRANSFORM).part(Window(0, 400 * number, 1, 1)).transform
        write(folder / f"{number}.tif", picture(800, 450), transform=place)

    for number in range(3):
        strip(number)

    def remove(stage, done, total):
        if stage == "predict":
            (folder / "1.tif").unlink(missing_ok=True)

    options = {"model": ContextModel(1), "on_error": "skip"}
    heard = []
    for name, more in (("one", {}), ("many", {"scheduler": scheduler})):
        strip(1)
        options["monitor"] = Monitor(remove, heard.append)
        result = predict_raster(folder, tmp_path / f"{name}.tif", **options, **more)
        assert result.skipped == 3
        assert not result.is_complete
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "many.tif").read_bytes()
    assert [message for message in heard if "1.tif: no such file" in message]


def test_workers_that_do_not_fit(survey, scheduler, tmp_path, monkeypatch):
    options = {"model": ContextModel(1), "scheduler": scheduler}
    monkeypatch.setattr("crackgeo.cluster.__version__", "0.0")
    with pytest.raises(ModelError, match=r"the workers have crackgeo .*, this is 0\.0"):
        predict_raster(survey, tmp_path / "p.tif", **options)
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"no such model|nonesuch"):
        predict_raster(survey, tmp_path / "p.tif", model="nonesuch", scheduler=scheduler)
    assert not list(tmp_path.iterdir())


class ChangingModel(ContextModel):
    """Another file wherever it comes out of a pickle a second time."""

    def __reduce__(self):
        return changing_model, ()


def changing_model():
    model = ContextModel(1)
    object.__setattr__(model.info, "sha256", uuid.uuid4().hex * 2)
    return model


def test_a_worker_with_another_model_is_found(survey, scheduler, tmp_path):
    with pytest.raises(ModelError, match=r"the worker tcp://.* has another file under the name"):
        predict_raster(survey, tmp_path / "p.tif", model=ChangingModel(1), scheduler=scheduler)


@pytest.mark.parametrize(
    ("trait", "words"),
    [
        ({"device": "cuda:0"}, r"the worker .* on .* computes with --device cuda:0, the first"),
        ({"precision": "bf16"}, "with --precision bf16, the first one with own"),
        ({"batch_size": 2}, "with --batch-size 2, the first one with 1"),
    ],
)
def test_a_worker_that_computes_otherwise_is_found(trait, words):
    """As a worker does it, which may have joined after the first one was asked."""
    model, wanted = ContextModel(1), cluster_worker.computer_of(ContextModel(1))
    vars(model).update(trait)
    with pytest.raises(ModelError, match=words) as caught:
        cluster_worker._load(cluster_worker.Job("token", PredictOptions(model=model), None, wanted))
    assert caught.value.exit_code == 5
    assert "--" in caught.value.remedy


@pytest.mark.parametrize("name", ["version", "torch"])
def test_a_worker_of_another_version_that_comes_later_is_found(monkeypatch, name):
    """As a worker does it, which may have joined after the first one was asked."""
    wanted = cluster_worker.computer_of(ContextModel(1))
    job = cluster_worker.Job("token", PredictOptions(model=ContextModel(1)), None, wanted)
    assert cluster_worker._load(job)
    if name == "version":
        monkeypatch.setattr(cluster_worker, "__version__", "0.0")
    else:
        monkeypatch.setattr(cluster_worker, "torch_version", lambda: "0.0")
    with pytest.raises(ModelError, match=r"the worker .* has \w+ 0\.0, the others") as caught:
        cluster_worker._load(job)
    assert "same version" in caught.value.remedy


def test_paths_are_handed_out_whole(survey, tmp_path, monkeypatch):
    monkeypatch.chdir(survey.parent)
    for name in ("area.gpkg", "own.safetensors"):
        (survey.parent / name).touch()
    options = PredictOptions(model="own.safetensors", aoi="area.gpkg")
    options = cluster._from_anywhere(options)
    assert (options.model, options.aoi) == (
        survey.parent / "own.safetensors", survey.parent / "area.gpkg",
    )  # fmt: skip
    assert cluster._absolute(Path(survey.name)) == survey
    for name in ("compact", "https://host/a.tif", "/vsis3/bucket/a.tif"):
        assert cluster._absolute(name) == name


def test_workers_in_another_folder_find_a_relative_input(scheduler, tmp_path, monkeypatch):
    write(tmp_path / "s.tif", picture(900, 500))
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    predict_raster("s.tif", "p.tif", model=ContextModel(1), scheduler=scheduler)
    assert Path("p.tif").exists()


def test_that_all_workers_have_gone_is_told_once(monkeypatch):
    monkeypatch.setattr(cluster, "POLL_S", 0.01)
    monkeypatch.setattr(cluster, "ALONE_S", 0.05)
    heard = []
    asked = []

    def is_cancelled():  # some time after it was told
        asked.append(1)
        return bool(heard) and len(asked) > 40

    monitor = Monitor(on_warning=heard.append, is_cancelled=is_cancelled)
    workers = cluster.Workers(PredictOptions())
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", processes=False) as empty,
        distributed.Client(empty, set_as_default=False) as workers._client,
    ):
        future = workers._client.submit(int, 1, pure=False)
        with pytest.raises(Cancelled):
            workers._answer(future, monitor)
    assert len(heard) == 1
    assert "all workers have gone" in heard[0]


def test_workers_of_our_own_leave_ctrl_c_to_the_run():
    with (
        cluster._own_cluster(distributed, 1) as own,
        distributed.Client(own, set_as_default=False) as client,
    ):
        (handler,) = client.run(signal.getsignal, signal.SIGINT).values()
    assert handler == signal.SIG_IGN


def test_a_scheduler_without_workers(survey, tmp_path, monkeypatch):
    monkeypatch.setattr("crackgeo.cluster.START_S", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        pytest.raises(UsageError, match="has no workers"),
    ):
        predict_raster(
            survey, tmp_path / "p.tif", model=ContextModel(1), scheduler=cluster.scheduler_address
        )


def test_a_scheduler_that_goes(survey, tmp_path):
    """What is done stays, and is gone on with."""
    predict_raster(survey, tmp_path / "one.tif", model=ContextModel(1))
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    )

    def end(stage, done, total):
        if done > 6:
            cluster.close()

    with pytest.raises(ResourceError, match="scheduler has gone") as caught:
        predict_raster(
            survey, tmp_path / "p.tif", model=ContextModel(1), monitor=Monitor(end),
            scheduler=cluster.scheduler_address,
        )  # fmt: skip
    assert "--resume" in caught.value.remedy
    assert list((tmp_path / "p.tif.work").glob("*/rows-*"))
    predict_raster(survey, tmp_path / "p.tif", model=ContextModel(1), resume=True)
    assert (tmp_path / "p.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()
