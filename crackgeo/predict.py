"""Raster to probabilities: read ahead, infer, stitch, row band by row band.

Reading runs in a thread of its own, so that decoding overlaps with the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from queue import Queue
from threading import Event, Thread
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .fill import fill_invalid
from .grid import Grid, Window
from .models.protocol import Segmenter, StreamSegmenter
from .monitor import SILENT, Monitor
from .seams import Edges
from .specs import PROB_NODATA, TileSpec
from .stitch import Block, Prediction, stitch
from .tiling import TilePlan

READ_AHEAD = 1  # rows of tiles; hides decoding, and a row of a wide raster is 40 MB
STAGE = "predict"
_TOLERANCE = 0.01  # by how much probabilities may leave 0 to 1; they are cut off there

T = TypeVar("T")
Tile = tuple[Window, NDArray[np.uint8]]


class ImageSource(Protocol):
    """A raster of RGB pixels."""

    @property
    def grid(self) -> Grid:
        """Size and place."""
        ...

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """RGB uint8 `[h, w, 3]` and validity bool `[h, w]`; invalid beyond the raster."""
        ...


class AreaMask(Protocol):
    """The part of a raster that was asked for."""

    @property
    def window(self) -> Window:
        """Its bounding window inside the raster."""
        ...

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of any window are wanted, bool `[h, w]`.

        May go on beyond `window`, whose pixels alone are given; tiles are run where it is True.
        """
        ...


@dataclass(frozen=True)
class WholeRaster:
    """The area mask that leaves nothing out."""

    window: Window

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """All True."""
        return np.ones((window.height, window.width), np.bool_)


@dataclass
class PredictCounts:
    """What happened to the tiles and pixels of a run.

    `tiles_by_row` holds the tiles with data of each lattice row read.
    """

    tiles: int = 0
    tiles_run: int = 0
    tiles_empty: int = 0
    pixels_valid: int = 0
    tiles_by_row: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    """One lattice row as read: the tiles worth running, and which pixels count."""

    index: int
    tiles: list[Tile]
    valid: NDArray[np.bool_]


def predict(
    image: ImageSource,
    segmenter: Segmenter,
    spec: TileSpec,
    area: AreaMask | None = None,
    monitor: Monitor = SILENT,
    counts: PredictCounts | None = None,
    edges: Edges | None = None,
) -> Generator[Block, None, None]:
    """Probabilities of a raster, or a part of it, in blocks of rows.

    Parameters
    ----------
    image : the raster
    segmenter : the model
    spec : tile size and overlap
    area : the part asked for; its surroundings are read as context
    monitor : progress in tiles; may cancel between batches and between rows of tiles
    counts : filled in while the blocks are consumed
    edges : only the rows of tiles of its plan; it keeps what the neighbours need to know

    Close the generator if you leave it early: it ends the thread that reads.

    Yields
    ------
    tuple of int and uint8 `[h, width of the part]`
        First row, counted from the part's first, and probability codes: round(254 p),
        255 where there is no data or outside the area.
    """
    area = area or WholeRaster(image.grid.window)
    counts = counts if counts is not None else PredictCounts()
    plan = edges.plan if edges else TilePlan(image.grid.shape, area.window, spec)
    counts.tiles = len(plan)
    masks = _RowMasks(plan)
    rows = ReadAhead(_read_rows(image, area, plan), READ_AHEAD)
    try:
        tiles = _flatten(rows, masks, counts, monitor)
        predictions = _infer(tiles, segmenter, monitor, counts)
        for row, codes in stitch(plan, edges.watch(predictions) if edges else predictions):
            valid = masks.take(row, codes.shape[0])
            counts.pixels_valid += int(valid.sum())
            yield row - plan.part.row, np.where(valid, codes, np.uint8(PROB_NODATA))
            if counts.tiles_run + counts.tiles_empty == counts.tiles:  # only writing is left
                monitor.step(STAGE, counts.tiles, counts.tiles)
        monitor.step(STAGE, counts.tiles, counts.tiles)
    finally:
        rows.close()


def _read_rows(image: ImageSource, area: AreaMask, plan: TilePlan) -> Iterator[_Row]:
    """Read strip by strip and cut the tiles that hold data of the area."""
    return (_read_row(image, area, plan, i) for i in plan.rows)


def _read_row(image: ImageSource, area: AreaMask, plan: TilePlan, i: int) -> _Row:
    """One strip; its pixels are gone when the next one is read, which matters where it is wide."""
    strip = plan.strip(i)
    pixels, valid = image.read(strip)
    if not valid.any():
        return _Row(i, [], valid)
    wanted = area.mask(strip)
    wanted &= valid
    tiles = []
    for tile in plan.row_tiles(i):
        cut = np.s_[:, tile.col - strip.col : tile.col_end - strip.col]
        if wanted[cut].any():
            tiles.append((tile, fill_invalid(pixels[cut], valid[cut])))
    return _Row(i, tiles, wanted)


class _RowMasks:
    """Which pixels count, kept from the reading of a strip to the writing of its rows."""

    def __init__(self, plan: TilePlan) -> None:
        self.plan = plan
        self._masks: dict[int, NDArray[np.bool_]] = {}

    def put(self, row: _Row) -> None:
        self._masks[row.index] = row.valid

    def take(self, row: int, height: int) -> NDArray[np.bool_]:
        """The mask of finished raster rows; forgets the strips above them."""
        plan = self.plan
        index = plan.lattice_row_of(row)
        self._masks = {i: mask for i, mask in self._masks.items() if i >= index}
        strip = plan.strip(index)
        top, left = row - strip.row, plan.part.col - strip.col
        return self._masks[index][top : top + height, left : left + plan.part.width]


def _flatten(
    rows: Iterable[_Row], masks: _RowMasks, counts: PredictCounts, monitor: Monitor
) -> Iterator[Tile]:
    """The tiles of all rows; each row is a step, as many may go by before a batch is full."""
    for row in rows:
        masks.put(row)
        counts.tiles_by_row[row.index] = len(row.tiles)
        counts.tiles_empty += len(masks.plan.cols) - len(row.tiles)
        monitor.step(STAGE, counts.tiles_run + counts.tiles_empty, counts.tiles)
        yield from row.tiles


def _infer(
    tiles: Iterator[Tile], segmenter: Segmenter, monitor: Monitor, counts: PredictCounts
) -> Iterator[Prediction]:
    """Run tiles in batches that all have the same size.

    A short batch is filled up with its last tile: the mathematics libraries may sum in
    another order for another batch size, and a part of a raster must give exactly the
    numbers of the whole.
    """
    size, running = segmenter.batch_size, deque[list[Window]]()

    def batches() -> Iterator[NDArray[np.uint8]]:
        while batch := list(islice(tiles, size)):
            monitor.step(STAGE, counts.tiles_run + counts.tiles_empty, counts.tiles)
            running.append([window for window, _ in batch])
            images = [image for _, image in batch]
            yield np.stack(images + [images[-1]] * (size - len(batch)))

    with closing(_predict_each(segmenter, batches())) as results:
        for probabilities in results:
            windows = running.popleft()
            _check_shape(probabilities, (size, windows[0].height, windows[0].width))
            counts.tiles_run += len(windows)
            yield from zip(windows, probabilities, strict=False)


def _predict_each(
    segmenter: Segmenter, batches: Iterator[NDArray[np.uint8]]
) -> Generator[NDArray[np.float32], None, None]:
    if isinstance(segmenter, StreamSegmenter):
        return segmenter.predict_each(batches)
    return (_checked(segmenter.predict(images)) for images in batches)


def _check_shape(probabilities: NDArray[np.float32], wanted: tuple[int, int, int]) -> None:
    """Of any model: tiles would go missing where it gives fewer."""
    if np.shape(probabilities) != wanted:
        raise ModelError(
            f"the model gave an array {np.shape(probabilities)} where {wanted} was asked for",
            "let its predict give one probability a pixel, float32 [N, height, width]",
        )


def _checked(given: Any) -> NDArray[np.float32]:
    """What a user's own model gave; those that stream look at their numbers themselves."""
    probabilities = np.asarray(given)  # a tensor of torch is taken, too
    if probabilities.dtype.kind not in "fiub" or probabilities.size == 0:
        raise ModelError(
            f"the model gave {type(given).__name__}, no array of numbers",
            "let its predict give one probability a pixel, float32 [N, height, width]",
        )
    low, high = np.min(probabilities), np.max(probabilities)
    if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:  # false of NaN
        raise ModelError(
            f"the model gave values from {low:g} to {high:g}, not probabilities from 0 to 1",
            "let its predict end with a sigmoid, and look for NaN in it",
        )
    return probabilities


_END = object()


class ReadAhead(Iterator[T]):
    """Runs an iterator in a thread, at most `depth` items ahead; errors surface in `next`."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._queue: Queue[object] = Queue(maxsize=depth)
        self._stop = Event()
        self._thread = Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if self._stop.is_set():
                    return
                self._queue.put(item)
            self._queue.put(_END)
        except BaseException as error:  # handed over to the consumer, whatever it is
            self._queue.put(error)

    def __next__(self) -> T:
        item = self._queue.get()
        if item is _END or isinstance(item, BaseException):
            self._queue.put(item)
            raise StopIteration if item is _END else item  # type: ignore[misc]
        return item  # type: ignore[return-value]

    def close(self) -> None:
        """Stop the thread and wait for it; the items not taken are lost."""
        self._stop.set()
        while self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(timeout=0.05)
