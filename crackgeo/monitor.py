"""How long work talks to whoever started it: progress, warnings and a wish to stop.

The core knows no progress bar and no signal handler; it gets a `Monitor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .errors import Cancelled


def _ignore(*_: object) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, repr=False)
class Monitor:
    """Callables that a run reports to.

    Parameters
    ----------
    on_progress : called with stage name, work done and work in all (any unit, 0 <= done <= total)
    on_warning : called with one sentence for the user
    is_cancelled : asked between units of work; True makes `step` raise `Cancelled`
    """

    on_progress: Callable[[str, int, int], None] = field(default=_ignore)
    on_warning: Callable[[str], None] = field(default=_ignore)
    is_cancelled: Callable[[], bool] = field(default=_never)

    def __repr__(self) -> str:
        return "Monitor(...)"  # it stands in signatures that people read

    def step(self, stage: str, done: int, total: int) -> None:
        """Report progress of a stage, or raise `Cancelled` if the user asked to stop."""
        if self.is_cancelled():
            raise Cancelled
        self.on_progress(stage, done, total)

    def warn(self, message: str) -> None:
        """Tell the user something that does not stop the run."""
        self.on_warning(message)

    def within(self, before: int, total: int) -> Monitor:
        """A monitor for a part of a stage: `before` units are done when it begins, of `total`."""

        def on_progress(stage: str, done: int, _: int) -> None:
            self.on_progress(stage, before + done, total)

        return replace(self, on_progress=on_progress)


SILENT = Monitor()
