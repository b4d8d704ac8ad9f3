"""Pictures with labels that may leave ground open: 0 background, 1 crack, 255 not learned from.

In mask files crack is 255 and ground that nobody labelled is 127; a mask without any 127 is an
ordinary one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError
from crackgeo.files import output_errors

from .records import IGNORE, Record, read_files, read_grey

PICTURES = (".webp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
UNKNOWN = 127  # in a mask file; a reader that knows no open ground takes it for background
GREY_SHARE = 0.2  # JPEG blurs edges, but not a fifth of a mask
_CODES = np.array([0, UNKNOWN, 255])


def read_label(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read an image as RGB `[H, W, 3]` and its label, 0, 1 or 255 (open), `[H, W]`, both uint8.

    Raises
    ------
    InputError
        A file is missing or no image, their sizes differ, or the mask is none, see `check_mask`.
    """
    image, mask = read_files(record)
    return image, to_label(mask, record.mask)


def has_crack(record: Record) -> bool:
    """Whether any pixel of the mask is crack; errors as `read_label`."""
    return bool((to_label(read_grey(record.mask), record.mask) == 1).any())


def to_label(mask: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """The label, 0, 1 or 255 (open), of a mask as its file has it; `path` is named in errors.

    Raises
    ------
    InputError
        See `check_mask`.
    """
    label = (mask > 127).astype(np.uint8)
    if np.isin(mask, _CODES).all():
        label[mask == UNKNOWN] = IGNORE
    else:
        check_mask(mask, path)
    return label


def match_masks(
    images: Path,
    masks: Path,
    image_types: tuple[str, ...] = PICTURES,
    mask_types: tuple[str, ...] = PICTURES,
) -> Iterator[tuple[Path, Path]]:
    """The pictures of a folder, in the order of their names, with the masks of equal stems.

    Raises
    ------
    InputError
        A picture has no mask, or two files of a folder have one stem.
    """
    known = _by_stem(masks, mask_types)
    for stem, image in _by_stem(images, image_types).items():
        if stem not in known:
            raise InputError(f"{image}: no mask of that name in {masks}", "add it, or remove it")
        yield image, known[stem]


def _by_stem(folder: Path, types: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    seen = (p for p in folder.iterdir() if not p.name.startswith("."))  # as macOS leaves on sticks
    for path in sorted(p for p in seen if p.suffix.lower() in types):
        if path.stem in found:
            raise InputError(
                f"{path}: {found[path.stem].name} beside it has the same name, so it is not clear "
                "which mask belongs to which picture",
                "rename or remove one of the two",
            )
        found[path.stem] = path
    return found


def check_mask(mask: NDArray[np.uint8], path: Path) -> None:
    """Refuse what would be taken for a mask without a crack, or is no mask at all.

    Raises
    ------
    InputError
        The greatest value is no crack, as in masks of 0 and 1; or many values are grey.
    """
    levels = np.bincount(mask.ravel(), minlength=256)
    if levels[64:192].sum() > GREY_SHARE * mask.size:
        raise InputError(f"{path}: is a grey picture, not a mask", "crack 255, other 0")
    if 0 < int(mask.max()) <= UNKNOWN:
        raise InputError(
            f"{path}: its greatest value is {mask.max()}, so nothing in it is crack",
            "make crack 255 and background 0",
        )


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture, RGB `[H, W, 3]` or grey `[H, W]`, uint8.

    Raises
    ------
    ResourceError
        The disk is full or refuses.
    """
    flipped = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    done, code = cv2.imencode(path.suffix, np.ascontiguousarray(flipped))
    if not done:
        raise InputError(f"{path}: a picture of {pixels.shape} cannot be written")
    with output_errors(path):
        path.write_bytes(code.tobytes())


def write_label(path: Path, label: NDArray[np.uint8]) -> None:
    """Write a label, 0, 1 or 255 (open), as a mask file; errors as `write_picture`."""
    codes = np.zeros_like(label)
    codes[label == 1] = 255
    codes[label == IGNORE] = UNKNOWN
    write_picture(path, codes)
