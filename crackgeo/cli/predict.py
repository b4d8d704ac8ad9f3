"""`crackgeo predict`: the first half of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import LEFT_OUT, Console
from .options import (
    console_options,
    inputs_argument,
    model_options,
    output_option,
    overwrite_option,
    part_options,
    raster_options,
    report_option,
    resume_option,
    survey_options,
    worker_options,
)


@click.command("predict")
@inputs_argument
@output_option
@model_options
@raster_options
@part_options
@survey_options
@worker_options
@report_option
@overwrite_option
@resume_option
@console_options
def predict_command(
    console: Console, inputs: tuple[Path, ...], output: Path, **options: Any
) -> int:
    """Write the crack probability of every pixel of a raster.

    INPUT is any raster that GDAL reads, a folder of them, a pattern, or a .txt file that lists
    them. The output is a cloud-optimised GeoTIFF: codes 0 to 254 stand for probabilities 0 to 1
    (its band scale says so), 255 for no data. Those of compact above 0.5 say how surely a pixel of
    its mask lies in the crack's own outline (0.75: as likely as not). `crackgeo vectorize` makes
    cracks of it.
    """
    from ..pipeline import predict_raster

    with console.monitor() as monitor:
        result = predict_raster(inputs, output, monitor=monitor, **options)
    console.result(result.to_dict(), result.summary())
    return 0 if result.is_complete else LEFT_OUT
