"""Engines that misbehave, for the plugin's parts that need no QGIS."""

import sys

import pytest

from qgis_plugin.crackgeo.engine import Engine

HEAD = """#!{python} -S
import json, os, signal, subprocess, sys, time
def say(**event):
    print(json.dumps(event), flush=True)
if "--version" in sys.argv:
    print("crackgeo, version {version}")
    sys.exit()
"""


@pytest.fixture
def fake(tmp_path):
    """Make an engine of a few lines of Python."""

    def make(body="", version="0.1.0"):
        path = tmp_path / "crackgeo"
        path.write_text(HEAD.format(python=sys.executable, version=version) + body)
        path.chmod(0o755)
        return Engine(str(path), "test")

    return make
