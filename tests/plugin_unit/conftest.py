"""The plugin's parts that need no QGIS, and engines that misbehave."""

import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "qgis_plugin" / "crackgeo"


@pytest.fixture(scope="session")
def plugin():
    """The plugin's package, which has the engine's name: imported as `crackgeo_plugin`."""
    from importlib.util import module_from_spec, spec_from_file_location

    name = "crackgeo_plugin"
    spec = spec_from_file_location(
        name, PLUGIN / "__init__.py", submodule_search_locations=[str(PLUGIN)]
    )
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return package


@pytest.fixture(scope="session")
def engine(plugin):
    """The module `engine` of the plugin."""
    from importlib import import_module

    return import_module("crackgeo_plugin.engine")


@pytest.fixture
def fake(tmp_path, engine):
    """Make an engine of a few lines of Python; it knows `say`, `sys`, `time` and `os`."""

    def make(body, version="0.1.0"):
        path = tmp_path / "crackgeo"
        path.write_text(
            f"#!{sys.executable} -S\n"
            "import json, os, subprocess, sys, time\n"
            "def say(**event):\n"
            "    print(json.dumps(event), flush=True)\n"
            "if '--version' in sys.argv:\n"
            f"    print('crackgeo, version {version}')\n"
            "    sys.exit()\n" + body
        )
        path.chmod(0o755)
        return engine.Engine(str(path), "test")

    return make
