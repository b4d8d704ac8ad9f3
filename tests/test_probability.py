import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasters import TRANSFORM, UTM, picture, write

from crackgeo.bands import RowBands
from crackgeo.errors import InputError, ResourceError, UsageError
from crackgeo.georeference import PIXEL_TRANSFORM
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.probability import open_probability, publish_probability
from crackgeo.specs import PROB_NODATA, PROB_SCALE

WKT = rasterio.crs.CRS.from_string(UTM).to_wkt()


def codes_of(shape, seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write_codes(path, codes, step=100, transform=TRANSFORM, wkt=WKT, tags=None, **kwargs):
    grid = Grid(codes.shape[1], codes.shape[0], transform, wkt)
    with tempfile.TemporaryDirectory() as folder:
        bands = RowBands(Path(folder), grid)
        for row in range(0, len(codes), step):
            bands.add(row, codes[row : row + step], {})
        publish_probability(bands.write_index(tags or {}), path, **kwargs)
    return path


def read_codes(path, monitor=None):
    with open_probability(path, monitor or Monitor()) as raster:
        return raster.read(raster.grid.window)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---------------------------------------------------------------- writing


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1200), st.integers(1, 600), st.integers(1, 700))
def test_what_is_written_is_read(tmp_path_factory, height, width, step):
    codes = codes_of((height, width), height)
    path = write_codes(tmp_path_factory.mktemp("p") / "p.tif", codes, step)
    np.testing.assert_array_equal(read_codes(path), codes)
    assert names(path.parent) == ["p.tif"]


def test_the_file_is_a_cog_that_explains_itself(tmp_path):
    tags = {"model": "compact", "odd": "a <b>\n& ü"}
    path = write_codes(tmp_path / "p.tif", codes_of((1500, 1100)), tags=tags)
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.profile["compress"] == "deflate"
        assert dataset.overviews(1) == [2, 4]
        assert dataset.nodata == PROB_NODATA
        assert dataset.scales == (PROB_SCALE,)
        assert dataset.crs == rasterio.crs.CRS.from_string(UTM)
    with open_probability(path) as raster:
        assert raster.tags == tags
        assert raster.shape == (1500, 1100)


@pytest.mark.parametrize(
    ("transform", "wkt"),
    [
        (Affine(0.001, 0.002, 5e5, 0.002, -0.001, 5.4e6), WKT),
        (Affine(0.002, 0.001, 5e5, 0, 0.003, 5.4e6), WKT),
        (TRANSFORM, None),
        (PIXEL_TRANSFORM, None),
    ],
    ids=["rotated", "sheared south-up", "local", "pixels"],
)
def test_the_place_is_kept(tmp_path, transform, wkt):
    path = write_codes(tmp_path / "p.tif", codes_of((60, 50)), transform=transform, wkt=wkt)
    with open_probability(path) as raster:
        np.testing.assert_allclose(raster.grid.transform[:6], transform[:6])
        assert (raster.grid.crs_wkt is None) is (wkt is None)


def test_overviews_leave_nodata_out_and_keep_thin_cracks(tmp_path):
    codes = np.zeros((1024, 1024), np.uint8)
    codes[:, 500] = 254
    codes[:512] = PROB_NODATA
    path = write_codes(tmp_path / "p.tif", codes)
    with rasterio.open(path, overview_level=0) as dataset:
        half = dataset.read(1)
    assert (half[:256] == PROB_NODATA).all()
    assert (half[256:, 250] == round(254 / 2**0.5)).all()  # the mean would give 127
    assert not np.delete(half[256:], 250, axis=1).any()


def test_an_existing_raster_and_its_statistics(tmp_path):
    path = write_codes(tmp_path / "p.tif", codes_of((50, 60)))
    (tmp_path / "p.tif.aux.xml").write_text("<PAMDataset/>")
    with pytest.raises(UsageError, match="exists"):
        write_codes(path, codes_of((50, 60)))
    new = codes_of((70, 80), 2)
    np.testing.assert_array_equal(read_codes(write_codes(path, new, overwrite=True)), new)
    assert names(tmp_path) == ["p.tif"]


def test_a_disk_that_lies_is_found_out(tmp_path, monkeypatch):
    def copy_damaged(source, target, **_):
        write(target, np.zeros((60, 50), np.uint8))

    monkeypatch.setattr("crackgeo.probability.rasterio.shutil.copy", copy_damaged)
    with pytest.raises(ResourceError, match="not what was written"):
        write_codes(tmp_path / "p.tif", codes_of((60, 50)))
    assert names(tmp_path) == []


WRITE_NOISE = """
import signal, sys, warnings
import numpy as np
from pathlib import Path
from affine import Affine
from crackgeo.bands import RowBands
from crackgeo.errors import ResourceError
from crackgeo.georeference import PIXEL_TRANSFORM
from crackgeo.grid import Grid
from crackgeo.probability import publish_probability
warnings.simplefilter("error")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rng = np.random.default_rng(1)
folder = Path(sys.argv[1]) / "bands"
folder.mkdir()
bands = RowBands(folder, Grid(1000, 1000, Affine(1, 0, 5, 0, -1, 5), None))
try:
    for row in range(0, 1000, 250):
        bands.add(row, rng.integers(0, 254, (250, 1000)).astype(np.uint8), {})
    publish_probability(bands.write_index({}), folder.parent / "p.tif")
except ResourceError as error:
    print(bands.rows_done, error)
    sys.exit(error.exit_code)
"""


# A band needs 0.26 MB, the finished file with overviews 1.4 MB.
@pytest.mark.parametrize(
    ("limit_bytes", "rows_done"), [(1_000, 0), (200_000, 0), (300_000, 1000), (1_200_000, 1000)]
)
def test_a_limit_on_file_size(tmp_path, limit_bytes, rows_done):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [sys.executable, "-c", WRITE_NOISE, str(tmp_path)]
    done = subprocess.run(command, preexec_fn=limit, check=False, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith(f"{rows_done} ")
    assert names(tmp_path) == ["bands"]
    assert all(name.startswith("rows") for name in names(tmp_path / "bands"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1.6 MB: room for the bands, not for the finished file beside them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a disk here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(small_disk):
    command = [sys.executable, "-c", WRITE_NOISE, str(small_disk)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith("1000 ")
    assert "MB free" in done.stdout
    assert names(small_disk) == ["bands"]
    shutil.rmtree(small_disk / "bands")
    (small_disk / "ballast").write_bytes(bytes(1_000_000))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert int(done.stdout.split()[0]) < 1000
    assert "disk is full" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can write")
def test_a_folder_that_takes_no_files():
    with pytest.raises(ResourceError, match=r"/proc/p\.tif"):
        write_codes(Path("/proc/p.tif"), codes_of((5, 5)))


# ---------------------------------------------------------------- reading


def test_windows_reach_beyond_the_raster(tmp_path):
    codes = codes_of((60, 50))
    with open_probability(write_codes(tmp_path / "p.tif", codes)) as raster:
        part = raster.read(Window(-5, 45, 10, 10))
        assert (raster.read(Window(100, 100, 3, 4)) == PROB_NODATA).all()
    np.testing.assert_array_equal(part[5:, :5], codes[:5, 45:])
    assert (part[:5] == PROB_NODATA).all()
    assert (part[:, 5:] == PROB_NODATA).all()


def test_several_threads_read_at_once(tmp_path):
    codes = codes_of((700, 800))
    found = {}
    with open_probability(write_codes(tmp_path / "p.tif", codes)) as raster:
        gate = threading.Barrier(4)

        def work(k):
            gate.wait()
            found[k] = [raster.read(Window(50 * i, 90 * k, 77, 90)) for i in range(10)]

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for k in range(4):
        for i in range(10):
            np.testing.assert_array_equal(
                found[k][i], codes[50 * i : 50 * i + 77, 90 * k : 90 * k + 90]
            )


def heard(path):
    warnings = []
    return read_codes(path, Monitor(on_warning=warnings.append)), " ".join(warnings)


def test_own_rasters_need_no_explanation(tmp_path):
    path = write_codes(tmp_path / "p.tif", codes_of((60, 50)))
    assert heard(path)[1] == ""


def test_bytes_from_0_to_255(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    codes, warning = heard(write(tmp_path / "p.tif", values))
    np.testing.assert_array_equal(codes, np.rint(values / 255 * 254))
    assert "0 to 255" in warning


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint16"])
def test_masks_of_0_and_1(tmp_path, dtype):
    values = (np.random.default_rng(3).random((60, 50)) < 0.1).astype(dtype)
    codes, warning = heard(write(tmp_path / "p.tif", values))
    np.testing.assert_array_equal(codes, values * 254)
    assert "mask" in warning


def test_a_single_value_beyond_1_makes_it_no_mask(tmp_path):
    values = np.ones((2200, 2200), np.uint8)
    values[1001, 77] = 2  # may well lie between the sampled windows
    codes = read_codes(write(tmp_path / "p.tif", values))
    assert set(np.unique(codes)) == {1, 2}


def test_masks_of_0_and_255(tmp_path):
    values = np.where(np.random.default_rng(3).random((60, 50)) < 0.1, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(
        read_codes(write(tmp_path / "p.tif", values)), values // 255 * 254
    )


def test_a_background_of_nodata_is_told(tmp_path):
    values = np.eye(50, dtype=np.uint8)
    codes, warning = heard(write(tmp_path / "p.tif", values, nodata=0))
    np.testing.assert_array_equal(codes, values * 254)
    assert "background, which is taken as surveyed" in warning
    shares = values * np.float32(0.5)  # of these another program may well mean it
    codes, warning = heard(write(tmp_path / "f.tif", shares, nodata=0))
    np.testing.assert_array_equal(codes, np.where(values, 127, PROB_NODATA))
    assert "where it is 0 is not surveyed" in warning


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_from_0_to_1(tmp_path, dtype):
    values = np.linspace(0, 1, 60 * 50).reshape(60, 50).astype(dtype)
    values[0, :5] = -9999
    values[1, :5] = np.nan
    codes = read_codes(write(tmp_path / "p.tif", values, nodata=-9999))
    expected = np.rint(np.nan_to_num(values) * 254)
    expected[:2, :5] = PROB_NODATA
    np.testing.assert_array_equal(codes, expected)


def test_a_band_scale_counts(tmp_path):
    values = np.arange(101, dtype=np.uint8)[None]
    codes = read_codes(write(tmp_path / "p.tif", values, scale=0.01))
    np.testing.assert_array_equal(codes, np.rint(values * 2.54))


def test_masks_alpha_and_palettes_beside_the_values(tmp_path):
    values = np.tile(np.array([[0, 100, 200]], np.uint8), (4, 1))
    two = np.stack([values, values > 50]).astype(np.uint8)
    path = write(tmp_path / "a.tif", two, interps=(ColorInterp.gray, ColorInterp.alpha))
    assert read_codes(path)[0].tolist() == [PROB_NODATA, 100, 199]
    path = write(tmp_path / "b.tif", values, mask=values < 150)
    assert read_codes(path)[0].tolist() == [0, 100, PROB_NODATA]
    path = write(tmp_path / "c.tif", values, palette={v: (v, 0, 0, 255) for v in (0, 100, 200)})
    assert read_codes(path)[0].tolist() == [0, 100, 199]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(0, 100, 100, dtype=np.float32)[None], "percent|from 0 to 1"),
        (np.linspace(-3, 0, 100, dtype=np.float32)[None], "from 0 to 1"),
        (np.arange(100, dtype=np.uint16)[None], "uint16"),
        (picture(), "3 bands"),
    ],
    ids=["percent", "logits", "uint16", "picture"],
)
def test_what_is_no_probability_is_refused(tmp_path, values, message):
    with pytest.raises(InputError, match=message) as caught:
        open_probability(write(tmp_path / "p.tif", values))
    assert caught.value.remedy


def test_a_hidden_value_beyond_1_is_found_when_read(tmp_path):
    values = np.zeros((2200, 2200), np.float32)
    values[1001, 77] = 35
    path = write(tmp_path / "p.tif", values)
    with pytest.raises(InputError, match="35"):
        read_codes(path)


def test_a_truncated_raster(tmp_path):
    path = write(tmp_path / "p.tif", codes_of((600, 500)), nodata=255, scale=PROB_SCALE)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"p\.tif"):
        read_codes(path)
