"""Options of the commands that learn from a labelled raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..specs import TILE_PX, BandSpec
from .options import chain

chip_options = chain(
    click.option(
        "--labels",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Vector file with cracks as lines or polygons; also crackgeo's own output after "
        "correction, with the field status.",
    ),
    click.option("--layer", help="Layer of --labels. Default: cracks, or the only one."),
    click.option(
        "--area",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Polygons of the ground whose labels are complete; outside them nothing is learned.",
    ),
    click.option(
        "--label-width-mm",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MM",
        help="Width of lines whose width no field tells.",
    ),
    click.option(
        "--width-field",
        metavar="NAME",
        help="Field with widths in millimetres. Default: width_mm or width_mean_mm.",
    ),
    click.option(
        "--chip-px",
        type=click.IntRange(min=112),
        default=TILE_PX,
        show_default=True,
        metavar="PX",
        help="Side of a chip; halved where labels are few.",
    ),
    click.option(
        "--val-share",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.2,
        show_default=True,
        help="Share of the chips with cracks that validate, in blocks of their own.",
    ),
)


def chip_specs(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `chip_options` and `raster_options` out and give them as specs."""
    from crackgeo_training.labelling.blocks import ChipSpec
    from crackgeo_training.labelling.labels import LabelSpec

    def take(*names: str) -> list[Any]:
        return [options.pop(name) for name in names]

    chip_px, val_share = take("chip_px", "val_share")
    labels, area, gsd_m = take("labels", "area", "gsd_m")
    return {
        "labels": labels,
        "area": area,
        "label_spec": LabelSpec(*take("layer", "label_width_mm", "width_field")),
        "chip_spec": ChipSpec(size_px=chip_px, val_share=val_share),
        "bands": BandSpec(*take("bands", "stretch", "nodata")),
        "gsd_m": gsd_m,
    }
