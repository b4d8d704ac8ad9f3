"""A contact sheet of chips: what will be learned from, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pictures.colours import GREEN, shaded
from ..pictures.pairs import read_label, write_picture
from ..pictures.records import Record

CELL_PX = 224
COLUMNS = 6
CAPTION_PX = 16


def write_contact_sheet(path: Path, chips: Sequence[tuple[Record, str]]) -> None:
    """Write chips with the outlines of their labels and captions as one picture."""
    cells = [_cell(record, caption) for record, caption in chips]
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    write_picture(path, np.vstack(rows))


def _cell(record: Record, caption: str) -> NDArray[np.uint8]:
    image, label = read_label(record)
    scale = CELL_PX / max(label.shape)
    size = (max(1, round(label.shape[1] * scale)), max(1, round(label.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    flags = np.asarray(cv2.resize(label, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    outlines, _ = cv2.findContours(
        (
            cv2.resize((label == 1).astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 60
        ).astype(np.uint8),
        cv2.RETR_LIST,
        cv2.CHAIN_APPROX_NONE,
    )
    drawn = np.ascontiguousarray(shaded(small, flags))
    cv2.drawContours(drawn, outlines, -1, GREEN, 1)
    cell = np.full((CELL_PX + CAPTION_PX + 4, CELL_PX + 4, 3), 255, np.uint8)
    cell[CAPTION_PX : CAPTION_PX + size[1], : size[0]] = drawn
    cv2.putText(cell, caption, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return cell
