"""What QGIS loads: the Processing provider, and in the desktop a menu entry."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QCoreApplication

from .translation import install_translator, tr

MENU = "CrackGeo"


class CrackgeoPlugin:
    """The plugin; `iface` is None under qgis_process."""

    def __init__(self, iface=None):
        self.iface = iface
        self.translator = install_translator()
        self.provider = None
        self.action = None

    def initProcessing(self):
        """Register the provider; all that qgis_process asks for."""
        from .provider import CrackgeoProvider  # after the translator: its texts are read here

        self.provider = CrackgeoProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """Register the provider and add the menu entry."""
        from qgis.PyQt.QtWidgets import QAction

        from .provider import icon

        self.initProcessing()
        self.action = QAction(icon(), tr("Engine..."), self.iface.mainWindow())
        self.action.triggered.connect(self.show_environment)
        self.iface.addPluginToMenu(MENU, self.action)

    def unload(self):
        """Take back everything."""
        if self.action is not None:
            self.iface.removePluginMenu(MENU, self.action)
            self.action = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
        if self.translator is not None:
            QCoreApplication.removeTranslator(self.translator)
            self.translator = None

    def show_environment(self):
        """Open the dialog that sets up the engine."""
        from .gui.environment_dialog import EnvironmentDialog

        EnvironmentDialog(self.iface.mainWindow()).exec()
