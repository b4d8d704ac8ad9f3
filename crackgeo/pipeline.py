"""The main jobs, composed of the engine's parts. Nothing is computed here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from .files import check_output
from .inputs import find_inputs
from .models.protocol import Segmenter
from .monitor import SILENT, Monitor
from .predict_run import BBox, PredictOptions, StrPath, run_prediction
from .quicklook import write_quicklook
from .report import StageClock, write_report
from .results import MapResult, PredictResult, VectorizeResult
from .specs import OnError, TileSpec, VectorSpec
from .vector_run import VectorRules, run_record, run_vectorization
from .work import WorkFolder


def map_cracks(
    inputs: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    probability: StrPath | None = None,
    quicklook: StrPath | None = None,
    report: StrPath | None = None,
    model: StrPath | Segmenter = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    overlap_px: int = TileSpec().overlap_px,
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, float] | None = None,
    nodata: float | None = None,
    gsd_m: float | None = None,
    crs: str | None = None,
    bbox: BBox | None = None,
    aoi: StrPath | None = None,
    on_error: OnError = "fail",
    workers: int | None = None,
    scheduler: str | None = None,
    threshold: float | None = None,
    threshold_low: float | None = None,
    min_length_m: float | None = None,
    max_width_mm: float = VectorSpec().max_width_mm,
    stations_m: float | None = None,
    overwrite: bool = False,
    resume: bool = False,
    monitor: Monitor = SILENT,
) -> MapResult:
    """Map the cracks of one raster or of a survey of several: both halves of the main job.

    Parameters
    ----------
    inputs : rasters, folders, patterns or list files, see `find_inputs`
    output : the GeoPackage to write
    probability : keep the probability raster here; otherwise it is temporary
    quicklook : also write a PNG of the cracks over the image
    report : also write the record of the run here, as JSON
    overwrite : replace outputs that exist, and the work of a run that ended early
    resume : go on with a run that ended early; from the beginning if there is none
    monitor : progress, warnings, cancelling

    The other parameters are those of the two halves.

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
    rules = VectorRules(threshold, threshold_low, min_length_m, max_width_mm, stations_m)
    rules.check()
    options = PredictOptions(
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        overlap_px=overlap_px,
        bands=bands,
        stretch=stretch,
        nodata=nodata,
        gsd_m=gsd_m,
        bbox=bbox,
        aoi=aoi,
        crs=crs,
        on_error=on_error,
        workers=workers,
        scheduler=scheduler,
    )
    with WorkFolder(output, resume, overwrite, monitor) as work:
        for path in filter(None, (kept, picture, record_to)):
            check_output(path, work.may_replace)
        prediction = run_prediction(find_inputs(inputs), kept, options, work, stages.monitor)
        result, vectors, record = run_vectorization(
            prediction.raster,
            output,
            rules,
            work.may_replace,
            monitor,
            stages,
            prediction.started,
            prediction.shares,
            prediction.window,
        )
        if picture is not None:
            write_quicklook(
                picture,
                prediction.image,
                vectors,
                prediction.image.survey.grid,
                name=prediction.name,
                window=prediction.window,
                overwrite=work.may_replace,
                monitor=monitor,
            )
        seconds = time.monotonic() - clock
        both = MapResult(prediction.result, result, kept, picture, seconds)
        if record_to is not None:
            write_report(record_to, record, both.to_dict(), work.may_replace)
        work.finish()
    return both


def predict_raster(
    inputs: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    report: StrPath | None = None,
    model: StrPath | Segmenter = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    overlap_px: int = TileSpec().overlap_px,
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, float] | None = None,
    nodata: float | None = None,
    gsd_m: float | None = None,
    crs: str | None = None,
    bbox: BBox | None = None,
    aoi: StrPath | None = None,
    on_error: OnError = "fail",
    workers: int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    monitor: Monitor = SILENT,
) -> PredictResult:
    """Write the crack probability of every pixel of a raster.

    Parameters
    ----------
    inputs : rasters, folders, patterns or list files, see `find_inputs`; where rasters overlap,
        the first that has data counts
    output : cloud-optimised GeoTIFF, uint8: 254 p, 255 for no data
    report : also write the record of the run here, as JSON
    model : name or file of a model, or a loaded one
    device, precision, batch_size : see `load_model`
    overlap_px : overlap of neighbouring tiles
    bands, stretch, nodata : see `BandSpec`
    gsd_m : resample to this ground pixel size in metres first
    crs : coordinate reference system of the result; None takes that of the first raster
    bbox : only this part, (xmin, ymin, xmax, ymax) in the coordinates of the result
    aoi : only inside the polygons of this vector file
    on_error : "skip" leaves out rasters, and blocks inside them, that cannot be read
    workers : run tiles in so many processes of this machine
    scheduler : run tiles on the workers of this Dask scheduler
    overwrite : replace the output if it exists, and the work of a run that ended early
    resume : go on with a run that ended early; from the beginning if there is none
    monitor : progress in tiles, warnings, cancelling

    Raises
    ------
    CrackgeoError
        With the remedy in it. No output is left behind; what is done stays beside it, in
        OUTPUT.work, for `resume`.
    """
    options = PredictOptions(
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        overlap_px=overlap_px,
        bands=bands,
        stretch=stretch,
        nodata=nodata,
        gsd_m=gsd_m,
        bbox=bbox,
        aoi=aoi,
        crs=crs,
        on_error=on_error,
        workers=workers,
        scheduler=scheduler,
    )
    stages = StageClock(monitor)
    with WorkFolder(Path(output), resume, overwrite, monitor) as work:
        if report is not None:
            check_output(Path(report), work.may_replace)
        done = run_prediction(find_inputs(inputs), Path(output), options, work, stages.monitor)
        if report is not None:
            record = run_record(done.source, {}, done.started, stages)
            write_report(Path(report), record, done.result.to_dict(), work.may_replace)
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
    threshold, threshold_low : hysteresis; None takes the model's own from the raster
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
    rules = VectorRules(threshold, threshold_low, min_length_m, max_width_mm, stations_m)
    return run_vectorization(Path(input), Path(output), rules, overwrite, monitor)[0]
