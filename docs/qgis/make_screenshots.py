"""Take the pictures of docs/qgis.md in a real QGIS, in a fresh profile, on the sample survey.

    python docs/qgis/make_screenshots.py [--engine PATH] [--result FILE] [--out docs/images/qgis]

QGIS runs this same file (--code) on a virtual screen (Debian: apt install xvfb) and draws its own
windows into files. Without --engine it is the one that the plugin has set up. --result shows a
GeoPackage that was made of the sample before, and ends the run as soon as it shows progress. Needs
the sample survey (make sample).
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] if "__file__" in globals() else Path.cwd()
WIDTH_PX, HEIGHT_PX = 1440, 900
LIMIT_S = 1500
SHOWN_PERCENT = 25  # of the run in the picture
QUALITY = {".png": -1, ".jpg": 85}
SETTINGS = """[PythonPlugins]
crackgeo=true

[qgis]
checkVersion=false
showTips=false
newProjectDefault=false

[app]
projections\\unknownCrsBehavior=NoAction

[UI]
UITheme=default
"""


def main() -> int:
    """Start QGIS with this file as its script, and wait."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/qgis")
    parser.add_argument("--engine", type=Path, help="the program crackgeo")
    parser.add_argument("--result", type=Path, help="the sample's cracks, for a slow computer")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.gettempdir()) / "demo"  # seen in the pictures: short, and nobody's own
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    shutil.copy(ROOT / "sample_data" / "survey.tif", work)
    if arguments.result:
        shutil.copy(arguments.result, work / "known.gpkg")
    if arguments.engine:
        os.environ["CRACKGEO_EXECUTABLE"] = str(stand_in(arguments.engine, work))
    with tempfile.TemporaryDirectory() as scratch:
        code = run_qgis(Path(scratch), work, out)
    shutil.rmtree(work)
    for picture in sorted(out.iterdir()):
        print(f"{picture}: {picture.stat().st_size / 1e3:.0f} kB")
    return code


def stand_in(engine: Path, folder: Path) -> Path:
    """A program that is the engine under a path that anybody could have, its Python's too."""
    environment = folder / "engine"
    environment.symlink_to(engine.absolute().parent.parent)
    program = folder / "crackgeo"
    start = "from crackgeo.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {environment}/bin/python -I -c "{start}" "$@"\n')
    program.chmod(0o755)
    return program


def run_qgis(scratch: Path, work: Path, out: Path) -> int:
    """QGIS with a fresh profile and the plugin, on a virtual screen; gives its exit code."""
    settings = scratch / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS, encoding="utf-8")
    program = shutil.which("qgis.bin") or shutil.which("qgis") or "qgis"
    screen = ["xvfb-run", "-a", "-s", f"-screen 0 {WIDTH_PX}x{HEIGHT_PX}x24"]
    options = ["--nologo", "--noversioncheck", "--profiles-path", str(scratch)]
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(ROOT / "qgis_plugin"),
        "XDG_RUNTIME_DIR": str(scratch),
        "TMPDIR": str(scratch),  # so that layers in the demo's folder do not count as temporary
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LANG": "C.UTF-8",
        "PATH": f"/usr/bin:{os.environ['PATH']}",  # QGIS asks PATH where its Python is
        "CRACKGEO_SHOTS": str(out),
    }
    environ.pop("QT_QPA_PLATFORM", None)
    command = [*screen, program, *options, "--code", str(Path(__file__).resolve())]
    return subprocess.run(command, env=environ, cwd=work, timeout=LIMIT_S, check=False).returncode


class Session:
    """What happens inside QGIS, one step after the other, each after the window has settled."""

    SETTLE_MS = 1500

    def __init__(self, iface, out: Path) -> None:
        self.iface, self.out = iface, out
        self.window = iface.mainWindow()
        self.taken: set[str] = set()
        result = [self.show_result, self.zoom, self.label]
        run = [self.show_dialog, self.start, self.wait]
        self.known = Path.cwd() / "known.gpkg"
        map_steps = [self.add_known, *result, *run] if self.known.exists() else [*run, *result]
        engine = [self.show_engine, self.shoot_engine]
        self.steps = iter([self.load, *map_steps, *engine, self.end])

    def next(self) -> None:
        """Do the next step once the map is drawn; what goes wrong ends QGIS with the traceback."""
        import traceback

        if self.iface.mapCanvas().isDrawing():
            self.later(300)
            return
        try:
            again = next(self.steps)()
        except Exception:
            traceback.print_exc()
            os._exit(1)
        self.later(again or self.SETTLE_MS)

    def later(self, delay_ms: int) -> None:
        """Go on when QGIS has drawn."""
        from qgis.PyQt.QtCore import QTimer

        QTimer.singleShot(delay_ms, self.next)

    def shoot(self, widget, name: str) -> None:
        """Draw a window into a file; the suffix says how."""
        if not widget.grab().save(str(self.out / name), quality=QUALITY[Path(name).suffix]):
            raise OSError(f"cannot write {name}")

    def load(self) -> None:
        """The survey in a tidy window: layers left, map right."""
        from qgis.core import QgsProject, QgsRasterLayer
        from qgis.PyQt.QtWidgets import QDockWidget, QToolBar

        self.window.setGeometry(0, 0, WIDTH_PX, HEIGHT_PX)
        for dock in self.window.findChildren(QDockWidget):
            dock.setVisible(dock.objectName() in ("Layers", "ProcessingToolbox"))
        kept = ("mFileToolBar", "mMapNavToolBar", "mAttributesToolBar", "mDigitizeToolBar")
        for bar in self.window.findChildren(QToolBar):
            if bar.parent() is self.window:
                bar.setVisible(bar.objectName() in kept)
        layer = QgsRasterLayer(str(Path.cwd() / "survey.tif"), "survey")
        QgsProject.instance().addMapLayer(layer)
        QgsProject.instance().setCrs(layer.crs())
        self.survey = layer
        self.iface.mapCanvas().setExtent(layer.extent())

    def show_dialog(self) -> None:
        """The dialog of Map cracks, filled in."""
        import processing

        values = {
            "INPUT": self.survey.id(),
            "MODEL": "",
            "OUTPUT": str(Path.cwd() / "cracks.gpkg"),
        }
        self.dialog = processing.createAlgorithmDialog("crackgeo:mapcracks", values)
        self.dialog.resize(980, 640)
        self.dialog.show()
        self.dialog.runButton().setFocus()

    def start(self) -> int:
        """Picture of the dialog, then run."""
        self.shoot(self.dialog, "dialog.png")
        self.finished = []
        self.dialog.algorithmFinished.connect(lambda *outcome: self.finished.append(outcome))
        self.dialog.runButton().click()
        return 3000  # by then it can be cancelled

    def wait(self) -> int:
        """Picture of the run when there is progress; go on when it is done."""
        from qgis.PyQt.QtWidgets import QProgressBar, QTextEdit

        percent = max(bar.value() for bar in self.dialog.findChildren(QProgressBar))
        if percent >= SHOWN_PERCENT and "run" not in self.taken:
            self.taken.add("run")
            self.shoot(self.dialog, "run.png")
            if self.known.exists():
                self.dialog.cancelButton().click()
                return self.SETTLE_MS
        if not self.finished and self.dialog.cancelButton().isEnabled():
            self.steps = itertools.chain([self.wait], self.steps)
            return 300
        if not self.finished or not self.finished[0][0]:
            raise RuntimeError(self.dialog.findChild(QTextEdit, "txtLog").toPlainText())
        return self.SETTLE_MS

    def add_known(self) -> None:
        """The layers of a run that was made before, as the plugin adds them."""
        from qgis.core import QgsProject, QgsVectorLayer

        from crackgeo.layers import LAYERS

        for _, name, label in LAYERS:
            layer = QgsVectorLayer(f"{self.known}|layername={name}", f"{label}, survey")
            QgsProject.instance().addMapLayer(layer)

    def show_result(self) -> None:
        """The map with the styled layers."""
        from qgis.core import QgsProject
        from qgis.PyQt.QtWidgets import QDockWidget

        if not self.known.exists():
            self.dialog.close()
        self.iface.messageBar().clearWidgets()
        self.window.findChild(QDockWidget, "ProcessingToolbox").setVisible(False)
        self.window.findChild(QDockWidget, "Layers").raise_()
        tree = self.iface.layerTreeView()
        for node in QgsProject.instance().layerTreeRoot().findLayers():
            is_cracks = node.layer().source().endswith("layername=cracks")
            tree.setExpanded(tree.node2index(node), is_cracks)
        self.iface.mapCanvas().setExtent(self.survey.extent())
        self.iface.mapCanvas().refresh()

    def zoom(self) -> int:
        """Picture of the whole; then near enough for outlines."""
        from qgis.core import QgsRectangle

        self.shoot(self.window, "result.jpg")
        box = self.survey.extent()
        x, y = box.xMinimum() + 0.28 * box.width(), box.yMinimum() + 0.66 * box.height()
        self.iface.mapCanvas().setExtent(QgsRectangle(x - 0.7, y - 0.45, x + 0.7, y + 0.45))
        self.iface.mapCanvas().refresh()
        return 2500

    def label(self) -> None:
        """Picture of a part, with the outlines."""
        self.shoot(self.window, "detail.jpg")

    def show_engine(self) -> int:
        """The window of the engine, once it has looked at everything."""
        from crackgeo.gui.environment_dialog import EnvironmentDialog

        self.engine = EnvironmentDialog(self.window)
        self.engine.resize(820, 720)
        self.engine.show()
        return 5000

    def shoot_engine(self) -> int:
        """Wait for its findings, then picture."""
        if self.engine.task is not None:
            self.steps = itertools.chain([self.shoot_engine], self.steps)
            return 2000
        self.shoot(self.engine, "engine.png")
        self.engine.done(0)
        return 500

    def end(self) -> None:
        """Leave QGIS without questions."""
        os._exit(0)


if os.environ.get("CRACKGEO_SHOTS"):
    from qgis.utils import iface

    session = Session(iface, Path(os.environ["CRACKGEO_SHOTS"]))
    session.later(3000)
elif __name__ == "__main__":
    sys.exit(main())
