"""Candidate cracks of a picture with what decides about them: peak, length, rightness.

Measured once a low threshold, so that any threshold and shortest length can be tried on
whole sets by looking at a few numbers a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pictures.centrelines import centrelines
from .metrics import CENTRELINE_PX, within

HIGHS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
LOWS = (0.25, 0.35, 0.45)
MIN_LENGTHS_PX = (12.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0)


@dataclass(frozen=True)
class LineTable:
    """The candidates of one picture, float64 `[n]` each.

    Parameters
    ----------
    peak : greatest probability
    length : centreline pixels
    hit : those within 4 px of a true centreline
    found : true centreline pixels within 4 px, each counted for its nearest candidate
    real : all true centreline pixels of the picture
    """

    peak: NDArray[np.float64]
    length: NDArray[np.float64]
    hit: NDArray[np.float64]
    found: NDArray[np.float64]
    real: float

    def kept(self, threshold: float, min_length_px: float) -> NDArray[np.bool_]:
        """Which candidates pass the rule."""
        return np.asarray((self.peak >= threshold) & (self.length >= min_length_px), np.bool_)

    def counts(self, threshold: float, min_length_px: float) -> tuple[float, float, float, float]:
        """Right, drawn, found and true centreline pixels under the rule."""
        kept = self.kept(threshold, min_length_px)
        hit, drawn, found = (float(v[kept].sum()) for v in (self.hit, self.length, self.found))
        return hit, drawn, found, self.real


def line_table(probability: NDArray[np.float32], truth: NDArray[np.bool_], low: float) -> LineTable:
    """Measure the connected regions of p >= low in one picture."""
    region = (probability >= low).astype(np.uint8)
    count, found_label = cv2.connectedComponents(region)
    label = np.asarray(found_label, np.int32)
    lines, true_lines = centrelines(region > 0), centrelines(truth)
    near = within(true_lines, CENTRELINE_PX)
    peak = np.zeros(count)
    np.maximum.at(peak, label.ravel(), probability.ravel())
    length = np.bincount(label[lines], minlength=count)
    hit = np.bincount(label[lines & near], minlength=count)
    found = np.bincount(_nearest(lines, label, true_lines), minlength=count)
    rows = [v[1:].astype(np.float64) for v in (peak, length, hit, found)]
    return LineTable(rows[0], rows[1], rows[2], rows[3], float(true_lines.sum()))


def _nearest(
    lines: NDArray[np.bool_], label: NDArray[np.int32], true_lines: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Candidate nearest to each true centreline pixel that has one within 4 px."""
    if not lines.any() or not true_lines.any():
        return np.zeros(0, np.int64)
    far, pixel = cv2.distanceTransformWithLabels(
        (~lines).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(pixel.max()) + 1, np.int64)
    owner[pixel[lines]] = label[lines]
    there = true_lines & (far <= CENTRELINE_PX)
    return np.asarray(owner[pixel[there]], np.int64)
