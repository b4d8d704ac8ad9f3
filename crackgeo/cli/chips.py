"""`crackgeo chips`: what a model will learn from, cut and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .console import Console
from .evaluate import EXTRA
from .labels import chip_options, chip_specs
from .options import console_options, overwrite_option, raster_options


@click.command("chips")
@click.argument("input", type=click.Path(path_type=Path), metavar="RASTER|DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make. It appears when it is complete.",
)
@chip_options
@raster_options
@overwrite_option
@console_options
def chips_command(
    console: Console, input: Path, output: Path, overwrite: bool, **options: Any
) -> None:
    """Cut a labelled raster into chips to learn from, and show them on a contact sheet.

    RASTER needs --labels. DIR holds images and masks as the crack data sets lay them out.
    docs/finetune.md says how labels are read and what `status` means.
    """
    try:
        from crackgeo_training.chips import make_chips
    except ImportError as error:
        raise UsageError(f"crackgeo chips needs the package {error.name}", EXTRA) from error

    with console.monitor() as monitor:
        result = make_chips(
            input, output, **chip_specs(options), overwrite=overwrite, monitor=monitor
        )
    console.result(result.to_dict(), result.summary())
