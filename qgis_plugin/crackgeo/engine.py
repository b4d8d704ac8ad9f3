"""The crackgeo engine as seen from QGIS: where it is, whether it fits, how it is run.

The engine is a program of its own with its own Python. Nothing of it is imported here, and
nothing of QGIS either, so that this module is tested without.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .child import Child, clean_environment
from .tools import Cancelled

EXECUTABLE_VARIABLE = "CRACKGEO_EXECUTABLE"
EXECUTABLE_SETTING = "crackgeo/executable"
ENGINE_VERSION = "0.1.0"  # the one this plugin sets up
OLDEST = (0, 1, 0)  # the command line of these versions is what the plugin speaks
TOO_NEW = (0, 2, 0)
SET_UP = "set it up with Plugins > CrackGeo > Engine, or choose its path there"

REPORT = "run the algorithm Check engine, and report this with its output"

_START_S = 120  # a first start may wait for a virus scanner
_EXIT_S = 3  # from the result to the end of the process
_LOG_LINES = 2000  # of the engine's own log shown in QGIS; more would block the dialog
_TAIL_LINES = 20  # of it kept for an error message


class EngineError(Exception):
    """The engine is missing, does not fit, or could not do its work.

    Parameters
    ----------
    message : what is wrong and where
    remedy : what the user can do
    exit_code : of the engine, None if it did not run or was killed
    """

    def __init__(self, message: str, remedy: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\nRemedy: {self.remedy}" if self.remedy else self.message


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Result:
    """What a run of the engine gave.

    Parameters
    ----------
    values : the content of its `result` event
    warnings : what it warned of
    """

    values: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """An engine that was found.

    Parameters
    ----------
    executable : path of the program `crackgeo`
    origin : how it was found, in words
    remedy : what to do if it does not work
    """

    executable: str
    origin: str
    remedy: str = SET_UP

    def version(self, is_cancelled: Callable[[], bool] = _never) -> str:
        """The engine's version, asked for anew whenever the program has changed.

        Parameters
        ----------
        is_cancelled : asked 20 times a second

        Raises
        ------
        EngineError
            It does not start, or is another program.
        Cancelled
            The user cancelled.
        """
        try:
            changed = os.stat(self.executable).st_mtime_ns
        except OSError as error:
            raise _cannot_start(self, error) from error
        key = (self.executable, changed)
        if key not in _versions:
            _versions[key] = _ask_version(self, is_cancelled)
        return _versions[key]

    def check_version(self, is_cancelled: Callable[[], bool] = _never) -> str:
        """The version, if this plugin can work with it.

        Raises
        ------
        EngineError
            It is too old or too new, or the engine does not start.
        Cancelled
            The user cancelled.
        """
        version = self.version(is_cancelled)
        if not OLDEST <= _numbers(version) < TOO_NEW:
            wanted = f"{_dotted(OLDEST)} or newer, before {_dotted(TOO_NEW)}"
            raise EngineError(
                f"{self.executable} ({self.origin}) is crackgeo {version}; "
                f"this plugin works with {wanted}",
                f"update the plugin or the engine: {self.remedy}",
            )
        return version


_versions: dict[tuple[str, int], str] = {}


def find_engine(settings: Mapping[str, str]) -> Engine:
    """The engine to use: the environment variable, the setting, the managed one, PATH.

    Parameters
    ----------
    settings : of QGIS, see `host.settings`

    Raises
    ------
    EngineError
        There is none, or the one that the user named is not there.
    """
    from .environment import managed_executable  # which needs this module

    for origin, name, remedy in _named(settings):
        if name:
            path = shutil.which(name)
            if path is None:
                raise EngineError(f"{origin} names {name}, which is no program", remedy)
            return Engine(path, origin, remedy)
    managed = managed_executable()
    if managed:
        return Engine(managed, "the managed environment")
    path = shutil.which("crackgeo", path=clean_environment().get("PATH"))
    if path is None:
        raise EngineError("the crackgeo engine is not set up", SET_UP)
    return Engine(path, "PATH")


def _named(settings: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Engines that the user may have named: where, which program, what to do if it is none.

    Setting one up would not help: what is named goes before it.
    """
    variable = os.environ.get(EXECUTABLE_VARIABLE, "")
    remedy = f"correct or unset {EXECUTABLE_VARIABLE}, and start QGIS again"
    yield f"the environment variable {EXECUTABLE_VARIABLE}", variable, remedy
    setting = settings.get(EXECUTABLE_SETTING, "")
    remedy = "correct or empty the field Program in Plugins > CrackGeo > Engine"
    yield "the setting of the plugin", setting, remedy


def command_line(engine: Engine, arguments: Sequence[str]) -> list[str]:
    """Program and arguments of a run, its progress as JSON events."""
    return [engine.executable, *arguments, "--progress", "json"]


def quoted(command: Sequence[str]) -> str:
    """A command as one can paste it into a terminal of this system."""
    if sys.platform == "win32":
        return subprocess.list2cmdline(command)
    return shlex.join(command)


def run_engine(
    engine: Engine,
    arguments: Sequence[str],
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
    is_cancelled: Callable[[], bool] = _never,
) -> Result:
    """Run one command of the engine to its end.

    Parameters
    ----------
    engine : which one
    arguments : command and options
    on_event : gets each event of the engine as it comes: `progress` (stage, done, total,
        remaining_s), `warning` (message), and `log` (message) for a line of anything else
    is_cancelled : asked 20 times a second; True ends the engine within a second

    Raises
    ------
    Cancelled
        The user cancelled.
    EngineError
        With the engine's own message and remedy if it gave them, else the end of its log.
    """
    run = _Run(on_event)
    try:
        child = Child(command_line(engine, arguments))
    except OSError as error:
        raise _cannot_start(engine, error) from error
    with child:
        for stream, line in child.lines():
            if is_cancelled():
                raise Cancelled
            if stream is not None:
                run.take(stream, line)
        child.wait(_EXIT_S)
        return run.outcome(child.exit_code)


@dataclass
class _Run:
    """What came out of one run so far."""

    on_event: Callable[[Mapping[str, Any]], None]
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))
    logged: int = 0

    def take(self, stream: str, line: str) -> None:
        """Sort one line of output."""
        event = _parse(line) if stream == "out" else None
        kind = event.get("event") if event else None
        if event is None or kind not in ("progress", "warning", "error", "result"):
            self._log(line)
        elif kind == "result":
            self.result = event
        elif kind == "error":
            self.error = event
        else:
            if kind == "warning":
                self.warnings.append(str(event.get("message", "")))
            self.on_event(event)

    def _log(self, line: str) -> None:
        if not line.strip():
            return
        self.tail.append(line)
        self.logged += 1
        if self.logged <= _LOG_LINES:
            self.on_event({"event": "log", "message": line})
        elif self.logged == _LOG_LINES + 1:
            self.on_event({"event": "log", "message": "(the rest of this log is not shown)"})

    def outcome(self, exit_code: int | None) -> Result:
        """The result, or the error that explains why there is none.

        A process that gave its result and does not end (None) has done its work.
        """
        if self.error is not None:
            message = str(self.error.get("message", "unknown error"))
            raise EngineError(message, str(self.error.get("remedy", "")), exit_code)
        if exit_code not in (0, None) or self.result is None:
            raise EngineError(self._last_words(exit_code), REPORT, exit_code)
        return Result(self.result, tuple(self.warnings))

    def _last_words(self, exit_code: int | None) -> str:
        end = _ending(exit_code)
        said = "\n".join(self.tail) or "(it said nothing)"
        return f"the crackgeo engine {end}; the end of its log:\n{said}"


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "closed its output without a result and did not end"
    if exit_code < 0:
        return f"was ended by signal {-exit_code}"
    if exit_code == 0:
        return "ended without a result"
    return f"ended with exit code {exit_code}"


def _parse(line: str) -> dict[str, Any] | None:
    """An event, None for anything that is no JSON object."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _ask_version(engine: Engine, is_cancelled: Callable[[], bool]) -> str:
    try:
        child = Child([engine.executable, "--version"])
    except OSError as error:
        raise _cannot_start(engine, error) from error
    with child:
        said = _say(child, is_cancelled)
        code = child.exit_code
    match = re.search(r"crackgeo, version (\S+)", said)
    if code != 0 or match is None:
        raise EngineError(
            f"{engine.executable} ({engine.origin}) {_ending(code)} when asked for its version: "
            f"{said.strip() or 'it said nothing'}",
            engine.remedy,
            code,
        )
    return match.group(1)


def _say(child: Child, is_cancelled: Callable[[], bool]) -> str:
    """All that a program prints, if it ends in time and is not cancelled."""
    said: list[str] = []
    deadline = time.monotonic() + _START_S
    for stream, line in child.lines():
        if is_cancelled():
            raise Cancelled
        if time.monotonic() > deadline or len(said) > _TAIL_LINES:
            break
        if stream is not None:
            said.append(line)
    child.wait(_EXIT_S)
    return "\n".join(said)


def _cannot_start(engine: Engine, error: OSError) -> EngineError:
    said = f"{engine.executable} ({engine.origin}) does not start: {error}"
    return EngineError(said, engine.remedy)


def _numbers(version: str) -> tuple[int, ...]:
    """1.2.3rc1 as (1, 2, 3)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
