"""Pictures with labels that may leave ground open: 0 background, 1 crack, 255 not learned from.

In mask files crack is 255 and ground that nobody labelled is 127; a mask without any 127 is an
ordinary one.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError
from crackgeo.files import output_errors

from .data import IGNORE, Record, read_pair

UNKNOWN = 127  # in a mask file; a reader that knows no open ground takes it for background
_CODES = np.array([0, UNKNOWN, 255])


def read_label(record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read an image as RGB `[H, W, 3]` and its label, 0, 1 or 255 (open), `[H, W]`, both uint8.

    Raises
    ------
    InputError
        A file is missing or no image, or their sizes differ.
    """
    image, label = read_pair(record)
    mask = cv2.imread(str(record.mask), cv2.IMREAD_GRAYSCALE)
    if mask is not None and np.isin(mask, _CODES).all():
        label[mask == UNKNOWN] = IGNORE
    return image, label


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
