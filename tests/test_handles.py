"""Open files: few, however many bands and rasters there are, and none of a run that is over."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import IdentityModel
from rasters import TRANSFORM, write

import crackgeo
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.probability import open_probability

FILES = Path("/proc/self/fd")

pytestmark = pytest.mark.skipif(not FILES.exists(), reason="asks the kernel for open files")


def open_files():
    names = []
    for handle in FILES.iterdir():
        try:
            names.append(os.readlink(handle))
        except OSError:  # the one that lists the folder
            continue
    return names


def test_runs_of_the_same_name_do_not_see_each_other(tmp_path):
    """GDAL once kept files of a removed work folder open, and read them for those of the next."""
    for run in range(6):
        rng = np.random.default_rng(run)
        height, width = rng.integers(1500, 2500, 2)
        pixels = np.zeros((height, width), np.uint8)
        row = int(rng.integers(0, height // 2))
        pixels[row:] = rng.integers(1, 120, (height - row, width))
        write(tmp_path / "s.tif", pixels, nodata=0)
        crackgeo.map_cracks(
            tmp_path / "s.tif", tmp_path / "o.gpkg", probability=tmp_path / "p.tif",
            overwrite=True, model=IdentityModel(), stretch=(0, 255),
        )  # fmt: skip
        with open_probability(tmp_path / "p.tif") as raster:
            codes = raster.read(raster.grid.window)
        np.testing.assert_array_equal(codes, np.where(pixels == 0, 255, pixels))
        assert not [name for name in open_files() if ".work/" in name]


def test_a_survey_of_many_bands_and_rasters_opens_few_files(tmp_path):
    """150 strips over the same ground, each a pixel further: 150 bands of probabilities."""
    folder, most = tmp_path / "strips", 0
    folder.mkdir()
    for number in range(150):
        place = Grid(1, 1, TRANSFORM).part(Window(2 * number, 0, 1, 1)).transform
        write(folder / f"{number:03d}.tif", np.full((1, 60, 80), 90, np.uint8), transform=place)

    def count(*_):
        nonlocal most
        most = max(most, len(open_files()))

    before = len(open_files())
    result = crackgeo.map_cracks(
        folder, tmp_path / "o.gpkg", model=IdentityModel(), monitor=Monitor(count)
    )
    assert result.prediction.inputs == 150
    assert result.prediction.pixels_valid == (2 * 149 + 60) * 80
    assert most - before < 120, sys.platform
    assert not [name for name in open_files() if ".work/" in name]
