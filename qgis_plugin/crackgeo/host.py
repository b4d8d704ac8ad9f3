"""What the plugin runs in, for diagnostics."""

from __future__ import annotations

import platform

from qgis.core import Qgis
from qgis.PyQt.QtCore import qVersion

from .algorithms.base import metadata


def host_versions() -> dict[str, str]:
    """Names and versions, in English: the report is for whoever helps."""
    return {
        "plugin": metadata("version"),
        "QGIS": f"{Qgis.QGIS_VERSION}, Qt {qVersion()}, Python {platform.python_version()}",
    }
