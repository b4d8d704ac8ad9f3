"""Whether labels lie on the cracks: the shift at which they cover the darkest ridges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pictures.pairs import read_label
from ..pictures.records import Record

REACH_PX = 16
LEAST_SHIFT_PX = 3.0  # a hand is no surer than this
LEAST_GAIN = 1.3  # the labels must cover ridges this much darker after the shift
RIDGE_PX, GROUND_PX = 1.0, 8.0  # what is darker than its surroundings, at a crack's scale
CHIPS = 60  # enough to tell a systematic shift


@dataclass(frozen=True)
class Shift:
    """The shift that suits all labels together best.

    Parameters
    ----------
    cols, rows : pixels the labels would have to move
    gain : darkness under the moved labels over that under the labels as they are
    """

    cols: int
    rows: int
    gain: float

    @property
    def distance_px(self) -> float:
        """Length of the shift."""
        return float(np.hypot(self.cols, self.rows))

    @property
    def is_systematic(self) -> bool:
        """Whether it is too far and too clear for the hand's tremble."""
        return self.distance_px >= LEAST_SHIFT_PX and self.gain >= LEAST_GAIN


def find_shift(records: Sequence[Record]) -> Shift | None:
    """Correlate labels with dark ridges over shifts of up to 16 px.

    Returns
    -------
    Shift or None
        None where no label is large enough, or labels are on nothing dark at any shift.
    """
    side = 2 * REACH_PX + 1
    total = np.zeros((side, side))
    for record in records[:: max(1, len(records) // CHIPS)]:
        image, label = read_label(record)
        crack = label == 1
        if crack.any() and min(crack.shape) > side:
            total += _correlation(image, crack)
    row, col = np.unravel_index(int(total.argmax()), total.shape)
    best, here = float(total[row, col]), float(total[REACH_PX, REACH_PX])
    if best <= 0:
        return None
    gain = best / max(here, 0.1 * best)
    return Shift(int(col) - REACH_PX, int(row) - REACH_PX, gain)


def _correlation(image: NDArray[np.uint8], crack: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean darkness of ridges under the label at each shift, `[33, 33]`."""
    grey = image.mean(axis=2).astype(np.float32)
    ground = cv2.GaussianBlur(grey, (0, 0), GROUND_PX)
    dark = np.maximum(ground - cv2.GaussianBlur(grey, (0, 0), RIDGE_PX), 0).astype(np.float32)
    inner = crack[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX].astype(np.float32)
    if not inner.any():
        return np.zeros((2 * REACH_PX + 1, 2 * REACH_PX + 1))
    found = cv2.matchTemplate(dark, inner, cv2.TM_CCORR)
    return np.asarray(found / inner.sum(), np.float64)
