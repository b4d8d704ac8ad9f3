"""The work folder of a run, beside its output: what is done is kept there until all is done.

`cracks.gpkg.work` is locked by the run that works in it, stays if that run ends early, however it
ends, and goes when the output is there. A file in it says which run it belongs to, so that
nothing is mixed with the work of another.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from .errors import ResourceError, UsageError
from .files import check_output, output_errors, remove_leftovers, write_safely
from .jsontext import to_json
from .monitor import SILENT, Monitor

BANDS = "*/rows-*.tif"  # what is worth keeping
_RUN = "run.json"
_OWNER = "owner.json"
_LOCK = "lock"
_SUFFIX = ".work"
_OF_THE_SYSTEM = ("Thumbs.db", "desktop.ini")  # which Windows puts into any folder


class _Run(NamedTuple):
    """When a run was begun, what its work depends on, and its outputs beside the main one."""

    started: datetime
    identity: Any
    others: list[str]


def is_work(path: Path) -> bool:
    """Whether a file lies in the work folder of some run."""
    return any(folder.suffix == _SUFFIX and (folder / _RUN).exists() for folder in path.parents)


class WorkFolder:
    """The work folder of one output; a context that holds its lock.

    Parameters
    ----------
    output : the main output of the run
    resume : go on with what is there
    overwrite : replace outputs, and throw away what is there
    monitor : told what is kept when the run ends early
    others : further outputs of the run

    Raises
    ------
    UsageError
        On entering: there is an output already, or work of an earlier run, and neither option
        says what to do with it.
    ResourceError
        On entering: the folder cannot be made, or another run is at work there.
    """

    def __init__(
        self,
        output: Path,
        resume: bool = False,
        overwrite: bool = False,
        monitor: Monitor = SILENT,
        others: Iterable[Path] = (),
    ) -> None:
        self.output = output
        self._others = [str(path.resolve()) for path in others]
        self.path = output.with_name(f"{output.name}{_SUFFIX}")
        self.resume = resume
        self.overwrite = overwrite
        self._monitor = monitor
        self._lock = FileLock(self.path / _LOCK, timeout=0)
        self._done = False

    @property
    def is_begun(self) -> bool:
        """Whether an earlier run has left work here that can be gone on with."""
        return (self.path / _RUN).exists() and any(self.path.glob(BANDS))

    def may_replace(self, path: Path) -> bool:
        """Whether an output may be replaced: by wish, or as one of the run that goes on."""
        if self.overwrite or not (self.resume and self.is_begun):
            return self.overwrite
        return path == self.output or str(path.resolve()) in self._read().others

    def __enter__(self) -> WorkFolder:
        self._check_output()
        with output_errors(self.path):
            try:
                self._take()
            except (FileExistsError, FileNotFoundError):  # another run removed it in between
                self._take()
        self._check_work()
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        with suppress(OSError):  # it only helps others to a better message
            (self.path / _OWNER).write_text(json.dumps(owner))
        return self

    def _take(self) -> None:
        """Make the folder and lock it."""
        try:
            self.path.mkdir(exist_ok=True)
            self._refuse_foreign()
            self._lock.acquire()
        except Timeout as error:
            raise self._busy() from error

    def _refuse_foreign(self) -> None:
        """Refuse a folder that no run has made: it would be emptied."""
        names = {path.name for path in self.path.iterdir()}
        theirs = {n for n in names if not n.startswith(".")} - {_OWNER, *_OF_THE_SYSTEM}
        if theirs and not names & {_LOCK, _RUN}:
            raise UsageError(
                f"{self.path}: a folder of that name is there, and no run of crackgeo made it",
                "move it away, or choose another output",
            )

    def _check_output(self) -> None:
        if self.resume and self.output.exists() and not self.may_replace(self.output):
            raise UsageError(
                f"{self.output}: exists already, and no unfinished run belongs to it",
                "it is complete; add --overwrite to make it anew",
            )
        check_output(self.output, self.may_replace(self.output))

    def _check_work(self) -> None:
        """Find work that nobody said what to do with; locked, or it may be of a run at work."""
        if self.is_begun and not (self.resume or self.overwrite):
            self._lock.release()
            raise UsageError(
                f"{self.path}: holds the work of a run that ended early",
                "go on with it with --resume, or start anew with --overwrite",
            )

    def _busy(self) -> ResourceError:
        owner = {"pid": "?", "host": "?"}
        with suppress(OSError, ValueError):
            owner = json.loads((self.path / _OWNER).read_text())
        return ResourceError(
            f"{self.output}: process {owner['pid']} on {owner['host']} is writing it",
            "wait until it is done, or choose another output",
        )

    def begin(self, identity: Mapping[str, Any]) -> datetime:
        """Say which run this is, before its work; gives the time when it was first begun.

        Parameters
        ----------
        identity : everything that the work depends on, JSON types only

        Raises
        ------
        UsageError
            The work here belongs to a run with other options, model or input.
        """
        identity = json.loads(to_json(identity))  # as it will be read
        remove_leftovers(self.output)
        if self.is_begun and self.resume:
            before = self._read()
            differences = list(_differences(before.identity, identity))
            if not differences:
                return before.started
            if not self.overwrite:
                raise UsageError(
                    f"{self.path}: belongs to another run: {'; '.join(differences)}",
                    "repeat that run's options with its inputs as they were, or start anew with "
                    "--overwrite",
                )
        started = datetime.now(UTC)
        run = {"started": started.isoformat(), "identity": identity, "others": self._others}
        with output_errors(self.path):
            self._clear()
            write_safely(self.path / _RUN, to_json(run, indent=1).encode())
        return started

    def _read(self) -> _Run:
        """What is known of the run here; one that cannot be read is another."""
        try:
            run = json.loads((self.path / _RUN).read_text())
            return _Run(datetime.fromisoformat(run["started"]), run["identity"], run["others"])
        except (OSError, ValueError, KeyError, TypeError):
            return _Run(datetime.now(UTC), {"record of the run": "unreadable"}, [])

    def folder(self, name: str) -> Path:
        """A folder in the work folder, made if it is not there."""
        path = self.path / name
        with output_errors(path):
            path.mkdir(exist_ok=True)
        return path

    def finish(self) -> None:
        """Nothing here is needed any more: remove it when the context ends."""
        self._done = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._done or not any(self.path.glob(BANDS)):
            with suppress(OSError):
                self._clear()
            self._remove()
            self._lock.release()
            self._remove()  # Windows removes no file that is open
        else:
            self._lock.release()
            self._monitor.warn(
                f"{self.path} keeps what is done: the same command with --resume goes on there"
            )

    def _clear(self) -> None:
        """Remove the work, but not the lock; the file that makes it count goes first."""
        (self.path / _RUN).unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (_LOCK, _OWNER):
                path.unlink()

    def _remove(self) -> None:
        """Remove the empty folder; another run may just be taking it over."""
        with suppress(OSError):
            if os.name == "nt" or self._lock.is_locked:
                (self.path / _OWNER).unlink(missing_ok=True)
                (self.path / _LOCK).unlink(missing_ok=True)
            self.path.rmdir()


def _differences(before: object, now: object, name: str = "") -> Iterator[str]:
    """What differs between two JSON values, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name} {key}".strip())
    elif before != now:
        yield f"{name} was {json.dumps(before)} and is {json.dumps(now)}"
