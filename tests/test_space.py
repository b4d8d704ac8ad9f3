"""Disk is asked for before a run, by what its rasters hold."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from fakes import ContextModel, IdentityModel
from rasters import picture, write

from crackgeo import space
from crackgeo.aoi import Area
from crackgeo.cli import run
from crackgeo.dataset import gdal_window
from crackgeo.errors import Cancelled, ResourceError
from crackgeo.grid import Window
from crackgeo.monitor import Monitor
from crackgeo.pipeline import map_cracks, predict_raster
from crackgeo.raster import open_image

SIDE = 1000


@pytest.fixture
def free(monkeypatch):
    """Free bytes of every disk, to be set."""
    disk = SimpleNamespace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    monkeypatch.setattr(space, "TEMPORARY_BYTES", 0)
    return disk


@pytest.fixture
def survey(tmp_path):
    return write(tmp_path / "survey.tif", picture(SIDE, SIDE), nodata=0)


def test_a_disk_too_small_is_told_before_the_work(survey, tmp_path, free, monkeypatch, capsys):
    monkeypatch.setattr("crackgeo.predict_options.load_model", lambda *_, **__: model)
    model, free.free = IdentityModel(), 300_000
    command = ["map", str(survey), "-o", str(tmp_path / "o.gpkg"), "-q"]
    assert run(command) == 4
    told = capsys.readouterr().err
    assert "has 300 kB free, this run needs about 500 kB" in told
    assert "the work folder 400 kB" in told
    assert "remedy: make room" in told
    assert model.tiles == 0
    assert [p.name for p in tmp_path.iterdir()] == ["survey.tif"]
    free.free = 510_000
    assert run(command) == 0


def test_a_probability_raster_that_is_kept_needs_more(survey, tmp_path, free):
    free.free = 510_000
    with pytest.raises(ResourceError, match=r"the probability raster 800 kB"):
        map_cracks(
            survey, tmp_path / "o.gpkg", probability=tmp_path / "p.tif", model=IdentityModel()
        )
    free.free = 1_260_000
    predict_raster(survey, tmp_path / "q.tif", model=IdentityModel())


def test_a_picture_needs_its_own(survey, tmp_path, free):
    free.free = 510_000
    with pytest.raises(ResourceError, match=r"the picture 10\.0 MB"):
        map_cracks(survey, tmp_path / "o.gpkg", quicklook=tmp_path / "q.png", model=IdentityModel())


def test_what_is_done_needs_no_more(tmp_path, free):
    survey, done = write(tmp_path / "survey.tif", picture(1700, 600), nodata=0), []
    monitor = Monitor(lambda *event: done.append(event), is_cancelled=lambda: len(done) > 10)
    with pytest.raises(Cancelled):
        map_cracks(survey, tmp_path / "o.gpkg", model=ContextModel(1), monitor=monitor)
    free.free = int(1700 * 600 * 0.5) - 100_000
    with pytest.raises(ResourceError):
        map_cracks(survey, tmp_path / "new.gpkg", model=ContextModel(1))
    map_cracks(survey, tmp_path / "o.gpkg", model=ContextModel(1), resume=True)


def test_disks_are_asked_for_their_own_share(tmp_path, monkeypatch):
    """Two disks, the smaller one has room for its file alone."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    disks = {tmp_path / "a": 1000, tmp_path / "b": 10}
    real = Path.stat
    monkeypatch.setattr(
        Path, "stat",
        lambda path, **_: SimpleNamespace(st_dev=disks[path]) if path in disks else real(path),
    )  # fmt: skip
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=disks[path]))
    a, b = (space.Need(name, tmp_path / name, size) for name, size in (("a", 900), ("b", 9)))
    space.check_space([a, b])
    with pytest.raises(ResourceError, match="b: has 0 kB free"):
        space.check_space([a, b, b])


def test_what_is_not_stored_does_not_count(tmp_path):
    """A sparse raster with data in a quarter, seen through its index."""
    path, side = tmp_path / "s.tif", 2048
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, nodata=0, width=side, height=side,
        tiled=True, sparse_ok=True, crs="EPSG:32632",
        transform=rasterio.Affine(1, 0, 5e5, 0, -1, 5e6),
    ) as dataset:  # fmt: skip
        quarter = np.full((1, side // 2, side // 2), 9, np.uint8)
        dataset.write(quarter, window=gdal_window(Window(0, 0, side // 2, side // 2)))
    with open_image(path) as image:
        whole = image.grid.window
        assert space.pixels_with_data(image, Area(whole)) == pytest.approx(side**2 / 4, rel=0.1)
        left = Window(0, 0, side, side // 2)
        assert space.pixels_with_data(image, Area(left)) == pytest.approx(side**2 / 4, rel=0.1)
        triangle = np.array(
            [[(0, 0), (side, side)], [(side, side), (0, side)], [(0, side), (0, 0)]]
        )
        asked = Area(whole, triangle.astype(float))
        assert space.pixels_with_data(image, asked) == pytest.approx(side**2 / 8, rel=0.2)
    with open_image(path, gsd_m=2.0) as image:
        found = space.pixels_with_data(image, Area(image.grid.window))
        assert found == pytest.approx(side**2 / 16, rel=0.1)


def test_a_border_of_many_pieces_is_looked_through_once_a_row(survey, monkeypatch):
    with open_image(survey) as image:
        triangle = np.array(
            [[(0, 0), (SIDE, SIDE)], [(SIDE, SIDE), (0, SIDE)], [(0, SIDE), (0, 0)]]
        )
        area, asked, real = Area(image.grid.window, triangle.astype(float)), [], Area.mask

        def mask(area, window):
            asked.append(window)
            return real(area, window)

        monkeypatch.setattr(Area, "mask", mask)
        assert space.pixels_with_data(image, area) == pytest.approx(SIDE**2 / 2, rel=0.1)
    assert len(asked) <= space._SAMPLE
