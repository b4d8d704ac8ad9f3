"""`crackgeo map`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .console import Console
from .options import (
    console_options,
    model_options,
    output_option,
    overwrite_option,
    part_options,
    raster_options,
    resume_option,
    vector_options,
    worker_options,
)


@click.command("map")
@click.argument("input", type=click.Path(path_type=Path))
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
@vector_options
@worker_options
@overwrite_option
@resume_option
@console_options
def map_command(console: Console, input: Path, output: Path, **options: Any) -> None:
    """Map the cracks of a raster: image in, GeoPackage of measured crack lines out.

    INPUT is any raster that GDAL reads. The result holds the layers cracks, crack_polygons,
    crack_nodes, coverage and runs, with lengths in metres and widths in millimetres on the
    ground, and opens styled in QGIS.
    """
    from ..pipeline import map_cracks

    with console.monitor() as monitor:
        result = map_cracks(input, output, monitor=monitor, **options)
    console.result(result.to_dict(), result.summary())
