"""The first half of the main job on many processes or machines, through Dask.

A task is a few rows of tiles of the fixed lattice, so its pixels are those of a single process. The
tasks' rows come back in order and go into the same bands as always: resuming, locking and
the vectors know nothing of the workers. A task whose worker dies is given to another one.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aoi import Area
from .errors import CrackgeoError, ResourceError, UsageError
from .grid import Window
from .models.protocol import Segmenter
from .monitor import SILENT, Monitor
from .predict_run import PredictOptions, Rows, predict_rows
from .raster import ImageRaster
from .tiling import TilePlan

AHEAD = 2  # tasks given out for each worker: one in hand, one waiting, so that none idles
ROWS_A_TASK = 8  # rows of tiles; each task repeats one, so more is less work but a coarser grain
POLL_S = 0.5  # how often a wish to stop is looked for
START_S = 60.0


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know once a run."""

    token: str
    input: Path
    options: PredictOptions


@dataclass(frozen=True)
class RowsOfArea:
    """Some rows of an area. Which tiles are run, the whole area decides, as in a single process."""

    window: Window
    whole: Area

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of any window that belong to the whole area."""
        return self.whole.mask(window)


class _Opened(NamedTuple):
    token: str
    image: ImageRaster
    segmenter: Segmenter
    area: Area


class _Failure(NamedTuple):
    kind: type[CrackgeoError]
    message: str
    remedy: str


_Packed = tuple[int, bytes, tuple[int, int], Any]
_opened: _Opened | None = None  # of this process: one raster and one model a worker


def distributed_rows(
    input: Path, options: PredictOptions, plan: TilePlan, monitor: Monitor
) -> Generator[Rows, None, None]:
    """Rows of probabilities as `predict_rows` gives them, computed by workers.

    Parameters
    ----------
    input : a path or address that every worker can read
    options : of the prediction, with the workers; each loads the model that is named
    plan : the tiles of what is still to be done
    monitor : progress in tiles; may cancel

    Raises
    ------
    UsageError
        Dask is not installed, or no scheduler answers.
    ResourceError
        Several workers died of the same rows.
    CrackgeoError
        What a single process would raise.
    """
    if options.crs is not None:
        raise UsageError(
            "--crs does not go with --workers or --scheduler",
            "warp it first: gdalwarp -t_srs",
        )
    job = _Job(uuid.uuid4().hex, input, options)
    with _client(options) as client:
        ranges = deque(row_ranges(plan, ROWS_A_TASK))
        waiting: deque[Any] = deque()
        done = 0
        try:
            while ranges or waiting:
                while ranges and len(waiting) < AHEAD * max(1, len(client.nthreads())):
                    first, end = ranges.popleft()
                    waiting.append(client.submit(_predict, job, first, end, pure=False))
                for row, packed, shape, notes in _result(waiting[0], monitor, done, len(plan)):
                    codes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
                    yield row - plan.part.row, codes, notes
                    done += len(plan.cols)
                waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()
    monitor.step("predict", len(plan), len(plan))


def row_ranges(plan: TilePlan, rows_of_tiles: int) -> list[tuple[int, int]]:
    """Raster rows of each task, first and end; cut only where a row of tiles begins.

    The last row of tiles reaches further down than the others and is not cut.
    """
    step, part = plan.spec.step_px, plan.part
    start = part.row // step + rows_of_tiles
    cuts = range(
        start * step, min(plan.rows[-1] * step, part.row_end - 1) + 1, rows_of_tiles * step
    )
    return list(zip([part.row, *cuts], [*cuts, part.row_end], strict=True))


def _result(future: Any, monitor: Monitor, done: int, total: int) -> Any:
    """Wait for a task, asking now and then whether to stop."""
    killed: type[Exception] = import_module("distributed").KilledWorker
    while True:
        monitor.step("predict", min(done, total), total)
        try:
            outcome = future.result(timeout=POLL_S)
        except TimeoutError:
            continue
        except killed as error:
            raise ResourceError(
                f"several workers died of the same rows ({error})",
                "give each worker more memory (see its log), or use fewer on a machine",
            ) from error
        if isinstance(outcome, _Failure):
            raise outcome.kind(outcome.message, outcome.remedy)
        return outcome


def _predict(job: _Job, first: int, end: int) -> list[_Packed] | _Failure:
    """A task: blocks of rows, or the error as a value; raised, it would lose its remedy."""
    try:
        return _predicted(job, first, end)
    except CrackgeoError as error:
        return _Failure(type(error), error.message, error.remedy)


def _predicted(job: _Job, first: int, end: int) -> list[_Packed]:
    """Blocks of rows, packed for the way, with their notes."""
    opened = _open(job)
    whole, options = opened.area.window, job.options
    window = Window(first, whole.col, end - first, whole.width)
    area = RowsOfArea(window, opened.area)
    rows = predict_rows(opened.image, area, opened.segmenter, options.tiles, SILENT)
    return [
        (first + row, zlib.compress(codes.data, 1), codes.shape, notes)
        for row, codes, notes in rows
    ]


def _open(job: _Job) -> _Opened:
    """The raster and the model of a job, kept between its tasks."""
    global _opened
    if _opened is None or _opened.token != job.token:
        if _opened is not None:
            _opened.image.close()
        image = job.options.open(job.input, SILENT)
        area = job.options.area(image.grid)
        _opened = _Opened(job.token, image, job.options.load(), area)
    return _opened


@contextmanager
def _client(options: PredictOptions) -> Iterator[Any]:
    """A connection to a scheduler; to one of our own, with its workers, if none is named."""
    try:
        distributed: Any = import_module("distributed")  # hardly typed itself
    except ImportError as error:
        raise UsageError(
            "--workers and --scheduler need Dask", "pip install crackgeo[dask]"
        ) from error
    with ExitStack() as stack:
        address: Any = options.scheduler
        if options.workers is not None:
            threads = max(1, (os.cpu_count() or 1) // options.workers)
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=options.workers,
                    threads_per_worker=1,
                    dashboard_address=":0",  # any free port
                    env={"OMP_NUM_THREADS": str(threads)},
                )
            )
        try:
            client = distributed.Client(address, timeout=START_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageError(
                f"--scheduler {address}: no Dask scheduler answers ({error})",
                "start one with: dask scheduler, and workers with: dask worker ADDRESS",
            ) from error
        yield stack.enter_context(client)
