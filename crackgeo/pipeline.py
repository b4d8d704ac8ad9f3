"""The main jobs, composed of the engine's parts. Nothing is computed here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from .files import (
    GEOPACKAGE,
    GEOTIFF,
    JSON,
    PNG,
    all_or_none,
    check_names,
    check_output,
    remove_leftovers,
)
from .inputs import StrPath, find_inputs
from .layers import refuse_foreign_layers
from .monitor import SILENT, Monitor
from .predict_options import PredictKeywords, PredictOptions
from .predict_run import run_prediction
from .quicklook import write_quicklook
from .report import StageClock, write_report
from .results import MapResult, PredictResult, VectorizeResult
from .specs import VectorSpec
from .vector_run import VectorRules, run_record, run_vectorization
from .virtual import sources_of
from .work import WorkFolder


def map_cracks(
    inputs: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    probability: StrPath | None = None,
    quicklook: StrPath | None = None,
    report: StrPath | None = None,
    threshold: float | None = None,
    threshold_low: float | None = None,
    min_length_m: float | None = None,
    max_width_mm: float = VectorSpec().max_width_mm,
    stations_m: float | None = None,
    overwrite: bool = False,
    resume: bool = False,
    monitor: Monitor = SILENT,
    **prediction: Unpack[PredictKeywords],
) -> MapResult:
    """Map the cracks of one raster or of a survey of several: both halves of the main job.

    Parameters
    ----------
    inputs : one or several rasters, folders of them, patterns, or .txt files that list them
    output : the GeoPackage to write; docs/layers.md describes its layers
    probability : keep the probability raster here; otherwise it is temporary
    quicklook : also write a PNG of the cracks over the image
    report : also write the record of the run here, as JSON
    threshold, threshold_low, min_length_m, max_width_mm, stations_m : see `vectorize_raster`
    overwrite : replace outputs that exist, unless the GeoPackage holds layers of others, and the
        work of a run that ended early
    resume : go on with a run that ended early; from the beginning if there is none
    monitor : progress, warnings, cancelling
    prediction : any of model, device, precision, batch_size, overlap_px, bands, stretch, nodata,
        gsd_m, crs, bbox, aoi, on_error, workers, scheduler: see `crackgeo.PredictOptions`

    Returns
    -------
    MapResult
        `prediction` and `vectors` have the numbers of the halves.

    Raises
    ------
    CrackgeoError
        With the remedy in it. No output is left behind; what is done of the probabilities
        stays beside it, in OUTPUT.work, for `resume`.
    """
    clock, output = time.monotonic(), Path(output)
    kept = Path(probability) if probability else None
    picture = Path(quicklook) if quicklook else None
    record_to = Path(report) if report else None
    stages = StageClock(monitor)
    rules = VectorRules(threshold, threshold_low, min_length_m, max_width_mm, stations_m).checked()
    options = PredictOptions(**prediction)
    rasters = find_inputs(inputs)
    check_names(
        [(output, GEOPACKAGE), (kept, GEOTIFF), (picture, PNG), (record_to, JSON)],
        _all_files(rasters, options),
    )
    refuse_foreign_layers(output)
    outputs = output, kept, picture, record_to
    others = [path for path in outputs[1:] if path is not None]
    with WorkFolder(output, resume, overwrite, monitor, others) as work:
        with all_or_none(outputs):
            for path in others:
                check_output(path, work.may_replace(path))
                remove_leftovers(path)
            first = run_prediction(
                rasters, kept, options, work, stages.monitor, picture, rules.of_model
            )
            second = run_vectorization(
                first.raster, output, rules, work.may_replace(output), stages, first
            )
            if picture is not None:
                write_quicklook(
                    picture,
                    first.image,
                    second.vectors,
                    first.image.survey.grid,
                    name=first.name,
                    window=first.window,
                    overwrite=work.may_replace(picture),
                    monitor=monitor,
                )
            seconds = time.monotonic() - clock
            both = MapResult(first.result, second.result, kept, picture, seconds)
            if record_to is not None:
                write_report(record_to, second.record, both.to_dict(), work.may_replace(record_to))
        work.finish()
    return both


def predict_raster(
    inputs: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    report: StrPath | None = None,
    overwrite: bool = False,
    resume: bool = False,
    monitor: Monitor = SILENT,
    **prediction: Unpack[PredictKeywords],
) -> PredictResult:
    """Write the crack probability of every pixel of a raster.

    Parameters
    ----------
    inputs : one or several rasters, folders of them, patterns, or .txt files that list them;
        where rasters overlap, the first that has data counts
    output : cloud-optimised GeoTIFF, uint8: 254 p, 255 for no data
    report : also write the record of the run here, as JSON
    overwrite : replace the output if it exists, and the work of a run that ended early
    resume : go on with a run that ended early; from the beginning if there is none
    monitor : progress in tiles, warnings, cancelling
    prediction : any of model, device, precision, batch_size, overlap_px, bands, stretch, nodata,
        gsd_m, crs, bbox, aoi, on_error, workers, scheduler: see `crackgeo.PredictOptions`

    Raises
    ------
    CrackgeoError
        With the remedy in it. No output is left behind; what is done stays beside it, in
        OUTPUT.work, for `resume`.
    """
    options = PredictOptions(**prediction)
    stages = StageClock(monitor)
    output, rasters = Path(output), find_inputs(inputs)
    record_to = Path(report) if report else None
    check_names([(output, GEOTIFF), (record_to, JSON)], _all_files(rasters, options))
    outputs = output, record_to
    others = [] if record_to is None else [record_to]
    with WorkFolder(output, resume, overwrite, monitor, others) as work:
        with all_or_none(outputs):
            if record_to is not None:
                check_output(record_to, work.may_replace(record_to))
                remove_leftovers(record_to)
            done = run_prediction(rasters, output, options, work, stages.monitor)
            if record_to is not None:
                record = run_record(done.source, {}, done.started, stages)
                write_report(record_to, record, done.result.to_dict(), work.may_replace(record_to))
        work.finish()
    return done.result


def vectorize_raster(
    input: StrPath,
    output: StrPath,
    *,
    threshold: float | None = None,
    threshold_low: float | None = None,
    min_length_m: float | None = None,
    max_width_mm: float = VectorSpec().max_width_mm,
    stations_m: float | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> VectorizeResult:
    """Make measured crack lines of a probability raster.

    Parameters
    ----------
    input : a raster of `predict_raster`, or any of probabilities from 0 to 1 or of a mask
    output : the GeoPackage; docs/layers.md describes its layers
    threshold, threshold_low : hysteresis; None takes the model's own from the raster, for the low
        one in proportion to a `threshold` that is given
    min_length_m : networks shorter than this on the ground are dropped; None takes the model's
        own rule, in pixels
    max_width_mm : networks wider than this on average are dropped, with a warning
    stations_m : also write widths every so many metres along each crack
    overwrite : replace the output if it exists
    monitor : progress, warnings, cancelling

    Raises
    ------
    CrackgeoError
        With the remedy in it; no output is left behind.
    """
    rules = VectorRules(threshold, threshold_low, min_length_m, max_width_mm, stations_m).checked()
    input, output = Path(input), Path(output)
    check_names([(output, GEOPACKAGE)], [input, *sources_of(input)])
    refuse_foreign_layers(output)
    return run_vectorization(input, output, rules, overwrite, StageClock(monitor)).result


def _all_files(rasters: Sequence[Path], options: PredictOptions) -> list[Path]:
    """Whatever a prediction reads: none of it may be replaced."""
    virtual = (source for raster in rasters for source in sources_of(raster))
    return [*rasters, *virtual, *options.files]
