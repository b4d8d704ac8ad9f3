"""The first half of the main job: from rasters to probabilities in a work folder.

Each raster of a survey is predicted for itself, on its part of the survey's grid. Where an earlier
one has data a later one is masked, so each pixel comes from one raster and the mosaic of all is
one probability raster that knows no borders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .aoi import Area
from .bands import virtual_raster
from .describe import describe_survey, file_stamp
from .errors import InputError, OwnResult
from .files import output_errors, write_safely
from .grid import Grid, Window
from .ground import coarse_pixels, has_ground_units, pixel_size_m, small_units
from .models.protocol import ModelInfo, Segmenter, trait
from .monitor import Monitor
from .mosaic import NAMED, Survey, SurveyImage, place_rasters
from .predict_job import Job, Share
from .predict_options import PredictOptions
from .probability import publish_probability
from .provenance import Provenance
from .raster import SQUARE_WITHIN
from .results import PredictResult
from .space import check_space
from .work import WorkFolder

if TYPE_CHECKING:
    from .cluster import Workers

_METRES = "--gsd is in metres: 2 mm are 0.002"


@dataclass(frozen=True)
class Prediction:
    """What the first half leaves for the second.

    Parameters
    ----------
    raster : probabilities, a virtual raster in the work folder
    source : where they come from
    started : when the run was first begun
    result : numbers for the user
    image : the imagery, for a picture
    window : the part asked for
    shares : what each raster gave, in the order of priority
    """

    raster: Path
    source: Provenance
    started: datetime
    result: PredictResult
    image: SurveyImage
    window: Window
    shares: tuple[Share, ...]

    @property
    def name(self) -> str:
        """What a picture is called: the raster's file name, or how many there are."""
        count = len(self.shares)
        return self.shares[0].name if count == 1 else f"{count} rasters"


def run_prediction(
    inputs: Sequence[Path],
    output: Path | None,
    options: PredictOptions,
    work: WorkFolder,
    monitor: Monitor,
    picture: Path | None = None,
    approve: Callable[[Provenance], object] = lambda source: None,
) -> Prediction:
    """Predict into the work folder, or go on there, and keep a final copy if asked to.

    Parameters
    ----------
    output : where to keep the probabilities as a cloud-optimised GeoTIFF, None for nowhere;
        that form costs a second copy and overviews
    work : of this run, locked
    picture : will be drawn later on; None for nowhere
    approve : told of the rasters and the model before the work; raises what speaks against it
    """
    clock = time.monotonic()
    survey, errors = place_rasters(inputs, options.band_spec, options.crs, options.gsd_m)
    for path in [path for path, error in errors.items() if isinstance(error, OwnResult)]:
        monitor.warn(f"left out: {errors.pop(path).message}")
    if errors and options.on_error == "fail":
        raise next(iter(errors.values()))
    for error in errors.values():
        monitor.warn(f"left out: {error.message}")
    area = options.area(survey.grid)
    with ExitStack() as stack:
        computer = _computer(stack, options)
        ran_on = trait(computer, "device"), trait(computer, "precision")
        source = describe_survey(survey, errors, _record(options, computer.info), options.band_spec)
        source = source.with_model(computer.info, " ".join(ran_on))
        approve(source)
        _tell_of_pixels(survey.grid, source, options.gsd_m, monitor)
        started = work.begin(_identity(source, options, survey, area))
        job = Job(survey, area, options, computer, work, monitor)
        check_space(job.needs(output, picture))
        shares = job.run()
    if job.counts.pixels_valid == 0:
        work.finish()
        raise InputError(
            f"{inputs[0]}: no data in the part asked for, all of it is nodata",
            "check --nodata, --bbox and --aoi; `crackgeo info` shows what the raster holds",
        )
    source = replace(source, n_tiles=job.counts.tiles_run, skipped=tuple(job.skipped))
    raster = _mosaic(work.path / "survey.vrt", job, source)
    if output is not None:
        monitor.step("write", 0, 1)
        publish_probability(raster, output, work.may_replace(output))
        monitor.step("write", 1, 1)
    result = job.result(output, tuple(survey.names[path] for path in errors), ran_on, clock)
    image = SurveyImage(survey, options.band_spec)
    return Prediction(raster, source, started, result, image, area.window, shares)


def _tell_of_pixels(grid: Grid, source: Provenance, gsd_m: float | None, monitor: Monitor) -> None:
    """Say what cannot be seen, and which rasters have coarser pixels than the result."""
    if not has_ground_units(grid):
        return
    grid_mm = min(pixel_size_m(grid)) * small_units(grid)
    own_mm = {one["name"]: min(one["gsd_mm"]) for one in source.inputs if "gsd_mm" in one}
    if hint := coarse_pixels(max(grid_mm, *own_mm.values())):
        monitor.warn(hint if gsd_m is None else f"{hint}; {_METRES}")
    coarse = [name for name, size in own_mm.items() if size > SQUARE_WITHIN * grid_mm]
    if coarse and len(own_mm) > 1:
        monitor.warn(
            f"{', '.join(coarse[:NAMED])}{' and others' if len(coarse) > NAMED else ''}: coarser "
            f"pixels than the {grid_mm:.3g} mm of the result, which adds no detail; fields of "
            "cracks found there tell of their own"
        )


def _computer(stack: ExitStack, options: PredictOptions) -> Segmenter | Workers:
    """The model, or the workers that have it, connected until the stack ends."""
    if not options.is_distributed:
        return options.load()
    from .cluster import Workers

    return stack.enter_context(Workers(options))


def _mosaic(path: Path, job: Job, source: Provenance) -> Path:
    """Make one raster of what the rasters gave.

    Of their bands, not of their own virtual rasters: GDAL 3.10 forgets to close the files of a
    virtual raster inside another that is read by several threads, and takes them for
    those of the next run of the same name.
    """
    parts = [
        replace(
            one,
            name=f"{part.bands.folder.name}/{one.name}",
            at=one.at.seen_from(job.area.window.seen_from(part.place)),
        )
        for part in job.parts
        for one in part.bands.parts()
    ]
    with output_errors(path):
        grid = job.survey.grid.part(job.area.window)
        write_safely(path, virtual_raster(grid, parts, source.to_tags()))
    return path


def _record(options: PredictOptions, model: ModelInfo) -> dict[str, Any]:
    """The options that shape the probabilities, by their names on the command line."""
    return {
        "model": str(model.name),
        "overlap": options.overlap_px,
        "bands": options.bands,
        "stretch": options.stretch,
        "nodata": options.nodata,
        "gsd": options.gsd_m,
        "crs": options.crs,
        "bbox": options.bbox,
        "aoi": Path(options.aoi).name if options.aoi else None,
    }


def _identity(
    source: Provenance, options: PredictOptions, survey: Survey, area: Area
) -> dict[str, Any]:
    """Everything that the probabilities depend on."""
    names = [f"{number} {one['name']}" for number, one in enumerate(source.inputs, 1)]
    checksums = [one.get("header_sha256") for one in source.inputs]
    stamps = [file_stamp(member.path) for member in survey.members]
    return {
        "crackgeo": source.version,
        "torch": metadata.version("torch"),
        "model": source.model_sha256,
        "device": source.device,
        "input": dict(zip(names, checksums, strict=True)),
        "time of input": dict(zip(names, stamps, strict=False)),
        "option": dict(source.options),
        "AOI": area.checksum if options.aoi else None,
    }
