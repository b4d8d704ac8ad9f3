"""Images on another grid than their own: exact places, no blur, the marks of missing data kept."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.warp import transform_bounds
from rasters import TRANSFORM, UTM, control_points, picture, write

from crackgeo.errors import InputError
from crackgeo.grid import Grid, Window
from crackgeo.ground import pixel_size_m
from crackgeo.interpolation import interpolate
from crackgeo.mosaic import place_rasters
from crackgeo.raster import describe, open_image
from crackgeo.reproject import PixelMap, is_same, transformer
from crackgeo.specs import BandSpec
from crackgeo.warp import WarpedImage

TURNED = Affine.translation(500000, 5400000) @ Affine.rotation(30) @ Affine.scale(0.002, -0.002)
SITE = 'ENGCRS["{}",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["{}",{}]]'


def whole(path, crs=None, gsd_m=None):
    """All pixels of a raster as a survey with this CRS holds them."""
    survey, errors = place_rasters([path], BandSpec(), crs, gsd_m)
    assert not errors
    with survey.members[0].open(BandSpec()) as image:
        return image.read(image.grid.window)


# ---------------------------------------------------------------- interpolation


def test_on_the_pixels_themselves_nothing_changes():
    pixels = np.moveaxis(picture(7, 9), 0, -1)
    rows, cols = np.mgrid[:7, :9] + 0.5
    found, valid = interpolate(pixels, np.ones((7, 9), np.bool_), cols, rows)
    np.testing.assert_array_equal(found, pixels)
    assert valid.all()


def test_between_pixels_it_is_linear_and_only_valid_ones_count():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0], pixels[1, 1] = 100, 200, 40, 255
    valid = np.array([[True, True], [True, False]])
    cols, rows = np.array([[1.0, 0.5, 1.0, 1.25, -0.25]]), np.array([[0.5, 0.75, 1.0, 1.25, 0.5]])
    found, known = interpolate(pixels, valid, cols, rows)
    # half and half; a quarter of the way down; three of four valid; one of them holds 9/16, gone
    assert found[0, :3, 0].tolist() == [150, 85, round((100 + 200 + 40) / 3)]
    assert known.tolist() == [[True, True, True, False, False]]
    assert (found[~known] == 0).all()


def test_every_way_round_leads_back():
    source = Grid(400, 300, TURNED, CRS.from_user_input(UTM).to_wkt())
    target = Grid(900, 900, TRANSFORM, CRS.from_user_input("EPSG:25832").to_wkt())
    there = PixelMap(target, source)
    cols, rows = np.array([3.0, 250.0]), np.array([700.0, 11.0])
    np.testing.assert_allclose(
        there.to_target(*there.to_source(cols, rows)), [cols, rows], atol=1e-3
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(-80, 500), st.integers(-80, 500), st.integers(1, 200), st.integers(1, 200))
def test_places_are_those_of_the_projection_through_every_window(row, col, height, width):
    source = Grid(400, 300, TURNED, CRS.from_user_input(UTM).to_wkt())
    target = Grid(500, 500, _on("EPSG:32633"), CRS.from_user_input("EPSG:32633").to_wkt())
    there = PixelMap(target, source)
    cols, rows = there.centres(Window(row, col, height, width))
    exact = there.to_source(
        *np.meshgrid(col + np.arange(width) + 0.5, row + np.arange(height) + 0.5)
    )
    np.testing.assert_allclose(cols, exact[0], atol=1e-3)
    np.testing.assert_allclose(rows, exact[1], atol=1e-3)
    last = there.centres(Window(row + height - 1, col + width - 1, 1, 1))
    assert (last[0][0, 0], last[1][0, 0]) == (cols[-1, -1], rows[-1, -1])


def _on(crs):
    west, _, _, north = transform_bounds(UTM, crs, 500000, 5400000 - 0.6, 500000.8, 5400000 + 0.4)
    return Affine(0.002, 0, west, 0, -0.002, north)


@settings(max_examples=25, deadline=None)
@given(st.integers(-50, 560), st.integers(-50, 560), st.integers(1, 600), st.integers(1, 600))
def test_a_pixel_is_the_same_through_every_window(tmp_path_factory, row, col, height, width):
    path = tmp_path_factory.getbasetemp() / "turned.tif"
    if not path.exists():
        write(path, picture(300, 400), transform=TURNED)
    survey, _ = place_rasters([path], BandSpec(), "EPSG:25832")
    with survey.members[0].open(BandSpec()) as image:
        assert isinstance(image, WarpedImage)
        pixels, valid = image.read(image.grid.window)
        assert 0.4 < valid.mean() < 0.7  # a rectangle turned by 30 degrees in its box
        window = Window(row, col, height, width)
        part, known = image.read(window)
        inside = window.intersect(image.grid.window)
        if inside is None:
            assert not known.any()
            return
        there = np.s_[inside.row : inside.row_end, inside.col : inside.col_end]
        here = inside.seen_from(window)
        cut = np.s_[here.row : here.row_end, here.col : here.col_end]
        np.testing.assert_array_equal(part[cut], pixels[there])
        np.testing.assert_array_equal(known[cut], valid[there])
        assert known.sum() == known[cut].sum()


# ---------------------------------------------------------------- pictures stay what they are


def test_turning_moves_pixels_to_their_places_and_does_not_blur(tmp_path):
    def waves(x, y):  # one in six pixels: an average over two or more flattens it
        return 128 + 100 * np.sin(2 * np.pi * (x - 500000) / 0.012) * np.cos(2 * np.pi * y / 0.03)

    grid = Grid(500, 400, TURNED)
    rows, cols = np.mgrid[:400, :500] + 0.5
    path = write(tmp_path / "a.tif", np.rint(waves(*grid.xy(cols, rows))).astype(np.uint8),
                 transform=TURNED)  # fmt: skip
    survey, _ = place_rasters([path], BandSpec(), "EPSG:25832")
    with survey.members[0].open(BandSpec()) as image:
        pixels, valid = image.read(image.grid.window)
        rows, cols = np.mgrid[: image.grid.height, : image.grid.width] + 0.5
        x, y = transformer(CRS.from_epsg(25832), CRS.from_user_input(UTM)).transform(
            *image.grid.xy(cols, rows)
        )
    error = (pixels[..., 0] - waves(x, y))[valid]
    # linear interpolation of this wave keeps .91 of it halfway between pixels and all on them
    assert np.abs(error).mean() < 8
    assert np.std(pixels[..., 0][valid]) > 0.88 * np.std(waves(x, y)[valid])


def test_coarser_pixels_are_means(tmp_path):
    pixels = np.zeros((1, 400, 400), np.uint8)
    pixels[:, ::2] = 200  # lines of one pixel
    path = write(tmp_path / "a.tif", pixels, transform=TURNED, nodata=None)
    found, valid = whole(path, gsd_m=0.006, crs="EPSG:25832")
    inner = found[20:-20, 20:-20, 0][valid[20:-20, 20:-20]]
    assert len(inner) > 1000
    assert np.abs(inner.astype(float) - 100).max() <= 34  # 3 pixels, at most 2 of a kind


def test_control_points_and_a_prj_beside_count_in_another_crs(tmp_path):
    pixels = picture(200, 300)
    write(tmp_path / "a.tif", pixels)
    write(tmp_path / "gcps.tif", pixels, gcps=control_points(TRANSFORM, 200, 300))
    write(tmp_path / "prj.tif", pixels, crs=None)
    (tmp_path / "prj.prj").write_text(CRS.from_user_input(UTM).to_wkt("WKT1_ESRI"))
    expected, known = whole(tmp_path / "a.tif", "EPSG:25833")
    assert known.mean() > 0.8
    for name in ("gcps.tif", "prj.tif"):
        found, valid = whole(tmp_path / name, "EPSG:25833")
        assert abs(int(valid.sum()) - int(known.sum())) < 0.02 * known.sum(), name
        assert np.abs(found[5:190, 5:290].mean() - expected[5:190, 5:290].mean()) < 3, name


@pytest.mark.parametrize("marked", ["black border", "unnamed mask", "nodata", "alpha"])
def test_marks_of_missing_data_count_in_another_crs(tmp_path, marked):
    pixels = picture(400, 400, 4 if marked in ("unnamed mask", "alpha") else 3)
    pixels[:3, :, :150] = 0
    if len(pixels) == 4:
        pixels[3] = np.where(np.arange(400) < 150, 0, 255)
    options = {"nodata": {"nodata": 0}, "alpha": {"alpha": "YES"}}.get(marked, {})
    path = write(tmp_path / "a.tif", pixels, **options)
    _, native = whole(path)
    assert native.mean() == pytest.approx(250 / 400, abs=0.03)
    pixels, valid = whole(path, "EPSG:25833")
    assert valid.sum() == pytest.approx(native.sum(), rel=0.02)
    assert pixels[valid].min() > 0  # nothing of the black is mixed in


def test_a_raster_over_the_antimeridian_comes_whole(tmp_path):
    step = 2e-8  # 2 mm
    path = write(
        tmp_path / "a.tif", picture(200, 200), crs="EPSG:4326",
        transform=Affine(step, 0, 180 - 100 * step, 0, -step, 0.5),
    )  # fmt: skip
    grid = describe(path).grid
    ground_m2 = 200 * 200 * np.prod(pixel_size_m(grid))
    survey, _ = place_rasters([path], BandSpec(), "EPSG:32601")
    with survey.members[0].open(BandSpec()) as image:
        valid = image.read(image.grid.window)[1]
        assert valid.sum() * np.prod(pixel_size_m(image.grid)) == pytest.approx(ground_m2, rel=0.02)


def test_damage_is_told_on_the_grid(tmp_path):
    path = write(
        tmp_path / "a.tif", picture(640, 640, 1), compress="deflate", tiled=True,
        blockxsize=64, blockysize=64, transform=TURNED,
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(bytes(data))
    survey, _ = place_rasters([path], BandSpec(), "EPSG:25832")
    member = survey.members[0]
    with member.open(BandSpec(stretch=(0, 255))) as image, pytest.raises(InputError):
        image.read(image.grid.window)
    with member.open(BandSpec(stretch=(0, 255)), on_error="skip") as image:
        valid = image.read(image.grid.window)[1]
        (block,) = image.damaged
    assert 64 <= block.height <= 100  # 64 px turned by 30 degrees
    lost = valid[block.row : block.row_end, block.col : block.col_end]
    assert not lost[lost.shape[0] // 2, lost.shape[1] // 2]


def test_what_may_hold_data_is_known_without_reading_all(tmp_path):
    write(tmp_path / "a.tif", picture(300, 400), transform=TURNED)
    survey, _ = place_rasters([tmp_path / "a.tif"], BandSpec(), "EPSG:25832")
    with survey.members[0].open(BandSpec()) as image:
        height, width = image.grid.shape
        assert image.may_hold_data(height // 2, width // 2)
        assert not image.may_hold_data(0, 0)


# ---------------------------------------------------------------- coordinate systems


def test_site_grids_are_one_by_name_and_unit():
    feet = CRS.from_wkt(SITE.format("site", "foot", 0.3048))
    written = CRS.from_wkt(feet.to_wkt().replace('EDATUM["x"]', 'EDATUM["unknown"]'))
    assert is_same(feet, written)
    assert not is_same(feet, CRS.from_wkt(SITE.format("site", "metre", 1)))
    assert not is_same(feet, CRS.from_wkt(SITE.format("other", "foot", 0.3048)))
    assert not is_same(feet, CRS.from_epsg(32632))
    assert is_same(CRS.from_epsg(4326), CRS.from_user_input("OGC:CRS84"))


def test_nothing_leads_from_a_site_grid_to_the_earth():
    site = CRS.from_wkt(SITE.format("bridge", "metre", 1))
    with pytest.raises(InputError, match="'bridge' to 'WGS 84'") as caught:
        transformer(site, CRS.from_epsg(4326))
    assert "one coordinate system" in caught.value.remedy


def test_the_image_is_closed_with_the_warp(tmp_path):
    image = open_image(write(tmp_path / "a.tif", picture()))
    with WarpedImage(image, image.grid):
        pass
    assert image.dataset.closed
