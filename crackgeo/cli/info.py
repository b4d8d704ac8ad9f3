"""`crackgeo info`: what a raster is and what running on it would take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import Console
from .options import console_options, model_options, part_options, raster_options


@click.command("info")
@click.argument("input", type=click.Path(path_type=Path))
@click.option(
    "--no-timing",
    is_flag=True,
    help="Do not load the model to estimate the time.",
)
@model_options
@raster_options
@part_options
@console_options
def info_command(console: Console, input: Path, **options: Any) -> None:
    """Describe a raster: size, CRS, ground pixel size, bands, tiles to run, estimated time."""
    from ..survey import inspect_raster

    with console.monitor() as monitor:
        result = inspect_raster(input, monitor=monitor, **options)
    console.result(result.to_dict(), result.summary())
