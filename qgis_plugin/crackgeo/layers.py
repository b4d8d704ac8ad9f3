"""Result layers in the project: named after the image, with the styles the engine embedded."""

from __future__ import annotations

from qgis.core import QgsProcessingContext, QgsProcessingOutputVectorLayer

from .translation import tr

# Layers of the engine's GeoPackage in the order they are drawn, the last on top. The styles lie
# in the file (table layer_styles); QGIS loads them with the layer.
LAYERS = (
    ("COVERAGE", "coverage", tr("Coverage")),
    ("POLYGONS", "crack_polygons", tr("Crack outlines")),
    ("OUTPUT", "cracks", tr("Cracks")),
)


def layer_outputs() -> list[QgsProcessingOutputVectorLayer]:
    """Outputs for the layers beside the cracks, for models and scripts."""
    return [QgsProcessingOutputVectorLayer(name, label) for name, _, label in LAYERS[:-1]]


def layer_uris(path: str) -> dict[str, str]:
    """Where each layer of a GeoPackage lies, by name of output."""
    return {name: f"{path}|layername={layer}" for name, layer, _ in LAYERS}


def load_with_cracks(context: QgsProcessingContext, path: str, title: str) -> None:
    """If the cracks are to be loaded, load the layers that belong to them, all named.

    Parameters
    ----------
    context : of the run
    path : the GeoPackage, as the user gave it
    title : what the layers are named after
    """
    waiting = context.layersToLoadOnCompletion()
    if path not in waiting:
        return
    project = waiting.pop(path).project
    loaded = {}
    for name, uri in layer_uris(path).items():
        label = next(label for output, _, label in LAYERS if output == name)
        details = QgsProcessingContext.LayerDetails(f"{label}, {title}", project, name)
        details.forceName = True
        loaded[uri] = details
    context.setLayersToLoadOnCompletion({**waiting, **loaded})
