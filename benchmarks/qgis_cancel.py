"""How long a cancel takes in real QGIS with the real engine, and what it leaves.

    QT_QPA_PLATFORM=offscreen .cache/qgis-venv/bin/python benchmarks/qgis_cancel.py \
        [--raster sample_data/survey.tif] [--engine .venv/bin/crackgeo] [--rounds 3] [--load 0]

For a Python with QGIS (.ci/qgis makes one). Runs Map cracks as QGIS's task manager does, cancels
it at different moments, and takes the time until QGIS has it back. --load starts as many
processes that only compute, to see a busy machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
)

ROOT = Path(__file__).resolve().parents[1]
# When to cancel: seconds after the start (it imports), or at the first progress of a stage.
MOMENTS = (0.1, 0.5, 1.0, 2.0, "predict", "skeleton")
LIMIT_S = 300


class Feedback(QgsProcessingFeedback):
    """Remembers the stages it was told of."""

    def __init__(self):
        super().__init__(False)
        self.stages = set()

    def setProgressText(self, text):
        """Called from the run's thread."""
        self.stages.add(text.split()[0])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--raster", type=Path, default=ROOT / "sample_data/survey.tif")
    parser.add_argument("--engine", type=Path, default=ROOT / ".venv/bin/crackgeo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--moments", nargs="*", default=MOMENTS)
    arguments = parser.parse_args()
    os.environ["CRACKGEO_EXECUTABLE"] = str(arguments.engine.resolve())
    sys.path.insert(0, str(ROOT / "qgis_plugin"))
    application = QgsApplication([], False)
    application.initQgis()
    from crackgeo import classFactory

    plugin = classFactory(None)
    plugin.initProcessing()
    others = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(arguments.load)]
    for other in others:
        other.start()
    print(f"{'cancelled at':<14} {'rounds':>6} {'median s':>9} {'worst s':>8}  left behind")
    for moment in arguments.moments:
        with tempfile.TemporaryDirectory() as folder:
            runs = [_run(application, arguments.raster, moment, Path(folder))
                    for _ in range(arguments.rounds)]  # fmt: skip
        times = sorted(seconds for seconds, _ in runs)
        left = "; ".join(sorted({text for _, text in runs if text})) or "nothing"
        median = times[len(times) // 2]
        print(
            f"{moment!s:<14} {len(times):>6} {median:>9.2f} {times[-1]:>8.2f}  {left}", flush=True
        )
    for other in others:
        other.kill()
    plugin.unload()
    sys.stdout.flush()
    os._exit(0)  # QGIS's own end is not what is measured, and may crash


def _run(application, raster: Path, moment: float | str, folder: Path) -> tuple[float, str]:
    """Seconds from the cancel to the end, and what is left: processes, files."""
    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().algorithmById("crackgeo:mapcracks")
    target, image = folder / "cracks.gpkg", folder / "survey.tif"
    if not image.exists():
        image.symlink_to(raster.resolve())  # QGIS writes statistics beside a raster
    task = QgsProcessingAlgRunnerTask(
        algorithm, {"INPUT": str(image), "OUTPUT": str(target)}, context, feedback
    )
    ended = []
    task.executed.connect(lambda ok, results: ended.append(time.monotonic()))
    began = cancelled = time.monotonic()
    QgsApplication.taskManager().addTask(task)
    while not ended:
        application.processEvents()
        now = time.monotonic()
        due = moment in feedback.stages or _number(moment) < now - began
        if due and not task.isCanceled():
            cancelled = time.monotonic()
            task.cancel()
        if now - began > LIMIT_S:
            raise SystemExit(f"no end after {LIMIT_S} s")
        time.sleep(0.005)
    if not task.isCanceled():
        raise SystemExit(f"ended before it could be cancelled at {moment}")
    return ended[0] - cancelled, _left(str(target), folder)


def _number(moment: float | str) -> float:
    try:
        return float(moment)
    except ValueError:
        return float("inf")


def _left(word: str, folder: Path) -> str:
    """Processes that have a word in their command line, and files; the work to resume may stay."""
    processes = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            processes += word.encode() in path.read_bytes()
        except OSError:
            continue
    files = sorted(path.name for path in folder.iterdir() if path.name.startswith((".", "cracks")))
    return ", ".join([*([f"{processes} processes"] if processes else []), *files])


def _compute() -> None:
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    main()
