"""`crackgeo evaluate`: how good a model is on labelled pictures."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from .console import Console
from .options import console_options, model_options

EXTRA = 'install the training extra: pip install "crackgeo[train]"'


@click.command("evaluate")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with manifest.csv (split, set, image, mask), or with images/ and masks/.",
)
@click.option("--split", default="val", show_default=True, help="Split of the manifest; or: all.")
@click.option("--set", "sets", multiple=True, help="Only this set; may be repeated.")
@click.option("--noise", is_flag=True, help="Also score darkened and blurred pictures.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Probability from which on a pixel counts as crack.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for scores.md, scores.csv, scores.json and the sheets.",
)
@click.option(
    "--sheets",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Worst and best pictures of each set to draw into the output folder.",
)
@model_options
@console_options
def evaluate_command(
    console: Console,
    data: Path,
    split: str,
    sets: tuple[str, ...],
    noise: bool,
    threshold: float,
    output: Path | None,
    sheets: int,
    model: str,
    device: str,
    precision: str,
    batch_size: int | None,
) -> None:
    """Score a model on labelled pictures, per set and pooled.

    docs/evaluation.md says what each number means.
    """
    try:
        from crackgeo_training.evaluate import evaluate, find_records, rule_of
        from crackgeo_training.noise import VARIANTS
        from crackgeo_training.report import to_dict, to_markdown, write_report
        from crackgeo_training.sheets import write_extremes
    except ImportError as error:
        raise UsageError(f"crackgeo evaluate needs the package {error.name}", EXTRA) from error
    from ..models.registry import load_model

    records = find_records(data, None if split == "all" else split, sets)
    segmenter = load_model(model, device=device, precision=precision, batch_size=batch_size)
    variants = VARIANTS if noise else VARIANTS[:1]
    with console.monitor() as monitor:
        rule = rule_of(segmenter.info, threshold)
        result = evaluate(segmenter, records, rule, variants, monitor)
        if output is not None:
            write_report(result, output)
            if sheets:
                write_extremes(output, segmenter, result.pictures, sheets, rule.outline)
    console.result(to_dict(result), to_markdown(result.scores))
