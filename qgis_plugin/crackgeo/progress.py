"""The engine's events as QGIS's progress bar and log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qgis.core import QgsProcessingFeedback

from .translation import tr

STAGES = {
    "prepare": tr("preparing"),
    "predict": tr("looking at tiles"),
    "skeleton": tr("finding centre lines"),
    "widths": tr("measuring widths"),
    "coverage": tr("counting the area surveyed"),
    "write": tr("writing"),
    "chips": tr("reading labels"),
    "evaluate": tr("judging the model"),
    "finetune": tr("training"),
}


class Progress:
    """Turns stages into percent of the whole run.

    Parameters
    ----------
    feedback : of the run
    shares : stages in their order, each with its share of the whole time; other stages show
        their name only
    in_words : turns the engine's messages into the user's words
    """

    def __init__(
        self,
        feedback: QgsProcessingFeedback,
        shares: Sequence[tuple[str, float]],
        in_words: Callable[[str], str] = str,
    ) -> None:
        self._feedback = feedback
        self._in_words = in_words
        self._spans: dict[str, tuple[float, float]] = {}
        scale = 100 / (sum(share for _, share in shares) or 1)
        start = 0.0
        for stage, share in shares:
            self._spans[stage] = (start, share * scale)
            start += share * scale

    def take(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        kind, message = event.get("event"), str(event.get("message", ""))
        if kind == "progress":
            self._advance(event)
        elif kind == "warning":
            self._feedback.pushWarning(self._in_words(message))
        else:
            self._feedback.pushConsoleInfo(message)

    def _advance(self, event: Mapping[str, Any]) -> None:
        stage = str(event.get("stage", ""))
        done, total = event.get("done") or 0, event.get("total") or 0
        if stage in self._spans and total:
            start, span = self._spans[stage]
            self._feedback.setProgress(start + span * done / total)
        left = event.get("remaining_s")
        text = f"{STAGES.get(stage, stage)} {done}/{total}"
        if isinstance(left, (int, float)) and left > 0:
            text += ", " + tr("{} left in this step").format(_duration(left))
        self._feedback.setProgressText(text)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
