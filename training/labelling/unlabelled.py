"""A raster that nobody has labelled as pictures to teach `compact` on, see `distil`.

pictures/manifest.csv    split, set, image, mask, licence, row, col; mask is empty
pictures/chips.json      what they were made of
pictures/images
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crackgeo.errors import InputError, UsageError
from crackgeo.files import output_errors
from crackgeo.grid import Window
from crackgeo.jsontext import to_json
from crackgeo.monitor import SILENT, Monitor
from crackgeo.raster import ImageRaster, header_checksum, open_image
from crackgeo.specs import TILE_PX, BandSpec, TileSpec
from crackgeo.tiling import TilePlan

from ..pictures.pairs import write_picture
from .blocks import LEAST_CHIP_PX, TRAIN
from .chips import STAGE, SUMMARY
from .folders import check_apart, folder_output

COLUMNS = ("split", "set", "image", "mask", "licence", "row", "col")
LEAST_VALID = 0.5  # share of a picture with data


@dataclass(frozen=True)
class Pictures:
    """What `cut_unlabelled` made: the folder, and how many pictures it holds."""

    folder: Path
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {"folder": str(self.folder), "pictures": self.pictures}

    def summary(self) -> str:
        """For people."""
        return f"pictures        {self.folder}, {self.pictures}, none labelled"


def cut_unlabelled(
    raster: Path,
    output: Path,
    size_px: int = TILE_PX,
    bands: BandSpec | None = None,
    gsd_m: float | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> Pictures:
    """Cut a raster into pictures side by side, all to learn from.

    Parameters
    ----------
    raster : any that `raster.open_image` reads
    output : the folder to make; appears when it is complete
    size_px : side of a picture
    bands, gsd_m : see `raster.open_image`
    overwrite : replace older chips
    monitor : progress; may cancel, which leaves nothing

    Raises
    ------
    UsageError
        The input is a folder, or the output exists or holds it.
    InputError
        The raster cannot be read, or has no data.
    ResourceError
        The disk is full or refuses.
    """
    if raster.is_dir():
        raise UsageError(f"{raster}: --unlabelled cuts a raster", "name pictures in a manifest.csv")
    check_apart([output], [raster])
    with folder_output(output, overwrite, SUMMARY) as part:
        with output_errors(output):
            (part / "images").mkdir()
        with open_image(raster, bands, gsd_m, monitor) as image:
            rows = list(_cut(image, part, size_px, monitor))
        if not rows:
            raise InputError(f"{raster}: no part of it is filled with data", "choose another")
        story = {"raster": raster.name, "header_sha256": header_checksum(raster)}
        with output_errors(output):
            _write_manifest(part / "manifest.csv", rows)
            text = to_json({**story, "bands": asdict(bands or BandSpec())}, indent=1)
            (part / SUMMARY).write_text(text + "\n", encoding="utf-8")
    return Pictures(output, len(rows))


def _cut(
    image: ImageRaster, folder: Path, size_px: int, monitor: Monitor
) -> Iterator[dict[str, Any]]:
    whole = image.grid.window
    stem = Path(image.name).stem
    windows = list(_windows(whole, size_px))
    for i, window in enumerate(windows):
        monitor.step(STAGE, i, len(windows))
        pixels, valid = image.read(window)
        if valid.mean() < LEAST_VALID:
            continue
        name = f"images/{stem}_{window.row}_{window.col}.png"
        write_picture(folder / name, np.asarray(pixels, np.uint8))
        place = {"row": window.row, "col": window.col}
        yield {"split": TRAIN, "set": stem, "image": name, "licence": "your own", **place}
    monitor.step(STAGE, len(windows), len(windows))


def _windows(whole: Window, size_px: int) -> Iterator[Window]:
    """Side by side from the raster's first pixel; narrow rests at its end are left out."""
    plan = TilePlan((whole.height, whole.width), whole, TileSpec(size_px, 0))
    for row in plan.rows:
        for tile in plan.row_tiles(row):
            window = tile.intersect(whole)
            if window is not None and min(window.height, window.width) >= LEAST_CHIP_PX:
                yield window


def _write_manifest(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, COLUMNS, restval="")
        table.writeheader()
        table.writerows(rows)
