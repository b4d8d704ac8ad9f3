"""Run by QGIS itself (--code): install the plugin as its users do, then again as an update."""

import json
import os
import traceback

import qgis.utils
from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QMessageBox

PACKAGE, ANSWER = os.environ["CRACKGEO_ZIP"], os.environ["CRACKGEO_ANSWER"]


def algorithm():
    return QgsApplication.processingRegistry().algorithmById("crackgeo:mapcracks")


def state():
    plugin = qgis.utils.plugins.get("crackgeo")
    menus = qgis.utils.iface.pluginMenu().actions()
    return {
        "algorithm": algorithm() is not None,
        "help": algorithm().helpUrl() if algorithm() else "",
        "menu": [action.text().replace("&", "") for action in menus],
        "entry": plugin.action.text() if plugin else "",
    }


def look():
    import pyplugin_installer

    QMessageBox.warning = staticmethod(lambda *a, **k: QMessageBox.StandardButton.Yes)
    states = {}
    for name in ("installed", "updated"):
        pyplugin_installer.instance().installFromZipFile(PACKAGE)
        states[name] = state()
    qgis.utils.unloadPlugin("crackgeo")
    states["unloaded"] = state()
    return states


def go():
    try:
        answer = look()
    except Exception:
        answer = {"error": traceback.format_exc()}
    with open(ANSWER, "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os._exit(0)


QTimer.singleShot(3000, go)
