"""The main jobs, composed of the engine's parts. Nothing is computed here."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .aoi import Area, resolve_area
from .bands import RowBands
from .coverage import coverage_table
from .errors import InputError
from .files import check_output
from .ground import has_ground_units, pixel_size_m, small_units
from .layers import RunRecord, write_geopackage
from .models.protocol import Segmenter
from .models.registry import load_model
from .monitor import SILENT, Monitor
from .predict import PredictCounts, predict
from .probability import open_probability, publish_probability
from .provenance import Provenance
from .quicklook import write_quicklook
from .raster import ImageRaster, describe, header_checksum, open_image
from .results import MapResult, PredictResult, VectorizeResult
from .specs import BandSpec, TileSpec, VectorSpec
from .vectors import FeatureTable, Vectors
from .version import __version__

BBox = tuple[float, float, float, float]
StrPath = str | os.PathLike[str]


class VectorRules(NamedTuple):
    """What a user may say about the lines; None leaves it to the model."""

    threshold: float | None
    threshold_low: float | None
    min_length_m: float | None
    max_width_mm: float
    stations_m: float | None


def map_cracks(
    input: StrPath,
    output: StrPath,
    *,
    probability: StrPath | None = None,
    quicklook: StrPath | None = None,
    model: StrPath | Segmenter = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    overlap_px: int = TileSpec().overlap_px,
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, float] | None = None,
    nodata: float | None = None,
    gsd_m: float | None = None,
    bbox: BBox | None = None,
    aoi: StrPath | None = None,
    threshold: float | None = None,
    threshold_low: float | None = None,
    min_length_m: float | None = None,
    max_width_mm: float = VectorSpec().max_width_mm,
    stations_m: float | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> MapResult:
    """Map the cracks of a raster: `predict_raster`, then `vectorize_raster`.

    Parameters
    ----------
    input, output : the raster; the GeoPackage to write
    probability : keep the probability raster here; otherwise it is temporary
    quicklook : also write a PNG of the cracks over the image
    overwrite : replace outputs that exist
    monitor : progress, warnings, cancelling

    The other parameters are those of the two halves.

    Raises
    ------
    CrackgeoError
        With the remedy in it; no output is left behind.
    """
    started = time.monotonic()
    for path in (output, probability, quicklook):
        if path is not None:
            check_output(Path(path), overwrite)
    with _bands_folder(Path(output)) as folder:
        prediction, prob = _predict(
            input,
            Path(probability) if probability else None,
            folder,
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
            overwrite=overwrite,
            monitor=monitor,
        )
        result, vectors = _vectorize(
            prob,
            Path(output),
            VectorRules(threshold, threshold_low, min_length_m, max_width_mm, stations_m),
            overwrite,
            monitor,
        )
    if quicklook is not None:
        with open_image(Path(input), BandSpec(bands, stretch, nodata), gsd_m) as image:
            write_quicklook(
                Path(quicklook),
                image,
                vectors,
                image.grid,
                name=image.name,
                window=resolve_area(image.grid, bbox, Path(aoi) if aoi else None).window,
                overwrite=overwrite,
                monitor=monitor,
            )
    return MapResult(
        prediction,
        result,
        Path(probability) if probability else None,
        Path(quicklook) if quicklook else None,
        time.monotonic() - started,
    )


def predict_raster(
    input: StrPath,
    output: StrPath,
    *,
    model: StrPath | Segmenter = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    overlap_px: int = TileSpec().overlap_px,
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, float] | None = None,
    nodata: float | None = None,
    gsd_m: float | None = None,
    bbox: BBox | None = None,
    aoi: StrPath | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> PredictResult:
    """Write the crack probability of every pixel of a raster.

    Parameters
    ----------
    input : any raster that GDAL reads
    output : cloud-optimised GeoTIFF, uint8: 254 p, 255 for no data
    model : name or file of a model, or a loaded one
    device, precision, batch_size : see `load_model`
    overlap_px : overlap of neighbouring tiles
    bands, stretch, nodata : see `BandSpec`
    gsd_m : resample to this ground pixel size in metres first
    bbox : only this part, (xmin, ymin, xmax, ymax) in the raster's coordinates
    aoi : only inside the polygons of this vector file
    overwrite : replace the output if it exists
    monitor : progress in tiles, warnings, cancelling

    Raises
    ------
    CrackgeoError
        With the remedy in it; no output is left behind.
    """
    output = Path(output)
    check_output(output, overwrite)
    with _bands_folder(output) as folder:
        return _predict(
            input,
            output,
            folder,
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
            overwrite=overwrite,
            monitor=monitor,
        )[0]


def _predict(
    input: StrPath,
    output: Path | None,
    folder: Path,
    *,
    model: StrPath | Segmenter,
    device: str,
    precision: str,
    batch_size: int | None,
    overlap_px: int,
    bands: tuple[int, ...] | None,
    stretch: tuple[float, float] | None,
    nodata: float | None,
    gsd_m: float | None,
    bbox: BBox | None,
    aoi: StrPath | None,
    overwrite: bool,
    monitor: Monitor,
) -> tuple[PredictResult, Path]:
    """`predict_raster`, by way of bands in a folder; gives their raster too.

    The cloud-optimised form costs a second copy and overviews, so it is made only for keeping.
    """
    started = time.monotonic()
    tiles = TileSpec(overlap_px=overlap_px)
    with open_image(Path(input), BandSpec(bands, stretch, nodata), gsd_m, monitor) as image:
        area = resolve_area(image.grid, bbox, Path(aoi) if aoi else None)
        segmenter = _segmenter(model, device, precision, batch_size)
        options = {
            "model": str(segmenter.info.name),
            "overlap": overlap_px,
            "bands": list(image.bands),
            "stretch": image.stretch,
            "nodata": nodata,
            "gsd": gsd_m,
            "bbox": bbox,
            "aoi": Path(aoi).name if aoi else None,
        }
        ran_on = _trait(segmenter, "device"), _trait(segmenter, "precision")
        source = _describe(Path(input), options).with_model(segmenter.info, " ".join(ran_on))
        counts, index = _run(image, segmenter, tiles, area, folder, source, monitor)
        part = image.grid.part(area.window)
        gsd_x, gsd_y = (size * small_units(part) for size in pixel_size_m(part))
    if output is not None:
        publish_probability(index, output, overwrite)
    result = PredictResult(
        output=output,
        model=segmenter.info.name,
        model_sha256=segmenter.info.sha256,
        device=ran_on[0],
        precision=ran_on[1],
        gsd_mm=(gsd_x, gsd_y),
        tiles=counts.tiles,
        tiles_run=counts.tiles_run,
        pixels_valid=counts.pixels_valid,
        seconds=time.monotonic() - started,
    )
    return result, index


def _run(
    image: ImageRaster,
    segmenter: Segmenter,
    tiles: TileSpec,
    area: Area,
    folder: Path,
    source: Provenance,
    monitor: Monitor,
) -> tuple[PredictCounts, Path]:
    """Predict into bands; gives what happened and the raster of the bands."""
    counts = PredictCounts()
    blocks = predict(image, segmenter, tiles, area, monitor, counts)
    bands = RowBands(folder, image.grid.part(area.window))
    with closing(blocks):
        for row, codes in blocks:
            bands.add(row, codes, {})
    if counts.pixels_valid == 0:
        raise InputError(
            f"{image.path}: no data in the part asked for, all of it is nodata",
            "check --nodata, --bbox and --aoi; `crackgeo info` shows what the raster holds",
        )
    return counts, bands.write_index(replace(source, n_tiles=counts.tiles_run).to_tags())


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
    return _vectorize(Path(input), Path(output), rules, overwrite, monitor)[0]


def _vectorize(
    input: Path,
    output: Path,
    rules: VectorRules,
    overwrite: bool,
    monitor: Monitor,
) -> tuple[VectorizeResult, Vectors]:
    """`vectorize_raster`, with the vectors themselves for a picture."""
    from .vectorize import vectorize, warm_up  # numba: not before it is needed

    started = time.monotonic()
    check_output(output, overwrite)
    monitor.step("prepare", 0, 1)
    warm_up()  # the first run on a machine compiles for a minute; the bar says so
    monitor.step("prepare", 1, 1)
    with open_probability(input) as raster:
        source = Provenance.from_tags(raster.tags) or _describe(input, {})
        spec = source.vector_spec(*rules[:4])
        vectors = vectorize(
            raster,
            raster.grid,
            spec,
            width_error_px=source.width_error_px,
            monitor=monitor,
            stations_m=rules.stations_m,
        )
        coverage = coverage_table(raster, raster.grid, monitor=monitor)
        grid = raster.grid
    options = {
        "threshold": spec.threshold,
        "threshold_low": spec.threshold_low,
        "min_length": rules.min_length_m,
        "min_length_px": spec.min_length_px,
        "max_width": rules.max_width_mm,
        "stations": rules.stations_m,
    }
    record = _run_record(source, options, coverage.surveyed_m2)
    write_geopackage(output, vectors, coverage.table, record, grid.crs_wkt, overwrite=overwrite)
    units = has_ground_units(grid)
    return _result(output, vectors.cracks, coverage.surveyed_m2, units, started), vectors


def _describe(path: Path, options: dict[str, Any]) -> Provenance:
    """What is known of an input before anything is computed."""
    info = describe(path)
    return Provenance(
        version=__version__,
        started=datetime.now(UTC).isoformat(),
        input_name=path.name,
        input_width_px=info.width,
        input_height_px=info.height,
        input_bytes=info.file_bytes or 0,
        input_header_sha256=header_checksum(path),
        options=options,
    )


def _segmenter(
    model: StrPath | Segmenter, device: str, precision: str, batch_size: int | None
) -> Segmenter:
    if isinstance(model, str | os.PathLike):
        return load_model(model, device=device, precision=precision, batch_size=batch_size)
    return model


def _trait(segmenter: Segmenter, name: str) -> str:
    """A property that the models of crackgeo have, but a user's own need not."""
    return str(getattr(segmenter, name, "own"))


def _run_record(source: Provenance, options: dict[str, Any], surveyed_m2: float) -> RunRecord:
    return RunRecord(
        version=source.version,
        model=source.model,
        model_sha256=source.model_sha256,
        input_name=source.input_name,
        input_width_px=source.input_width_px,
        input_height_px=source.input_height_px,
        input_bytes=source.input_bytes,
        input_header_sha256=source.input_header_sha256,
        started=source.started_at,
        finished=datetime.now(UTC),
        options={**source.options, **options},
        device=source.device,
        n_tiles=source.n_tiles,
        surveyed_m2=surveyed_m2,
    )


def _result(
    output: Path, cracks: FeatureTable, surveyed_m2: float, ground_units: bool, started: float
) -> VectorizeResult:
    length = cracks.columns["length_m"]
    total = float(length.sum())
    width = float((cracks.columns["width_mean_mm"] * length).sum() / total) if total else None
    return VectorizeResult(
        output=output,
        cracks=len(cracks),
        networks=len(set(cracks.columns["network_id"].tolist())),
        length_m=total,
        width_mean_mm=width,
        width_max_mm=float(cracks.columns["width_max_mm"].max()) if total else None,
        longest_m=float(length.max()) if total else None,
        surveyed_m2=surveyed_m2,
        ground_units=ground_units,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _bands_folder(output: Path) -> Iterator[Path]:
    """A folder beside the output, there for a while."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        yield Path(folder)
