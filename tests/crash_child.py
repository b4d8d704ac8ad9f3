"""Runs that are killed, for tests/test_resume.py: one process forks them all, to import once.

    python crash_child.py FOLDER faults      kill at every point where the disk is touched
    python crash_child.py FOLDER moments     kill after random times, resume, kill again ...

Prints one line a run that ended well: what was done to it and the name of its output.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from fakes import ContextModel

import crackgeo.files
import crackgeo.pipeline
from crackgeo.errors import UsageError

FOLDER = Path(sys.argv[1])
SURVEY = FOLDER / "survey.tif"


class SlowModel(ContextModel):
    """Gives kills the time to hit between tiles."""

    def predict(self, images):
        time.sleep(0.02)
        return super().predict(images)


class Fault:
    """Kills this process at the n-th time that it touches the disk."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.write, self.rename, self.sync = Path.write_bytes, os.replace, os.fsync
        Path.write_bytes = lambda path, data: self._write(path, data)
        os.replace = lambda source, target: self._replace(source, target)
        os.fsync = lambda handle: self._point() or self.sync(handle)

    def _point(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, path: Path, data: bytes) -> int:
        if self.left == 1:
            self.write(path, data[: len(data) // 2])
        self._point()
        return self.write(path, data)

    def _replace(self, source: Path, target: Path) -> None:
        self._point()
        self.rename(source, target)
        self._point()


def forked(output: Path, model: ContextModel, fault: int = 0) -> int:
    """Start a run in a child of this process; gives its number."""
    child = os.fork()
    if child == 0:
        if fault:
            Fault(fault)
        with suppress(UsageError):  # killed while it tidied up: there is nothing to go on with
            crackgeo.pipeline.predict_raster(SURVEY, output, model=model, resume=True)
        os._exit(0 if output.exists() else 1)
    return child


def ended_well(child: int) -> bool:
    """Wait for a child; whatever is no end of its own must be our kill."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code == 0


def faults() -> None:
    """Kill once at each point in turn, then resume."""
    number, reached = 0, True
    while reached:
        number += 1
        output = FOLDER / f"fault-{number}.tif"
        reached = not ended_well(forked(output, ContextModel(2), number))
        work = output.with_name(f"{output.name}.work")
        done = len(list(work.glob("*/rows-*.tif")))
        if output.exists() and not work.exists():
            print("finished", output.name, done)
        else:
            assert ended_well(forked(output, ContextModel(2)))
            print("resumed", output.name, done)


def moments() -> None:
    """Kill again and again, after random times that grow, until a run gets through."""
    chance = random.Random(7)
    for number in range(3):
        output, kills, alive = FOLDER / f"moment-{number}.tif", 0, True
        while alive:
            child = forked(output, SlowModel(2))
            time.sleep(chance.uniform(0.0, 0.02) * 1.3**kills)
            os.kill(child, signal.SIGKILL)
            alive = not ended_well(child)
            kills += alive
        print("killed", output.name, kills)


np.seterr(all="raise")
{"faults": faults, "moments": moments}[sys.argv[2]]()
