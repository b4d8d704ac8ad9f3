"""Make a model's numbers mean what they say: probabilities, thresholds, shortest crack, width.

Everything is chosen on validation pictures. They hold no crack-free picture, so the object
rule is chosen on crack-free training pictures set apart by a hash of their names, and on
drawn scenes without a crack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from crackgeo.models.protocol import Segmenter
from crackgeo.monitor import SILENT, Monitor
from crackgeo.specs import TILE_PX, VectorSpec

from ..drawing.scenes import draw_negative
from ..pictures.records import IGNORE, Record
from .evaluate import predicted_labels
from .objects import HIGHS, LOWS, MIN_LENGTHS_PX, LineTable, line_table
from .predict_images import predict_images
from .widths import WidthErrors, width_pairs, width_summary

STAGE = "calibrate"
DRAWN = 48
OUTLINED_SETS = ("deepcrack",)
DRAWN_SEED = 90210  # training draws with its own seed, so these scenes are new to the model
MAX_TEMPERATURE = 5.0  # and its inverse: beyond, the model is broken, not uncalibrated
LOGIT_STEP = 1 / 16
LOGIT_MAX = 16.0
BINS = 15  # of the reliability curve, as Guo et al. (ICML 2017)
FLAT = 1e-3  # of IoU: levels nearer to the best than this are as good
CLEAN_TARGET = 0.95
DIRT_COST = 3.0  # one crack-free picture in ten with an object is as bad as 0.3 of IoU and F1


@dataclass(frozen=True)
class Reliability:
    """How often pixels of a stated probability are crack, over equal bins of probability.

    Parameters
    ----------
    stated, observed : means by bin; NaN for an empty bin
    share : share of the pixels by bin; sets count equally
    """

    stated: tuple[float, ...]
    observed: tuple[float, ...]
    share: tuple[float, ...]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap, weighted by share."""
        gap = np.abs(np.array(self.stated) - np.array(self.observed))
        return float(np.nansum(gap * np.array(self.share)))


@dataclass(frozen=True)
class Calibration:
    """What is stored with a model.

    Parameters
    ----------
    temperature, offset : see `MaskFit`
    threshold, threshold_low, min_length_px : the object rule
    reliability, reliability_before : on validation, with and without the calibration
    clean_share : share of the crack-free pictures without an object
    line_f1 : mean over sets of the F1 of centrelines at 4 px under the rule
    negatives : how many crack-free pictures there were
    widths : errors on true outlines, if measured
    """

    temperature: float
    offset: float
    threshold: float
    threshold_low: float
    min_length_px: float
    reliability: Reliability
    reliability_before: Reliability
    clean_share: float
    line_f1: float
    negatives: int
    widths: WidthErrors | None


def drawn_negatives(count: int = DRAWN) -> Iterator[NDArray[np.uint8]]:
    """Drawn scenes without a crack, uint8 `[448, 448, 3]`."""
    for i in range(count):
        yield draw_negative(np.random.default_rng((DRAWN_SEED, i)), TILE_PX)


@dataclass(frozen=True)
class Predicted:
    """One predicted picture: float16 logits keep three digits at half the memory.

    `known` marks what somebody labelled; None stands for all of it.
    """

    set: str
    logit: NDArray[np.float16]
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_] | None = None

    def probability(self) -> NDArray[np.float32]:
        """The probabilities again."""
        return np.asarray(expit(self.logit.astype(np.float32)), np.float32)


@dataclass(frozen=True)
class MaskFit:
    """What makes probabilities of a network's logits: p = sigmoid((logit + offset) / temperature).

    `before` is how reliable they are without it.
    """

    temperature: float
    offset: float
    before: Reliability


def calibrate(
    segmenter: Segmenter,
    val: Sequence[Record],
    negatives: Sequence[Record],
    fit: MaskFit,
    monitor: Monitor = SILENT,
    drawn: int = DRAWN,
    outlined_sets: Sequence[str] = OUTLINED_SETS,
) -> Calibration:
    """Choose the object rule, and see how good probabilities and widths are.

    Parameters
    ----------
    segmenter : the model with the fit in it
    val : labelled pictures with cracks
    negatives : crack-free pictures
    fit : of `fit_masks`
    monitor : progress in pictures; may cancel
    drawn : how many drawn crack-free scenes to add
    outlined_sets : sets whose masks are true outlines, to measure widths on
    """
    cracked = list(predicted_logits(segmenter, val, monitor))
    free = list(predicted_logits(segmenter, negatives, monitor))
    free += [
        Predicted("drawn", _logit(p), np.zeros(p.shape, np.bool_))
        for p in predict_images(segmenter, drawn_negatives(drawn))
    ]
    crack, background = logit_histograms(cracked)
    tables, empty = [_tables(p) for p in cracked], [_tables(p) for p in free]
    rule = choose_rule([p.set for p in cracked], tables, empty)
    spec = VectorSpec(
        threshold=rule[0],
        threshold_low=rule[1],
        min_length_px=rule[2],
        outline=segmenter.info.outline,
    )
    outlined = ((p.probability(), p.truth) for p in cracked if p.set in outlined_sets)
    return Calibration(
        fit.temperature,
        fit.offset,
        *rule[:3],
        reliability=reliability(crack, background),
        reliability_before=fit.before,
        clean_share=rule[3],
        line_f1=rule[4],
        negatives=len(free),
        widths=width_summary(width_pairs(outlined, spec)),
    )


def fit_masks(
    segmenter: Segmenter,
    val: Sequence[Record],
    level_sets: Sequence[str] = (),
    monitor: Monitor = SILENT,
) -> MaskFit:
    """Choose what the logits of masks need to become those of probabilities.

    Parameters
    ----------
    segmenter : the model as trained, temperature 1, without a rim
    val : labelled pictures with cracks
    level_sets : sets that decide where p = 0.5 lies; none given means all
    monitor : progress in pictures; may cancel
    """
    cracked = list(predicted_logits(segmenter, val, monitor))
    crack, background = logit_histograms(cracked)
    offset = -_level(cracked, level_sets)
    temperature = fit_temperature(crack, background, offset)
    return MaskFit(temperature, offset, reliability(crack, background))


def predicted_logits(
    segmenter: Segmenter, records: Sequence[Record], monitor: Monitor = SILENT
) -> Iterator[Predicted]:
    """Logits and truths of labelled pictures, in their order."""
    for i, (probability, label) in enumerate(predicted_labels(segmenter, records)):
        monitor.step(STAGE, i + 1, len(records))
        yield Predicted(records[i].set, _logit(probability), label == 1, label != IGNORE)


def _logit(probability: NDArray[np.float32]) -> NDArray[np.float16]:
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.clip(np.log(p / (1 - p)), -LOGIT_MAX, LOGIT_MAX).astype(np.float16)


def logit_histograms(
    pictures: Sequence[Predicted],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Crack and background pixels by logit, every set with the same total weight."""
    by_set: dict[str, list[NDArray[np.float64]]] = {}
    for picture in pictures:
        by_set.setdefault(picture.set, []).append(_histograms(picture))
    shares = [np.sum(own, axis=0) / np.sum(own) for own in by_set.values()]
    crack, background = np.sum(shares, axis=0)
    return crack, background


def _histograms(picture: Predicted) -> NDArray[np.float64]:
    """Crack and background pixels of one picture by logit, `[2, bins]`, of what is labelled."""
    bins = round(2 * LOGIT_MAX / LOGIT_STEP) + 1
    level = np.rint((picture.logit.astype(np.float32) + LOGIT_MAX) / LOGIT_STEP)
    code = level.astype(np.int64) + bins * ~picture.truth
    told = code.ravel() if picture.known is None else code[picture.known]
    return np.bincount(told, minlength=2 * bins).reshape(2, bins).astype(np.float64)


def _levels(bins: int) -> NDArray[np.float64]:
    return (np.arange(bins) * LOGIT_STEP - LOGIT_MAX).astype(np.float64)


def _level(pictures: Sequence[Predicted], sets: Sequence[str]) -> float:
    """The level that all pictures choose, or these sets where some are named.

    Sets are named for labels that follow the crack. Of levels that suit them alike the highest is
    taken: what it marks beyond the crack, as most labels do, and what it invents is least.
    """
    if not sets:
        return best_level(pictures)
    return float(_best_levels([p for p in pictures if p.set in sets])[-1])


def best_level(pictures: Sequence[Predicted]) -> float:
    """The logit whose masks have the greatest IoU, averaged over pictures, then over sets.

    It becomes p = 0.5, since that is where outlines are drawn and widths measured: a network
    that is off by one logit there measures every crack about a pixel wrong. The top is flat: its
    middle is taken.
    """
    return float(_best_levels(pictures).mean())


def _best_levels(pictures: Sequence[Predicted]) -> NDArray[np.float64]:
    iou = _mean_iou(pictures)
    level = _levels(len(iou)) - LOGIT_STEP / 2
    return np.asarray(level[iou >= iou.max() - FLAT])


def _mean_iou(pictures: Sequence[Predicted]) -> NDArray[np.float64]:
    """The IoU of the masks at every level, averaged over pictures, then over sets."""
    by_set: dict[str, list[NDArray[np.float64]]] = {}
    for picture in pictures:
        crack, background = _histograms(picture)
        both, invented = (np.cumsum(v[::-1])[::-1] for v in (crack, background))
        either = np.maximum(crack.sum() + invented, 1)
        by_set.setdefault(picture.set, []).append(both / either)
    return np.asarray(np.mean([np.mean(own, axis=0) for own in by_set.values()], axis=0))


def fit_temperature(
    crack: NDArray[np.float64], background: NDArray[np.float64], offset: float
) -> float:
    """Temperature of least negative log-likelihood of logit histograms (Guo et al. 2017)."""
    level = _levels(len(crack)) + offset

    def loss(log_temperature: float) -> float:
        z = level / np.exp(log_temperature)
        return float(crack @ np.logaddexp(0, -z) + background @ np.logaddexp(0, z))

    limit = float(np.log(MAX_TEMPERATURE))
    best = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(best.x))


def reliability(crack: NDArray[np.float64], background: NDArray[np.float64]) -> Reliability:
    """The reliability curve of logit histograms."""
    p = expit(_levels(len(crack)))
    both = crack + background
    place = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    share = np.bincount(place, both, BINS)
    unknown = np.full(BINS, np.nan)
    stated = np.divide(
        np.bincount(place, p * both, BINS), share, out=unknown.copy(), where=share > 0
    )
    observed = np.divide(np.bincount(place, crack, BINS), share, out=unknown, where=share > 0)
    return Reliability(tuple(stated), tuple(observed), tuple(share / share.sum()))


def _tables(picture: Predicted) -> tuple[NDArray[np.float64], list[LineTable]]:
    """IoU of the mask at each threshold, and the lines at each low threshold."""
    probability = picture.probability()
    masks = [probability >= high for high in HIGHS]
    either = [float((m | picture.truth).sum()) for m in masks]
    both = [float((m & picture.truth).sum()) for m in masks]
    iou = np.array([b / e if e else 1.0 for b, e in zip(both, either, strict=True)])
    return iou, [line_table(probability, picture.truth, low) for low in LOWS]


def choose_rule(
    sets: Sequence[str],
    cracked: Sequence[tuple[NDArray[np.float64], list[LineTable]]],
    free: Sequence[tuple[NDArray[np.float64], list[LineTable]]],
) -> tuple[float, float, float, float, float]:
    """Thresholds and shortest length that keep crack-free pictures clean and lose least.

    The rule with the greatest sum of mask IoU and centreline F1, both averaged over sets,
    less `DIRT_COST` for every share of crack-free pictures with an object beyond
    1 - `CLEAN_TARGET`.

    Returns
    -------
    tuple of float
        threshold, threshold_low, min_length_px, clean share, centreline F1
    """
    names = sorted(set(sets))
    best: tuple[float, tuple[float, float, float, float, float]] | None = None
    for h, high in enumerate(HIGHS):
        iou = _mean_by_set(names, sets, np.array([table[0][h] for table in cracked]))
        for k, low in enumerate(LOWS):
            for shortest in MIN_LENGTHS_PX if low <= high else ():
                empty = [not table[1][k].kept(high, shortest).any() for table in free]
                clean = float(np.mean(empty)) if free else 1.0
                f1 = _line_f1(names, sets, [t[1][k] for t in cracked], high, shortest)
                rank = iou + f1 - DIRT_COST * max(0.0, CLEAN_TARGET - clean)
                if best is None or rank > best[0]:
                    best = (rank, (high, low, shortest, clean, f1))
    assert best is not None
    return best[1]


def _mean_by_set(names: Sequence[str], sets: Sequence[str], values: NDArray[np.float64]) -> float:
    own = np.array(sets)
    return float(np.mean([values[own == name].mean() for name in names]))


def _line_f1(
    names: Sequence[str],
    sets: Sequence[str],
    tables: Sequence[LineTable],
    high: float,
    shortest_px: float,
) -> float:
    counts = np.array([table.counts(high, shortest_px) for table in tables])
    own = np.array(sets)
    scores = []
    for name in names:
        hit, drawn, found, real = counts[own == name].sum(axis=0)
        precision, recall = hit / max(drawn, 1), found / max(real, 1)
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return float(np.mean(scores))
