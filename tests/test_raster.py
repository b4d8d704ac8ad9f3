import re
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import IdentityModel
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasters import RGB, TRANSFORM, UTM, control_points, convert, picture, write

from crackgeo.dataset import accept_no_georeference
from crackgeo.errors import CrackgeoError, InputError, UsageError
from crackgeo.georeference import _crs_beside
from crackgeo.grid import Window
from crackgeo.monitor import Monitor
from crackgeo.pipeline import predict_raster
from crackgeo.raster import describe, header_checksum, open_image
from crackgeo.resample import WEIGHT_SUM, resample, taps
from crackgeo.specs import BandSpec
from crackgeo.stretch import ENDS, apply_stretch

ALPHA, GREY, UNDEFINED = ColorInterp.alpha, ColorInterp.gray, ColorInterp.undefined
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "rasters"
HALF = np.arange(120)[None, :] >= np.full((90, 1), 60)  # the right half holds data


def read_all(path, bands=None, gsd_m=None, monitor=None):
    with open_image(path, bands, gsd_m, monitor or Monitor()) as image:
        return image.read(image.grid.window)


def listening():
    warnings = []
    return Monitor(on_warning=warnings.append), warnings


def assert_picture(path, expected, valid=None, bands=None):
    """`expected` `[3, h, w]` where valid, 0 elsewhere."""
    valid = np.ones(expected.shape[1:], np.bool_) if valid is None else valid
    pixels, seen = read_all(path, bands)
    np.testing.assert_array_equal(seen, valid)
    np.testing.assert_array_equal(pixels, np.moveaxis(expected, 0, -1) * valid[..., None])


# ---------------------------------------------------------------- bands and types


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"tiled": True, "blockxsize": 16, "blockysize": 32},
        {"interleave": "band", "compress": "lzw"},
        {"BIGTIFF": "YES", "compress": "deflate"},
        {"blockysize": 90},
    ],
    ids=["striped", "tiled", "planar", "bigtiff", "one strip"],
)
def test_rgb_is_read_as_it_is(tmp_path, layout):
    rgb = picture()
    assert_picture(write(tmp_path / "a.tif", rgb, photometric="rgb", **layout), rgb)


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = picture(bands=1)
    path = write(tmp_path / "a.tif", grey)
    assert_picture(path, np.repeat(grey, 3, axis=0))
    with open_image(path) as image:
        assert image.bands == (1,)


def test_bands_follow_their_colours_not_their_order(tmp_path):
    bgr = picture()
    path = write(tmp_path / "a.tif", bgr, interps=RGB[::-1])
    assert_picture(path, bgr[::-1])


def test_fourth_band_is_alpha_or_infrared_as_the_file_says(tmp_path):
    four = picture(bands=4)
    four[3, :, :60] = 0
    assert_picture(write(tmp_path / "a.tif", four, interps=(*RGB, ALPHA)), four[:3], HALF)
    assert_picture(write(tmp_path / "n.tif", four, interps=(*RGB, UNDEFINED)), four[:3])


def test_alpha_counts_behind_five_bands_too(tmp_path):
    five = picture(bands=5)
    five[4, :, :60] = 0
    path = write(tmp_path / "a.tif", five, interps=(*RGB, UNDEFINED, ALPHA))
    assert_picture(path, five[:3], HALF)


def test_grey_with_alpha(tmp_path):
    two = picture(bands=2)
    two[1, :, :60] = 0
    path = write(tmp_path / "a.tif", two, interps=(GREY, ALPHA))
    assert_picture(path, np.repeat(two[:1], 3, axis=0), HALF)


def test_chosen_bands(tmp_path):
    six = picture(bands=6)
    path = write(tmp_path / "a.tif", six)
    assert_picture(path, six[[4, 2, 0]], bands=BandSpec(bands=(5, 3, 1)))
    assert_picture(path, six[[5, 5, 5]], bands=BandSpec(bands=(6,)))


def test_palette_gives_its_colours_and_transparency(tmp_path):
    index = np.tile(np.array([[0, 1, 2]], np.uint8), (2, 1))
    palette = {0: (9, 8, 7, 255), 1: (200, 100, 50, 255), 2: (1, 2, 3, 255)}
    pixels, valid = read_all(write(tmp_path / "a.tif", index, palette=palette))
    assert pixels[0].tolist() == [[9, 8, 7], [200, 100, 50], [1, 2, 3]]
    assert valid.all()
    image = Image.fromarray(index, mode=None)
    image.putpalette([9, 8, 7, 200, 100, 50, 1, 2, 3])
    image.save(tmp_path / "b.png", transparency=1)
    pixels, valid = read_all(tmp_path / "b.png")
    assert valid[0].tolist() == [True, False, True]
    assert pixels[0].tolist() == [[9, 8, 7], [0, 0, 0], [1, 2, 3]]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_other_types_are_stretched_between_percentiles(tmp_path, dtype):
    values = np.linspace(100, 1100, 90 * 120).reshape(1, 90, 120).astype(dtype)
    with open_image(write(tmp_path / "a.tif", values)) as image:
        low, high = image.stretch
        pixels, valid = image.read(image.grid.window)
    first, last = np.percentile(values, (1, 99))
    assert apply_stretch(np.array([first, last]), (low, high)).tolist() == list(ENDS)
    expected = ENDS[0] + (values[0].astype(float) - first) / (last - first) * (ENDS[1] - ENDS[0])
    assert np.abs(pixels[..., 0] - expected).max() <= 0.51
    assert valid.all()


def flat(low, high):
    """Greys between two, evenly; uint8 `[3, 90, 120]`."""
    return (
        np.linspace(low, high, 90 * 120).round().astype(np.uint8).reshape(1, 90, 120).repeat(3, 0)
    )


@pytest.mark.parametrize(("low", "high", "gain"), [(90, 140, 3.57), (100, 120, 5), (20, 105, 2.06)])
def test_flat_bytes_get_more_contrast(tmp_path, low, high, gain):
    monitor, warnings = listening()
    with open_image(write(tmp_path / "a.tif", flat(low, high)), monitor=monitor) as image:
        pixels, _ = image.read(image.grid.window)
    spread = (np.ptp(pixels) - 1) / (high - low)
    assert spread == pytest.approx(gain, rel=0.05)
    assert pixels.mean() == pytest.approx(np.mean(ENDS), abs=2)
    assert len(warnings) == 1
    assert "hardly uses its range" in warnings[0]
    assert "--stretch 0,255" in warnings[0]


@pytest.mark.parametrize(("low", "high"), [(60, 190), (0, 255), (77, 77)])
def test_other_bytes_stay_as_they_are(tmp_path, low, high):
    monitor, warnings = listening()
    with open_image(write(tmp_path / "a.tif", flat(low, high)), monitor=monitor) as image:
        pixels, _ = image.read(image.grid.window)
    np.testing.assert_array_equal(np.moveaxis(pixels, -1, 0), flat(low, high))
    assert not warnings


def test_flat_bytes_stay_as_they_are_if_asked(tmp_path):
    path = write(tmp_path / "a.tif", flat(90, 140))
    monitor, warnings = listening()
    with open_image(path, BandSpec(stretch=(0, 255)), monitor=monitor) as image:
        pixels, _ = image.read(image.grid.window)
    np.testing.assert_array_equal(np.moveaxis(pixels, -1, 0), flat(90, 140))
    assert not warnings


def test_explicit_stretch_also_of_uint8(tmp_path):
    values = np.array([[[0, 50, 100, 150, 200, 255]]], np.uint8)
    pixels, _ = read_all(write(tmp_path / "a.tif", values), BandSpec(stretch=(50, 150)))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255, 255]
    pixels, _ = read_all(
        write(tmp_path / "b.tif", values.astype(np.uint16) * 100), BandSpec(stretch=(0, 25500))
    )
    assert pixels[0, :, 0].tolist() == values[0, 0].tolist()


def test_stretch_ignores_nodata_and_is_the_same_for_every_window(tmp_path):
    values = np.random.default_rng(2).normal(0, 50, (3, 300, 200)).astype(np.float32)
    values[:, :100] = -9999
    path = write(tmp_path / "a.tif", values, nodata=-9999)
    with open_image(path) as image:
        low, high = image.stretch
        whole, valid = image.read(image.grid.window)
        part, _ = image.read(Window(150, 20, 30, 40))
    assert -250 < low < -100 < 100 < high < 250
    assert not valid[:100].any()
    assert not whole[:100].any()  # though a value of 0 would be grey
    np.testing.assert_array_equal(part, whole[150:180, 20:60])


def test_stretch_of_a_large_raster_comes_from_a_fixed_sample(tmp_path):
    ramp = np.add.outer(np.arange(2500), np.arange(2600)).astype(np.uint16)
    path = write(tmp_path / "a.tif", ramp, tiled=True, compress="deflate")
    with open_image(path) as image:
        stretch = image.stretch
    ends = apply_stretch(np.percentile(ramp, (1, 99)), stretch)
    np.testing.assert_allclose(ends, ENDS, atol=2)
    with open_image(path) as image:
        assert image.stretch == stretch


def test_stretch_of_a_constant_raster_divides_by_nothing():
    values = np.full(3, 7, np.float64)
    assert apply_stretch(values, (7, 8)).tolist() == [0, 0, 0]
    assert apply_stretch(np.array([-1e308, 1e308]), (0, 1)).tolist() == [0, 255]


# ---------------------------------------------------------------- marks of missing data


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("float32", -9999), ("float64", -3.4e38), ("float64", -np.finfo(float).max), ("int16", -32768),
     ("uint16", 65535)],
)  # fmt: skip
def test_what_seems_to_mark_missing_data_is_told(tmp_path, dtype, fill):
    values = picture().astype(dtype)
    monitor, warnings = listening()
    with open_image(write(tmp_path / "a.tif", values), monitor=monitor):
        assert not warnings
    values[:, :, :10] = fill
    path = write(tmp_path / "b.tif", values)
    with open_image(path, monitor=monitor):
        assert len(warnings) == 1
    named = float(warnings[0].split("--nodata=")[1].split(": ")[0])
    with open_image(path, BandSpec(nodata=named), monitor=monitor) as image:
        assert not image.read(image.grid.window)[1][:, :10].any()
        assert len(warnings) == 1


def test_two_values_are_a_picture(tmp_path):
    values = np.zeros((1, 90, 120), np.float32)
    values[:, 40:50] = 1
    monitor, warnings = listening()
    with open_image(write(tmp_path / "a.tif", values, nodata=-1), monitor=monitor):
        assert not warnings


def test_nodata_value_needs_all_bands(tmp_path):
    rgb = picture()
    rgb[:, :, :60] = 0
    rgb[2, :, 60:70] = 0  # pure yellow is a colour
    assert_picture(write(tmp_path / "a.tif", rgb, nodata=0), rgb, HALF)


def test_nodata_value_of_the_user_joins_the_files_own(tmp_path):
    grey = picture(bands=1)
    grey[0, 0], grey[0, 1] = 0, 77
    grey[0, 2:][grey[0, 2:] == 77] = 78
    path = write(tmp_path / "a.tif", grey, nodata=0)
    valid = np.ones((90, 120), np.bool_)
    valid[:2] = False
    assert_picture(path, np.repeat(grey, 3, axis=0), valid, BandSpec(nodata=77))


@pytest.mark.parametrize("nodata", [None, np.nan, -9999.0, -3.4028234663852886e38])
def test_float_nodata(tmp_path, nodata):
    values = picture().astype(np.float32)
    mark = np.float32(np.nan if nodata is None else nodata)
    values[:, :, :60] = mark
    values[0, 0, 100] = np.inf  # no colour either
    path = write(tmp_path / "a.tif", values, nodata=nodata)
    pixels, valid = read_all(path)
    expected = np.tile(HALF, (1, 1))
    expected[0, 100] = False
    np.testing.assert_array_equal(valid, expected)
    assert not pixels[~valid].any()


@pytest.mark.parametrize("sidecar", [False, True], ids=["internal", "beside"])
def test_masks(tmp_path, sidecar):
    rgb = picture()
    path = write(tmp_path / "a.tif", rgb, mask=HALF, sidecar_mask=sidecar)
    assert (tmp_path / "a.tif.msk").exists() is sidecar
    assert_picture(path, rgb, HALF)


def test_nothing_beyond_the_raster(tmp_path):
    rgb = picture()
    with open_image(write(tmp_path / "a.tif", rgb)) as image:
        pixels, valid = image.read(Window(-5, 110, 20, 30))
        far, far_valid = image.read(Window(500, 500, 4, 4))
    assert valid[5:, :10].all()
    assert valid.sum() == 15 * 10
    np.testing.assert_array_equal(pixels[5:, :10], np.moveaxis(rgb[:, :15, 110:], 0, -1))
    assert not pixels[~valid].any()
    assert not far.any()
    assert not far_valid.any()


def test_all_nodata_float_raster_opens(tmp_path):
    path = write(tmp_path / "a.tif", np.full((50, 60), np.nan, np.float32), nodata=np.nan)
    with open_image(path) as image:
        assert not image.read(image.grid.window)[1].any()


# ---------------------------------------------------------------- missing data that is not marked


def bordered(bands=3, dtype=np.uint8):
    """A rotated picture in black, a crack of exact black in it, a black frame of 5 px."""
    pixels = np.maximum(picture(300, 400, bands), 20).astype(dtype)
    rows, cols = np.mgrid[:300, :400]
    black = (rows + 0.4 * cols < 110) | (rows > 294) | (cols > 394)
    pixels[:, black] = 0
    pixels[:, 180:240, 150:190] = 0  # 40 px wide: not solid enough
    pixels[:, 100:240, 230:250] = 0
    return pixels, ~black


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3])
def test_solid_black_at_the_border_is_no_data_where_nothing_is_marked(tmp_path, bands, dtype):
    pixels, valid = bordered(bands, dtype)
    path = write(tmp_path / "a.tif", pixels)
    monitor, warnings = listening()
    with open_image(path, monitor=monitor) as image:
        found, seen = image.read(image.grid.window)
        stretch = image.stretch
    np.testing.assert_array_equal(seen, valid)
    assert not found[~valid].any()
    assert len(warnings) == 1
    assert "black border" in warnings[0]
    assert describe(path).has_collar
    if dtype != "uint8":  # the border is not in it
        ends = apply_stretch(np.percentile(pixels[:, valid], (1, 99)), stretch)
        np.testing.assert_allclose(ends, ENDS, atol=1)


def test_the_black_of_a_raster_that_marks_its_gaps_is_black(tmp_path):
    pixels, _ = bordered()
    everything = np.ones((300, 400), np.bool_)
    marked = write(tmp_path / "a.tif", pixels, mask=everything)
    assert_picture(marked, pixels, everything)
    assert_picture(write(tmp_path / "b.tif", pixels, nodata=7), pixels, everything)
    assert_picture(write(tmp_path / "c.tif", pixels), pixels, everything, BandSpec(nodata=9))


def test_black_that_jpeg_has_blurred_is_no_data_either(tmp_path):
    pixels, valid = bordered()
    pixels = np.where(pixels > 0, 120 + pixels // 10, 0).astype(np.uint8)
    path = write(
        tmp_path / "a.tif", pixels, photometric="ycbcr", compress="jpeg", jpeg_quality=75,
        tiled=True, blockxsize=64, blockysize=64,
    )  # fmt: skip
    with rasterio.open(path) as dataset:
        assert dataset.read()[:, ~valid].any()  # the blur is there
    _, seen = read_all(path)
    corner = np.s_[:90, :200]  # away from the frame, which is narrower than a block of JPEG
    assert (seen & ~valid)[corner].sum() < 0.01 * (~valid)[corner].sum()
    assert seen[valid].all()


def test_a_band_of_no_and_yes_is_a_mask(tmp_path):
    four = picture(bands=4)
    four[3] = np.where(HALF, 255, 0)
    path = write(tmp_path / "a.tif", four, interps=(*RGB, UNDEFINED))
    monitor, warnings = listening()
    with open_image(path, monitor=monitor) as image:
        np.testing.assert_array_equal(image.read(image.grid.window)[1], HALF)
    assert "band 4" in warnings[0]
    assert "--bands 1,2,3" in warnings[0]
    assert read_all(path, BandSpec(bands=(1, 2, 3)))[1].all()
    two = picture(bands=2)
    two[1] = HALF
    assert_picture(write(tmp_path / "b.tif", two), two[[0, 0, 0]], HALF)


@pytest.fixture(scope="module")
def in_black(tmp_path_factory):
    folder = tmp_path_factory.mktemp("black")
    pixels, _ = bordered()
    return [
        write(folder / "a.tif", pixels),
        write(folder / "b.tif", pixels, tiled=True, blockxsize=64, blockysize=64),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([None, 0.0013, 0.0031]),
    st.tuples(*[st.integers(-20, 320)] * 2),
    st.tuples(*[st.integers(1, 150)] * 2),
    st.integers(0, 1),
    st.sampled_from([500, 2**20]),
)
def test_what_is_black_does_not_depend_on_the_window(in_black, gsd_m, corner, size, which, part_px):
    window = Window(*corner, *size)
    with pytest.MonkeyPatch.context() as patch, open_image(in_black[which], gsd_m=gsd_m) as image:
        _, whole = image.read(Window(-20, -20, 700, 700))
        patch.setattr("crackgeo.raster._PART_PX", part_px)
        _, valid = image.read(window)
    row, col = corner[0] + 20, corner[1] + 20
    np.testing.assert_array_equal(valid, whole[row : row + size[0], col : col + size[1]])


# ---------------------------------------------------------------- formats


def test_cog_and_vrt(tmp_path):
    rgb = picture(600, 700)
    source = write(tmp_path / "a.tif", rgb, mask=np.ones((600, 700), np.bool_))
    assert_picture(convert(source, tmp_path / "cog.tif", "COG"), rgb)
    assert_picture(convert(source, tmp_path / "a.vrt", "VRT"), rgb)


@pytest.mark.parametrize(("suffix", "world"), [("png", "pgw"), ("jpg", "jgw"), ("jpg", "wld")])
def test_pictures_with_world_file(tmp_path, suffix, world):
    grey = np.repeat(np.repeat(picture(3, 4, 1), 8, axis=1), 8, axis=2)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(grey[0]).save(path, quality=95)
    # centre of the first pixel, as world files count
    (tmp_path / f"a.{world}").write_text("0.002\n0\n0\n-0.002\n500000.001\n5399999.999\n")
    monitor, warnings = listening()
    with open_image(path, monitor=monitor) as image:
        pixels, valid = image.read(image.grid.window)
        np.testing.assert_allclose(image.grid.transform[:6], TRANSFORM[:6])
    assert valid.all()
    assert np.abs(pixels[..., 0].astype(int) - grey[0]).mean() < 3
    assert len(warnings) == 1
    assert "no CRS" in warnings[0]


def with_world_file(folder):
    path = folder / "a.png"
    Image.fromarray(picture(24, 32, 1)[0]).save(path)
    (folder / "a.pgw").write_text("0.002\n0\n0\n-0.002\n500000.001\n5399999.999\n")
    return path


def test_a_prj_file_beside_a_world_file_names_the_crs(tmp_path):
    path = with_world_file(tmp_path)
    crs = CRS.from_epsg(25832)
    (tmp_path / "a.prj").write_text(crs.to_wkt(version="WKT1_ESRI"))
    monitor, warnings = listening()
    with open_image(path, monitor=monitor) as image:
        assert CRS.from_wkt(image.grid.crs_wkt).linear_units == "metre"
        assert CRS.from_wkt(image.grid.crs_wkt).to_epsg(confidence_threshold=70) == 25832
    assert warnings == []


def test_a_prj_file_that_names_no_crs_is_an_error(tmp_path):
    path = with_world_file(tmp_path)
    (tmp_path / "a.prj").write_text("somewhere in the north")
    with pytest.raises(InputError, match=r"a\.prj: names no CRS"), open_image(path):
        pass


# ---------------------------------------------------------------- place


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.001, 0.002, 500000, 0.002, -0.001, 5400000),
        Affine(0.002, 0.001, 500000, 0, -0.002, 5400000),
        Affine(0.002, 0, 500000, 0, 0.002, 5400000),
        Affine(0.002, 0, 500000, 0, -0.003, 5400000),
    ],
    ids=["rotated", "sheared", "south-up", "non-square"],
)
def test_transforms_are_kept(tmp_path, transform):
    rgb = picture()
    path = write(tmp_path / "a.tif", rgb, transform=transform)
    assert_picture(path, rgb)
    with open_image(path) as image:
        np.testing.assert_allclose(image.grid.transform[:6], transform[:6])


@pytest.mark.parametrize(
    ("crs", "pixel", "expected_mm"),
    [
        ("EPSG:4326", 1e-8, (1.113, 1.113)),  # on the equator
        ("EPSG:2263", 0.01, (3.048, 3.048)),  # US survey feet
        (UTM, 0.002, (2.0, 2.0)),
    ],
)
def test_ground_pixel_size_in_any_crs(tmp_path, crs, pixel, expected_mm):
    origin = {"EPSG:4326": (10, 0), "EPSG:2263": (980000, 200000), UTM: (500000, 5400000)}[crs]
    transform = Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
    info = describe(write(tmp_path / "a.tif", picture(), crs=crs, transform=transform))
    np.testing.assert_allclose(info.gsd_mm, expected_mm, rtol=0.01)
    assert crs in info.crs_name
    assert info.has_ground_units


def test_no_crs_is_told(tmp_path):
    monitor, warnings = listening()
    info = describe(write(tmp_path / "a.tif", picture(), crs=None), monitor=monitor)
    assert info.crs_name is None
    assert not info.has_ground_units
    np.testing.assert_allclose(info.gsd_mm, (0.002, 0.002))  # local units
    assert len(warnings) == 1
    assert "local units" in warnings[0]


def test_no_georeference_is_told_and_refuses_a_ground_pixel_size(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture(bands=1)[0]).save(path)
    monitor, warnings = listening()
    with open_image(path, monitor=monitor) as image:
        assert image.grid.transform == Affine(1, 0, 0, 0, -1, 0)  # as a GIS shows it
        assert image.grid.crs_wkt is None
    assert len(warnings) == 1
    assert "pixels" in warnings[0]
    with pytest.raises(UsageError, match="no georeference"):
        open_image(path, gsd_m=0.01)


def test_control_points_are_fitted_and_the_residual_told(tmp_path):
    true = Affine(0.0019, 0.0003, 500000, 0.0003, -0.0021, 5400000)
    rgb = picture()
    exact = write(tmp_path / "a.tif", rgb, gcps=control_points(true, 90, 120))
    assert_picture(exact, rgb)
    monitor, warnings = listening()
    with open_image(exact, monitor=monitor) as image:
        np.testing.assert_allclose(image.grid.transform[:6], true[:6], atol=1e-9)
        assert "32632" in image.grid.crs_wkt
    assert "9 ground control points fit to 0.00 px" in warnings[0]
    loose = write(tmp_path / "b.tif", rgb, gcps=control_points(true, 90, 120, noise_px=2))
    open_image(loose, monitor=monitor).close()
    assert 1 < float(warnings[1].split(" px")[0].split()[-1]) < 4


def test_absurd_control_points_are_refused(tmp_path):
    gcps = control_points(TRANSFORM, 90, 120, noise_px=80)
    with pytest.raises(InputError, match="too badly"):
        open_image(write(tmp_path / "a.tif", picture(), gcps=gcps))
    line = [g for g in control_points(TRANSFORM, 90, 120) if g.col == 0]
    with pytest.raises(InputError, match="on one line"):
        open_image(write(tmp_path / "b.tif", picture(), gcps=line))
    with pytest.raises(InputError, match="needs three"):
        open_image(write(tmp_path / "c.tif", picture(), gcps=line[:2]))


def test_rpc_alone_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", picture(), transform=Affine.identity(), crs=None)
    zeros = " ".join(["0"] * 19)
    numbers = {"LINE_OFF": 45, "SAMP_OFF": 60, "LAT_OFF": 48, "LONG_OFF": 11, "HEIGHT_OFF": 500}
    numbers |= {k.replace("OFF", "SCALE"): 1 for k in numbers}
    rpc = {k: str(v) for k, v in numbers.items()}
    rpc |= {f"{a}_{b}_COEFF": f"1 {zeros}" for a in ("LINE", "SAMP") for b in ("NUM", "DEN")}
    with accept_no_georeference(), rasterio.open(path, "r+") as file:
        file.update_tags(ns="RPC", **rpc)
    with pytest.raises(InputError, match="RPC"):
        open_image(path)


def test_transform_without_area_is_refused(tmp_path):
    vrt = convert(write(tmp_path / "a.tif", picture()), tmp_path / "a.vrt", "VRT")
    head, _, tail = vrt.read_text().partition("<GeoTransform>")
    tail = tail.partition("</GeoTransform>")[2]
    vrt.write_text(f"{head}<GeoTransform>5e5, 0, 0, 5.4e6, 0, -1</GeoTransform>{tail}")
    with pytest.raises(InputError, match="no map"):
        open_image(vrt)


# ---------------------------------------------------------------- ground pixel size


def test_taps_of_whole_factors():
    same = taps(0, 4, 1.0, 4)
    assert [row[row > 0].tolist() for row in same.weight] == [[WEIGHT_SUM]] * 4
    double = taps(1, 1, 2.0, 100)
    used = double.weight[0] > 0
    assert (double.first + double.index[0][used]).tolist() == [1, 2, 3, 4]
    assert double.weight[0][used].tolist() == [256, 768, 768, 256]  # 1 : 3 : 3 : 1


def test_resampling_ramps_keeps_them_straight():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (30, 200, 3))
    for scale in (0.4, 1.5, 2.0, 3.7):
        count = int(200 / scale)
        rows, cols = taps(0, int(30 / scale), scale, 30), taps(0, count, scale, 200)
        part = ramp[rows.first : rows.end, cols.first : cols.end]
        pixels, valid = resample(
            np.ascontiguousarray(part), np.ones(part.shape[:2], bool), rows, cols
        )
        inner = np.s_[2:-2, 3:-3]
        expected = (np.arange(count) + 0.5) * scale - 0.5
        assert np.abs(pixels[..., 0] - expected)[inner].max() <= 0.55
        assert valid[inner].all()


def test_target_pixels_with_less_than_half_of_their_weight_are_invalid():
    # ten source pixels make 3.33 of three: a third of the last one's weight lies inside
    cols, rows = taps(0, 4, 3.0, 10), taps(0, 1, 1.0, 1)
    pixels, valid = resample(np.full((1, 10, 3), 90, np.uint8), np.ones((1, 10), bool), rows, cols)
    assert valid.tolist() == [[True, True, True, False]]
    assert pixels[0, :, 0].tolist() == [90, 90, 90, 0]
    # the second one's weights are 1, 2, 3, 2, 1 ninths around pixel 4
    for hidden, expected in (([4], True), ([3, 4], False), ([2, 3], True), ([3, 4, 5], False)):
        holes = np.ones((1, 10), np.bool_)
        holes[0, hidden] = False
        shown = np.where(holes[..., None], np.full((1, 10, 3), 90, np.uint8), 0).astype(np.uint8)
        pixels, valid = resample(shown, holes, rows, cols)
        assert valid[0, 1] == expected
        assert pixels[0, 1, 0] == 90 * expected


def test_invalid_pixels_lend_no_colour(tmp_path):
    rgb = np.full((3, 90, 120), 200, np.uint8)
    rgb[:, :, :60] = 0
    path = write(tmp_path / "a.tif", rgb, nodata=0)
    for gsd_m in (0.0013, 0.005, 0.0062):
        pixels, valid = read_all(path, gsd_m=gsd_m)
        assert set(np.unique(pixels[valid])) == {200}
        assert not pixels[~valid].any()
        share = valid[valid.any(axis=1)].mean()
        assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize("gsd_m", [0.0013, 0.0045, 0.01])
def test_gsd_gives_square_ground_pixels_at_the_same_place(tmp_path, gsd_m):
    transform = Affine(0.002, 0, 500000, 0, -0.003, 5400000)
    path = write(tmp_path / "a.tif", picture(), transform=transform)
    info = describe(path, gsd_m=gsd_m)
    np.testing.assert_allclose(info.gsd_mm, (gsd_m * 1000, gsd_m * 1000), rtol=1e-6)
    grid = info.grid
    assert (grid.transform.c, grid.transform.f) == (500000, 5400000)
    true_scale = 1 / 0.9996  # UTM on its central meridian
    assert grid.width == np.ceil(120 * 0.002 * true_scale / gsd_m - 1e-6)
    assert grid.height == np.ceil(90 * 0.003 * true_scale / gsd_m - 1e-6)


def test_pixels_that_are_not_square_are_told(tmp_path):
    transform = Affine(0.002, 0, 500000, 0, -0.003, 5400000)
    path = write(tmp_path / "a.tif", picture(), transform=transform)
    monitor, warnings = listening()
    open_image(path, monitor=monitor).close()
    assert len(warnings) == 1
    assert "2.001 x 3.001 mm" in warnings[0]
    assert "--gsd 0.002001" in warnings[0]
    open_image(write(tmp_path / "b.tif", picture()), monitor=monitor).close()
    open_image(path, gsd_m=0.004, monitor=monitor).close()
    assert len(warnings) == 1


def test_gsd_of_the_raster_itself_changes_nothing(tmp_path):
    rgb = picture()
    path = write(tmp_path / "a.tif", rgb)
    with open_image(path, gsd_m=0.0020008) as image:
        assert image.scale.is_native
    assert_picture(path, rgb)


def test_gsd_that_makes_no_sense(tmp_path):
    path = write(tmp_path / "a.tif", picture())
    monitor, warnings = listening()
    for gsd_m in (0.0, -1.0, float("nan"), float("inf"), 1e-9, 50.0):
        with pytest.raises(UsageError, match="--gsd"):
            open_image(path, gsd_m=gsd_m)
    open_image(path, gsd_m=0.001, monitor=monitor).close()
    assert "no detail" in warnings[0]


@pytest.fixture(scope="module")
def ragged(tmp_path_factory):
    """A striped and a tiled raster with holes."""
    folder = tmp_path_factory.mktemp("ragged")
    rgba = picture(300, 410, 4)
    rgba[3] = np.random.default_rng(4).random((300, 410)) > 0.2
    rgba[3, 100:180, 50:300] = 0
    deep = rgba.astype(np.uint16) * 257
    return [
        write(folder / "a.tif", rgba, interps=(*RGB, ALPHA)),
        write(
            folder / "b.tif", deep, interps=(*RGB, ALPHA), tiled=True, blockxsize=64, blockysize=64
        ),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([None, 0.0009, 0.0027, 0.006, 0.0131]),
    st.tuples(*[st.integers(-20, 320)] * 2),
    st.tuples(*[st.integers(1, 150)] * 2),
    st.integers(0, 1),
    st.sampled_from([500, 2**20]),
)
def test_pixels_do_not_depend_on_the_window(ragged, gsd_m, corner, size, which, part_px):
    window = Window(*corner, *size)
    with pytest.MonkeyPatch.context() as patch, open_image(ragged[which], gsd_m=gsd_m) as image:
        whole, whole_valid = image.read(Window(-20, -20, 500, 500))
        patch.setattr("crackgeo.raster._PART_PX", part_px)
        pixels, valid = image.read(window)
    cut = np.s_[
        corner[0] + 20 : corner[0] + 20 + size[0], corner[1] + 20 : corner[1] + 20 + size[1]
    ]
    np.testing.assert_array_equal(pixels, whole[cut])
    np.testing.assert_array_equal(valid, whole_valid[cut])


def test_source_parts_cover_a_window_once(ragged):
    for path in ragged:
        with open_image(path) as image:
            for max_pixels in (130, 5000, 10**6):
                count = np.zeros((300, 410), np.int64)
                for part in image._source.parts(Window(7, 13, 250, 333), max_pixels):
                    assert part.height * part.width <= max_pixels
                    count[part.row : part.row_end, part.col : part.col_end] += 1
                assert count[7:257, 13:346].min() == count.max() == 1
                assert count.sum() == 250 * 333


# ---------------------------------------------------------------- threads


def test_reading_in_another_thread(ragged):
    with open_image(ragged[1], gsd_m=0.003) as image:
        windows = [Window(i, 2 * i, 60, 60) for i in range(0, 100, 10)]
        expected = [image.read(w)[0] for w in windows]
        found = []
        threads = [
            threading.Thread(target=lambda: found.append([image.read(w)[0] for w in windows]))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 2
    np.testing.assert_array_equal(found, [expected] * 2)


# ---------------------------------------------------------------- bad input


def test_files_that_are_no_rasters(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("this is no raster\n")
    cases = {
        "missing.tif": "no such file",
        ".": "folder",
        "empty.tif": "empty",
        "text.tif": "not a",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            open_image(tmp_path / name)
        assert caught.value.remedy
        assert str(tmp_path / name) in caught.value.message


def test_bands_and_nodata_that_do_not_fit(tmp_path):
    path = write(tmp_path / "a.tif", picture())
    with pytest.raises(UsageError, match="band 4 asked for, the raster has 3"):
        open_image(path, BandSpec(bands=(1, 2, 4)))
    for nodata in (300, -1, 0.5, float("nan")):
        with pytest.raises(UsageError, match="cannot have this value"):
            open_image(path, BandSpec(nodata=nodata))


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    pixels = np.zeros((4, 5), np.complex64 if dtype != "complex128" else np.complex128)
    with pytest.raises(InputError, match="complex"):
        open_image(write(tmp_path / "a.tif", pixels, dtype=dtype))


def test_printing_colours_are_refused(tmp_path):
    vrt = convert(write(tmp_path / "a.tif", picture(bands=4)), tmp_path / "a.vrt", "VRT")
    text = vrt.read_text()
    for colour in ("Cyan", "Magenta", "Yellow"):
        text = re.sub(
            "<ColorInterp>(Gray|Red|Green|Blue|Undefined)<",
            f"<ColorInterp>{colour}<",
            text,
            count=1,
        )
    vrt.write_text(text)
    with rasterio.open(vrt) as dataset:
        assert dataset.colorinterp[1] == ColorInterp.magenta
    with pytest.raises(InputError, match="CMYK"):
        open_image(vrt)
    open_image(vrt, BandSpec(bands=(1,))).close()
    # the way out that the message names leads to a result
    out = tmp_path / "p.tif"
    assert predict_raster(vrt, out, model=IdentityModel(), bands=(1,)).pixels_valid == 90 * 120


def test_absurd_dimensions_are_refused(tmp_path):
    vrt = tmp_path / "a.vrt"
    band = '<VRTRasterBand dataType="Byte" band="1"/>'
    vrt.write_text(
        f'<VRTDataset rasterXSize="2000000000" rasterYSize="2000000000">{band}</VRTDataset>'
    )
    with pytest.raises(InputError, match="2000000000 x 2000000000"):
        open_image(vrt)


def test_zero_size_is_refused(tmp_path):
    vrt = tmp_path / "a.vrt"
    vrt.write_text('<VRTDataset rasterXSize="0" rasterYSize="0"></VRTDataset>')
    with pytest.raises(InputError, match=str(vrt)):
        open_image(vrt)


def test_a_truncated_tiff_names_the_block(tmp_path):
    path = write(tmp_path / "a.tif", picture(500, 400), tiled=True, blockxsize=128, blockysize=128)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with open_image(path) as image:
        image.read(Window(0, 0, 64, 64))  # what is there can be read
        with pytest.raises(InputError, match=r"a\.tif: .*block at row 256, column \d+") as caught:
            image.read(Window(0, 0, 500, 400))
    assert "--bbox" in caught.value.remedy


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_corrupt_block_is_named_where_it_is_read(tmp_path, dtype):
    path = write(
        tmp_path / "a.tif",
        picture(256, 384).astype(dtype),
        tiled=True,
        blockxsize=128,
        blockysize=128,
        compress="deflate",
    )
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x00\xff" * 200)
    with open_image(path) as image:
        image.read(Window(0, 0, 128, 384))
        with pytest.raises(InputError, match="block at row 128, column 128"):
            image.read(Window(100, 0, 156, 384))


def test_a_truncated_jpeg_is_an_error_not_grey(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.moveaxis(picture(400, 400), 0, -1)).save(path)
    path.write_bytes(path.read_bytes()[:30000])
    with open_image(path) as image, pytest.raises(InputError, match=r"a\.jpg"):
        image.read(image.grid.window)


def test_a_vrt_without_its_source(tmp_path):
    source = write(tmp_path / "a.tif", picture())
    vrt = convert(source, tmp_path / "a.vrt", "VRT")
    source.unlink()
    with pytest.raises(CrackgeoError, match=r"a\.vrt"), open_image(vrt) as image:
        image.read(image.grid.window)


def test_a_mosaic_without_one_of_its_sources_is_an_error_not_black(tmp_path):
    """GDAL says so at the first read only, and gives zeros afterwards."""
    sources = ""
    for left, name in ((0, "left.tif"), (120, "right.tif")):
        write(tmp_path / name, picture(bands=1))
        size = 'yOff="0" xSize="120" ySize="90"'
        place = f'<SrcRect xOff="0" {size}/><DstRect xOff="{left}" {size}/>'
        file = f'<SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        sources += f"<SimpleSource>{file}<SourceBand>1</SourceBand>{place}</SimpleSource>"
    vrt, place = tmp_path / "m.vrt", "<GeoTransform>5e5, 1, 0, 5.4e6, 0, -1</GeoTransform>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand>'
    vrt.write_text(f'<VRTDataset rasterXSize="240" rasterYSize="90">{place}{band}</VRTDataset>')
    with open_image(vrt) as image:
        assert image.read(image.grid.window)[1].all()
    (tmp_path / "right.tif").unlink()
    with open_image(vrt) as image, pytest.raises(InputError, match=r"right\.tif: No such file"):
        image.read(image.grid.window)


# ---------------------------------------------------------------- describe and checksum


def test_describe(tmp_path):
    four = picture(bands=4)
    path = write(tmp_path / "a.tif", four.astype(np.uint16), interps=(*RGB, ALPHA), nodata=0)
    info = describe(path)
    assert (info.width, info.height, info.band_count, info.bands) == (120, 90, 4, (1, 2, 3))
    assert (info.dtype, info.nodata, info.has_alpha, info.has_mask) == ("uint16", 0, True, False)
    assert (info.driver, info.file_bytes) == ("GTiff", path.stat().st_size)
    assert (info.georeference, info.crs_name) == (
        "transform",
        "WGS 84 / UTM zone 32N (EPSG:32632)",
    )
    masked = write(tmp_path / "b.tif", four, mask=HALF)
    assert describe(masked).has_mask


def test_header_checksum_tells_files_apart(tmp_path):
    rgb = picture(700, 1000)
    first = write(tmp_path / "a.tif", rgb)
    same = write(tmp_path / "b.tif", rgb)
    rgb[0, -1, -1] ^= 1  # in the last MiB
    other = write(tmp_path / "c.tif", rgb)
    moved = write(tmp_path / "d.tif", rgb, transform=Affine(0.002, 0, 5e5, 0, -0.002, 5.4e6 + 1))
    sums = [header_checksum(path) for path in (first, same, other, moved)]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3
    assert all(len(s) == 64 for s in sums)


def test_changes_in_the_middle_of_large_files_change_the_checksum(tmp_path):
    """One block of 13 MB of them; compressed, it only needs to become longer or shorter."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 3600, 3600)).astype(np.uint8)
    tiled = {"tiled": True, "compress": "deflate", "zlevel": 1}
    path = write(tmp_path / "a.tif", pixels, **tiled)
    assert path.stat().st_size > 12e6
    before = header_checksum(path)
    pixels[0, 1700:1956, 1700:1956] = 7
    assert header_checksum(write(tmp_path / "a.tif", pixels, **tiled)) != before
    # uncompressed: 64 pieces of 64 KiB are a third of the file
    plain = write(tmp_path / "b.tif", pixels)
    before, content = header_checksum(plain), bytearray(plain.read_bytes())
    content[2**20 + 10 : 2**20 + 20] = bytes(10)
    plain.write_bytes(content)
    assert header_checksum(plain) != before


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the development data is not here")
def test_real_frames_are_mostly_transparent():
    with open_image(SHARED / "h1_MAX_0008_15m.tif", gsd_m=0.02) as image:
        _, valid = image.read(image.grid.window)
    assert 0.03 < valid.mean() < 0.1


@pytest.mark.parametrize("name", ["", "<VRTDataset>" + "x" * 5000, "a\0b"])
def test_a_name_that_is_no_path_has_no_prj_beside_it(name):
    assert _crs_beside(name) is None
