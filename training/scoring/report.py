"""Scores as tables: Markdown to read, CSV to sort, JSON for programs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crackgeo.files import output_errors

from .evaluate import Evaluation, SetScore

SCORES = "scores.json"  # a folder with it is a report, which --overwrite may replace
COLUMNS = {
    "iou": "IoU",
    "iou_crack": "IoU crack-only",
    "iou_pooled": "IoU pooled",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f1_2px": "2 px F1",
    "f1_2px_pooled": "2 px F1 pooled",
    "cldice": "clDice",
    "cliou_4px": "clIoU@4",
    "ods": "ODS",
    "ois": "OIS",
    "clean": "clean",
    "clean_objects": "clean by rule",
}
WITH_INTERVAL = ("iou", "iou_pooled", "f1_2px", "cliou_4px")


def to_markdown(scores: Sequence[SetScore]) -> str:
    """One table a disturbance, then the bootstrap intervals of the main metrics."""
    parts = []
    for variant in dict.fromkeys(score.variant for score in scores):
        own = [score for score in scores if score.variant == variant]
        parts += [f"#### {variant}", "", *_table(own, list(COLUMNS), intervals=False), ""]
    clean = [score for score in scores if score.variant == "clean"]
    if clean:
        parts += ["#### 95 % intervals (bootstrap over pictures)", ""]
        parts += [*_table(clean, list(WITH_INTERVAL), intervals=True), ""]
    return "\n".join(parts)


def _table(scores: Sequence[SetScore], names: Sequence[str], intervals: bool) -> list[str]:
    shown = [n for n in names if any(math.isfinite(s.metrics[n].value) for s in scores)]
    lines = ["| set | n | " + " | ".join(COLUMNS[name] for name in shown) + " |"]
    lines.append("|---" * (len(shown) + 2) + "|")
    for item in scores:
        cells = [_cell(item, name, intervals) for name in shown]
        name = item.set.replace("|", "\\|")
        lines.append(f"| {name} | {item.images} | " + " | ".join(cells) + " |")
    return lines


def _cell(item: SetScore, name: str, interval: bool) -> str:
    estimate = item.metrics[name]
    if not math.isfinite(estimate.value):
        return "-"
    spread = f" ({estimate.low:.3f}-{estimate.high:.3f})" if interval else ""
    return f"{estimate.value:.3f}{spread}"


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values for JSON; a metric that is not defined is null."""
    return {
        "model": evaluation.model,
        "model_sha256": evaluation.model_sha256,
        "rule": asdict(evaluation.rule),
        "scores": [_plain(score) for score in evaluation.scores],
    }


def _plain(score: SetScore) -> dict[str, Any]:
    metrics = {
        name: [round(v, 5) if math.isfinite(v) else None for v in (e.value, e.low, e.high)]
        for name, e in score.metrics.items()
    }
    return {"set": score.set, "variant": score.variant, "images": score.images, "metrics": metrics}


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write scores.md, scores.csv and scores.json into a folder; ResourceError if it refuses."""
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_files(evaluation, folder)


def _write_files(evaluation: Evaluation, folder: Path) -> None:
    head = f"# {evaluation.model} ({evaluation.model_sha256[:12]})\n\n{_rule_line(evaluation)}\n\n"
    (folder / "scores.md").write_text(head + to_markdown(evaluation.scores), encoding="utf-8")
    text = json.dumps(to_dict(evaluation), indent=1)
    (folder / SCORES).write_text(text + "\n", encoding="utf-8")
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["set", "variant", "images", "metric", "value", "low", "high"])
        for score in evaluation.scores:
            for name, e in score.metrics.items():
                row = [score.set, score.variant, score.images, name]
                table.writerow([*row, *(f"{v:.5f}" for v in (e.value, e.low, e.high))])


def _rule_line(evaluation: Evaluation) -> str:
    rule = evaluation.rule
    return (
        f"Mask: p >= {rule.mask_at:g}. Object rule: a network reaches {rule.threshold:g}, is "
        f"followed down to {rule.threshold_low:g} and is at least {rule.min_length_px:g} px long."
    )
