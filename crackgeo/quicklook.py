"""A picture of the result: the imagery with its cracks, for a mail or a report.

The imagery is read in bands of rows and averaged down, so memory is bounded by its width.
Classes and colours are those of the QGIS style (`crackgeo.symbology`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from .files import atomic_output
from .grid import Grid, Window
from .ground import has_ground_units, pixel_size_m
from .monitor import SILENT, Monitor
from .specs import RESULT_TAG
from .symbology import CRACK_CLASSES, UNKNOWN, width_class
from .vectors import FeatureTable, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont
    from PIL.PngImagePlugin import PngInfo

_BAND_PX = 256  # rows read at a time
_MIN_PX = 640  # a smaller picture is enlarged, so that lines do not bury it
_PAPER = (250, 250, 250)
_INK = (30, 30, 30)
_NO_DATA = (222, 222, 222)
_CASING = (20, 20, 20, 170)
_OVERSAMPLE = 2  # lines are drawn this much larger and averaged: smooth edges
_TEXT_PX = 18
_PAD_PX = 12


class ImageSource(Protocol):
    """What the picture is made from: RGB by window, with a mask of what is data."""

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """uint8 `[h, w, 3]` and bool `[h, w]`."""


@dataclass(frozen=True)
class _View:
    """The part of the raster that is shown, and how many pixels of it make one of the picture.

    A part smaller than the picture is enlarged: `shrink` is 1 and `enlarge` above 1.
    """

    window: Window
    shrink: int
    enlarge: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in its own pixels."""
        width = math.ceil(self.window.width / self.shrink) * self.enlarge
        return width, math.ceil(self.window.height / self.shrink) * self.enlarge

    @property
    def scale(self) -> float:
        """Pixels of the picture a pixel of the raster."""
        return self.enlarge / self.shrink


def write_quicklook(
    path: Path,
    image: ImageSource,
    vectors: Vectors,
    grid: Grid,
    *,
    name: str = "",
    window: Window | None = None,
    max_px: int = 1600,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> None:
    """Draw cracks by width class over the imagery, with legend, scale bar and totals, as PNG.

    Parameters
    ----------
    path : the PNG to make; appears only when complete
    image : the imagery, on `grid`
    vectors : the cracks in CRS coordinates, with `length_m` and `width_mean_mm`
    grid : place of the imagery
    name : what the picture is of, for its title
    window : the part to show, None for all
    max_px : longer side of the picture at most, without title and legend
    overwrite : replace an existing file
    monitor : progress by rows, and the wish to stop

    Raises
    ------
    UsageError, ResourceError
        The file is there already, or cannot be written.
    """
    view = _view(window or grid.window, max_px)
    picture = _shrunk(image, view, monitor)
    _draw_cracks(picture, vectors.cracks, grid, view)
    sheet = _sheet(picture, _title(name, vectors.cracks, grid), vectors.cracks, grid, view)
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True, pnginfo=_text())
    with atomic_output(path, overwrite) as part:
        part.write_bytes(data.getvalue())


def _text() -> PngInfo:
    """What tells that a picture is no imagery, should it lie beside some."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(RESULT_TAG, "quicklook")
    return text


def _view(window: Window, max_px: int) -> _View:
    longer = max(window.width, window.height)
    shrink = math.ceil(longer / max_px)
    enlarge = max(1, min(_MIN_PX, max_px) // longer) if shrink == 1 else 1
    return _View(window, shrink, enlarge)


def _shrunk(image: ImageSource, view: _View, monitor: Monitor) -> Image:
    """The imagery averaged over squares of pixels with data; grey where there is none."""
    from PIL import Image

    rows = []
    for band in _bands(view):
        rows.append(_averaged(*image.read(band), view.shrink))
        monitor.step("quicklook", band.row_end - view.window.row, view.window.height)
    picture = Image.fromarray(np.concatenate(rows))
    return picture.resize(view.size, Image.Resampling.NEAREST)


def _bands(view: _View) -> Iterator[Window]:
    """Bands over the shown part, each a whole number of rows of the picture."""
    whole = view.window
    step = view.shrink * max(1, _BAND_PX // view.shrink)
    for row in range(whole.row, whole.row_end, step):
        yield Window(row, whole.col, min(step, whole.row_end - row), whole.width)


def _averaged(rgb: NDArray[np.uint8], valid: NDArray[np.bool_], shrink: int) -> NDArray[np.uint8]:
    """Mean of the pixels with data in squares of `shrink` pixels, uint8 `[rows, cols, 3]`."""
    rows = np.arange(0, valid.shape[0], shrink)
    cols = np.arange(0, valid.shape[1], shrink)

    def sums(values: NDArray[np.uint8]) -> NDArray[np.int64]:
        by_row = np.add.reduceat(values, rows, axis=0, dtype=np.int64)
        return np.asarray(np.add.reduceat(by_row, cols, axis=1))

    count = sums(valid.astype(np.uint8))[..., None]
    total = sums(np.where(valid[..., None], rgb, np.uint8(0)))
    mean = (total + count // 2) // np.maximum(count, 1)
    return np.where(count > 0, mean, _NO_DATA).astype(np.uint8)


def _draw_cracks(picture: Image, cracks: FeatureTable, grid: Grid, view: _View) -> None:
    """Draw every crack over a dark casing; the wider ones on top."""
    from PIL import Image, ImageDraw

    if len(cracks) == 0:
        return
    size = (picture.width * _OVERSAMPLE, picture.height * _OVERSAMPLE)
    overlay = Image.new("RGBA", size, (*_INK, 0))
    draw = ImageDraw.Draw(overlay)
    classes = width_class(np.asarray(cracks.columns["width_mean_mm"], np.float64))
    order = np.argsort(classes, kind="stable")
    paths = [_path(cracks.geometry[i], grid, view) for i in order]
    for path, number in zip(paths, classes[order], strict=True):
        _stroke(draw, path, _line_px(int(number)) + 2, _CASING)
    for path, number in zip(paths, classes[order], strict=True):
        _stroke(draw, path, _line_px(int(number)), (*CRACK_CLASSES[number].colour, 255))
    overlay = overlay.resize(picture.size, Image.Resampling.BOX)
    picture.paste(overlay, (0, 0), overlay)


def _path(line: object, grid: Grid, view: _View) -> list[tuple[float, float]]:
    """Vertices of a line in the oversampled picture."""
    import shapely

    xy = shapely.get_coordinates(line)
    cols, rows = grid.pixel(xy[:, 0], xy[:, 1])
    scale = view.scale * _OVERSAMPLE
    x, y = (cols - view.window.col) * scale, (rows - view.window.row) * scale
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _line_px(number: int) -> float:
    """Width of a class's line in pixels of the picture."""
    return 1.6 + 0.45 * (number if CRACK_CLASSES[number] is not UNKNOWN else 1)


def _stroke(
    draw: ImageDraw, path: list[tuple[float, float]], width_px: float, colour: tuple[int, ...]
) -> None:
    draw.line(path, fill=colour, width=round(width_px * _OVERSAMPLE), joint="curve")


def _title(name: str, cracks: FeatureTable, grid: Grid) -> str:
    unit = "m" if has_ground_units(grid) else "units"
    length = float(np.sum(cracks.columns["length_m"])) if len(cracks) else 0.0
    noun = "crack" if len(cracks) == 1 else "cracks"
    return f"{name + ': ' if name else ''}{len(cracks)} {noun}, {length:.2f} {unit} in total"


def _sheet(picture: Image, title: str, cracks: FeatureTable, grid: Grid, view: _View) -> Image:
    """The picture with its title above and scale bar and legend below."""
    from PIL import Image, ImageDraw

    width = max(picture.width, _MIN_PX)
    line_px = _TEXT_PX + _PAD_PX
    entries = _legend(cracks, has_ground_units(grid))
    places, n_lines = _flow([_text_px(text) + 50 for _, text in entries], width)
    top, bottom = line_px + _PAD_PX, line_px * (n_lines + 1) + _PAD_PX
    sheet = Image.new("RGB", (width, top + picture.height + bottom), _PAPER)
    sheet.paste(picture, ((width - picture.width) // 2, top))
    draw = ImageDraw.Draw(sheet)
    draw.text((_PAD_PX, _PAD_PX), title, _INK, _font())
    under = top + picture.height + _PAD_PX
    _draw_scale_bar(draw, (_PAD_PX, under), grid, view)
    for (number, text), (x, line) in zip(entries, places, strict=True):
        _draw_entry(draw, (x, under + (line + 1) * line_px), number, text)
    return sheet


def _font() -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(_TEXT_PX)


def _text_px(text: str) -> int:
    return math.ceil(_font().getlength(text))


def _legend(cracks: FeatureTable, ground: bool) -> list[tuple[int, str]]:
    """Class number and words of each entry: the class and the length of its cracks."""
    metre = "m" if ground else "units"
    lengths = np.zeros(len(CRACK_CLASSES))
    if len(cracks):
        classes = width_class(np.asarray(cracks.columns["width_mean_mm"], np.float64))
        np.add.at(lengths, classes, cracks.columns["length_m"])
    return [
        (i, f"{c.label(ground)}: {length:.2f} {metre}")
        for i, (c, length) in enumerate(zip(CRACK_CLASSES, lengths, strict=True))
        if c is not UNKNOWN or length > 0
    ]


def _flow(widths_px: list[int], limit_px: int) -> tuple[list[tuple[int, int]], int]:
    """Place entries from left to right, breaking into lines; x and line of each, and lines."""
    places, x, line = [], _PAD_PX, 0
    for width in widths_px:
        if x > _PAD_PX and x + width > limit_px:
            x, line = _PAD_PX, line + 1
        places.append((x, line))
        x += width
    return places, line + 1


def _draw_entry(draw: ImageDraw, at: tuple[int, int], number: int, text: str) -> None:
    x, y = at
    middle, half = y + _TEXT_PX // 2 + 2, _line_px(number)
    draw.rectangle((x, middle - half - 1, x + 26, middle + half + 1), _CASING[:3])
    draw.rectangle((x + 1, middle - half, x + 25, middle + half), CRACK_CLASSES[number].colour)
    draw.text((x + 33, y), text, _INK, _font())


def _draw_scale_bar(draw: ImageDraw, at: tuple[int, int], grid: Grid, view: _View) -> None:
    """A bar of a round length, about a sixth of the picture, along its rows."""
    x, y = at
    pixel_m = pixel_size_m(grid)[0] / view.scale
    length_m = round_length(view.size[0] * pixel_m / 6)
    end, low = x + length_m / pixel_m, y + _TEXT_PX
    draw.line([(x, low - 8), (x, low), (end, low), (end, low - 8)], _INK, 2)
    label = scale_label(length_m, has_ground_units(grid))
    draw.text((end + 10, y), label, _INK, _font())


def round_length(about_m: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above a length."""
    power = 10.0 ** math.floor(math.log10(about_m))
    return next(step * power for step in (5, 2, 1) if step * power <= about_m or step == 1)


def scale_label(length_m: float, ground: bool) -> str:
    """A length in words: km, m, cm or mm, or the raster's own units."""
    if not ground:
        return f"{length_m:g} units"
    units = (("km", 1000.0), ("m", 1.0), ("cm", 0.01), ("mm", 0.001))
    unit, size = next((u for u in units if length_m >= u[1] * (1 - 1e-9)), units[-1])
    return f"{round(length_m / size, 6):g} {unit}"
