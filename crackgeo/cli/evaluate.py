"""`crackgeo evaluate`: how good a model is on labelled pictures, or a layer against a true one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .console import Console
from .options import (
    Numbers,
    console_options,
    model_options,
    overwrite_option,
    training_extra,
)


@click.command("evaluate")
@click.argument("found", required=False, type=click.Path(path_type=Path), metavar="[FOUND.gpkg]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with manifest.csv (split, set, image, mask), or with images/ and masks/.",
)
@click.option("--split", default="val", show_default=True, help="Split of the manifest; or: all.")
@click.option("--set", "sets", multiple=True, help="Only this set; may be repeated.")
@click.option("--noise", is_flag=True, help="Also score darkened and blurred pictures.")
@click.option("--blur-sweep", is_flag=True, help="Also score pictures blurred more and more.")
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
    help="Folder for tables, plots and sheets. It appears when it is complete.",
)
@overwrite_option
@click.option(
    "--sheets",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Worst and best pictures of each set to draw into the output folder.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="TRUE.gpkg",
    help="Compare the crack lines of FOUND.gpkg with these.",
)
@click.option(
    "--area",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --truth: polygons to compare in.",
)
@click.option(
    "--tolerance",
    "tolerances_m",
    type=Numbers(float, tuple(range(1, 10))),
    show_default="0.005,0.01,0.02,0.05; without a CRS 1,2,5,10 of its units",
    metavar="METRES,...",
    help="With --truth: how far apart two lines may lie and be the same.",
)
@model_options
@console_options
def evaluate_command(
    console: Console, found: Path | None, data: Path | None, truth: Path | None, **options: Any
) -> None:
    """Score a model on labelled pictures (--data), or FOUND.gpkg against --truth.

    docs/evaluation.md says what each number means.
    """
    if (data is None) == (truth is None) or (found is None) != (truth is None):
        raise UsageError("give --data DIR, or FOUND.gpkg with --truth TRUE.gpkg; one of the two")
    with training_extra("evaluate"):
        if data is not None:
            _score_model(console, data, **options)
        elif found is not None and truth is not None:
            _score_layers(console, found, truth, **options)


def _score_layers(
    console: Console,
    found: Path,
    truth: Path,
    area: Path | None,
    tolerances_m: tuple[float, ...] | None,
    output: Path | None,
    overwrite: bool,
    **_: Any,
) -> None:
    from crackgeo_training.scoring.layer_scores import SCORES, score_layers, write_layer_scores

    with _folder(output, overwrite, SCORES, [found, truth, area]) as folder:
        with console.monitor() as monitor:
            scores = score_layers(found, truth, area, tolerances_m, monitor)
        if folder is not None:
            write_layer_scores(scores, folder)
    console.result(scores.to_dict(), scores.to_markdown())


def _score_model(
    console: Console,
    data: Path,
    split: str,
    sets: tuple[str, ...],
    noise: bool,
    blur_sweep: bool,
    threshold: float,
    output: Path | None,
    overwrite: bool,
    sheets: int,
    model: str,
    device: str,
    precision: str,
    batch_size: int | None,
    **_: Any,
) -> None:
    from crackgeo_training.scoring.evaluate import evaluate, find_records, rule_of
    from crackgeo_training.scoring.noise import BLURS, VARIANTS
    from crackgeo_training.scoring.plots import write_plots
    from crackgeo_training.scoring.report import SCORES, to_dict, to_markdown, write_report
    from crackgeo_training.scoring.sheets import write_extremes

    from ..models.registry import load_model

    records = find_records(data, None if split == "all" else split, sets)
    segmenter = load_model(model, device=device, precision=precision, batch_size=batch_size)
    variants = (VARIANTS if noise else VARIANTS[:1]) + (BLURS if blur_sweep else ())
    with _folder(output, overwrite, SCORES, [data]) as folder, console.monitor() as monitor:
        rule = rule_of(segmenter.info, threshold)
        result = evaluate(segmenter, records, rule, variants, monitor)
        if folder is not None:
            write_report(result, folder)
            write_plots(result, folder)
            if sheets:
                write_extremes(folder, segmenter, result.pictures, sheets, rule.mask_at)
    console.result(to_dict(result), to_markdown(result.scores))


@contextmanager
def _folder(
    output: Path | None, overwrite: bool, mark: str, read: list[Path | None]
) -> Iterator[Path | None]:
    """A folder to fill, where one is asked for, that holds nothing of what is read."""
    from crackgeo_training.labelling.folders import check_apart, folder_output

    if output is None:
        yield None
        return
    check_apart([output], read)
    with folder_output(output, overwrite, mark) as folder:
        yield folder
