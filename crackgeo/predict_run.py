"""The first half of the main job: from rasters to probabilities in a work folder.

Each raster of a survey is predicted for itself, on its part of the survey's grid. Where an earlier
one has data a later one is masked, so each pixel comes from one raster and the mosaic of all is
one probability raster that knows no borders.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .aoi import Area, resolve_area
from .bands import RowBands, virtual_raster
from .describe import describe_survey, file_stamp
from .errors import InputError, UsageError
from .files import output_errors, write_safely
from .grid import Grid, Window
from .ground import pixel_size_m, small_units
from .models.protocol import ModelInfo, Segmenter
from .models.registry import load_model
from .monitor import Monitor
from .mosaic import Member, Survey, SurveyImage, Unclaimed, place_rasters
from .predict import AreaMask, PredictCounts, predict
from .probability import open_probability, publish_probability
from .provenance import Provenance
from .raster import ImageRaster, open_image
from .results import PredictResult
from .seams import Edges, Rows
from .space import Need, check_space, needs_of, pixels_with_data
from .specs import PROB_NODATA, BandSpec, OnError, TileSpec
from .tiling import TilePlan
from .work import WorkFolder

if TYPE_CHECKING:
    from .cluster import Workers

BBox = tuple[float, float, float, float]
StrPath = str | os.PathLike[str]


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

    @property
    def files(self) -> list[Path]:
        """Files that a run reads beside the rasters, as far as they are some."""
        model = self.model if isinstance(self.model, str | os.PathLike) else None
        return [Path(path) for path in (self.aoi, model) if path is not None]

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
    area = options.area(survey.grid)
    with ExitStack() as stack:
        computer = _computer(stack, options)
        ran_on = trait(computer, "device"), trait(computer, "precision")
        source = describe_survey(survey, errors, _record(options, computer.info))
        source = source.with_model(computer.info, " ".join(ran_on))
        started = work.begin(_identity(source, options, survey))
        job = _Job(survey, area, options, computer, work, monitor)
        check_space(job.needs(output))
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
        publish_probability(raster, output, work.may_replace)
    result = job.result(output, tuple(path.name for path in errors), ran_on, clock)
    image = SurveyImage(survey, options.band_spec, work.path)
    return Prediction(raster, source, started, result, image, area.window, shares)


def _computer(stack: ExitStack, options: PredictOptions) -> Segmenter | Workers:
    """The model, or the workers that have it, connected until the stack ends."""
    if not options.is_distributed:
        return options.load()
    from .cluster import Workers

    return stack.enter_context(Workers(options))


def _mosaic(path: Path, job: _Job, source: Provenance) -> Path:
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


@dataclass(frozen=True)
class Part:
    """What is asked of one raster of a survey.

    Parameters
    ----------
    number : place in the order of the rasters in the area, from 1
    member : the raster
    area : the area in its own pixels
    place : window of the area in the survey's grid
    earlier : the rasters before it that overlap it, in their order
    bands : its probabilities
    first : rows of them that were done before this run
    """

    number: int
    member: Member
    area: Area
    place: Window
    earlier: tuple[Member, ...]
    bands: RowBands
    first: int

    @property
    def rest_share(self) -> float:
        """Share of the rows that were not done before."""
        return 1 - self.first / self.area.window.height

    @property
    def rest(self) -> Area:
        """The area without the rows that were done before."""
        w = self.area.window
        rest = Window(w.row + self.first, w.col, w.height - self.first, w.width)
        return replace(self.area, window=rest)


@dataclass
class _Job:
    """The prediction of all rasters of a survey, one after the other, here or on workers."""

    survey: Survey
    area: Area
    options: PredictOptions
    computer: Segmenter | Workers
    work: WorkFolder
    monitor: Monitor
    counts: PredictCounts = field(default_factory=PredictCounts)
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts = list(self._parts())
        self.tiles = sum(len(self._plan(part, part.area.window)) for part in self.parts)

    def _parts(self) -> Iterator[Part]:
        """The rasters that lie in the area."""
        before: list[Member] = []
        for member in self.survey.members:
            place = self.area.window.intersect(member.window)
            if place is None:
                continue
            area = self.area.seen_from(member.window, place)
            folder = self.work.folder(f"{len(before) + 1:04d}")
            bands = RowBands(folder, member.grid.part(area.window))
            earlier = tuple(one for one in before if one.window.intersect(place))
            before.append(member)
            yield Part(len(before), member, area, place, earlier, bands, bands.rows_done)

    def _plan(self, part: Part, window: Window) -> TilePlan:
        """The tiles of a part of a raster."""
        return TilePlan(part.member.grid.shape, window, self.options.tiles)

    def needs(self, output: Path | None) -> list[Need]:
        """Disk that the run will take; `output` is the probability raster if it is kept."""
        pixels = left = 0.0
        spec = replace(self.options.band_spec, stretch=(0.0, 1.0))  # spares looking for it
        for part in self.parts:
            with (
                suppress(InputError),  # told when it is its turn
                part.member.open(spec, part.bands.folder, on_error="skip") as image,
            ):
                found = pixels_with_data(image, part.area)
                pixels += found
                left += found * part.rest_share
        layers = None if self.work.output == output else self.work.output
        return needs_of(left, pixels, layers, self.work.path, output)

    def run(self) -> tuple[Share, ...]:
        """Predict what is not there yet; gives what is there then."""
        if not isinstance(self.computer, Segmenter):
            todo = [part for part in self.parts if not part.bands.is_complete]
            self.computer.plan(self.survey.grid, todo)
        done, shares = 0, dict[Member, Share]()
        for part in self.parts:
            done += len(self._plan(part, part.area.window))
            if not part.bands.is_complete:
                self._fill(part, shares, done)
            self._count(part)
            index = part.bands.write_index({})
            shares[part.member] = Share(part.member.path.name, part.place, index)
        return tuple(shares.values())

    def result(
        self, output: Path | None, left_out: tuple[str, ...], ran_on: tuple[str, str], clock: float
    ) -> PredictResult:
        """Numbers for the user; `clock` is when the run began."""
        grid, info = self.survey.grid.part(self.area.window), self.computer.info
        gsd_x, gsd_y = (size * small_units(grid) for size in pixel_size_m(grid))
        return PredictResult(
            output=output,
            inputs=len(self.parts),
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

    def _fill(self, part: Part, shares: Mapping[Member, Share], tiles_done: int) -> None:
        """Predict the rows that are not there yet; leave them out if the raster fails.

        `tiles_done` counts those of all rasters when this one is complete.
        """
        left = len(self._plan(part, part.rest.window))
        monitor = self.monitor.within(tiles_done - left, self.tiles)
        try:
            with closing(self._rows(part, shares, monitor)) as rows:
                for row, codes, notes in rows:
                    part.bands.add(part.first + row, codes, notes)
        except InputError as error:
            if self.options.on_error == "fail":
                raise
            self.monitor.warn(f"left out from here: {error.message}")
            self._leave_out(part)

    def _rows(
        self, part: Part, shares: Mapping[Member, Share], monitor: Monitor
    ) -> Generator[Rows, None, None]:
        if not isinstance(self.computer, Segmenter):
            yield from self.computer.rows(part, monitor)
            return
        options = self.options
        with ExitStack() as stack:
            earlier = [
                (shares[one].window.seen_from(part.member.window), _has_data(stack, shares[one]))
                for one in part.earlier
            ]
            image = stack.enter_context(
                part.member.open(options.band_spec, part.bands.folder, monitor, options.on_error)
            )
            area = Unclaimed(part.rest, earlier)
            yield from predict_rows(image, area, self.computer, options.tiles, monitor)

    def _leave_out(self, part: Part) -> None:
        """Take the rows of a raster that are not there as not surveyed, a row of tiles a time."""
        window, bands = part.area.window, part.bands
        while not bands.is_complete:
            row = bands.rows_done
            height = min(self.options.tiles.step_px, window.height - row)
            codes = np.full((height, window.width), PROB_NODATA, np.uint8)
            lost = window.row + row, window.col, height, window.width
            bands.add(row, codes, {"tiles": {}, "pixels": 0, "damaged": [lost]})

    def _count(self, part: Part) -> None:
        """Add tiles run, pixels with data and damage of a raster, as an undisturbed run counts."""
        tiles: dict[str, int] = {}
        damaged: dict[tuple[int, ...], None] = {}
        for notes in part.bands.notes():
            self.counts.pixels_valid += notes["pixels"]
            # a row of tiles that was run twice counts once, as it was the first time
            tiles = {**notes["tiles"], **tiles}
            damaged |= dict.fromkeys(map(tuple, notes["damaged"]))
        self.counts.tiles_run += sum(tiles.values())
        origin = part.member.window.seen_from(self.area.window)
        place = part.place.seen_from(self.area.window)
        for row, col, height, width in sorted(damaged):
            window = Window(row + origin.row, col + origin.col, height, width)
            if window.intersect(place):
                self.skipped.append({"input": part.member.path.name, **asdict(window)})


def _has_data(stack: ExitStack, share: Share) -> Callable[[Window], NDArray[np.bool_]]:
    """Where a raster that was predicted has data; it is open until the stack ends."""
    raster = stack.enter_context(open_probability(share.raster))
    return lambda window: raster.read(window) != PROB_NODATA


def predict_rows(
    image: ImageRaster,
    area: AreaMask,
    segmenter: Segmenter,
    tiles: TileSpec,
    monitor: Monitor,
    edges: Edges | None = None,
) -> Generator[Rows, None, None]:
    """Blocks of rows of an area, from its first, and what to remember with them.

    A part has the very numbers of the whole, so nothing of the state of a run needs keeping;
    the row of tiles that overlaps the first row asked for is run again, unless `edges` leaves it
    out.

    Yields
    ------
    tuple of int, uint8 `[h, width]` and dict
        First row, codes, and the tiles run by row of tiles, the pixels with data, and the blocks
        of the raster that could not be read so far.
    """
    plan = edges.plan if edges else TilePlan(image.grid.shape, area.window, tiles)
    counts = PredictCounts()
    with closing(predict(image, segmenter, tiles, area, monitor, counts, edges)) as blocks:
        for row, codes in blocks:
            lattice_row = plan.lattice_row_of(area.window.row + row)
            notes = {
                "tiles": {i: n for i, n in counts.tiles_by_row.items() if i >= lattice_row - 1},
                "pixels": int((codes != PROB_NODATA).sum()),
                "damaged": [astuple(window) for window in image.damaged],
            }
            yield row, codes, notes


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


def _identity(source: Provenance, options: PredictOptions, survey: Survey) -> dict[str, Any]:
    """Everything that the probabilities depend on."""
    aoi = hashlib.sha256(Path(options.aoi).read_bytes()).hexdigest() if options.aoi else None
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
        "AOI": aoi,
    }


def trait(computer: Segmenter | Workers, name: str) -> str:
    """A property that the models of crackgeo have, but a user's own need not."""
    return str(getattr(computer, name, "own"))
