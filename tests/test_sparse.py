"""Rasters that are mostly empty: the same numbers, without the reading, in bounded memory."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from fakes import IdentityModel
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasters import RGB, TRANSFORM, UTM, write

import crackgeo
from crackgeo import gaps
from crackgeo.coverage import coverage_table
from crackgeo.dataset import gdal_window, open_dataset
from crackgeo.errors import Cancelled
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.probability import open_probability
from crackgeo.raster import open_image
from crackgeo.source import Source, plan_bands
from crackgeo.specs import BandSpec

BLOCK = 16
ROWS, COLS = 5, 7  # blocks
SHAPE = (ROWS * BLOCK - 3, COLS * BLOCK - 5)
LAYOUTS = {
    "nodata": {"count": 3, "nodata": 0, "interleave": "pixel"},
    "planes": {"count": 3, "nodata": 7, "interleave": "band"},
    "alpha": {"count": 4, "interleave": "band", "photometric": "RGB", "alpha": "yes"},
    "black": {"count": 3, "interleave": "pixel"},
}


def sparse(path, filled, **profile):
    """A raster whose blocks hold data where `filled` says so; the others are not stored."""
    height, width = SHAPE
    profile = {"driver": "GTiff", "dtype": "uint8", "crs": UTM, "transform": TRANSFORM,
               "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True,
               "height": height, "width": width, **profile}  # fmt: skip
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile) as dataset:
        if profile["count"] == 4:
            dataset.colorinterp = (*RGB, ColorInterp.alpha)
        for row, col in np.argwhere(filled) * BLOCK:
            window = Window(row, col, BLOCK, BLOCK).intersect(Window(0, 0, height, width))
            shape = profile["count"], window.height, window.width
            dataset.write(rng.integers(8, 255, shape).astype(np.uint8), window=gdal_window(window))
    return path


def source_of(path, **spec):
    dataset = open_dataset(path)
    return Source(dataset, plan_bands(dataset, BandSpec(**spec)))


def blocks_said_empty(source):
    where = [Window(r * BLOCK, c * BLOCK, 1, 1) for r in range(ROWS) for c in range(COLS)]
    return np.array([source.is_empty(window) for window in where]).reshape(ROWS, COLS)


@pytest.fixture
def filled():
    return np.random.default_rng(1).random((ROWS, COLS)) < 0.3


@pytest.mark.parametrize("layout", ["nodata", "planes", "alpha"])
def test_gaps_are_known_without_reading(tmp_path, filled, layout):
    source = source_of(sparse(tmp_path / "s.tif", filled, **LAYOUTS[layout]))
    np.testing.assert_array_equal(blocks_said_empty(source), ~filled)
    source.close()


def test_gaps_of_a_raster_without_nodata_are_black_pixels(tmp_path, filled):
    path = sparse(tmp_path / "s.tif", filled, **LAYOUTS["black"])
    black, marked = source_of(path), source_of(path, nodata=0)
    assert not blocks_said_empty(black).any()
    np.testing.assert_array_equal(blocks_said_empty(marked), ~filled)
    black.close()
    marked.close()


def test_masks_are_always_read(tmp_path):
    path = write(tmp_path / "m.tif", np.zeros((3, 40, 40), np.uint8), mask=np.ones((40, 40), bool))
    source = source_of(path)
    assert not source.is_empty(Window(0, 0, 40, 40))
    source.close()


def test_a_mosaic_is_empty_between_its_sources(tmp_path):
    write(tmp_path / "a.tif", np.full((3, 30, 30), 9, np.uint8))
    place = '<{} xOff="{}" yOff="{}" xSize="30" ySize="30"/>'
    bands = "".join(
        f"""<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>
        <SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>
        <SourceBand>{band}</SourceBand>{place.format("SrcRect", 0, 0)}
        {place.format("DstRect", 200, 100)}</SimpleSource></VRTRasterBand>"""
        for band in (1, 2, 3)
    )
    path = tmp_path / "mosaic.vrt"
    path.write_text(f'<VRTDataset rasterXSize="400" rasterYSize="300">{bands}</VRTDataset>')
    source = source_of(path)
    assert source.is_empty(Window(0, 0, 90, 400))
    assert source.is_empty(Window(100, 240, 30, 100))
    assert not source.is_empty(Window(129, 229, 5, 5))
    assert source.read(Window(129, 229, 1, 1))[1].all()
    source.close()


def test_a_virtual_raster_of_another_kind_is_read(tmp_path):
    write(tmp_path / "a.tif", np.full((3, 30, 30), 9, np.uint8), nodata=0)
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "plain.vrt", driver="VRT")
    text = (tmp_path / "plain.vrt").read_text()
    (tmp_path / "odd.vrt").write_text(text.replace("SimpleSource>", "KernelFilteredSource>"))
    plain = source_of(tmp_path / "plain.vrt")
    assert not plain.is_empty(Window(0, 0, 30, 30))
    plain.close()
    dataset = open_dataset(tmp_path / "odd.vrt")
    assert Source(dataset, plan_bands(dataset, BandSpec()))._stored is None
    dataset.close()


@given(data=st.data(), layout=st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=12, deadline=None)
def test_nothing_is_left_out(tmp_path_factory, data, layout):
    """A sparse raster and the same with every block stored give the same pixels."""
    folder = tmp_path_factory.mktemp("sparse")
    bits = data.draw(st.lists(st.booleans(), min_size=ROWS * COLS, max_size=ROWS * COLS))
    path = sparse(folder / "s.tif", np.reshape(bits, (ROWS, COLS)), **LAYOUTS[layout])
    with rasterio.open(path) as dataset:
        profile = {**dataset.profile, "sparse_ok": False}
        with rasterio.open(folder / "d.tif", "w", **profile) as dense:
            dense.colorinterp = dataset.colorinterp
            dense.write(dataset.read())
    gsd_m = data.draw(st.sampled_from([None, 0.005]))
    with open_image(path, gsd_m=gsd_m) as a, open_image(folder / "d.tif", gsd_m=gsd_m) as b:
        window = Window(-4, -4, SHAPE[0] + 8, SHAPE[1] + 8)
        for got, wanted in zip(a.read(window), b.read(window), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_the_main_job_gives_the_same_as_on_a_full_file(tmp_path):
    """Data in two far corners: the rows of tiles between them are skipped, not shifted."""
    codes = np.zeros((2500, 900), np.uint8)
    codes[100:104, 100:400] = codes[2300:2304, 500:800] = 254
    codes[:200, :600][codes[:200, :600] == 0] = 1
    codes[2200:, 450:][codes[2200:, 450:] == 0] = 1
    options = {"nodata": 0, "tiled": True, "blockxsize": 128, "blockysize": 128}
    for name, keep in (("sparse", True), ("full", False)):
        write(tmp_path / f"{name}.tif", codes, sparse_ok=keep, **options)
        model = IdentityModel()
        crackgeo.predict_raster(tmp_path / f"{name}.tif", tmp_path / f"{name}_p.tif", model=model)
        assert model.tiles < 40
    with (
        open_probability(tmp_path / "sparse_p.tif") as a,
        open_probability(tmp_path / "full_p.tif") as b,
    ):
        got, wanted = a.read(a.grid.window), b.read(b.grid.window)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got, np.where(codes > 0, codes, 255))


def test_coverage_of_an_empty_band():
    codes = np.full((1100, 300), 255, np.uint8)
    codes[:500, :150] = 0

    class Array:
        shape = codes.shape

        def read(self, window):
            return codes[window.row : window.row_end, window.col : window.col_end]

    found = coverage_table(Array(), Grid(300, 1100, TRANSFORM, None))
    assert found.surveyed_m2 == pytest.approx(500 * 150 * 4e-6)
    assert sorted(found.table.columns["surveyed"]) == [False, True]


PEAK = """
import sys; sys.path.insert(0, {tests!r})
from fuzz_child import memory_mib
from fakes import IdentityModel
import crackgeo
crackgeo.predict_raster({path!r}, {out!r}, model=IdentityModel(1))
print(memory_mib("VmHWM"))
"""


def peak_mib(tmp_path, height):
    """Peak memory of a prediction on a raster 6,000 px wide with data in two places."""
    path, side = tmp_path / f"h{height}.tif", 512
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, nodata=0, width=6000, height=height,
        crs=UTM, transform=TRANSFORM, tiled=True, blockxsize=side, blockysize=side, sparse_ok=True,
    ) as dataset:  # fmt: skip
        for row in (0, height - side):
            where = gdal_window(Window(row, 4096, side, side))
            dataset.write(np.full((3, side, side), 9, np.uint8), window=where)
    code = PEAK.format(tests=str(__file__).rsplit("/", 1)[0], path=str(path), out=f"{path}.p.tif")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the peak")
def test_memory_does_not_grow_with_height(tmp_path):
    low, high = peak_mib(tmp_path, 1024), peak_mib(tmp_path, 20480)
    assert high - low < 60


def mosaic(path, parts, side, nodata="0"):
    """A virtual raster of one band: (name, source element's start, place) of each part."""
    place = '<{} xOff="{}" yOff="{}" xSize="100" ySize="100"/>'
    sources = "".join(
        f"""<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>{more}
        <SourceBand>1</SourceBand>{place.format("SrcRect", *first)}{place.format("DstRect", *at)}
        </SimpleSource>"""
        for name, first, at, more in parts
    )
    path.write_text(
        f"""<VRTDataset rasterXSize="{side}" rasterYSize="{side}">
        <VRTRasterBand dataType="Byte" band="1"><NoDataValue>{nodata}</NoDataValue>{sources}
        </VRTRasterBand></VRTDataset>"""
    )
    return path


def test_mosaics_of_mosaics_are_looked_into(tmp_path):
    write(tmp_path / "a.tif", np.full((1, 20, 20), 9, np.uint8), nodata=0)
    place = '<{} xOff="{}" yOff="{}" xSize="20" ySize="20"/>'
    inner = tmp_path / "inner.vrt"
    inner.write_text(
        f"""<VRTDataset rasterXSize="300" rasterYSize="300">
        <VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue>
        <SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>
        <SourceBand>1</SourceBand>{place.format("SrcRect", 0, 0)}{place.format("DstRect", 150, 120)}
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    part = "inner.vrt", (100, 100), (500, 600), ""
    source = source_of(mosaic(tmp_path / "outer.vrt", [part], 1000))
    assert not source.is_empty(Window(620, 550, 20, 20))  # 120 - 100 + 600, 150 - 100 + 500
    assert source.read(Window(620, 550, 20, 20))[1].all()
    for elsewhere in (Window(600, 500, 100, 48), Window(642, 500, 50, 90), Window(0, 0, 500, 500)):
        assert source.is_empty(elsewhere)
    source.close()
    # gaps inside that hold something else than gaps outside are pixels like any others
    other = mosaic(tmp_path / "other.vrt", [part], 1000, nodata="7")
    scaled = mosaic(tmp_path / "scaled.vrt", [(*part[:3], "<Scale/>")], 1000)
    for path in (other, scaled):
        source = source_of(path)
        assert not source.is_empty(Window(600, 500, 20, 20))
        source.close()


def test_a_mosaic_of_itself_ends(tmp_path):
    path = mosaic(tmp_path / "loop.vrt", [("loop.vrt", (0, 0), (10, 10), "")] * 3, 200)
    bounds = gaps._rectangles(path, (1,), 3)
    assert len(bounds) <= 3**4


def test_probabilities_are_empty_where_nothing_was_found_of_the_ground(tmp_path):
    """A survey's mosaic knows its gaps through two levels of virtual rasters."""
    codes = np.zeros((1000, 3000), np.uint8)
    codes[300:340, 2000:2100] = 5
    for name, part in (("a", codes[:, :1600]), ("b", codes[:, 1400:])):
        place = Grid(1, 1, TRANSFORM).part(Window(0, 0 if name == "a" else 1400, 1, 1)).transform
        write(tmp_path / f"{name}.tif", part, nodata=0, transform=place)
    codes[600:650, 100:150] = 9
    write(tmp_path / "a.tif", codes[:, :1600], nodata=0)
    seen = []

    def look(stage, done, total):
        if stage == "skeleton" and not seen:
            with open_probability(tmp_path / "o.gpkg.work" / "survey.vrt") as raster:
                source = raster._source()
                seen.append(source.is_empty(Window(0, 600, 1000, 1300)))
                seen.append(source.is_empty(Window(600, 100, 50, 50)))
                seen.append(source.is_empty(Window(300, 2000, 40, 100)))

    crackgeo.map_cracks(
        [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "o.gpkg", model=IdentityModel(),
        monitor=Monitor(look),
    )  # fmt: skip
    assert seen == [True, False, False]


def stored_at_both_ends(folder):
    """A hundred and more rows of tiles, of which only the first and the last hold data."""
    path, height = folder / "s.tif", 36_000
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, nodata=0, width=400, height=height,
        tiled=True, blockxsize=128, blockysize=128, sparse_ok=True, crs=UTM, transform=TRANSFORM,
    ) as dataset:  # fmt: skip
        for row in (0, height - 128):
            data = np.full((1, 128, 128), 9, np.uint8)
            dataset.write(data, window=gdal_window(Window(row, 0, 128, 128)))
    return path


def test_empty_rows_are_progress_and_hear_a_wish_to_stop(tmp_path):
    path, seen = stored_at_both_ends(tmp_path), []
    monitor = Monitor(lambda *event: seen.append(event))
    result = crackgeo.predict_raster(
        path, tmp_path / "p.tif", model=IdentityModel(8), monitor=monitor
    )
    done = [done for stage, done, _ in seen if stage == "predict"]
    assert result.tiles_run == 2
    assert done == sorted(done)
    assert done[-1] == result.tiles == 107
    assert len(set(done)) > 100
    seen.clear()
    monitor = Monitor(monitor.on_progress, is_cancelled=lambda: len(seen) >= 20)
    with pytest.raises(Cancelled):
        crackgeo.predict_raster(path, tmp_path / "q.tif", model=IdentityModel(8), monitor=monitor)
    assert len(seen) == 20
