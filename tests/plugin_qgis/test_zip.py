"""The zip, installed as a user does into a fresh profile, in English and German."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from qgis.core import QgsVectorLayer

pytestmark = pytest.mark.qgis
PACKAGE = Path(__file__).parents[2] / "qgis_plugin" / "package.py"
PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Path of the zip."""
    folder = tmp_path_factory.mktemp("package")
    subprocess.run([sys.executable, PACKAGE, "--out", folder], check=True, capture_output=True)
    return next(folder.glob("crackgeo-*.zip"))


@pytest.fixture(scope="module")
def installed(package, tmp_path_factory, real_engine):
    """A function that runs qgis_process in a profile that has the plugin from its zip only."""
    folder = tmp_path_factory.mktemp("zip")
    profile = folder / "a profile"
    plugins = profile / "profiles" / "default" / "python" / "plugins"
    plugins.mkdir(parents=True)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(plugins)
    environ = {
        **{k: v for k, v in os.environ.items() if k != "QGIS_PLUGINPATH"},
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "CRACKGEO_EXECUTABLE": real_engine,
    }

    def run(*arguments, **variables):
        command = [PROGRAM, *map(str, arguments)]
        done = subprocess.run(
            command, env={**environ, **variables}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("plugins", "enable", "crackgeo")
    run.profile = profile / "profiles" / "default"
    return run


def test_it_maps_cracks(installed, survey, tmp_path):
    out = tmp_path / "cracks.gpkg"
    answer = installed(
        "--json", "run", "crackgeo:mapcracks", "--",
        f"INPUT={survey}", "MIN_LENGTH=0", f"OUTPUT={out}",
    )  # fmt: skip
    assert json.loads(answer[answer.find("{") :])["results"]["COUNT"] >= 1
    assert QgsVectorLayer(f"{out}|layername=cracks", "cracks", "ogr").isValid()


def test_its_help_is_there_without_a_net(installed):
    answer = installed("--json", "help", "crackgeo:mapcracks")
    url = json.loads(answer[answer.find("{") :])["algorithm_details"]["help_url"]
    page = Path(unquote(urlsplit(url).path)).read_text(encoding="utf-8")
    assert "from an orthomosaic to a model of your own" in page


def test_it_speaks_german(installed):
    settings = installed.profile / "QGIS" / "QGIS3.ini"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(f"{before}\n[locale]\nuserLocale=de\n", encoding="utf-8")
    try:
        said = installed("help", "crackgeo:mapcracks")
    finally:
        settings.write_text(before, encoding="utf-8")
    assert "Risse kartieren" in said
    assert "Mindestlänge in Metern" in said
    assert "Map cracks" not in said


def test_the_desktop_installs_and_updates_it(package, tmp_path):
    """With Plugins > Install from ZIP, on a screen that nobody sees."""
    settings = tmp_path / "profiles" / "default" / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text("[qgis]\ncheckVersion=false\nshowTips=false\n")
    answer = tmp_path / "answer.json"
    program = shutil.which("qgis.bin") or shutil.which("qgis")
    code = Path(__file__).with_name("in_the_desktop.py")
    left_out = ("QGIS_PLUGINPATH", "QT_QPA_PLATFORM", "QGIS_CUSTOM_CONFIG_PATH")
    environ = {k: v for k, v in os.environ.items() if k not in left_out}
    environ |= {"CRACKGEO_ZIP": str(package), "CRACKGEO_ANSWER": str(answer)}
    environ["PATH"] = f"/usr/bin:{environ['PATH']}"  # QGIS asks PATH where its Python is
    options = ["--nologo", "--noversioncheck", "--profiles-path", str(tmp_path)]
    command = ["xvfb-run", "-a", program, *options, "--code", str(code)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert answer.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    states = json.loads(answer.read_text(encoding="utf-8"))
    for name in ("installed", "updated"):
        assert states[name]["algorithm"], states
        assert states[name]["entry"] == "Engine..."
        assert "CrackGeo" in states[name]["menu"]
        assert states[name]["help"].endswith("/crackgeo/help/qgis.html")
    assert not states["unloaded"]["algorithm"]
    assert "CrackGeo" not in states["unloaded"]["menu"]
