"""Labelled pictures: the manifest that lists them, and their files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError
from crackgeo.models.catalogue import sha256_of

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # an image and its label

IGNORE = 255  # label value of pixels that are not learned from


@dataclass(frozen=True)
class Record:
    """One labelled image of a manifest."""

    split: str
    set: str
    image: Path
    mask: Path


def read_manifest(path: Path, split: str | None = None) -> list[Record]:
    """Read the rows of a manifest, of one split where given.

    Raises
    ------
    InputError
        The manifest is missing, lacks a column, or names no image of that split.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such manifest", remedy="give the data folder with --data")
    rows = _rows(path)
    for number, row in enumerate(rows, 2):
        for column in ("split", "set", "image", "mask"):
            if column not in row:
                raise InputError(f"{path}: column {column!r} is missing")
            if row[column] is None or not (row[column] or column == "mask"):  # may be unlabelled
                raise InputError(f"{path}: line {number} has no {column}", "complete it")
    records = [
        Record(r["split"], r["set"], path.parent / r["image"], path.parent / r["mask"])
        for r in rows
        if split in (None, r["split"])
    ]
    if not records:
        raise InputError(f"{path}: no image of split {split!r}")
    return records


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        # with the mark that spreadsheets begin a file with
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return list(csv.DictReader(lines))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start})", "save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise InputError(f"{path}: no table ({error})", "save it as CSV UTF-8") from error


def read_licences(path: Path, split: str) -> dict[str, dict[str, str | int]]:
    """How many pictures each set of a split has, and under which licence the manifest lists it."""
    sets: dict[str, dict[str, str | int]] = {}
    for row in _rows(path):
        if row["split"] == split:
            licence = row.get("licence") or "not stated"
            entry = sets.setdefault(row["set"], {"images": 0, "licence": licence})
            entry["images"] = int(entry["images"]) + 1
    return dict(sorted(sets.items()))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB uint8 `[H, W, 3]`.

    Raises
    ------
    InputError
        It is missing, no image, or has more than 8 bits.
    """
    image = _read(path, cv2.IMREAD_COLOR)
    if image.dtype != np.uint8:
        raise InputError(
            f"{path}: has {8 * image.itemsize} bits a colour, of which nothing says how they are "
            "to be shown",
            "convert it to 8 bits, e.g. gdal_translate -ot Byte -scale",
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read a mask as its file has it, uint8 `[H, W]`; errors as `read_image`.

    One of 16 bits may hold 255 or 65535 where there is a crack.
    """
    if path.is_dir():
        raise InputError(f"{path}: the manifest names no mask for a picture", "these want labels")
    mask = _read(path, cv2.IMREAD_GRAYSCALE)
    if mask.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: holds {mask.dtype}, no mask of 8 bits", "crack 255, other 0")
    if mask.dtype == np.uint16 and mask.max() > np.iinfo(np.uint8).max:
        mask = mask >> 8
    return mask.astype(np.uint8)


def _read(path: Path, kind: int) -> NDArray[Any]:
    """Pixels of 8 bits or more as the file has them."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)  # OpenCV opens not every name on Windows
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    image = cv2.imdecode(data, kind | cv2.IMREAD_ANYDEPTH) if len(data) else None
    if image is None:
        raise InputError(f"{path}: not an image, or damaged")
    return np.asarray(image)


def checksum(path: Path) -> str:
    """SHA-256 of a picture's file.

    Raises
    ------
    InputError
        It is missing, or cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path") from error


def read_files(record: Record) -> Pair:
    """Read an image as RGB `[H, W, 3]` and its mask as its file has it `[H, W]`, both uint8.

    Raises
    ------
    InputError
        A file is missing or no image, or their sizes differ.
    """
    image, mask = read_image(record.image), read_grey(record.mask)
    check_sizes(image, mask, record.mask)
    return image, mask


def check_sizes(image: NDArray[np.uint8], mask: NDArray[np.uint8], path: Path) -> None:
    """Raise InputError that names the mask's file if it is not of the size of its picture."""
    (height, width), (rows, cols) = image.shape[:2], mask.shape
    if (height, width) != (rows, cols):
        raise InputError(
            f"{path}: the mask has {cols} x {rows} pixels, its picture {width} x {height}",
            "make the mask anew, of the picture's size",
        )


def read_pair(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read an image as RGB `[H, W, 3]` and its mask as 0 or 1 `[H, W]`; errors as `read_files`."""
    image, mask = read_files(record)
    return image, (mask > 127).astype(np.uint8)
