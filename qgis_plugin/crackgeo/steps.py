"""The commands of a set-up: run, reported, and what to do if one fails. Needs no QGIS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from . import tools
from .engine import EngineError
from .interpreters import NO_PYTHON_REMEDY

# A pattern for what a tool says, in any case, and what to do about it; the first that fits.
REMEDIES = (
    ("socks", "pip has no SOCKS: set a proxy for HTTP, install uv, or use a folder of wheels"),
    (
        "long.path",
        r"set CRACKGEO_ENVIRONMENTS to a folder with a short path, such as C:\crackgeo",
    ),
    ("ssl module is not available", f"this Python has no ssl: {NO_PYTHON_REMEDY}"),
    (
        "ssl|certificate",
        "set PIP_CERT to your organisation's certificate, or use a folder of wheels",
    ),
    ("proxy", "check the proxy in Settings > Options > Network, or use a folder of wheels"),
    ("no space|errno 28", "make room on the disk and set up again: it goes on where it stopped"),
)


@dataclass(frozen=True)
class Reporter:
    """Callables that a set-up reports to.

    Parameters
    ----------
    on_progress : called with percent done, 0 to 100, and the name of the stage that begins
    on_line : called with each line for the log
    is_cancelled : asked 20 times a second; True ends the work
    """

    on_progress: Callable[[int, str], None]
    on_line: Callable[[str], None]
    is_cancelled: Callable[[], bool]


def run_step(
    stage: str,
    percent: int,
    command: list[str],
    proxy: str,
    has_index: bool,
    reporter: Reporter,
) -> None:
    """Run a command of a set-up to its end.

    Parameters
    ----------
    stage, percent : what begins, and how much is done then
    command : program and arguments
    proxy : URL, empty: as the process's variables say
    has_index : whether packages may come from an index
    reporter : told of both, and of each line that the command writes; may cancel

    Raises
    ------
    EngineError : it cannot be started, or fails; with what it said last, and what to do about it
    Cancelled : the reporter asked to stop
    """
    reporter.on_progress(percent, stage)
    reporter.on_line(tools.without_password(" ".join(command)))
    tail: list[str] = []

    def keep(line: str) -> None:
        tail[:] = [*tail[-11:], line]
        reporter.on_line(line)

    try:
        code = tools.run(command, tools.tool_environment(proxy), keep, reporter.is_cancelled)
    except OSError as error:
        raise EngineError(f"cannot start {command[0]}: {error}", "see the log") from error
    if code != 0:
        said = "\n".join(tail) or "it said nothing"
        raise EngineError(
            f"{stage}: stopped with exit code {code}\n{said}", _remedy(said, has_index)
        )


def _remedy(said: str, has_index: bool) -> str:
    """What to do about a failure, by what the tool said."""
    for words, remedy in REMEDIES:
        if re.search(words, said, re.IGNORECASE):
            return remedy
    if re.search("no matching distribution|not found in", said, re.IGNORECASE):
        if has_index:
            return "the package index lacks it: check PIP_INDEX_URL, or use a folder of wheels"
        return "complete the folder of wheels, or allow the package index too"
    return "check the network and set up again: it goes on where it stopped"
