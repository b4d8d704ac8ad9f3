"""The report of a fine-tuning: curves, scores before and after, the worst cases as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crackgeo.files import output_errors
from crackgeo.models.protocol import Segmenter

from ..scoring.evaluate import Evaluation
from ..scoring.sheets import write_extremes
from .blend import Blend
from .fit import Fitted
from .local_data import LocalData

REPORT, CURVES = "report.md", "curves.png"
WORST = 4
LABELS = {
    "f1_2px": "2 px F1, local",
    "iou": "IoU, local",
    "cliou_4px": "clIoU@4, local",
    "replay_f1_2px": "2 px F1, replayed pictures",
}


def write_finetune_report(
    folder: Path,
    fitted: Fitted,
    blend: Blend,
    data: LocalData,
    segmenter: Segmenter,
    judged: Evaluation,
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> Path:
    """Write report.md, curves.png and the sheets of the worst and best cases into a folder.

    Parameters
    ----------
    folder : of the run
    fitted, blend : how training went, and how much of it was kept
    data : what it learned from
    segmenter, judged : the stored model, and its scores on the local validation pictures
    before, after : metrics by name

    Returns
    -------
    Path
        The Markdown file.
    """
    draw_curves(folder / CURVES, fitted)
    sheets = write_extremes(folder, segmenter, judged.pictures, WORST)
    lines = [
        f"# Fine-tuning of {judged.model}",
        "",
        *_verdict(fitted, blend, before, after),
        "",
        "| validation | before | after | change |",
        "|---|---|---|---|",
        *(
            f"| {label} | {before[name]:.3f} | {after[name]:.3f} | "
            f"{after[name] - before[name]:+.3f} |"
            for name, label in LABELS.items()
            if name in before
        ),
        "",
        *_shares(blend),
        f"Learned from {len(data.train)} pictures, judged on {len(data.val)} that it has not seen"
        + (f", {len(data.replay)} pictures replayed." if data.replay else "."),
        f"Model file: sha256 `{judged.model_sha256}`." if judged.model_sha256 else "",
        "",
        f"![curves]({CURVES})",
        "",
        *(f"![{path.stem}]({path.name})" for path in sheets),
    ]
    path = folder / REPORT
    with output_errors(path):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _shares(blend: Blend) -> list[str]:
    """Parts of the way between base and last weights, as a table."""
    if not blend.tried:
        return []
    names = [name for name in LABELS if name in next(iter(blend.tried.values()))]
    return [
        "Weights between the base's and the last ones, by the share of the change:",
        "",
        "| share | " + " | ".join(LABELS[name] for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(
            f"| {share:g} | " + " | ".join(f"{told[name]:.3f}" for name in names) + " |"
            for share, told in blend.tried.items()
        ),
        "",
    ]


def _verdict(
    fitted: Fitted, blend: Blend, before: Mapping[str, float], after: Mapping[str, float]
) -> list[str]:
    if fitted.best == 0 and blend.share is None:
        return [
            "**Training did not help**: no validation was better than the base model's, so the "
            "weights are the base model's own. More labels, or labels that fit better, may help."
        ]
    gain = after["f1_2px"] - before["f1_2px"]
    weights = f"those of iteration {fitted.best} of {fitted.iterations}"
    if blend.share is not None:
        weights = f"{blend.share:.0%} of the change after {fitted.iterations} iterations"
    return [
        f"The weights are {weights}. The 2 px F1 on "
        f"local pictures went from {before['f1_2px']:.3f} to {after['f1_2px']:.3f} ({gain:+.3f})."
    ]


def draw_curves(path: Path, fitted: Fitted) -> None:
    """Loss and metrics over iterations as one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    iterations = [row["iteration"] for row in fitted.history]
    left.plot(iterations, [row["loss"] for row in fitted.history], marker="o")
    left.set(xlabel="iteration", ylabel="loss (mean of an epoch)")
    for name, label in LABELS.items():
        if name in fitted.history[0]:
            right.plot(iterations, [row[name] for row in fitted.history], marker="o", label=label)
    right.axvline(fitted.best, color="grey", linestyle=":", label="chosen")
    right.set(xlabel="iteration", ylabel="validation")
    right.legend(fontsize="small")
    with output_errors(path):
        figure.savefig(path, dpi=120)
