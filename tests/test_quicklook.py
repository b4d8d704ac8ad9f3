from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from crackgeo.errors import Cancelled, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.monitor import Monitor
from crackgeo.quicklook import _legend, round_length, scale_label, write_quicklook
from crackgeo.symbology import CRACK_CLASSES, UNKNOWN, WIDTH_CLASSES
from crackgeo.vectors import FeatureTable, Vectors

EMPTY = FeatureTable(np.empty(0, np.object_), {})
TITLE_PX = 42


class Picture:
    """An image source of any size that only makes what is asked for."""

    def __init__(self, colour: tuple[int, int, int] = (90, 100, 110), empty_cols: int = 0) -> None:
        self.colour = colour
        self.empty_cols = empty_cols
        self.largest = 0

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        self.largest = max(self.largest, window.height * window.width)
        rgb = np.full((window.height, window.width, 3), self.colour, np.uint8)
        valid = np.ones((window.height, window.width), np.bool_)
        valid[:, : max(0, self.empty_cols - window.col)] = False
        return rgb, valid


def grid(width: int, height: int) -> Grid:
    return Grid(width, height, Affine(0.5, 0, 1000, 0, -0.5, 2000), None)


def cracks(lines: list[shapely.LineString], widths_mm: list[float]) -> Vectors:
    geometry = np.empty(len(lines), np.object_)
    geometry[:] = lines
    columns = {
        "length_m": np.array([line.length for line in lines]),
        "width_mean_mm": np.array(widths_mm),
    }
    return Vectors(FeatureTable(geometry, columns), EMPTY, EMPTY)


def drawn(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_a_crack_has_the_colour_of_its_class_where_it_lies(tmp_path: Path) -> None:
    place = grid(800, 700)
    line = shapely.LineString(
        [(1000 + 0.5 * 100, 2000 - 0.5 * 300), (1000 + 0.5 * 700, 2000 - 0.5 * 300)]
    )
    path = tmp_path / "q.png"
    write_quicklook(path, Picture(), cracks([line], [25.0]), place, name="survey.tif")
    pixels = drawn(path)
    assert pixels[TITLE_PX + 300, 400].tolist() == list(WIDTH_CLASSES[5].colour)
    assert pixels[TITLE_PX + 200, 400].tolist() == [90, 100, 110]
    assert pixels[TITLE_PX + 300, 50].tolist() == [90, 100, 110]  # before its start


def test_a_large_raster_is_averaged_down(tmp_path: Path) -> None:
    picture = Picture()
    path = tmp_path / "q.png"
    write_quicklook(path, picture, cracks([], []), grid(5000, 2001), max_px=1000)
    pixels = drawn(path)
    assert pixels.shape[1] == 1000
    assert pixels[TITLE_PX + 400, 999].tolist() == [90, 100, 110]
    assert picture.largest <= 256 * 5000


def test_empty_ground_is_light_and_does_not_darken_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    write_quicklook(
        path, Picture(empty_cols=2001), Vectors(EMPTY, EMPTY, EMPTY), grid(4000, 100), max_px=1000
    )
    pixels = drawn(path)
    assert pixels[TITLE_PX + 10, 400].tolist() == [222, 222, 222]
    assert pixels[TITLE_PX + 10, 500].tolist() == [90, 100, 110]  # three of four columns have data


def test_a_small_raster_is_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    line = shapely.LineString([(1000, 2000 - 0.5 * 50), (1050, 2000 - 0.5 * 50)])
    write_quicklook(path, Picture(), cracks([line], [0.1]), grid(100, 90))
    pixels = drawn(path)
    assert pixels.shape[1] == 640
    assert pixels[TITLE_PX + 300, 320].tolist() == list(WIDTH_CLASSES[0].colour)


def test_unknown_widths_are_a_class_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    line = shapely.LineString([(1000, 2000 - 0.5 * 50), (1050, 2000 - 0.5 * 50)])
    write_quicklook(path, Picture(), cracks([line], [np.nan]), grid(100, 90))
    assert drawn(path)[TITLE_PX + 300, 320].tolist() == list(UNKNOWN.colour)
    with_it = _legend(cracks([line, line], [np.nan, 0.1]).cracks, True)
    assert [text.split(":")[0] for _, text in with_it] == [c.label() for c in CRACK_CLASSES]
    assert with_it[0][1] == with_it[-1][1].replace(UNKNOWN.label(), WIDTH_CLASSES[0].label())
    assert len(_legend(cracks([line], [0.1]).cracks, True)) == len(WIDTH_CLASSES)


def test_a_window_shows_its_part(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    line = shapely.LineString([(1000, 2000 - 0.5 * 1100), (3000, 2000 - 0.5 * 1100)])
    window = Window(1000, 500, 700, 800)
    write_quicklook(path, Picture(), cracks([line], [4.0]), grid(4000, 4000), window=window)
    pixels = drawn(path)
    assert pixels.shape[1] == 800
    assert pixels[TITLE_PX + 100, 400].tolist() == list(WIDTH_CLASSES[3].colour)


def test_memory_is_bounded_by_the_width(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    write_quicklook(path, Picture(), cracks([], []), grid(10, 10))  # imports
    tracemalloc.start()
    write_quicklook(tmp_path / "r.png", Picture(), cracks([], []), grid(2000, 20_000), max_px=800)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the raster has 120 MB


def test_an_existing_picture_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError):
        write_quicklook(path, Picture(), cracks([], []), grid(9, 9))
    assert path.read_bytes() == b"precious"
    write_quicklook(path, Picture(), cracks([], []), grid(9, 9), overwrite=True)
    assert drawn(path).shape[1] == 640


def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        write_quicklook(
            tmp_path / "q.png", Picture(), cracks([], []), grid(9, 9),
            monitor=Monitor(is_cancelled=lambda: True),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@given(st.floats(1e-6, 1e6))
def test_round_lengths(about_m: float) -> None:
    length_m = round_length(about_m)
    assert about_m / 2.6 <= length_m <= about_m * (1 + 1e-9)
    assert f"{length_m:e}"[0] in "125"


@pytest.mark.parametrize(
    ("length_m", "ground", "label"),
    [
        (2000, True, "2 km"),
        (1, True, "1 m"),
        (0.2, True, "20 cm"),
        (0.005, True, "5 mm"),
        (0.1, False, "0.1 units"),
    ],
)
def test_scale_labels(length_m: float, ground: bool, label: str) -> None:
    assert scale_label(length_m, ground) == label
