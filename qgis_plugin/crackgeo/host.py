"""What the plugin runs in: its versions, and what the user has set."""

from __future__ import annotations

import platform
from configparser import ConfigParser
from pathlib import Path

from qgis.core import Qgis, QgsSettings
from qgis.PyQt.QtCore import qVersion

from .diagnostics import PROXY_SETTINGS
from .engine import EXECUTABLE_SETTING


def host_versions() -> dict[str, str]:
    """Names and versions, in English: the report is for whoever helps."""
    return {
        "plugin": _version(),
        "QGIS": f"{Qgis.QGIS_VERSION}, Qt {qVersion()}, Python {platform.python_version()}",
    }


def settings() -> dict[str, str]:
    """What the engine is found and set up with, as text; empty where nothing is set.

    To be read in the thread that starts the work, not in that of the work: PyQt looks through
    all modules for each value, and crashes on one that another thread is just importing.
    """
    kept = QgsSettings()
    return {key: _text(kept.value(key)) for key in (EXECUTABLE_SETTING, *PROXY_SETTINGS)}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _version() -> str:
    parser = ConfigParser(interpolation=None)
    parser.read(Path(__file__).with_name("metadata.txt"), encoding="utf-8")
    return parser.get("general", "version")
