"""`crackgeo chips`: what a model will learn from, cut and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .console import Console
from .labels import chip_options, chip_specs
from .options import console_options, overwrite_option, raster_options, training_extra


@click.command("chips")
@click.argument("input", type=click.Path(path_type=Path), metavar="RASTER|DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make. It appears when it is complete.",
)
@click.option(
    "--unlabelled",
    is_flag=True,
    help="Cut RASTER into pictures without labels, for a teacher (crackgeo train).",
)
@chip_options
@raster_options
@overwrite_option
@console_options
def chips_command(
    console: Console,
    input: Path,
    output: Path,
    unlabelled: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Cut a labelled raster into chips to learn from, and show them on a contact sheet.

    RASTER needs --labels. DIR holds images and masks as the crack data sets lay them out.
    docs/finetune.md says how labels are read and what `status` means.
    """
    with training_extra("chips"):
        from crackgeo_training.labelling.chips import make_chips
        from crackgeo_training.labelling.unlabelled import cut_unlabelled

    specs = chip_specs(options)
    if unlabelled and (specs["labels"] or specs["area"]):
        raise UsageError("--unlabelled goes with neither --labels nor --area", "leave it out")
    with console.monitor() as monitor:
        if unlabelled:
            size_px, kept = specs["chip_spec"].size_px, {k: specs[k] for k in ("bands", "gsd_m")}
            result: Any = cut_unlabelled(
                input, output, size_px, **kept, overwrite=overwrite, monitor=monitor
            )
        else:
            result = make_chips(input, output, **specs, overwrite=overwrite, monitor=monitor)
    console.result(result.to_dict(), result.summary())
