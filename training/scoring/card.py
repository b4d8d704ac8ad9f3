"""The generated part of a model card: file, calibration, data sets and scores as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crackgeo.errors import InputError

from .calibrate import Calibration, Reliability
from .evaluate import Evaluation
from .report import to_markdown

BEGIN = "<!-- generated: begin -->"
END = "<!-- generated: end -->"


def fill_card(
    card: Path | None,
    model: Path,
    calibration: Calibration,
    evaluation: Evaluation,
    licences: Mapping[str, Mapping[str, str | int]],
) -> str:
    """The generated text; also put between the markers of a model card, where one is given.

    Raises
    ------
    InputError
        The card lacks its markers.
    """
    text = "\n".join(
        [
            *_file_lines(model, evaluation),
            "",
            "### Calibration",
            *_calibration_lines(calibration),
            "",
            "### Data it was trained on",
            *_licence_lines(licences),
            "",
            "### Scores",
            to_markdown(evaluation.scores),
        ]
    )
    if card is not None:
        _replace_between(card, text)
    return text


def _replace_between(card: Path, text: str) -> None:
    try:
        old = card.read_text(encoding="utf-8")
        head, rest = old.split(BEGIN)
        _, tail = rest.split(END)
    except (OSError, ValueError) as error:
        remedy = f"it needs one line {BEGIN} and one line {END}"
        raise InputError(f"{card}: not a model card to fill", remedy) from error
    card.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def _file_lines(model: Path, evaluation: Evaluation) -> list[str]:
    return [
        "### File",
        f"- `{model.name}`, {model.stat().st_size / 1e6:.2f} MB",
        f"- sha256 `{evaluation.model_sha256}`",
    ]


def _calibration_lines(c: Calibration) -> list[str]:
    shifted = f"logit {'-' if c.offset < 0 else '+'} {abs(c.offset):.3f}"
    lines = [
        f"- probability = sigmoid(({shifted}) / {c.temperature:.3f}); the offset is part of the "
        "weights",
        f"- expected calibration error on val {c.reliability.error:.4f} "
        f"(before: {c.reliability_before.error:.4f}); sets count equally",
        "- outlines lie at p = 0.5, the level of the best mean IoU (pictures, then sets)",
        f"- a network must reach p = {c.threshold:g}, is followed down to {c.threshold_low:g} and "
        f"is at least {c.min_length_px:g} px long",
        f"- of {c.negatives} crack-free pictures {c.clean_share:.1%} stay without an object",
    ]
    if c.widths is not None:
        lines.append(
            f"- width on true outlines (deepcrack val): mean absolute error "
            f"{c.widths.mean_px:.2f} px, bias {c.widths.bias_px:+.2f} px; of a single width, "
            f"{c.widths.base_px:.2f} px and {c.widths.share:.1%} of it are to be expected"
        )
    return [*lines, "", *_reliability_table(c.reliability)]


def _reliability_table(curve: Reliability) -> list[str]:
    lines = ["| stated probability | observed share of crack | share of pixels |", "|---|---|---|"]
    for stated, observed, share in zip(curve.stated, curve.observed, curve.share, strict=True):
        if share > 0:
            lines.append(f"| {stated:.3f} | {observed:.3f} | {share:.5f} |")
    return lines


def _licence_lines(licences: Mapping[str, Mapping[str, str | int]]) -> list[str]:
    lines = ["| set | pictures | licence |", "|---|---|---|"]
    for name, entry in licences.items():
        lines.append(f"| {name} | {entry['images']} | {entry['licence']} |")
    return lines
