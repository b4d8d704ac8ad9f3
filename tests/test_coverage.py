from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from crackgeo.coverage import coverage_table
from crackgeo.errors import Cancelled, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor

ND = 255
UTM = pyproj.CRS.from_epsg(32632).to_wkt()


@dataclass
class ArraySource:
    pixels: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape

    def read(self, window: Window) -> NDArray[np.uint8]:
        assert window.intersect(Window(0, 0, *self.shape)) == window
        return self.pixels[window.row : window.row_end, window.col : window.col_end]


PIXELS = Affine.identity()


def local(shape: tuple[int, int], transform: Affine = PIXELS) -> Grid:
    return Grid(shape[1], shape[0], transform, None)


def test_a_hole_by_hand() -> None:
    pixels = np.zeros((3, 4), np.uint8)
    pixels[1, 1:3] = ND
    coverage = coverage_table(ArraySource(pixels), local((3, 4)))
    outer, hole = coverage.table.geometry
    assert hole.equals(shapely.box(1, 1, 3, 2))
    assert outer.equals(shapely.box(0, 0, 4, 3) - shapely.box(1, 1, 3, 2))
    assert coverage.table.columns["surveyed"].tolist() == [True, False]
    assert coverage.table.columns["reason"].tolist() == ["", "no data in the raster"]
    assert coverage.table.columns["area_m2"].tolist() == [10.0, 2.0]
    assert coverage.surveyed_m2 == 10.0


def test_majority_of_a_cell_decides_but_area_counts_pixels() -> None:
    pixels = np.full((2, 4), ND, np.uint8)
    pixels[0, :2] = 0  # half of the first cell
    pixels[0, 2] = 0  # a quarter of the second
    coverage = coverage_table(ArraySource(pixels), local((2, 4)), max_cells=2)
    assert coverage.table.columns["area_m2"].tolist() == [4.0, 4.0]
    assert coverage.table.geometry[0].equals(shapely.box(0, 0, 2, 2))
    assert coverage.surveyed_m2 == 3.0


@pytest.mark.parametrize("value", [0, ND])
def test_one_kind_only(value: int) -> None:
    coverage = coverage_table(ArraySource(np.full((5, 7), value, np.uint8)), local((5, 7)))
    (polygon,) = coverage.table.geometry
    assert polygon.equals(shapely.box(0, 0, 7, 5))
    assert coverage.table.columns["surveyed"].tolist() == [value != ND]
    assert coverage.surveyed_m2 == (35.0 if value != ND else 0.0)


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 24), st.integers(1, 24)),
        elements=st.sampled_from([0, ND]),
    ),
    st.integers(1, 700),
)
def test_polygons_are_valid_and_fill_the_raster(pixels: NDArray[np.uint8], max_cells: int) -> None:
    transform = Affine(0.5, 0.1, 100.0, 0.2, -0.5, 200.0)  # rotated and sheared
    grid = local(pixels.shape, transform)
    coverage = coverage_table(ArraySource(pixels), grid, max_cells)
    parts = coverage.table.geometry
    height, width = pixels.shape
    corners = grid.xy(np.array([0.0, width, width, 0]), np.array([0.0, 0, height, height]))
    rectangle = shapely.Polygon(np.stack(corners, axis=-1))
    assert shapely.is_valid(parts).all()
    assert np.isclose(shapely.area(parts), coverage.table.columns["area_m2"]).all()
    assert np.isclose(shapely.area(parts).sum(), rectangle.area)
    assert np.isclose(shapely.union_all(parts).symmetric_difference(rectangle).area, 0)
    pixel_m2 = abs(transform.determinant)
    assert np.isclose(coverage.surveyed_m2, (pixels != ND).sum() * pixel_m2)
    if pixels.size <= max_cells:
        surveyed = coverage.table.columns["surveyed"]
        assert np.isclose(shapely.area(parts[surveyed]).sum(), coverage.surveyed_m2)


def test_geographic_area_is_ground_area() -> None:
    pixels = np.zeros((60, 50), np.uint8)
    pixels[:, 25:] = ND
    step = 1e-5
    grid = Grid(50, 60, Affine(step, 0, 8.0, 0, -step, 60.0), pyproj.CRS.from_epsg(4326).to_wkt())
    coverage = coverage_table(ArraySource(pixels), grid)
    geod = pyproj.Geod(ellps="WGS84")
    box = shapely.box(8.0, 60.0 - 60 * step, 8.0 + 25 * step, 60.0)
    expected = abs(geod.geometry_area_perimeter(box)[0])
    assert coverage.surveyed_m2 == pytest.approx(expected, rel=1e-4)
    assert coverage.table.columns["area_m2"][0] == pytest.approx(expected, rel=1e-4)


def test_memory_is_bounded_by_cells_and_bands() -> None:
    class Tall:
        shape = (40_000, 2_000)

        def read(self, window: Window) -> NDArray[np.uint8]:
            block = np.zeros((window.height, window.width), np.uint8)
            block[:, :500] = ND
            return block

    grid = Grid(2_000, 40_000, Affine(0.002, 0, 5e5, 0, -0.002, 5.4e6), UTM)
    coverage_table(Tall(), local((4, 4)), max_cells=1)  # imports, outside the measurement
    tracemalloc.start()
    coverage = coverage_table(Tall(), grid, max_cells=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the raster has 80 MB
    assert coverage.surveyed_m2 == pytest.approx(0.75 * 80e6 * 4e-6, rel=2e-3)


def test_progress_and_cancel() -> None:
    seen: list[tuple[str, int, int]] = []
    source, grid = ArraySource(np.zeros((1200, 3), np.uint8)), local((1200, 3))
    coverage_table(source, grid, monitor=Monitor(on_progress=lambda *s: seen.append(s)))
    assert seen == [("coverage", 512, 1200), ("coverage", 1024, 1200), ("coverage", 1200, 1200)]
    with pytest.raises(Cancelled):
        coverage_table(source, grid, monitor=Monitor(is_cancelled=lambda: True))


def test_no_cells_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one cell"):
        coverage_table(ArraySource(np.zeros((2, 2), np.uint8)), local((2, 2)), max_cells=0)
