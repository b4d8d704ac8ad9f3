"""Work in QGIS's task manager: the window stays alive, the status bar shows progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ..engine import REPORT, EngineError
from ..steps import Reporter
from ..tools import Cancelled

LOG_LINES = 2000

_running: list[Background] = []  # Python would drop a task that only QGIS holds


class Background(QgsTask):
    """A function run in another thread.

    Parameters
    ----------
    title : shown in the status bar
    work : gets a `Reporter`, returns anything; may raise EngineError or Cancelled

    Signals
    -------
    line : each line for the log
    stage : the name of the stage that begins
    ended : nothing; then `result` or `error` is set, neither after a cancel
    """

    line = pyqtSignal(str)
    stage = pyqtSignal(str)
    ended = pyqtSignal()

    def __init__(self, title: str, work: Callable[[Reporter], Any]) -> None:
        super().__init__(title, QgsTask.Flag.CanCancel)
        self._work = work
        self.result: Any = None
        self.error: EngineError | None = None
        self.lines: deque[str] = deque(maxlen=LOG_LINES)

    def start(self) -> Background:
        """Hand it to the task manager."""
        _running.append(self)
        QgsApplication.taskManager().addTask(self)
        return self

    def run(self) -> bool:
        """Do the work; called in another thread."""
        try:
            self.result = self._work(Reporter(self._progress, self._log, self.isCanceled))
        except Cancelled:
            return False
        except EngineError as error:
            self.error = error
        except Exception as error:  # it would end in QGIS's log, where nobody looks
            self.error = EngineError(f"{type(error).__name__}: {error}", REPORT)
        return self.error is None

    def finished(self, done: bool) -> None:
        """Say so; called in the window's thread, also after a cancel."""
        _running.remove(self)
        self.ended.emit()

    def _progress(self, percent: int, stage: str) -> None:
        self.setProgress(percent)
        self.stage.emit(stage)

    def _log(self, text: str) -> None:
        self.lines.append(text)
        self.line.emit(text)


def running(title: str) -> Background | None:
    """The task of this title that is under way, if there is one."""
    return next((task for task in _running if task.description() == title), None)
