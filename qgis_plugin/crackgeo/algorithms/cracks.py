"""What the two algorithms that write a GeoPackage of cracks share."""

from __future__ import annotations

from ..layer_parameters import VectorOutput
from ..layers import layer_outputs, layer_uris, load_with_cracks
from ..translation import tr
from .base import EngineAlgorithm, Value

OUTPUT = VectorOutput(
    "OUTPUT",
    tr("Cracks"),
    tr("The GeoPackage to write. It appears when it is complete."),
    "--output",
    suffix=".gpkg",
)
VALUES = (
    Value("COUNT", tr("Number of cracks"), "cracks"),
    Value("NETWORKS", tr("Number of crack networks"), "networks"),
    Value("LENGTH", tr("Total length (m)"), "length_m"),
    Value("LONGEST", tr("Longest crack (m)"), "longest_m"),
    Value("WIDTH_MEAN", tr("Mean width (mm)"), "width_mean_mm"),
    Value("WIDEST", tr("Largest width (mm)"), "width_max_mm"),
    Value("SURVEYED", tr("Area surveyed (m2)"), "surveyed_m2"),
)


class CrackAlgorithm(EngineAlgorithm):
    """An algorithm that writes cracks: further layers as outputs, all loaded with their styles."""

    def initAlgorithm(self, configuration=None):
        """Declare the further layers too."""
        super().initAlgorithm(configuration)
        for output in layer_outputs():
            self.addOutput(output)

    def processAlgorithm(self, parameters, context, feedback):
        """Run, and tell where each layer lies."""
        outputs = super().processAlgorithm(parameters, context, feedback)
        return {**outputs, **layer_uris(outputs["OUTPUT"])} if outputs else {}

    def postProcessAlgorithm(self, context, feedback):
        """Let QGIS load the layers."""
        load_with_cracks(context, self.paths["OUTPUT"], self.title)
        return super().postProcessAlgorithm(context, feedback)
