"""The prediction of all rasters of a survey, one after the other, each into a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .aoi import Area
from .bands import RowBands
from .errors import InputError
from .grid import Window
from .ground import pixel_size_m, small_units
from .models.protocol import Segmenter
from .monitor import Monitor
from .mosaic import Member, Survey, Unclaimed
from .predict import AreaMask, PredictCounts, predict
from .predict_options import PredictOptions
from .probability import open_probability
from .results import PredictResult
from .seams import Edges, Rows
from .space import Need, needs_of, pixels_with_data
from .specs import PROB_NODATA, TileSpec
from .tiling import TilePlan
from .warp import Image
from .work import WorkFolder

if TYPE_CHECKING:
    from .cluster import Workers


@dataclass(frozen=True)
class Share:
    """What one raster gives to a survey.

    Parameters
    ----------
    name : what results call it
    window : where its part lies on the survey's grid
    raster : its probabilities; no data where an earlier raster has some
    """

    name: str
    window: Window
    raster: Path


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
class Job:
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
            bands = RowBands(folder, member.grid.part(area.window), self.monitor)
            earlier = tuple(one for one in before if one.window.intersect(place))
            before.append(member)
            yield Part(len(before), member, area, place, earlier, bands, bands.rows_done)

    def _name(self, part: Part) -> str:
        return self.survey.names[part.member.path]

    def _plan(self, part: Part, window: Window) -> TilePlan:
        """The tiles of a part of a raster."""
        return TilePlan(part.member.grid.shape, window, self.options.tiles)

    def needs(self, output: Path | None, picture: Path | None = None) -> list[Need]:
        """Disk that the run will take; `output` is the probability raster if it is kept."""
        pixels = left = 0.0
        spec = replace(self.options.band_spec, stretch=(0.0, 1.0))  # spares looking for it
        for part in self.parts:
            with (
                suppress(InputError),  # told when it is its turn
                part.member.open(spec, on_error="skip") as image,
            ):
                found = pixels_with_data(image, part.area)
                pixels += found
                left += found * part.rest_share
        layers = None if self.work.output == output else self.work.output
        return needs_of(left, pixels, layers, self.work.path, output, picture)

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
            shares[part.member] = Share(self._name(part), part.place, index)
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
            image = part.member.open(options.band_spec, monitor, options.on_error)
            stack.callback(image.close)
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
                self.skipped.append({"input": self._name(part), **asdict(window)})


def _has_data(stack: ExitStack, share: Share) -> Callable[[Window], NDArray[np.bool_]]:
    """Where a raster that was predicted has data; it is open until the stack ends."""
    raster = stack.enter_context(open_probability(share.raster))
    return lambda window: raster.read(window) != PROB_NODATA


def predict_rows(
    image: Image,
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
