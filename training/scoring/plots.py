"""Pictures of an evaluation: the threshold sweep, and what blur does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crackgeo.files import output_errors

from .evaluate import Evaluation
from .metrics import LEVELS
from .noise import BLUR_SIDES_PX, BLURS
from .report import COLUMNS

BLUR_METRICS = ("iou", "f1_2px", "cliou_4px")


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write thresholds.png and, where pictures were blurred, blur.png; gives their paths."""
    paths = [folder / "thresholds.png"]
    _save(paths[0], _threshold_plot(evaluation))
    if any(score.variant in BLURS for score in evaluation.scores):
        paths.append(folder / "blur.png")
        _save(paths[1], _blur_plot(evaluation))
    return paths


def blur_curve(evaluation: Evaluation, metric: str) -> tuple[list[int], list[float]]:
    """Sides of the Gaussian, 1 for none, and a metric over all pictures at each."""
    sides = dict(zip(("clean", *BLURS), (1, *BLUR_SIDES_PX), strict=True))
    last = {score.variant: score for score in evaluation.scores if score.variant in sides}
    return [sides[v] for v in last], [score.metrics[metric].value for score in last.values()]


def _threshold_plot(evaluation: Evaluation) -> Any:
    from matplotlib.figure import Figure

    clean = [score for score in evaluation.scores if score.variant == "clean"]
    thresholds = np.arange(LEVELS) / LEVELS
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for score in clean:
        left.plot(thresholds, score.sweep.f1, label=score.set)
        right.plot(score.sweep.recall, score.sweep.precision, label=score.set)
    left.axvline(evaluation.rule.mask_at, color="grey", linestyle=":")
    left.set(xlabel="threshold", ylabel="F1, pooled pixels", ylim=(0, 1))
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    left.legend(fontsize="x-small")
    return figure


def _blur_plot(evaluation: Evaluation) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for metric in BLUR_METRICS:
        axes.plot(*blur_curve(evaluation, metric), marker="o", label=COLUMNS[metric])
    axes.set(xlabel="side of the Gaussian, px (1: none)", ylabel="score", ylim=(0, 1))
    axes.legend(fontsize="small")
    return figure


def _save(path: Path, figure: Any) -> None:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
