"""Disk that a run will need: asked for before its work begins, not found missing days later."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .aoi import Area
from .errors import ResourceError
from .grid import Window
from .warp import Image

# Bytes a pixel with data: rows of probabilities in the work folder; the layers; and the probability
# raster while it is made, with its overviews twice. Drone frames, walls and trees took 0.19 to 0.58
# for the first and 0.22 to 0.71 for the last once finished; layers took 0.11 and more on rasters of
# up to 4 Mpx, of which the empty file with its styles is a part.
WORK_BYTES_PER_PX = 0.4
LAYERS_BYTES_PER_PX = 0.1
RASTER_BYTES_PER_PX = 0.8
PICTURE_BYTES = 10_000_000  # 1600 x 1600 px of noise, which PNG cannot make smaller, and a margin
TEMPORARY_BYTES = 50_000_000  # what GDAL, SQLite and Dask put into the folder for temporary files
_SAMPLE = 24  # points a side that tell how much of a raster holds data


@dataclass(frozen=True)
class Need:
    """Disk that something will take.

    Parameters
    ----------
    what : in words
    folder : where
    size_bytes : how much
    """

    what: str
    folder: Path
    size_bytes: float


def needs_of(
    pixels_left: float,
    pixels: float,
    layers: Path | None,
    work: Path,
    raster: Path | None,
    picture: Path | None = None,
) -> list[Need]:
    """What a run takes.

    Parameters
    ----------
    pixels_left : pixels with data whose probabilities are not there yet
    pixels : all of them
    layers, raster, picture : the outputs, None for one that is not wanted
    work : the work folder
    """
    needs = [
        Need("the work folder", work, pixels_left * WORK_BYTES_PER_PX),
        Need("temporary files", Path(tempfile.gettempdir()), TEMPORARY_BYTES),
    ]
    if raster is not None:
        size = pixels * RASTER_BYTES_PER_PX
        needs.append(Need("the probability raster", raster.parent, size))
    if layers is not None:
        needs.append(Need("the layers", layers.parent, pixels * LAYERS_BYTES_PER_PX))
    if picture is not None:
        needs.append(Need("the picture", picture.parent, PICTURE_BYTES))
    return needs


def check_space(needs: Iterable[Need]) -> None:
    """Find out whether the disks have room for all that they will have to hold together.

    Raises
    ------
    ResourceError
        One has not; says what needs how much and how much is free.
    """
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        with suppress(OSError):  # a disk that tells nothing is tried
            by_disk.setdefault(need.folder.stat().st_dev, []).append(need)
    for together in by_disk.values():
        folder = together[0].folder
        wanted = sum(need.size_bytes for need in together)
        free = shutil.disk_usage(folder).free
        if wanted > free:
            parts = ", ".join(f"{need.what} {_size(need.size_bytes)}" for need in together)
            raise ResourceError(
                f"{folder}: has {_size(free)} free, this run needs about {_size(wanted)} ({parts})",
                "make room, write to another disk, or take a part at a time with --bbox or --aoi",
            )


def pixels_with_data(image: Image, area: Area) -> float:
    """About how many pixels of an area a raster has data for; too many rather than too few.

    Points on a lattice are looked up; what is stored counts as data without being read.
    """
    window = area.window
    rows = spread(window.row, window.height, _SAMPLE)
    cols = spread(window.col, window.width, _SAMPLE)
    found = 0
    for row in rows:
        # the area once a row of points: with a border of 100,000 pieces each query takes 8 ms
        wanted = area.mask(Window(row, window.col, 1, window.width))[0]
        found += sum(
            bool(wanted[col - window.col]) and image.may_hold_data(row, col) for col in cols
        )
    points = len(rows) * len(cols)
    return window.height * window.width * min(found + 1, points) / points


def spread(start: int, length: int, most: int) -> list[int]:
    """At most so many of the whole numbers from `start` on, at equal distances."""
    count = min(length, most)
    return [int(p) for p in start + (np.arange(count) + 0.5) * length / count]


def _size(size_bytes: float) -> str:
    """A size for people."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes / 1e3:.0f} kB"
