"""The algorithms under one name in the Processing toolbox."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms.check_engine import CheckEngine
from .algorithms.finetune import FineTune
from .algorithms.map_cracks import MapCracks
from .algorithms.predict_probability import PredictProbability
from .algorithms.raster_info import RasterInfo
from .algorithms.vectorize_cracks import VectorizeCracks

ALGORITHMS = (MapCracks, PredictProbability, VectorizeCracks, RasterInfo, FineTune, CheckEngine)


def icon() -> QIcon:
    """The plugin's icon."""
    return QIcon(str(Path(__file__).parent / "icon.svg"))


class CrackgeoProvider(QgsProcessingProvider):
    """All algorithms of the plugin."""

    def loadAlgorithms(self):
        """Register the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def id(self):
        """The name in scripts: crackgeo:mapcracks."""
        return "crackgeo"

    def name(self):
        """The name in the toolbox."""
        return "CrackGeo"

    def icon(self):
        """The plugin's icon."""
        return icon()

    def supportsNonFileBasedOutput(self):
        """The engine writes files, no databases."""
        return False

    def supportedOutputVectorLayerExtensions(self):
        """The engine writes GeoPackages."""
        return ["gpkg"]

    def supportedOutputRasterLayerExtensions(self):
        """The engine writes GeoTIFFs."""
        return ["tif"]

    def defaultVectorFileExtension(self, hasGeometry=True):
        """As supported."""
        return "gpkg"

    def defaultRasterFileExtension(self):
        """As supported."""
        return "tif"
