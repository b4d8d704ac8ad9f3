"""The first half of the main job on many processes or machines, through Dask.

A task is a few rows of tiles of one raster's fixed lattice; what it leaves at its borders lets its
rows be joined to its neighbours' without running a tile twice (`seams`). The tasks of all rasters
of a survey are given out in one row, and their results come back in order and go into the same
bands as always: resuming, locking and the vectors know nothing of the workers. A task whose worker
dies is given to another one.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from .cluster_worker import (
    Failure,
    Job,
    Task,
    check_versions,
    describe,
    run_task,
    torch_version,
    unpacked,
)
from .dataset import is_local
from .errors import ResourceError, UsageError
from .grid import Grid
from .inputs import StrPath
from .monitor import SILENT, Monitor
from .mosaic import Member
from .predict_job import Part
from .predict_options import PredictOptions
from .seams import Piece, Rows, join_pieces
from .tiling import TilePlan
from .version import __version__

AHEAD = 2  # tasks given out for each worker: one in hand, one waiting, so that none idles
BATCHES_A_TASK = (
    16  # seconds of work: less and handing it over costs, more and workers idle at the end
)
POLL_S = 0.5  # how often a wish to stop is looked for
START_S = 60.0
ALONE_S = 10.0  # how long all workers may be gone unsaid: a nanny starts a new one within seconds


class Workers:
    """The workers of a run; a context that holds the connection.

    Stands in for the model where a run asks for what computes it.

    Parameters
    ----------
    options : of the prediction, with the workers; each loads the model that is named

    Raises
    ------
    UsageError
        On entering: Dask is not installed, no scheduler answers, or it has no workers.
    ModelError
        On entering, or with the rows of a worker that came later: it has another version of
        crackgeo or torch, or computes otherwise than the first.
    CrackgeoError
        On entering: the workers cannot load the model.
    """

    def __init__(self, options: PredictOptions) -> None:
        self._options = _from_anywhere(options)
        self._stack = ExitStack()
        self._tasks: deque[tuple[int, Task]] = deque()
        self._waiting: deque[tuple[int, Any]] = deque()
        self._is_alone = False

    def __enter__(self) -> Workers:
        with ExitStack() as stack:
            self._client = stack.enter_context(_client(self._options))
            asked = self._client.submit(describe, self._options, pure=False)
            self._model = model = self._answer(asked, SILENT)
            check_versions("the workers have", "this is", model, __version__, torch_version())
            self.info, self.device, self.precision = model.info, model.device, model.precision
            self.batch_size = model.batch_size
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._stack.close()

    def plan(self, grid: Grid, parts: Sequence[Part]) -> None:
        """Cut what is still to be done into tasks, all rasters in one row."""
        # the first worker's batches for all: each would choose by the memory that is free there
        options = replace(self._options, batch_size=self._model.batch_size)
        job = Job(uuid.uuid4().hex, options, grid, self._model)
        for part in parts:
            plan = TilePlan(part.member.grid.shape, part.rest.window, self._options.tiles)
            member, *earlier = map(_placed, (part.member, *part.earlier))
            rows = max(1, BATCHES_A_TASK * self.batch_size // len(plan.cols))
            for first, end in row_ranges(plan, rows):
                is_first = first == part.rest.window.row
                task = Task(job, member, tuple(earlier), first, end, is_first)
                self._tasks.append((part.number, task))

    def rows(self, part: Part, monitor: Monitor) -> Generator[Rows, None, None]:
        """Rows of a raster as `predict_rows` gives them; rasters come in the order of the plan.

        Raises
        ------
        ResourceError
            Several workers died of the same rows, or the scheduler has gone.
        CrackgeoError
            What a single process would raise.
        """
        plan = TilePlan(part.member.grid.shape, part.rest.window, self._options.tiles)
        done = 0
        with closing(join_pieces(plan, self._pieces(part.number, plan, monitor))) as rows:
            for row, codes, notes in rows:
                done = min(done + len(plan.cols), len(plan))
                yield row - plan.part.row, codes, notes
        monitor.step("predict", len(plan), len(plan))

    def _pieces(self, number: int, plan: TilePlan, monitor: Monitor) -> Iterator[Piece]:
        """Results of one raster's tasks, in order; those of the next go out meanwhile."""
        done = 0
        try:
            while self._hand_out() and self._waiting[0][0] == number:
                piece = unpacked(self._answer(self._waiting[0][1], monitor, done, len(plan)))
                self._waiting.popleft()
                done = min(done + len(piece.rows) * len(plan.cols), len(plan))
                yield piece
        finally:
            self._drop(number)

    def _hand_out(self) -> bool:
        """Keep every worker busy; tells whether any result is still to come."""
        while self._tasks and len(self._waiting) < AHEAD * max(1, len(self._client.nthreads())):
            number, task = self._tasks.popleft()
            self._waiting.append((number, self._client.submit(run_task, task, pure=False)))
        return bool(self._waiting)

    def _drop(self, number: int) -> None:
        """Forget what is left of a raster's tasks: the run ends, or leaves the raster out."""
        for _, future in (one for one in self._waiting if one[0] == number):
            future.cancel()
        self._waiting = deque(one for one in self._waiting if one[0] != number)
        self._tasks = deque(one for one in self._tasks if one[0] != number)

    def _answer(self, future: Any, monitor: Monitor, done: int = 0, total: int = 1) -> Any:
        """Wait for a task, asking now and then whether to stop."""
        killed: type[Exception] = import_module("distributed").KilledWorker
        since = time.monotonic()
        while True:
            monitor.step("predict", done, total)
            try:
                outcome = future.result(timeout=POLL_S)
            except TimeoutError:
                since = self._tell_if_alone(since, monitor)
                continue
            except killed as error:
                raise ResourceError(
                    f"several workers died of the same rows ({error})",
                    "give each worker more memory (see its log), or use fewer on a machine",
                ) from error
            except (CancelledError, OSError) as error:
                raise _scheduler_gone(error) from error
            if isinstance(outcome, Failure):
                raise outcome.kind(outcome.message, outcome.remedy)
            return outcome

    def _tell_if_alone(self, since: float, monitor: Monitor) -> float:
        """Say once that no worker is left; gives since when there may be none."""
        if time.monotonic() < since + ALONE_S:
            return since
        try:
            is_alone = not self._client.nthreads()
        except OSError as error:
            raise _scheduler_gone(error) from error
        if is_alone and not self._is_alone:
            monitor.warn(
                "all workers have gone; the run waits for new ones (stop it, and go on later with "
                "--resume)"
            )
        self._is_alone = is_alone
        return time.monotonic()


def _scheduler_gone(error: BaseException) -> ResourceError:
    return ResourceError(
        f"the Dask scheduler has gone ({error})",
        "see its log, start it again, and go on with --resume",
    )


def _from_anywhere(options: PredictOptions) -> PredictOptions:
    """The options with paths that mean the same to workers started in other folders."""
    model = options.model
    if isinstance(model, str | os.PathLike) and os.fspath(model) != "compact":
        model = _absolute(model)
    return replace(options, model=model, aoi=options.aoi and _absolute(options.aoi))


def _placed(member: Member) -> Member:
    return replace(member, path=Path(_absolute(member.path)))


def _absolute(path: StrPath) -> StrPath:
    """The whole path of a file; addresses and the names of models and of GDAL's stay."""
    is_file = is_local(os.fspath(path)) and Path(path).exists()
    return Path(path).absolute() if is_file else path


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
        if address is not None:
            _check_address(distributed, address)
        if options.workers is not None:
            address = stack.enter_context(_own_cluster(distributed, options.workers))
        try:
            client = distributed.Client(address, timeout=START_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageError(
                f"--scheduler {address}: no Dask scheduler answers ({error})",
                "start one with: dask scheduler, and workers with: dask worker ADDRESS",
            ) from error
        stack.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=START_S)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {address}: has no workers",
                f"start some: dask worker {address} --nthreads 1",
            ) from error
        yield client


def _check_address(distributed: Any, address: str) -> None:
    """Find an address that is none: a client made of it would keep the program from ending."""
    try:
        distributed.comm.get_address_host_port(distributed.comm.normalize_address(address))
    except ValueError as error:
        raise UsageError(
            f"--scheduler {address}: not the address of a Dask scheduler ({error})",
            "give host and port, e.g. tcp://host:8786",
        ) from error


def _own_cluster(distributed: Any, workers: int) -> Any:
    """Workers of this machine, which share its threads; what they have to say comes as results."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        preload=[f"{__package__}.cluster_worker"],  # for its `dask_setup`
        dashboard_address=":0",  # any free port
        silence_logs=logging.CRITICAL,
        env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))},
    )
