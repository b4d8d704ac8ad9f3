"""The first half of the main job: from rasters to probabilities in a work folder.

Each raster of a survey is predicted for itself, on its part of the survey's grid. Where an earlier
one has data a later one is masked, so each pixel comes from one raster and the mosaic of all is
one probability raster that knows no borders.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .aoi import Area, resolve_area
from .bands import RowBands, virtual_raster
from .describe import describe_survey
from .errors import InputError, UsageError
from .files import output_errors, write_safely
from .grid import Grid, Window
from .ground import pixel_size_m, small_units
from .models.protocol import Segmenter
from .models.registry import load_model
from .monitor import Monitor
from .mosaic import Member, Survey, SurveyImage, Unclaimed, place_rasters
from .predict import AreaMask, PredictCounts, predict
from .probability import open_probability, publish_probability
from .provenance import Provenance
from .raster import ImageRaster, open_image
from .results import PredictResult
from .specs import PROB_NODATA, BandSpec, OnError, TileSpec
from .tiling import TilePlan
from .work import WorkFolder

BBox = tuple[float, float, float, float]
StrPath = str | os.PathLike[str]
Rows = tuple[int, NDArray[np.uint8], dict[str, Any]]


class PredictKeywords(TypedDict, total=False):
    """The fields of `PredictOptions`, as keywords of the main jobs."""

    model: StrPath | Segmenter
    device: str
    precision: str
    batch_size: int | None
    overlap_px: int
    bands: tuple[int, ...] | None
    stretch: tuple[float, float] | None
    nodata: float | None
    gsd_m: float | None
    crs: str | None
    bbox: BBox | None
    aoi: StrPath | None
    on_error: OnError
    workers: int | None
    scheduler: str | None


@dataclass(frozen=True)
class PredictOptions:
    """What shapes the probabilities of a run, and where it computes them.

    Parameters
    ----------
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
    """

    model: StrPath | Segmenter = "compact"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    overlap_px: int = TileSpec().overlap_px
    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | None = None
    gsd_m: float | None = None
    crs: str | None = None
    bbox: BBox | None = None
    aoi: StrPath | None = None
    on_error: OnError = "fail"
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
        """Open one raster, on a grid of its own."""
        return open_image(path, self.band_spec, self.gsd_m, monitor, self.on_error)

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
class Share:
    """What one raster gives to a survey.

    Parameters
    ----------
    name : its file name
    window : where its part lies on the survey's grid
    raster : its probabilities; no data where an earlier raster has some
    """

    name: str
    window: Window
    raster: Path


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
) -> Prediction:
    """Predict into the work folder, or go on there, and keep a final copy if asked to.

    Parameters
    ----------
    output : where to keep the probabilities as a cloud-optimised GeoTIFF, None for nowhere;
        that form costs a second copy and overviews
    work : of this run, locked
    """
    clock = time.monotonic()
    survey, errors = place_rasters(inputs, options.band_spec, options.crs, options.gsd_m)
    if errors and options.on_error == "fail":
        raise next(iter(errors.values()))
    for error in errors.values():
        monitor.warn(f"left out: {error.message}")
    if options.is_distributed and len(survey.members) > 1:
        raise UsageError(
            "--workers and --scheduler take one raster at a time",
            "map the rasters one by one, or make a VRT of them with gdalbuildvrt",
        )
    area = options.area(survey.grid)
    segmenter = options.load()
    ran_on = _trait(segmenter, "device"), _trait(segmenter, "precision")
    source = describe_survey(survey, errors, _record(options, segmenter))
    source = source.with_model(segmenter.info, " ".join(ran_on))
    started = work.begin(_identity(source, options))
    job = _Job(survey, area, options, segmenter, work, monitor)
    shares = job.run()
    if job.counts.pixels_valid == 0:
        work.finish()
        raise InputError(
            f"{inputs[0]}: no data in the part asked for, all of it is nodata",
            "check --nodata, --bbox and --aoi; `crackgeo info` shows what the raster holds",
        )
    source = replace(source, n_tiles=job.counts.tiles_run, skipped=tuple(job.skipped))
    raster = _mosaic(work.path / "survey.vrt", survey.grid.part(area.window), shares, area, source)
    if output is not None:
        monitor.step("write", 0, 1)
        publish_probability(raster, output, work.may_replace)
    result = job.result(output, tuple(path.name for path in errors), ran_on, clock)
    image = SurveyImage(survey, options.band_spec, work.path)
    return Prediction(raster, source, started, result, image, area.window, shares)


def _mosaic(
    path: Path, grid: Grid, shares: Sequence[Share], area: Area, source: Provenance
) -> Path:
    """Make one raster of what the rasters gave."""
    parts = [
        (str(share.raster.relative_to(path.parent)), share.window.seen_from(area.window))
        for share in shares
    ]
    with output_errors(path):
        write_safely(path, virtual_raster(grid, parts, source.to_tags()))
    return path


@dataclass
class _Job:
    """The prediction of all rasters of a survey, one after the other."""

    survey: Survey
    area: Area
    options: PredictOptions
    segmenter: Segmenter
    work: WorkFolder
    monitor: Monitor
    counts: PredictCounts = field(default_factory=PredictCounts)
    skipped: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def tiles(self) -> int:
        """Tiles of the parts asked for, of all rasters, counted once."""
        return sum(len(self.plan(member, area.window)) for member, area in self.parts())

    def parts(self) -> Iterator[tuple[Member, Area]]:
        """The rasters that lie in the area, and the area in their own pixels."""
        for member in self.survey.members:
            inside = self.area.window.intersect(member.window)
            if inside is not None:
                yield member, self.area.seen_from(member.window, inside)

    def plan(self, member: Member, window: Window) -> TilePlan:
        """The tiles of a part of a raster."""
        return TilePlan(member.grid.shape, window, self.options.tiles)

    def run(self) -> tuple[Share, ...]:
        """Predict what is not there yet; gives what is there then."""
        done, shares = 0, list[Share]()
        for number, (member, area) in enumerate(self.parts(), 1):
            bands = RowBands(self.work.folder(f"{number:04d}"), member.grid.part(area.window))
            done += len(self.plan(member, area.window))
            place = replace(
                area.window,
                row=area.window.row + member.window.row,
                col=area.window.col + member.window.col,
            )
            if not bands.is_complete:
                with ExitStack() as stack:
                    earlier = [
                        (share.window.seen_from(member.window), stack.enter_context(raster))
                        for share in shares
                        if share.window.intersect(place)
                        for raster in [open_probability(share.raster)]
                    ]
                    self._fill(bands, member, Unclaimed(area, earlier), done)
            self._count(bands, member.path.name, place.seen_from(self.area.window))
            shares.append(Share(member.path.name, place, bands.write_index({})))
        return tuple(shares)

    def result(
        self, output: Path | None, left_out: tuple[str, ...], ran_on: tuple[str, str], clock: float
    ) -> PredictResult:
        """Numbers for the user; `clock` is when the run began."""
        grid, info = self.survey.grid.part(self.area.window), self.segmenter.info
        gsd_x, gsd_y = (size * small_units(grid) for size in pixel_size_m(grid))
        return PredictResult(
            output=output,
            inputs=sum(1 for _ in self.parts()),
            left_out=left_out,
            skipped=len(self.skipped),
            model=info.name,
            model_sha256=info.sha256,
            device=ran_on[0],
            precision=ran_on[1],
            gsd_mm=(gsd_x, gsd_y),
            tiles=self.tiles,
            tiles_run=self.counts.tiles_run,
            pixels_valid=self.counts.pixels_valid,
            seconds=time.monotonic() - clock,
        )

    def _fill(self, bands: RowBands, member: Member, area: Unclaimed, tiles_done: int) -> None:
        """Predict the rows that are not there yet, here or on the workers of the options.

        `tiles_done` counts those of all rasters when this one is complete.
        """
        first, options = bands.rows_done, self.options
        rest = area.below(first)
        plan = self.plan(member, rest.window)
        monitor = self.monitor.within(tiles_done - len(plan), self.tiles)
        with member.open(options.band_spec, bands.folder, monitor, options.on_error) as image:
            if options.is_distributed:
                from .cluster import distributed_rows

                rows = distributed_rows(member.path, options, plan, monitor)
            else:
                rows = predict_rows(image, rest, self.segmenter, options.tiles, monitor)
            with closing(rows):
                for row, codes, notes in rows:
                    bands.add(first + row, codes, notes)

    def _count(self, bands: RowBands, name: str, place: Window) -> None:
        """Add tiles run, pixels with data and damage of a raster, as an undisturbed run counts.

        `place` is its part as seen from the area's first pixel.
        """
        tiles: dict[str, int] = {}
        damaged: dict[tuple[int, ...], None] = {}
        for notes in bands.notes():
            self.counts.pixels_valid += notes["pixels"]
            # a row of tiles that was run twice counts once, as it was the first time
            tiles = {**notes["tiles"], **tiles}
            damaged |= dict.fromkeys(map(tuple, notes["damaged"]))
        self.counts.tiles_run += sum(tiles.values())
        grid = bands.grid
        for row, col, height, width in sorted(damaged):
            window = Window(row + place.row, col + place.col, height, width)
            if window.intersect(replace(grid.window, row=place.row, col=place.col)):
                self.skipped.append({"input": name, **asdict(window)})


def predict_rows(
    image: ImageRaster, area: AreaMask, segmenter: Segmenter, tiles: TileSpec, monitor: Monitor
) -> Generator[Rows, None, None]:
    """Blocks of rows of an area, from its first, and what to remember with them.

    A part has the very numbers of the whole, so nothing of the state of a run needs keeping;
    the row of tiles that overlaps the first row asked for is run again.

    Yields
    ------
    tuple of int, uint8 `[h, width]` and dict
        First row, codes, and the tiles run by row of tiles, the pixels with data, and the blocks
        of the raster that could not be read so far.
    """
    plan, counts = TilePlan(image.grid.shape, area.window, tiles), PredictCounts()
    with closing(predict(image, segmenter, tiles, area, monitor, counts)) as blocks:
        for row, codes in blocks:
            lattice_row = plan.lattice_row_of(area.window.row + row)
            notes = {
                "tiles": {i: n for i, n in counts.tiles_by_row.items() if i >= lattice_row - 1},
                "pixels": int((codes != PROB_NODATA).sum()),
                "damaged": [astuple(window) for window in image.damaged],
            }
            yield row, codes, notes


def _record(options: PredictOptions, segmenter: Segmenter) -> dict[str, Any]:
    """The options that shape the probabilities, by their names on the command line."""
    return {
        "model": str(segmenter.info.name),
        "overlap": options.overlap_px,
        "bands": options.bands,
        "stretch": options.stretch,
        "nodata": options.nodata,
        "gsd": options.gsd_m,
        "crs": options.crs,
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
        "input": {one["name"]: one.get("header_sha256") for one in source.inputs},
        "order of inputs": [one["name"] for one in source.inputs],
        "option": dict(source.options),
        "AOI": aoi,
    }


def _trait(segmenter: Segmenter, name: str) -> str:
    """A property that the models of crackgeo have, but a user's own need not."""
    return str(getattr(segmenter, name, "own"))
