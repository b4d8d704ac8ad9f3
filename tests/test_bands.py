"""Bands of rows: what is there is whole and in order, whatever happened before."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from crackgeo.bands import RowBands
from crackgeo.dataset import accept_no_georeference
from crackgeo.errors import InputError, ResourceError
from crackgeo.grid import Grid
from crackgeo.monitor import Monitor
from crackgeo.probability import open_probability

PLACE = Affine(0.001, 0.0002, 500000.125, 0.0003, -0.0011, 5400000.0625)


def grid_of(codes):
    return Grid(codes.shape[1], codes.shape[0], PLACE, None)


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width)).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 900), st.integers(1, 600), st.lists(st.integers(1, 500), max_size=4))
def test_bands_make_one_raster_also_when_opened_again(tmp_path_factory, height, width, cuts):
    codes, folder = noise(height, width), tmp_path_factory.mktemp("bands")
    edges = sorted({0, height, *(cut for cut in cuts if cut < height)})
    for row, end in pairwise(edges):
        bands = RowBands(folder, grid_of(codes))
        assert bands.rows_done == row
        bands.add(row, codes[row:end], {"row": row})
    assert bands.is_complete
    assert list(RowBands(folder, bands.grid).notes()) == [{"row": row} for row in edges[:-1]]
    with open_probability(bands.write_index({"a": "<b> ü"})) as raster:
        np.testing.assert_array_equal(raster.read(raster.grid.window), codes)
        assert raster.grid == bands.grid
        assert raster.tags == {"a": "<b> ü"}


def test_rows_after_a_gap_and_other_files_do_not_count(tmp_path):
    codes = noise(30, 20)
    bands = RowBands(tmp_path, grid_of(codes))
    for row in (0, 10, 20):
        bands.add(row, codes[row : row + 10], {})
    (tmp_path / "rows-000000010-000000020.tif").unlink()
    (tmp_path / ".rows-000000010-000000020.part-12345678.tif").touch()
    assert RowBands(tmp_path, bands.grid).rows_done == 10


def test_misuse_is_refused(tmp_path):
    bands = RowBands(tmp_path, Grid(50, 60, PLACE))
    bands.add(0, noise(10, 50), {})
    for row, shape in ((9, (10, 50)), (11, (10, 50)), (10, (10, 49)), (10, (51, 50))):
        with pytest.raises(ValueError, match="does not continue"):
            bands.add(row, noise(*shape), {})
    with pytest.raises(ValueError, match="uint8"):
        bands.add(10, np.zeros((10, 50)), {})
    with pytest.raises(ValueError, match="10 of 60 rows"):
        bands.write_index({})


def test_a_band_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    bands = RowBands(tmp_path, Grid(50, 60, PLACE))

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crackgeo.files.os.replace", refuse)
    with pytest.raises(ResourceError, match="disk is full"):
        bands.add(0, noise(10, 50), {})
    assert list(tmp_path.iterdir()) == []
    assert bands.rows_done == 0


def test_a_band_damaged_during_a_run_is_named(tmp_path):
    bands = RowBands(tmp_path, Grid(50, 10, PLACE))
    bands.add(0, noise(10, 50), {})
    (band,) = tmp_path.iterdir()
    band.write_bytes(b"no raster")
    with pytest.raises(InputError, match="rows-000000000-000000010"):
        list(bands.notes())


def flip_a_code(path):
    with accept_no_georeference(), rasterio.open(path, "r+") as dataset:
        codes = dataset.read(1)
        codes[3, 4] ^= 1
        dataset.write(codes, 1)


def flip_a_note(path):
    with accept_no_georeference(), rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CRACKGEO_BAND=json.dumps({"row": 7}))


def without_checksum(path):
    with accept_no_georeference(), rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CRACKGEO_CRC="")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no raster"),
        lambda path: path.write_bytes(path.read_bytes()[:-900]),
        lambda path: path.write_bytes(b""),
        lambda path: shutil.copy(path.with_name("rows-000000000-000000008.tif"), path),
        flip_a_code,
        flip_a_note,
        without_checksum,
    ],
)
def test_a_damaged_band_and_those_below_are_made_anew(tmp_path, damage):
    codes, heard = noise(30, 600), []
    codes[:, 550:] = 255
    bands = RowBands(tmp_path, grid_of(codes))
    for row, end in ((0, 8), (8, 20), (20, 30)):
        bands.add(row, codes[row:end], {"row": row})
    assert RowBands(tmp_path, bands.grid).is_complete
    damage(tmp_path / "rows-000000008-000000020.tif")
    bands = RowBands(tmp_path, bands.grid, Monitor(on_warning=heard.append))
    assert bands.rows_done == 8
    assert [path.name for path in tmp_path.glob("*.tif")] == ["rows-000000000-000000008.tif"]
    assert len(heard) == 1
    assert "rows-000000008-000000020.tif: damaged" in heard[0]
    bands.add(8, codes[8:], {"row": 8})
    assert RowBands(tmp_path, bands.grid).is_complete
