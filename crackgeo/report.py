"""The record of a run for machines: a JSON file of what the table `runs` holds, and the result."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from .files import atomic_output
from .jsontext import to_json
from .layers import RunRecord
from .monitor import Monitor

_LIBRARIES = ("numpy", "scipy", "shapely", "pyproj", "rasterio", "pyogrio", "numba", "torch")


class StageClock:
    """Measures how long each stage of a run takes, by what it reports.

    Time between two reports belongs to the stage of the first; until there is one, to "open".

    Parameters
    ----------
    monitor : told everything, too
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = replace(monitor, on_progress=self._note)
        self._on_progress = monitor.on_progress
        self._seconds: dict[str, float] = {}
        self._stage, self._since = "open", time.monotonic()

    def _note(self, stage: str, done: int, total: int) -> None:
        self._turn(stage)
        self._on_progress(stage, done, total)

    def _turn(self, stage: str) -> None:
        now = time.monotonic()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far, in the order they came."""
        self._turn(self._stage)
        return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the numbers."""
    import pyproj
    import rasterio

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "gdal": rasterio.__gdal_version__,
        "proj": pyproj.proj_version_str,
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def write_report(
    path: Path, record: RunRecord, result: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Write the record of a run and its result as one JSON object.

    Parameters
    ----------
    path : appears complete
    record : as in the table `runs`, docs/layers.md names its fields
    result : what `--json` gives
    overwrite : replace an existing file

    Raises
    ------
    UsageError, ResourceError
        The file is there already, or cannot be written.
    """
    run = {**asdict(record), "seconds": record.seconds}
    report = {"run": run, "result": dict(result)}
    with atomic_output(path, overwrite) as part:
        part.write_text(to_json(report, indent=2), encoding="utf-8")
