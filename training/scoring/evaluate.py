"""Score a model on labelled pictures: per set and pooled, clean and disturbed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.monitor import SILENT, Monitor

from ..pictures.pairs import match_masks, read_label
from ..pictures.records import IGNORE, Record, read_manifest
from .metrics import (
    Estimate,
    ObjectRule,
    Scored,
    Sweep,
    score,
    summarise,
    sweep_thresholds,
)
from .noise import disturb
from .predict_images import predict_images

POOLED = "all"
STAGE = "evaluate"


@dataclass(frozen=True)
class SetScore:
    """The metrics of one set under one disturbance.

    Parameters
    ----------
    set : name of the set, or `all` for all pictures together
    variant : clean, or a disturbance, see `noise.disturb`
    images : how many pictures
    metrics : by name, see docs/evaluation.md
    sweep : over thresholds
    """

    set: str
    variant: str
    images: int
    metrics: dict[str, Estimate]
    sweep: Sweep


@dataclass(frozen=True)
class PictureScore:
    """The IoU and the 2 px F1 of one clean picture, to find the worst and the best."""

    record: Record
    iou: float
    f1_2px: float


@dataclass(frozen=True)
class Evaluation:
    """All scores of one model on one folder of data."""

    model: str
    model_sha256: str
    rule: ObjectRule
    scores: tuple[SetScore, ...]
    pictures: tuple[PictureScore, ...]


def rule_of(info: ModelInfo, mask_at: float | None = None) -> ObjectRule:
    """The rule that a model file asks for; masks at p >= 0.5 unless told otherwise."""
    rule = ObjectRule(info.threshold, info.threshold_low, info.min_length_px)
    return rule if mask_at is None else replace(rule, mask_at=mask_at)


def find_records(data: Path, split: str | None, sets: Sequence[str] = ()) -> list[Record]:
    """Labelled pictures of a folder: from its manifest.csv, else from images/ and masks/.

    Parameters
    ----------
    data : folder with `manifest.csv`, or with `images/` and `masks/` of equal file stems
    split : of the manifest; None takes all
    sets : keep only these; none given keeps all

    Raises
    ------
    InputError
        Nothing to score, or masks do not belong to images one by one.
    """
    manifest = data / "manifest.csv"
    if manifest.is_file():
        records = read_manifest(manifest, split)
    elif (data / "images").is_dir() and (data / "masks").is_dir():
        records = _paired(data)
    else:
        raise InputError(
            f"{data}: neither a manifest.csv nor the folders images/ and masks/",
            "name a folder of labelled pictures with --data; docs/evaluation.md has the layout",
        )
    if missing := set(sets) - {record.set for record in records}:
        known = ", ".join(sorted({record.set for record in records}))
        raise InputError(f"{data}: no set {', '.join(sorted(missing))}", f"there are: {known}")
    return [record for record in records if not sets or record.set in sets]


def _paired(data: Path) -> list[Record]:
    records = [
        Record("", data.name, image, mask)
        for image, mask in match_masks(data / "images", data / "masks")
    ]
    if not records:
        raise InputError(f"{data / 'images'}: holds no picture")
    return records


def evaluate(
    segmenter: Segmenter,
    records: Sequence[Record],
    rule: ObjectRule | None = None,
    variants: Sequence[str] = ("clean",),
    monitor: Monitor = SILENT,
) -> Evaluation:
    """Score a model on labelled pictures.

    Parameters
    ----------
    segmenter : the model
    records : the pictures
    rule : where masks end, thresholds and shortest object; None takes the model's own
    variants : disturbances, see `noise.disturb`
    monitor : progress in pictures; may cancel
    """
    info = segmenter.info
    rule = rule or rule_of(info)
    scores: list[SetScore] = []
    pictures: list[PictureScore] = []
    for v, variant in enumerate(variants):
        scored = []
        for i, (probability, truth) in enumerate(predicted(segmenter, records, variant)):
            monitor.step(STAGE, v * len(records) + i, len(variants) * len(records))
            scored.append(score(probability, truth, rule))
        scores += _summaries(records, scored, variant)
        if variant == "clean":
            pictures = [
                PictureScore(r, s.parts["iou"], s.parts["f1_2px"])
                for r, s in zip(records, scored, strict=True)
            ]
    monitor.step(STAGE, len(variants) * len(records), len(variants) * len(records))
    return Evaluation(info.name, info.sha256, rule, tuple(scores), tuple(pictures))


def predicted(
    segmenter: Segmenter, records: Sequence[Record], variant: str = "clean"
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Probabilities and truths of pictures in their order, reading no more than needed.

    Ground that nobody labelled is given back as background that was found to be background.
    """
    for probability, label in predicted_labels(segmenter, records, variant):
        yield probability, label == 1


def predicted_labels(
    segmenter: Segmenter, records: Sequence[Record], variant: str = "clean"
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """As `predicted`, with labels 0, 1, or 255 where nobody labelled."""
    labels: list[NDArray[np.uint8]] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for record in records:
            image, label = read_label(record)
            labels.append(label)
            yield disturb(image, variant)

    for probability in predict_images(segmenter, images()):
        label = labels.pop(0)
        probability[label == IGNORE] = 0
        yield probability, label


def _summaries(
    records: Sequence[Record], scored: Sequence[Scored], variant: str
) -> Iterator[SetScore]:
    names = sorted({record.set for record in records})
    for name in names:
        own = [s for r, s in zip(records, scored, strict=True) if r.set == name]
        yield SetScore(name, variant, len(own), summarise(own), sweep_thresholds(own))
    if len(names) > 1:
        yield SetScore(POOLED, variant, len(scored), summarise(scored), sweep_thresholds(scored))
