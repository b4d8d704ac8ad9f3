"""`crackgeo vectorize`: the second half of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import Console
from .options import console_options, output_option, overwrite_option, vector_options


@click.command("vectorize")
@click.argument("input", type=click.Path(path_type=Path), metavar="PROB.tif")
@output_option
@vector_options
@overwrite_option
@console_options
def vectorize_command(console: Console, input: Path, output: Path, **options: Any) -> None:
    """Make measured crack lines of a probability raster.

    PROB.tif comes from `crackgeo predict` or from elsewhere: probabilities from 0 to 1, or
    8 bits, or a mask.
    """
    from ..pipeline import vectorize_raster

    with console.monitor() as monitor:
        result = vectorize_raster(input, output, monitor=monitor, **options)
    console.result(result.to_dict(), result.summary())
