"""How good a mask is: the metrics of the crack literature, per picture and summed over sets.

Every metric is a function of sums over pictures, so that a bootstrap over pictures is one
matrix product and per-picture means and pooled ratios are treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crackgeo.specs import VectorSpec

from ..pictures.centrelines import centrelines

Mask = NDArray[np.bool_]
Sums = Mapping[str, NDArray[np.float64]]

TOLERANCE_PX = 2.0  # labels are no surer than this (CFD and its successors score with 2 to 5 px)
CENTRELINE_PX = 4  # as OmniCrack30k (Benz and Rodehorst, CVPRW 2024)
LEVELS = 256  # steps of the threshold sweep
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ObjectRule:
    """What counts as a crack: a network that reaches `threshold` and is long enough.

    Parameters
    ----------
    threshold : a network must reach this probability somewhere
    threshold_low : and is followed down to this one
    min_length_px : networks with fewer centreline pixels are dropped
    mask_at : pixel masks are p >= mask_at, whatever the network; 0.5 is argmax, as published
    """

    threshold: float = VectorSpec.threshold
    threshold_low: float = VectorSpec.threshold_low
    min_length_px: float = VectorSpec.min_length_px
    mask_at: float = 0.5


@dataclass(frozen=True)
class Scored:
    """Everything that is kept of one picture.

    Parameters
    ----------
    parts : the addends of the metrics, one number a name
    crack, background : pixels by probability level, float64 `[LEVELS]`, for threshold sweeps
    """

    parts: dict[str, float]
    crack: NDArray[np.float64]
    background: NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval over pictures; NaN where it is not defined."""

    value: float
    low: float
    high: float


def score(probability: NDArray[np.float32], truth: Mask, rule: ObjectRule) -> Scored:
    """Score one picture.

    Parameters
    ----------
    probability : float32 `[H, W]` in [0, 1]
    truth : bool `[H, W]`
    rule : where masks end, and what counts as an object
    """
    mask = probability >= rule.mask_at
    parts = {"n": 1.0, **_overlap(mask, truth), **_tolerant(mask, truth)}
    parts |= _centrelines(mask, truth)
    parts |= _crack_free(mask, truth, probability, rule)
    level = np.minimum(probability * LEVELS, LEVELS - 1).astype(np.int64)
    crack = np.bincount(level[truth], minlength=LEVELS).astype(np.float64)
    background = np.bincount(level[~truth], minlength=LEVELS).astype(np.float64)
    parts["best_f1"] = float(np.max(sweep_f1(crack, background))) if truth.any() else 0.0
    return Scored(parts, crack, background)


def _ratio(part: float, whole: float, mask: Mask, truth: Mask) -> float:
    """A share as the CrackSAM paper counts it: both empty 1, one empty 0."""
    if not mask.any() and not truth.any():
        return 1.0
    return part / whole if whole else 0.0


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _overlap(mask: Mask, truth: Mask) -> dict[str, float]:
    tp = float((mask & truth).sum())
    fp, fn = float(mask.sum()) - tp, float(truth.sum()) - tp
    iou = _ratio(tp, tp + fp + fn, mask, truth)
    has_crack = float(truth.any())
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "iou": iou,
        "precision": _ratio(tp, tp + fp, mask, truth),
        "recall": _ratio(tp, tp + fn, mask, truth),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn, mask, truth),
        "has_crack": has_crack,
        "iou_crack": iou * has_crack,
    }


def within(mask: Mask, reach_px: float) -> Mask:
    """Pixels whose centre lies at most `reach_px` from the centre of a pixel of the mask."""
    if not mask.any():
        return np.zeros_like(mask)
    far = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far <= reach_px + 1e-4, np.bool_)


def _tolerant(mask: Mask, truth: Mask) -> dict[str, float]:
    hit = float((mask & within(truth, TOLERANCE_PX)).sum())
    found = float((truth & within(mask, TOLERANCE_PX)).sum())
    marked, real = float(mask.sum()), float(truth.sum())
    f1 = _harmonic(_ratio(hit, marked, mask, truth), _ratio(found, real, mask, truth))
    return {"hit": hit, "marked": marked, "found": found, "real": real, "f1_2px": f1}


def _centrelines(mask: Mask, truth: Mask) -> dict[str, float]:
    """clDice (Shit et al., CVPR 2021), and the lengths of clIoU (Benz and Rodehorst, CVPRW 2024).

    clIoU is found over found, missed and invented centreline pixels, within 4 px of each other.
    """
    mask_line, truth_line = centrelines(mask), centrelines(truth)
    precise = _ratio(float((mask_line & truth).sum()), float(mask_line.sum()), mask, truth)
    sensitive = _ratio(float((truth_line & mask).sum()), float(truth_line.sum()), mask, truth)
    near_mask, near_truth = within(mask_line, CENTRELINE_PX), within(truth_line, CENTRELINE_PX)
    return {
        "cldice": _harmonic(precise, sensitive),
        "line_found": float((truth_line & near_mask).sum()),
        "line_any": float(truth_line.sum() + (mask_line & ~near_truth).sum()),
    }


def _crack_free(
    mask: Mask, truth: Mask, probability: NDArray[np.float32], rule: ObjectRule
) -> dict[str, float]:
    free = float(not truth.any())
    clean = clean_objects = 0.0
    if free:
        clean = float(not mask.any())
        clean_objects = clean or float(not objects(probability, rule).any())
    return {"free": free, "clean": clean, "clean_objects": clean_objects}


def objects(probability: NDArray[np.float32], rule: ObjectRule) -> Mask:
    """Centrelines of the networks that the rule lets pass, bool `[H, W]`."""
    region = (probability >= rule.threshold_low).astype(np.uint8)
    count, label = cv2.connectedComponents(region)
    seen = np.zeros(count, np.bool_)
    seen[label[probability >= rule.threshold]] = True
    seen[0] = False
    return long_lines(centrelines(seen[label]), rule.min_length_px)


def long_lines(lines: Mask, min_length_px: float) -> Mask:
    """Connected centrelines of at least so many pixels."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(lines.astype(np.uint8))
    keep = stats[:count, cv2.CC_STAT_AREA] >= min_length_px
    keep[0] = False
    return np.asarray(keep[label], np.bool_)


def sweep_f1(crack: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of the mask `p >= i / LEVELS` for every i, over the last axis."""
    tp = np.cumsum(crack[..., ::-1], axis=-1)[..., ::-1]
    fp = np.cumsum(background[..., ::-1], axis=-1)[..., ::-1]
    both = tp + fp + crack.sum(axis=-1, keepdims=True)
    f1: NDArray[np.float64] = np.divide(2 * tp, both, out=np.zeros_like(both), where=both > 0)
    return f1


@dataclass(frozen=True)
class Sweep:
    """Pooled precision, recall and F1 of the masks p >= i / LEVELS, float64 `[LEVELS]` each."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def sweep_thresholds(scored: Sequence[Scored]) -> Sweep:
    """The threshold sweep over the pixels of all pictures together; NaN where undefined."""
    crack = np.sum([s.crack for s in scored], axis=0)
    background = np.sum([s.background for s in scored], axis=0)
    right, invented = (np.cumsum(v[::-1])[::-1] for v in (crack, background))
    with np.errstate(invalid="ignore"):
        precision = right / (right + invented)
        recall = right / np.asarray(crack.sum())
    return Sweep(precision, recall, sweep_f1(crack, background))


def _share(part: str, *wholes: str) -> Callable[[Sums], NDArray[np.float64]]:
    def share(sums: Sums) -> NDArray[np.float64]:
        whole = np.sum([sums[name] for name in wholes], axis=0)
        unknown = np.full_like(whole, np.nan)
        ratio: NDArray[np.float64] = np.divide(sums[part], whole, out=unknown, where=whole > 0)
        return ratio

    return share


def _pooled_tolerant_f1(sums: Sums) -> NDArray[np.float64]:
    precision, recall = _share("hit", "marked")(sums), _share("found", "real")(sums)
    return 2 * precision * recall / (precision + recall)


METRICS: dict[str, Callable[[Sums], NDArray[np.float64]]] = {
    "iou": _share("iou", "n"),
    "precision": _share("precision", "n"),
    "recall": _share("recall", "n"),
    "f1": _share("f1", "n"),
    "iou_crack": _share("iou_crack", "has_crack"),
    "iou_pooled": _share("tp", "tp", "fp", "fn"),
    "f1_2px": _share("f1_2px", "n"),
    "f1_2px_pooled": _pooled_tolerant_f1,
    "cldice": _share("cldice", "n"),
    "cliou_4px": _share("line_found", "line_any"),
    "clean": _share("clean", "free"),
    "clean_objects": _share("clean_objects", "free"),
    "ois": _share("best_f1", "has_crack"),
}


def summarise(scored: Sequence[Scored]) -> dict[str, Estimate]:
    """All metrics over pictures, with percentile bootstrap intervals (Efron 1979).

    `ods` is the best pooled F1 at one threshold for all pictures, `ods_threshold` that
    threshold; `ois` chooses the threshold picture by picture.
    """
    n = len(scored)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    weights = np.vstack([np.ones(n), draws])  # the first row is the sample itself
    names = list(scored[0].parts)
    table = np.array([[s.parts[name] for name in names] for s in scored])
    sums = dict(zip(names, (weights @ table).T, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {name: metric(sums) for name, metric in METRICS.items()}
    values |= _best_threshold(scored, weights)
    return {name: _estimate(value) for name, value in values.items()}


def _best_threshold(
    scored: Sequence[Scored], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    crack = weights @ np.array([s.crack for s in scored])
    background = weights @ np.array([s.background for s in scored])
    f1 = sweep_f1(crack, background)
    unknown = np.where(crack.sum(axis=1) > 0, 0.0, np.nan)  # nothing to find
    best = f1.argmax(axis=1)
    return {"ods": f1.max(axis=1) + unknown, "ods_threshold": best / LEVELS + unknown}


def _estimate(values: NDArray[np.float64]) -> Estimate:
    resampled = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not resampled.size:
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(values[0]), float(low), float(high))
