"""What runs beside QGIS's window: it must bear that the window imports Qt's modules meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.qgis
PLUGINS = Path(__file__).parents[2] / "qgis_plugin"

# The window's thread imports while another works; a look at PyQt's modules would crash it.
CHILD = """
import contextlib, importlib, sys, threading, time
from qgis.core import QgsApplication, QgsProcessingFeedback
from qgis.PyQt import QtCore
application = QgsApplication([], False)
sys.path.insert(0, sys.argv[1])
from crackgeo.algorithms.base import is_cancelled
from crackgeo.diagnostics import proxy_url
from crackgeo.engine import find_engine
from crackgeo.host import settings
from crackgeo.algorithms.map_cracks import MapCracks
from crackgeo.parameters import Values
from qgis.core import QgsProcessingContext, QgsProject

def targets():
    "What a run's own thread asks of its outputs, on the system that replaces no open file."
    sys.platform = "win32"
    values = Values(algorithm, {"OUTPUT": "/x/o.gpkg"}, context, feedback)
    return [word for output in algorithm.outputs for word in output.target(values)]

algorithm, context = MapCracks().create(), QgsProcessingContext()
context.setProject(QgsProject.instance())
algorithm.outputs = [p for p in algorithm.PARAMETERS if p.name == "OUTPUT"]

def work():
    while not done.is_set():
        WORK
        rounds.append(1)

sys.setswitchinterval(1e-6)
kept, feedback = settings(), QgsProcessingFeedback(False)
done, rounds = threading.Event(), []
thread = threading.Thread(target=work)
thread.start()
while thread.is_alive() and not rounds:
    time.sleep(0.01)
qt = QtCore.__name__.split(".")[0]
for name in ("Test", "Svg", "DBus", "Gui", "Widgets", "Network", "Sql"):
    with contextlib.suppress(ImportError):
        importlib.import_module(f"{qt}.Qt{name}")
import qgis.gui, qgis.analysis
print("worked meanwhile", thread.is_alive())
done.set()
thread.join()
"""


@pytest.mark.parametrize(
    "work", ["is_cancelled(feedback)", "find_engine(kept)", "proxy_url(kept)", "targets()"]
)
def test_work_bears_that_the_window_imports_modules(provider, fake_engine, work):
    command = [sys.executable, "-c", CHILD.replace("WORK", work), str(PLUGINS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "worked meanwhile True" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


def test_settings_are_read_as_text(provider):
    from crackgeo.diagnostics import proxy_url
    from crackgeo.host import settings
    from qgis.core import QgsSettings

    assert proxy_url(settings()) == ""
    wanted = {"Enabled": True, "Type": "HttpProxy", "Host": "proxy.example", "Port": 8080}
    for name, value in wanted.items():
        QgsSettings().setValue(f"proxy/proxy{name}", value)
    try:
        assert proxy_url(settings()) == "http://proxy.example:8080"
    finally:
        for name in wanted:
            QgsSettings().remove(f"proxy/proxy{name}")
