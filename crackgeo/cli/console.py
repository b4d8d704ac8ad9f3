"""What the program says: results on stdout, everything else on stderr, or JSON events on stdout."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, TextIO

import click

from ..errors import Cancelled, CrackgeoError, ResourceError
from ..jsontext import to_json
from ..monitor import Monitor

LEFT_OUT = 6  # exit code: done, but something of the input could not be read and was left out
HANGUP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
REFRESH_S = 0.2  # a bar that moves more often only costs time


@dataclass
class Console:
    """How one run of the program talks.

    Parameters
    ----------
    progress : "auto" (a bar on a terminal), "bar", "json" (one event a line on stdout) or "none"
    as_json : the result is one JSON object on stdout instead of text
    verbosity : -1 quiet (errors only), 0 normal, 1 verbose
    debug : an internal error shows its traceback
    """

    REPORT: ClassVar[str] = "please report it with the output of the same command and -vv"

    progress: str = "auto"
    as_json: bool = False
    verbosity: int = 0
    _stage: str = ""
    _started: float = 0.0
    _shown: float = 0.0
    _first: int = 0
    _width: int = field(default=0, repr=False)

    @property
    def debug(self) -> bool:
        """Whether an internal error is shown with its traceback."""
        return self.verbosity >= 2

    def event(self, event: str, **content: Any) -> None:
        """Write one JSON event on stdout; if nobody reads it, the rest goes to stderr.

        Raises
        ------
        Cancelled
            Whoever read the events has gone, and with it the wish for the run.
        """
        try:
            _print(to_json({"event": event, **content}))
        except BrokenPipeError as error:
            self.progress = "none"
            _drop(sys.stdout)
            raise Cancelled("stopped, as whoever read the events on stdout has gone") from error

    def note(self, message: str) -> None:
        """Say something on stderr, unless quiet."""
        if self.verbosity >= 0 and self.progress != "json":
            self._clear()
            _say(message)

    def warn(self, message: str) -> None:
        """Warn the user; also with -q, since a warning is about the numbers."""
        if self.progress == "json":
            self.event("warning", message=message)
        else:
            self._clear()
            _say(f"warning: {message}")

    def error(self, error: CrackgeoError, exit_code: int) -> None:
        """Say what went wrong, where, and what to do about it."""
        if self.progress == "json":
            content = {"message": error.message, "remedy": error.remedy, "exit_code": exit_code}
            with suppress(CrackgeoError):  # what follows says it as well
                self.event("error", kind=error.kind, **content)
        self._clear()
        _say(f"error: {error}")

    def result(self, values: Mapping[str, Any], text: str) -> None:
        """Give the result: as an event, as one JSON object, or as text.

        Raises
        ------
        BrokenPipeError
            Nobody reads it; that is said on stderr.
        ResourceError
            It cannot be written, as on a full disk.
        """
        self._clear()
        try:
            if self.progress == "json":
                _print(to_json({"event": "result", **values}))
            elif self.as_json:
                _print(to_json(values, indent=2))
            elif self.verbosity >= 0:
                _print(text)
        except BrokenPipeError:
            _drop(sys.stdout)
            _say("warning: the run is complete and so are its outputs, but nobody reads stdout")
            raise

    def advance(self, stage: str, done: int, total: int) -> None:
        """Show progress of a stage, at most a few times a second."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._shown, self._first = stage, now, 0.0, done
        if now - self._shown < REFRESH_S and done < total:
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._started, 1e-9)  # done before: no work
        left = (total - done) / rate if rate > 0 else None
        if self.progress == "json":
            self.event("progress", stage=stage, done=done, total=total, rate=rate, remaining_s=left)
        elif self._bar_wanted():
            self._draw(stage, done, total, rate, left)

    def _bar_wanted(self) -> bool:
        if self.progress == "auto":
            return self.verbosity >= 0 and not sys.stderr.closed and sys.stderr.isatty()
        return self.progress == "bar"

    def _draw(self, stage: str, done: int, total: int, rate: float, left: float | None) -> None:
        share = done / total if total else 1.0
        bar = ("#" * round(30 * share)).ljust(30, ".")
        remaining = "--:--" if left is None else f"{int(left) // 60:02d}:{int(left) % 60:02d}"
        line = f"{stage:<10} [{bar}] {share:4.0%}  {done}/{total}  {rate:.1f}/s  {remaining} left"
        self._width = max(self._width, len(line))
        end = "\n" if done >= total else ""
        _say("\r" + line.ljust(self._width), end)
        if end:
            self._width = 0

    def _clear(self) -> None:
        if self._width:
            _say("\r" + " " * self._width + "\r", end="")
            self._width = 0

    @contextmanager
    def monitor(self) -> Iterator[Monitor]:
        """A monitor for one run: shows progress; Ctrl-C, SIGTERM or a lost terminal ask it to stop.

        The first signal lets the run end between two units of work and tidy up; a second one
        interrupts at once.
        """
        stop = False

        def ask(signum: int, frame: object) -> None:
            nonlocal stop
            if stop and signum != HANGUP:  # which comes from kernel and shell, and means it once
                raise KeyboardInterrupt
            if stop:
                return
            stop = True
            self.note("stopping after the batch in hand; once more to stop at once")

        before = {number: signal.signal(number, ask) for number in stop_signals()}
        try:
            yield Monitor(self.advance, self.warn, lambda: stop)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def stop_signals() -> list[int]:
    """Signals that ask to stop; also that of a lost terminal, unless `nohup` has it ignored."""
    signals: list[int] = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        signals.append(HANGUP)
    return signals


def _say(text: str, end: str = "\n") -> None:
    """Write on stderr; a run goes on in silence where its terminal or log has gone."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except BlockingIOError:  # a terminal that is slow
        pass
    except (OSError, ValueError):  # ValueError: it was closed
        _drop(sys.stderr)


def _print(text: str) -> None:
    """Write on stdout.

    Raises
    ------
    BrokenPipeError
        Nobody reads it.
    ResourceError
        It cannot be written, as on a full disk.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop(sys.stdout)
        raise ResourceError(
            f"stdout could not be written ({error.strerror})",
            "if the run came to its end, its outputs are complete; make room for what it says",
        ) from error


def _drop(stream: TextIO) -> None:
    """Send what is left in the buffer nowhere: Python would fail at it once more as it ends."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def configure(ctx: click.Context, **settings: Any) -> Console:
    """The console of this run, set up by the command's options."""
    console = ctx.obj if isinstance(ctx.obj, Console) else Console()
    for name, value in settings.items():
        setattr(console, name, value)
    return console
