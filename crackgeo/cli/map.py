"""`crackgeo map`: the main job."""

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
    vector_options,
    worker_options,
)


@click.command("map")
@inputs_argument
@output_option
@click.option(
    "--prob",
    "probability",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PROB.tif",
    help="Keep the probability raster here.",
)
@click.option(
    "--quicklook",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PICTURE.png",
    help="Also write a picture of the cracks over the image.",
)
@model_options
@raster_options
@part_options
@survey_options
@vector_options
@worker_options
@report_option
@overwrite_option
@resume_option
@console_options
def map_command(console: Console, inputs: tuple[Path, ...], output: Path, **options: Any) -> int:
    """Map the cracks of a raster: image in, GeoPackage of measured crack lines out.

    INPUT is any raster that GDAL reads, a folder of them, a pattern, or a .txt file that lists
    them. Several make one survey: where they overlap, the first that has data counts. The result
    holds the layers cracks, crack_polygons, crack_nodes, coverage and runs, with lengths in
    metres and widths in millimetres on the ground, and opens styled in QGIS.
    """
    from ..pipeline import map_cracks

    with console.monitor() as monitor:
        result = map_cracks(inputs, output, monitor=monitor, **options)
    console.result(result.to_dict(), result.summary())
    return 0 if result.prediction.is_complete else LEFT_OUT
