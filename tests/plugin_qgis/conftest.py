"""Real QGIS, the real plugin, and a choice of the real engine or one that only pretends.

Run by `.ci/qgis`. In a Python without QGIS nothing here is collected.
"""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "qgis_plugin"
if importlib.util.find_spec("qgis") is None:
    collect_ignore_glob = ["test_*.py"]

FAKE = """#!{python}
import json, os, shutil, sys, time
if "--version" in sys.argv:
    print("crackgeo, version " + os.environ.get("FAKE_VERSION", "0.1.0"))
    sys.exit()
def say(**event):
    print(json.dumps(event), flush=True)
a = sys.argv
output = a[a.index("--output") + 1] if "--output" in a else ""
print("pretending", file=sys.stderr, flush=True)
say(event="progress", stage="predict", done=1, total=2, remaining_s=100)
if os.environ.get("FAKE_FAILS"):
    say(event="error", message="survey.tif: damaged", remedy="copy it again", exit_code=3)
    sys.exit(3)
if os.environ.get("FAKE_WAITS"):
    sys.stdin.read()
    sys.exit(130)
say(event="warning", message="pixels are coarse")
if output.endswith(".gpkg"):
    shutil.copy(os.environ["FAKE_GPKG"], output)
elif output:
    shutil.copy(a[2], output)
say(event="result", cracks=2, networks=1, length_m=1.5, longest_m=1.0, width_mean_mm=None,
    width_max_mm=4.5, surveyed_m2=0.36, output=output, arguments=a[1:])
"""


@pytest.fixture(scope="session")
def real_engine():
    """Path of the real engine's program."""
    path = os.environ.get("CRACKGEO_EXECUTABLE") or str(ROOT / ".venv" / "bin" / "crackgeo")
    assert Path(path).exists(), "set CRACKGEO_EXECUTABLE, or make .venv"
    return path


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    """A raster of 300 x 300 pixels of 2 mm with a dark wavy line; its name has a space."""
    path, _ = draw(tmp_path_factory.mktemp("data") / "survey one.tif", 300, [150])
    return path


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """A raster of 500 x 500 pixels with lines, and a file with these lines."""
    return draw(tmp_path_factory.mktemp("labelled") / "labelled.tif", 500, range(60, 460, 90))


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A raster that keeps the real engine busy for a while."""
    return draw(tmp_path_factory.mktemp("large") / "large.tif", 4000, [2000])[0]


def draw(path, side_px, rows):
    """Write a raster with a dark ragged line from each row; give its path and that of the lines."""
    import numpy as np
    from osgeo import gdal, ogr, osr

    rng = np.random.default_rng(3)
    grey = rng.normal(140, 6, (side_px, side_px))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32632)
    lines_path = path.with_suffix(".gpkg")
    lines = ogr.GetDriverByName("GPKG").CreateDataSource(str(lines_path))
    layer = lines.CreateLayer("cracks", crs, ogr.wkbLineString)
    for row in rows:
        line = ogr.Geometry(ogr.wkbLineString)
        wander = np.cumsum(rng.normal(0, 1, side_px))  # a smooth one is a cable to the model
        for x in range(20, side_px - 20):
            y = int(row + wander[x])
            grey[y : y + 5, x] = 35
            line.AddPoint_2D(500000 + 0.002 * (x + 0.5), 5400000 - 0.002 * (y + 2.5))
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(line)
        layer.CreateFeature(feature)
    lines = layer = None
    raster = gdal.GetDriverByName("GTiff").Create(str(path), side_px, side_px, 3)
    raster.SetGeoTransform((500000, 0.002, 0, 5400000, 0, -0.002))
    raster.SetProjection(crs.ExportToWkt())
    for band in (1, 2, 3):
        raster.GetRasterBand(band).WriteArray(np.clip(grey, 0, 255).astype(np.uint8))
    raster = None
    return str(path), str(lines_path)


@pytest.fixture(scope="session")
def mapped(real_engine, survey, tmp_path_factory):
    """A GeoPackage of the real engine and its probability raster."""
    folder = tmp_path_factory.mktemp("mapped")
    paths = folder / "cracks.gpkg", folder / "probability.tif"
    command = [real_engine, "map", survey, "-o", paths[0], "--prob", paths[1], "--min-length", "0"]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return tuple(map(str, paths))


@pytest.fixture(scope="session")
def provider(qgis_app, qgis_processing):
    """The plugin's provider, registered as under qgis_process."""
    from qgis.core import QgsApplication

    sys.path[:0] = [str(PLUGINS), str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins")]
    from crackgeo import classFactory

    plugin = classFactory(None)
    plugin.initProcessing()
    yield plugin.provider
    plugin.unload()


@pytest.fixture(scope="session")
def chain(provider, tmp_path_factory):
    """A model of the designer: image, probabilities, cracks from 0.25 m; path, output's name."""
    from qgis.core import (
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
        QgsProcessingModelParameter,
        QgsProcessingParameterRasterLayer,
    )

    model = QgsProcessingModelAlgorithm("chain", "tests")
    model.addModelParameter(
        QgsProcessingParameterRasterLayer("image", "image"), QgsProcessingModelParameter("image")
    )
    source = QgsProcessingModelChildParameterSource
    first = QgsProcessingModelChildAlgorithm("crackgeo:predictprobability")
    first.setChildId("predict")
    first.addParameterSources("INPUT", [source.fromModelParameter("image")])
    model.addChildAlgorithm(first)
    second = QgsProcessingModelChildAlgorithm("crackgeo:vectorizecracks")
    second.setChildId("vectorize")
    second.addParameterSources("INPUT", [source.fromChildOutput("predict", "OUTPUT")])
    second.addParameterSources("MIN_LENGTH", [source.fromStaticValue(0.25)])
    out = QgsProcessingModelOutput("cracks", "cracks")
    out.setChildId("vectorize")
    out.setChildOutputName("OUTPUT")
    second.setModelOutputs({"cracks": out})
    model.addChildAlgorithm(second)
    path = str(tmp_path_factory.mktemp("model") / "chain.model3")
    assert model.toFile(path)
    return path, model.destinationParameterDefinitions()[0].name()


@pytest.fixture
def fake_engine(tmp_path, monkeypatch, mapped):
    """An engine that answers at once: the settings of tests are FAKE_... variables."""
    folder = tmp_path / "engine of the user"
    folder.mkdir()
    path = folder / "crackgeo"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", str(path))
    monkeypatch.setenv("FAKE_GPKG", mapped[0])
    return path


@pytest.fixture
def feedback(provider):
    """Collects what the user would see: kind and text."""
    from qgis.core import QgsProcessingFeedback

    class Feedback(QgsProcessingFeedback):
        def __init__(self):
            super().__init__(False)
            self.said = []
            self.percents = []
            self.progressChanged.connect(self.percents.append)

        def of(self, kind):
            return [text for k, text in self.said if k == kind]

        def pushInfo(self, text):
            self.said.append(("info", text))

        def pushCommandInfo(self, text):
            self.said.append(("command", text))

        def pushConsoleInfo(self, text):
            self.said.append(("console", text))

        def pushWarning(self, text):
            self.said.append(("warning", text))

        def setProgressText(self, text):
            self.said.append(("progress", text))

        def reportError(self, text, fatalError=False):
            self.said.append(("error", text))

    return Feedback()


@pytest.fixture(scope="session")
def qgis_process(tmp_path_factory, real_engine):
    """Run qgis_process in a fresh profile with the plugin enabled; gives its JSON."""
    import json

    profile = tmp_path_factory.mktemp("profile")
    # Debian 12's wrapper fails; other systems have the program without a suffix
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "QGIS_PLUGINPATH": str(PLUGINS),
        "CRACKGEO_EXECUTABLE": real_engine,
    }

    def start(*arguments):
        """Begin, and give the process."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([program, *map(str, arguments)], env=environment, **quiet)

    def run(*arguments, check=True):
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        at = done.stdout.find("{")
        done.json = json.loads(done.stdout[at:]) if "--json" in arguments and at >= 0 else None
        return done

    run("plugins", "enable", "crackgeo")
    run.start = start
    return run
