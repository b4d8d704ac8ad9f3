"""What a long run has learned so far, to look at while it goes on: scores, curves, pictures.

val.csv          a row a set and look: iteration, set, IoU, 2 px F1, clIoU at 4 px
curves.png       loss, and the scores of all sets together
sheets/NNNNNN.png   the same validation pictures at every look
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crackgeo.files import output_errors
from crackgeo.models.modelfile import NORMALISATIONS
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.models.runtime import Scaling, TorchSegmenter

from ..pictures.records import Record
from ..scoring.evaluate import Evaluation, evaluate
from ..scoring.report import COLUMNS
from ..scoring.sheets import write_sheet
from .networks import load_network

LOSS_LOG, SCORE_LOG, CURVES, SHEETS = "log.csv", "val.csv", "curves.png", "sheets"
METRICS = ("iou", "f1_2px", "cliou_4px")
SCALING = Scaling(*NORMALISATIONS["minus-one-to-one"])  # as `pictures.data.to_tensor`


def some_of_each(records: Sequence[Record], count: int) -> list[Record]:
    """Up to `count` pictures of each set, spread over it."""
    chosen = []
    for name in sorted({record.set for record in records}):
        own = [record for record in records if record.set == name]
        places = np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)
        chosen += [own[i] for i in places]
    return chosen


def segmenter_of(network: str, weights: Mapping[str, Tensor]) -> Segmenter:
    """A trained network, see `networks`, as something that predicts, on the processor."""
    here = {name: value.cpu() for name, value in weights.items()}
    info = ModelInfo(name=network, sha256="")
    return TorchSegmenter(load_network(network, here), info, SCALING, "cpu")


class Watch:
    """Looks at weights during a run.

    Parameters
    ----------
    folder : of the run
    records : validation pictures
    network : name of what is trained, see `networks`
    """

    def __init__(self, folder: Path, records: Sequence[Record], network: str = "compact") -> None:
        self.folder = folder
        self.network = network
        self.records = records

    def look(self, iteration: int, weights: Mapping[str, Tensor]) -> str:
        """Score the weights, add to the files of the run, and say it in a line."""
        with torch.random.fork_rng(devices=[]):  # a network begins with chance, which is the run's
            segmenter = segmenter_of(self.network, weights)
        scored = evaluate(segmenter, self.records)
        self._log(iteration, scored)
        first = {record.set: record for record in reversed(self.records)}
        path = self.folder / SHEETS / f"{iteration:06d}.png"
        write_sheet(path, segmenter, list(first.values()), list(first))
        write_curves(self.folder)
        values = scored.scores[-1].metrics
        return ", ".join(f"{COLUMNS[name]} {values[name].value:.3f}" for name in METRICS)

    def _log(self, iteration: int, scored: Evaluation) -> None:
        path = self.folder / SCORE_LOG
        new = not path.exists()
        with output_errors(path), path.open("a", newline="", encoding="utf-8") as lines:
            table = csv.writer(lines)
            if new:
                table.writerow(["iteration", "set", *METRICS])
            for score in scored.scores:
                values = [f"{score.metrics[name].value:.4f}" for name in METRICS]
                table.writerow([iteration, score.set, *values])


def write_curves(folder: Path) -> None:
    """Draw the logs of a run as curves.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = _rows(folder / LOSS_LOG)
    left.plot([int(row[0]) for row in losses], [float(row[1]) for row in losses])
    left.set(xlabel="iteration", ylabel="loss")
    looks = {row[0]: row for row in _rows(folder / SCORE_LOG)[1:]}  # the last one pools all sets
    for place, name in enumerate(METRICS, 2):
        _curve(right, list(looks.values()), place, COLUMNS[name])
    right.set(xlabel="iteration", ylabel="score on some of val", ylim=(0, 1))
    right.legend(fontsize="small")
    with output_errors(folder / CURVES):
        figure.savefig(folder / CURVES, dpi=100)


def _curve(axes: Any, rows: Sequence[Sequence[str]], place: int, label: str) -> None:
    axes.plot([int(row[0]) for row in rows], [float(row[place]) for row in rows], label=label)


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))
