"""Sheets of predictions as pictures, to look at: image, truth, probability, right and wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crackgeo.files import output_errors
from crackgeo.models.protocol import Segmenter

from ..pictures.colours import BLUE, GREEN, RED, shaded
from ..pictures.pairs import read_label, write_picture
from ..pictures.records import IGNORE, Record
from .evaluate import PictureScore
from .predict_images import predict_images

Picture = NDArray[np.uint8]
CAPTION_PX = 16
GAP_PX = 4
_UNSAFE = re.compile(r"[^\w.-]+|^\.+")  # in a file's name: a set may be called anything


def panel(
    image: Picture,
    truth: NDArray[np.bool_],
    probability: NDArray[np.float32],
    mask_at: float,
    caption: str,
    side_px: int = 300,
) -> Picture:
    """One row of a sheet: image, truth, probability, outcome; uint8 `[h, w, 3]` RGB."""
    mask = probability >= mask_at
    marked = image.copy()
    marked[truth] = GREEN
    outcome = (image * 0.45).astype(np.uint8)
    for where, colour in ((mask & truth, GREEN), (mask & ~truth, RED), (truth & ~mask, BLUE)):
        outcome[where] = colour
    heat = cv2.applyColorMap((probability * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    cells = [image, marked, heat[..., ::-1].astype(np.uint8), outcome]
    row = np.hstack([_fit(cell, side_px) for cell in cells])
    head = np.full((CAPTION_PX, row.shape[1], 3), 255, np.uint8)
    cv2.putText(head, caption, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([head, row])


def _fit(picture: Picture, side_px: int) -> Picture:
    """Scaled to fit a square, with white to the right, so that rows of one sheet line up."""
    height, width = picture.shape[:2]
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(picture, size, interpolation=smooth)
    out = np.full((size[1] + GAP_PX, side_px + GAP_PX, 3), 255, np.uint8)
    out[: size[1], : size[0]] = small
    return out


def write_sheet(
    path: Path,
    segmenter: Segmenter,
    records: Sequence[Record],
    captions: Sequence[str],
    mask_at: float = 0.5,
) -> None:
    """Predict pictures again and write them as one sheet.

    Ground that nobody labelled is darkened, and whatever is found there not shown as invented.

    Raises
    ------
    ResourceError
        The picture cannot be written.
    """
    pairs = [read_label(record) for record in records]
    maps = predict_images(segmenter, (image for image, _ in pairs))
    rows = [
        panel(
            shaded(image, label),
            label == 1,
            np.where(label == IGNORE, np.float32(0), probability),
            mask_at,
            caption,
        )
        for (image, label), probability, caption in zip(pairs, maps, captions, strict=True)
    ]
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.vstack(rows))


def write_extremes(
    folder: Path,
    segmenter: Segmenter,
    pictures: Sequence[PictureScore],
    count: int,
    mask_at: float = 0.5,
) -> list[Path]:
    """Write the worst and the best pictures of each set by 2 px F1: `SET_worst.png`, ..."""
    paths = []
    for name in sorted({picture.record.set for picture in pictures}):
        ranked = sorted((p for p in pictures if p.record.set == name), key=lambda p: p.f1_2px)
        for kind, chosen in (("worst", ranked[:count]), ("best", ranked[::-1][:count])):
            path = folder / f"{_UNSAFE.sub('_', name)}_{kind}.png"
            captions = [
                f"{p.record.image.stem}  IoU {p.iou:.3f}  2 px F1 {p.f1_2px:.3f}" for p in chosen
            ]
            write_sheet(path, segmenter, [p.record for p in chosen], captions, mask_at)
            paths.append(path)
    return paths
