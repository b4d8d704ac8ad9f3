"""Options that several commands share, each written once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import UsageError
from ..specs import TILE_PX, TileSpec, VectorSpec
from .console import configure

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def training_extra(command: str) -> Iterator[None]:
    """For what needs the packages of the training extra: says so where one is missing."""
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"crackgeo {command} needs the package {error.name}",
            'install the training extra: pip install "crackgeo[train]"',
        ) from error


class Numbers(click.ParamType[Any]):
    """Numbers separated by commas, such as 1,2,3."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], counts: tuple[int, ...]) -> None:
        self.kind = kind
        self.counts = counts

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse the text of an option."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers separated by commas", param, ctx)
        if len(numbers) not in self.counts:
            wanted = " or ".join(map(str, self.counts))
            self.fail(f"{value!r} has {len(numbers)} numbers, not {wanted}", param, ctx)
        return numbers


class NamedPath(click.Path):
    """A path, but not the empty one, which would be the current folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Parse the text of an argument."""
        if not os.fspath(value):
            self.fail("an empty name; a folder is named, too: . for this one", param, ctx)
        return super().convert(value, param, ctx)


class BatchSize(click.ParamType[Any]):
    """`auto` or a positive number."""

    name = "auto|N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """None stands for auto."""
        if value == "auto":
            return None
        if str(value).isdigit() and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is neither auto nor a positive number", param, ctx)


def chain(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator, in their order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def console_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --progress, --json, -q and -v; the command gets a `console` instead of them."""

    @click.option(
        "--progress",
        type=click.Choice(["auto", "bar", "json", "none"]),
        default="auto",
        show_default=True,
        help="A bar on stderr, JSON events on stdout, or nothing. auto: a bar on a terminal.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Give the result as one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="Only errors and warnings.")
    @click.option(
        "-v",
        "--verbose",
        count=True,
        help="Twice (-vv): show internal errors whole, to report them.",
    )
    @click.pass_context
    def command(ctx: click.Context, /, **options: Any) -> Any:
        quiet, verbose = options.pop("quiet"), options.pop("verbose")
        console = configure(
            ctx,
            progress=options.pop("progress"),
            as_json=options.pop("as_json"),
            verbosity=-1 if quiet else verbose,
        )
        return function(console, **options)

    return update_wrapper(command, function)


output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. It appears when it is complete.",
)
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace outputs that exist already, and the work of a run that ended early.",
)
inputs_argument = click.argument(
    "inputs", type=NamedPath(path_type=Path), nargs=-1, required=True, metavar="INPUT..."
)
report_option = click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Also write the record of the run: options, versions, checksums, counts, seconds of each "
    "stage, what was left out.",
)
resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run that ended early, from the work it left beside the output; from the "
    "beginning if there is none.",
)

model_options = chain(
    click.option(
        "--model",
        default="compact",
        show_default=True,
        metavar="NAME|PATH",
        help="The crack model: compact comes with crackgeo, a path names a model file.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where the model runs. auto: the graphics card if there is one.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Arithmetic of the model. auto: the fastest that keeps the masks.",
    ),
    click.option(
        "--batch-size",
        type=BatchSize(),
        default="auto",
        show_default=True,
        help="Tiles run at once.",
    ),
)

raster_options = chain(
    click.option(
        "--bands",
        type=Numbers(int, (1, 3)),
        metavar="R,G,B|N",
        help="Bands to use, counted from 1. Default: by colour interpretation.",
    ),
    click.option(
        "--stretch",
        type=Numbers(float, (2,)),
        metavar="LOW,HIGH",
        help="Values that become black and white, the same over the whole raster. Default: by the "
        "1st and 99th percentile; uint8 as it is unless these are near each other, as in haze.",
    ),
    click.option(
        "--nodata",
        type=float,
        help="Value that marks pixels without data. Default: what the raster marks; where it marks "
        "nothing, solid black at its border.",
    ),
    click.option(
        "--gsd",
        "gsd_m",
        type=click.FloatRange(min=0, min_open=True),
        metavar="METRES",
        help="Resample to this ground pixel size first, e.g. 0.002. Default: as it is.",
    ),
)

part_options = chain(
    click.option(
        "--overlap",
        "overlap_px",
        type=click.IntRange(0, TILE_PX // 2),
        default=TileSpec().overlap_px,
        show_default=True,
        metavar="PX",
        help="Overlap of neighbouring tiles.",
    ),
    click.option(
        "--bbox",
        type=Numbers(float, (4,)),
        metavar="XMIN,YMIN,XMAX,YMAX",
        help="Only this part, in the raster's coordinates.",
    ),
    click.option(
        "--aoi",
        type=click.Path(path_type=Path),
        help="Only inside the polygons of this vector file.",
    ),
)

survey_options = chain(
    click.option(
        "--crs",
        metavar="CRS",
        help="Coordinate reference system of the result and of --bbox, e.g. EPSG:25832. Default: "
        "that of the first raster.",
    ),
    click.option(
        "--on-error",
        type=click.Choice(["fail", "skip"]),
        default="fail",
        show_default=True,
        help="What to do with rasters, and blocks inside them, that cannot be read, and with "
        "rasters that do not say where they lie among the others. skip: leave them out, list them, "
        "and end with exit code 6.",
    ),
)

worker_options = chain(
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Run tiles in N processes of this machine. Needs crackgeo[dask].",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run tiles on the workers of this Dask scheduler, e.g. tcp://host:8786.",
    ),
)

vector_options = chain(
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="A crack must reach this probability somewhere. Default: the model's own.",
    ),
    click.option(
        "--threshold-low",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="... and is followed down to this one. Default: the model's own, or with --threshold "
        "that in the model's proportion.",
    ),
    click.option(
        "--min-length",
        "min_length_m",
        type=click.FloatRange(min=0),
        metavar="METRES",
        help="Drop crack networks shorter than this on the ground; 0 keeps all. Default: the "
        "model's own rule, in pixels, that keeps crack-free surfaces clean.",
    ),
    click.option(
        "--max-width",
        "max_width_mm",
        type=click.FloatRange(min=0, min_open=True),
        default=VectorSpec().max_width_mm,
        show_default=True,
        metavar="MM",
        help="Drop networks whose mask is wider than this on average: plants and shadows, not "
        "cracks.",
    ),
    click.option(
        "--stations",
        "stations_m",
        type=click.FloatRange(min=0, min_open=True),
        metavar="METRES",
        help="Also write the width every so many metres along each crack (width_stations).",
    ),
)
