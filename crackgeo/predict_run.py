"""The first half of the main job: from a raster to probabilities in a work folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .aoi import Area, resolve_area
from .bands import RowBands
from .errors import InputError, UsageError
from .grid import Grid, Window
from .ground import pixel_size_m, small_units
from .models.protocol import Segmenter
from .models.registry import load_model
from .monitor import Monitor
from .predict import AreaMask, PredictCounts, predict
from .probability import publish_probability
from .provenance import Provenance
from .raster import ImageRaster, describe, header_checksum, open_image
from .results import PredictResult
from .specs import PROB_NODATA, BandSpec, TileSpec
from .tiling import TilePlan
from .version import __version__
from .work import WorkFolder

BBox = tuple[float, float, float, float]
StrPath = str | os.PathLike[str]
Rows = tuple[int, NDArray[np.uint8], dict[str, Any]]


@dataclass(frozen=True)
class PredictOptions:
    """The options of `predict_raster`, which describes them."""

    model: StrPath | Segmenter
    device: str
    precision: str
    batch_size: int | None
    overlap_px: int
    bands: tuple[int, ...] | None
    stretch: tuple[float, float] | None
    nodata: float | None
    gsd_m: float | None
    bbox: BBox | None
    aoi: StrPath | None
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.scheduler is not None:
            raise UsageError("--workers and --scheduler exclude each other", "give one of them")

    @property
    def is_distributed(self) -> bool:
        """Whether tiles are run by other processes."""
        return self.workers is not None or self.scheduler is not None

    @property
    def tiles(self) -> TileSpec:
        """How rasters are cut into tiles."""
        return TileSpec(overlap_px=self.overlap_px)

    @property
    def band_spec(self) -> BandSpec:
        """Which bands, how stretched."""
        return BandSpec(self.bands, self.stretch, self.nodata)

    def open(self, path: Path, monitor: Monitor) -> ImageRaster:
        """Open a raster as these options want it."""
        return open_image(path, self.band_spec, self.gsd_m, monitor)

    def area(self, grid: Grid) -> Area:
        """The part asked for."""
        return resolve_area(grid, self.bbox, Path(self.aoi) if self.aoi else None)

    def load(self) -> Segmenter:
        """The model."""
        if isinstance(self.model, str | os.PathLike):
            return load_model(
                self.model,
                device=self.device,
                precision=self.precision,
                batch_size=self.batch_size,
            )
        return self.model


@dataclass(frozen=True)
class Prediction:
    """What the first half leaves for the second.

    Parameters
    ----------
    raster : probabilities, a virtual raster in the work folder
    started : when the run was first begun
    result : numbers for the user
    """

    raster: Path
    started: datetime
    result: PredictResult


def run_prediction(
    input: Path,
    output: Path | None,
    options: PredictOptions,
    work: WorkFolder,
    monitor: Monitor,
) -> Prediction:
    """Predict into the work folder, or go on there, and keep a final copy if asked to.

    Parameters
    ----------
    output : where to keep the probabilities as a cloud-optimised GeoTIFF, None for nowhere;
        that form costs a second copy and overviews
    work : of this run, locked
    """
    clock = time.monotonic()
    with options.open(input, monitor) as image:
        area = options.area(image.grid)
        segmenter = options.load()
        ran_on = _trait(segmenter, "device"), _trait(segmenter, "precision")
        source = describe_input(input, _record(options, image, segmenter))
        source = source.with_model(segmenter.info, " ".join(ran_on))
        started = work.begin(_identity(source, options))
        bands = RowBands(work.folder("0001"), image.grid.part(area.window))
        _fill(bands, input, image, area, segmenter, options, monitor)
        counts = _counts(bands)
    if counts.pixels_valid == 0:
        work.finish()
        raise InputError(
            f"{image.path}: no data in the part asked for, all of it is nodata",
            "check --nodata, --bbox and --aoi; `crackgeo info` shows what the raster holds",
        )
    raster = bands.write_index(replace(source, n_tiles=counts.tiles_run).to_tags())
    if output is not None:
        publish_probability(raster, output, work.may_replace)
    gsd_x, gsd_y = (size * small_units(bands.grid) for size in pixel_size_m(bands.grid))
    result = PredictResult(
        output=output,
        model=segmenter.info.name,
        model_sha256=segmenter.info.sha256,
        device=ran_on[0],
        precision=ran_on[1],
        gsd_mm=(gsd_x, gsd_y),
        tiles=len(TilePlan(image.grid.shape, area.window, options.tiles)),
        tiles_run=counts.tiles_run,
        pixels_valid=counts.pixels_valid,
        seconds=time.monotonic() - clock,
    )
    return Prediction(raster, started, result)


def _fill(
    bands: RowBands,
    input: Path,
    image: ImageRaster,
    area: Area,
    segmenter: Segmenter,
    options: PredictOptions,
    monitor: Monitor,
) -> None:
    """Predict the rows that are not there yet, here or on the workers that the options name."""
    if bands.is_complete:
        return
    first, tiles = bands.rows_done, options.tiles
    rest = replace(area, window=_below(area.window, first))
    plan, total = TilePlan(image.grid.shape, rest.window, tiles), _tiles(image, area, tiles)
    within = monitor.within(total - len(plan), total)
    if options.is_distributed:
        from .cluster import distributed_rows

        rows = distributed_rows(input, options, plan, within)
    else:
        rows = predict_rows(image, rest, segmenter, tiles, within)
    with closing(rows):
        for row, codes, notes in rows:
            bands.add(first + row, codes, notes)


def predict_rows(
    image: ImageRaster, area: AreaMask, segmenter: Segmenter, tiles: TileSpec, monitor: Monitor
) -> Generator[Rows, None, None]:
    """Blocks of rows of an area, from its first, and what to remember with them.

    A part has the very numbers of the whole, so nothing of the state of a run needs keeping;
    the row of tiles that overlaps the first row asked for is run again.

    Yields
    ------
    tuple of int, uint8 `[h, width]` and dict
        First row, codes, and the tiles run by row of tiles and the pixels with data.
    """
    plan, counts = TilePlan(image.grid.shape, area.window, tiles), PredictCounts()
    with closing(predict(image, segmenter, tiles, area, monitor, counts)) as blocks:
        for row, codes in blocks:
            lattice_row = plan.lattice_row_of(area.window.row + row)
            seen = {i: n for i, n in counts.tiles_by_row.items() if i >= lattice_row - 1}
            yield row, codes, {"tiles": seen, "pixels": int((codes != PROB_NODATA).sum())}


def _tiles(image: ImageRaster, area: Area, tiles: TileSpec) -> int:
    return len(TilePlan(image.grid.shape, area.window, tiles))


def _below(window: Window, rows: int) -> Window:
    return Window(window.row + rows, window.col, window.height - rows, window.width)


def _counts(bands: RowBands) -> PredictCounts:
    """Tiles run and pixels with data, as an undisturbed run counts them."""
    counts = PredictCounts()
    for notes in bands.notes():
        counts.pixels_valid += notes["pixels"]
        # a row of tiles that was run twice counts once, as it was the first time
        counts.tiles_by_row = {**notes["tiles"], **counts.tiles_by_row}
    counts.tiles_run = sum(counts.tiles_by_row.values())
    return counts


def _record(options: PredictOptions, image: ImageRaster, segmenter: Segmenter) -> dict[str, Any]:
    """The options that shape the probabilities, by their names on the command line."""
    return {
        "model": str(segmenter.info.name),
        "overlap": options.overlap_px,
        "bands": list(image.bands),
        "stretch": image.stretch,
        "nodata": options.nodata,
        "gsd": options.gsd_m,
        "bbox": options.bbox,
        "aoi": Path(options.aoi).name if options.aoi else None,
    }


def _identity(source: Provenance, options: PredictOptions) -> dict[str, Any]:
    """Everything that the probabilities depend on."""
    aoi = hashlib.sha256(Path(options.aoi).read_bytes()).hexdigest() if options.aoi else None
    return {
        "crackgeo": source.version,
        "model": source.model_sha256,
        "device": source.device,
        "input": {source.input_name: source.input_header_sha256},
        "option": dict(source.options),
        "AOI": aoi,
    }


def describe_input(path: Path, options: dict[str, Any]) -> Provenance:
    """What is known of an input before anything is computed."""
    info = describe(path)
    return Provenance(
        version=__version__,
        input_name=path.name,
        input_width_px=info.width,
        input_height_px=info.height,
        input_bytes=info.file_bytes or 0,
        input_header_sha256=header_checksum(path),
        options=options,
    )


def _trait(segmenter: Segmenter, name: str) -> str:
    """A property that the models of crackgeo have, but a user's own need not."""
    return str(getattr(segmenter, name, "own"))
