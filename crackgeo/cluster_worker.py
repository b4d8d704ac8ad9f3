"""What a worker does: the tasks of a run, with the model and the rasters it keeps between them.

Every worker computes as the first one that was asked, or refuses: a survey holds no numbers of
another program, model, device or precision.
"""

from __future__ import annotations

import os
import signal
import socket
import zlib
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aoi import Area
from .errors import CrackgeoError, InputError, ModelError, ResourceError
from .grid import Grid, Window
from .models.protocol import ModelInfo, Segmenter, trait
from .monitor import SILENT
from .mosaic import Member, Unclaimed
from .predict_job import predict_rows
from .predict_options import PredictOptions
from .seams import Edge, Edges, Piece
from .tiling import TilePlan
from .version import __version__
from .warp import Image

OPEN_IMAGES = 8  # kept open by a worker


class Computer(NamedTuple):
    """What computes on a worker."""

    version: str
    info: ModelInfo
    device: str
    precision: str
    batch_size: int
    torch: str = "unknown"  # last, so that the answer of an older version can be read


@dataclass(frozen=True)
class Job:
    """What a worker needs to know once a run; its model has to be like that of the first asked."""

    token: str
    options: PredictOptions
    grid: Grid
    model: Computer


@dataclass(frozen=True)
class Task:
    """Some rows of tiles of one raster.

    Parameters
    ----------
    member : the raster
    earlier : those before it that overlap it: where they have data, it is not asked
    first, end : its rows
    is_first : whether the rows of tiles above are to be run too, as nobody else does
    """

    job: Job
    member: Member
    earlier: tuple[Member, ...]
    first: int
    end: int
    is_first: bool


@dataclass(frozen=True)
class RowsOfArea:
    """Some rows of an area. Which tiles are run, the whole area decides, as in a single process."""

    window: Window
    whole: Unclaimed

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of any window that belong to the whole area."""
        return self.whole.mask(window)


class Failure(NamedTuple):
    """An error of the engine as a value: raised on a worker, it would lose its remedy."""

    kind: type[CrackgeoError]
    message: str
    remedy: str


class Packed(NamedTuple):
    """A piece as it travels: codes compressed; edges have nothing that repeats."""

    rows: list[tuple[int, bytes, tuple[int, int], dict[str, Any]]]
    edges: tuple[Edge, Edge]


@dataclass
class _Opened:
    """What a worker keeps between the tasks of a job."""

    token: str
    segmenter: Segmenter
    area: Area
    images: OrderedDict[Path, Image] = field(default_factory=OrderedDict)

    def image(self, job: Job, member: Member) -> Image:
        """An open raster; those not asked for longest are closed."""
        image = self.images.pop(member.path, None)
        if image is None:
            image = member.open(job.options.band_spec, SILENT, job.options.on_error)
        self.images[member.path] = image
        while len(self.images) > OPEN_IMAGES:
            self.images.popitem(last=False)[1].close()
        return image

    def close(self) -> None:
        """Close everything."""
        for image in self.images.values():
            image.close()


_opened: _Opened | None = None  # of this process: one model a worker


def describe(options: PredictOptions) -> Computer | Failure:
    """The model as a worker has it."""
    try:
        return computer_of(options.load())
    except CrackgeoError as error:
        return Failure(type(error), error.message, error.remedy)


def computer_of(segmenter: Segmenter) -> Computer:
    """What computes with a model that is loaded."""
    traits = trait(segmenter, "device"), trait(segmenter, "precision")
    return Computer(__version__, segmenter.info, *traits, segmenter.batch_size, torch_version())


def torch_version() -> str:
    """Version of torch without what it was built for, which differs from card to processor."""
    return metadata.version("torch").split("+")[0]


def check_versions(who: str, other: str, found: Computer, crackgeo: str, torch: str) -> None:
    """Refuse numbers of another program; `other` leads to the versions that it should have."""
    for name, has, wanted in (
        ("crackgeo", found.version, crackgeo),
        ("torch", found.torch, torch),
    ):
        if has != wanted:
            raise ModelError(
                f"{who} {name} {has}, {other} {wanted}", "install the same version everywhere"
            )


def check_computer(who: str, found: Computer, wanted: Computer) -> None:
    """Refuse what computes other numbers than the rest of a run."""
    if found.info.sha256 != wanted.info.sha256:
        raise ModelError(
            f"{who} has another file under the name {found.info.name}",
            "put the same model file on all workers",
        )
    for name in ("device", "precision", "batch_size"):
        has, others = getattr(found, name), getattr(wanted, name)
        if has != others:
            option = f"--{name.replace('_', '-')}"
            raise ModelError(
                f"{who} computes with {option} {has}, the first one with {others}",
                f"name it with {option}, or take workers that are alike",
            )


def _own_name() -> str:
    """What a message calls this worker."""
    try:
        address = import_module("distributed").get_worker().address
    except ValueError:  # not inside a task
        address = f"process {os.getpid()}"
    return f"the worker {address} on {socket.gethostname()}"


def dask_setup(worker: Any) -> None:
    """What Dask does in workers of our own: Ctrl-C reaches them too, but the run ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_task(task: Task) -> Packed | Failure:
    """A task: its piece, or the error as a value; raised, it would lose its remedy."""
    try:
        return _packed(_piece(task))
    except CrackgeoError as error:
        return Failure(type(error), error.message, error.remedy)
    except OSError as error:  # raised, it would be taken for the scheduler's
        return Failure(ResourceError, f"a worker: {error}", "see its log")


def _piece(task: Task) -> Piece:
    job, member, opened = task.job, task.member, _open(task.job)
    inside = opened.area.window.intersect(member.window)
    assert inside is not None  # else the raster were no part of the run
    earlier = [
        (one.window.seen_from(member.window), lambda w, one=one: _data(job, opened, one, w))
        for one in task.earlier
    ]
    whole = Unclaimed(opened.area.seen_from(member.window, inside), earlier)
    window = Window(task.first, whole.window.col, task.end - task.first, whole.window.width)
    tiles = job.options.tiles
    first_row = 0 if task.is_first else task.first // tiles.step_px
    edges = Edges(TilePlan(member.grid.shape, window, tiles, first_row))
    image, area = opened.image(job, member), RowsOfArea(window, whole)
    with closing(predict_rows(image, area, opened.segmenter, tiles, SILENT, edges)) as rows:
        found = [(task.first + row, codes, notes) for row, codes, notes in rows]
    return Piece(found, edges.upper, edges.lower)


def _data(job: Job, opened: _Opened, member: Member, window: Window) -> NDArray[np.bool_]:
    """Where an earlier raster has data; nowhere if it is one that is left out."""
    try:
        return opened.image(job, member).read(window)[1]
    except InputError:
        if job.options.on_error == "fail":
            raise
        return np.zeros((window.height, window.width), np.bool_)


def _open(job: Job) -> _Opened:
    """The model of a job, kept between its tasks."""
    global _opened
    if _opened is None or _opened.token != job.token:
        if _opened is not None:
            _opened.close()
            _opened = None
        segmenter = _load(job)
        _opened = _Opened(job.token, segmenter, job.options.area(job.grid))
    return _opened


def _load(job: Job) -> Segmenter:
    """The model, if this worker computes as the others do: also one that came later is asked."""
    who, wanted = _own_name(), job.model
    here = wanted._replace(version=__version__, torch=torch_version())
    # before the loading, which may fail for that very reason
    check_versions(f"{who} has", "the others", here, wanted.version, wanted.torch)
    segmenter = job.options.load()
    check_computer(who, computer_of(segmenter), wanted)
    return segmenter


def _packed(piece: Piece) -> Packed:
    rows = [
        (row, zlib.compress(codes.data, 1), codes.shape, notes) for row, codes, notes in piece.rows
    ]
    return Packed(rows, (piece.upper, piece.lower))


def unpacked(packed: Packed) -> Piece:
    """A piece that has travelled."""
    rows = [
        (row, np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape), notes)
        for row, data, shape, notes in packed.rows
    ]
    return Piece(rows, *packed.edges)
