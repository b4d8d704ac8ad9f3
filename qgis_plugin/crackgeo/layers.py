"""Result layers in the project: named after the image, with the styles the engine embedded."""

from __future__ import annotations

from collections import deque

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputVectorLayer,
)

from .translation import tr

# Layers of the engine's GeoPackage in the order they are drawn, the last on top.
LAYERS = (
    ("COVERAGE", "coverage", tr("Coverage")),
    ("POLYGONS", "crack_polygons", tr("Crack outlines")),
    ("OUTPUT", "cracks", tr("Cracks")),
)


class EmbeddedStyle(QgsProcessingLayerPostProcessorInterface):
    """Gives a layer the style that the engine stored in the file (table layer_styles).

    Processing loads layers without it. A file that was replaced QGIS goes on reading as it was,
    also for layers that are loaded anew.
    """

    def postProcessLayer(self, layer, context, feedback):
        """Called by QGIS when the layer is in the project."""
        project = context.project()
        others = project.mapLayers().values() if project else ()
        for same in (layer, *(other for other in others if other.source() == layer.source())):
            same.dataProvider().reloadData()
            same.reload()
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def layer_outputs() -> list[QgsProcessingOutputVectorLayer]:
    """Outputs for the layers beside the cracks, for models and scripts."""
    return [QgsProcessingOutputVectorLayer(name, label) for name, _, label in LAYERS[:-1]]


def layer_uris(path: str) -> dict[str, str]:
    """Where each layer of a GeoPackage lies, by name of output."""
    return {name: f"{path}|layername={layer}" for name, layer, _ in LAYERS}


# The context deletes a layer's post-processor, so each layer needs its own; until then only a
# reference from Python keeps the part of it that is written in Python. The last ones are enough.
_kept: deque[EmbeddedStyle] = deque(maxlen=300)


def load_with_cracks(context: QgsProcessingContext, path: str, title: str) -> None:
    """If the cracks are to be loaded, load the layers that belong to them, named and styled.

    A name or a group that the user or a model chose for them stays.

    Parameters
    ----------
    context : of the run
    path : the GeoPackage, as the user gave it
    title : what the layers are named after
    """
    waiting = context.layersToLoadOnCompletion()
    if path not in waiting:
        return
    given = waiting.pop(path)
    chosen = "" if given.name == LAYERS[-1][2] else given.name
    loaded = {}
    uris = layer_uris(path)
    for name, _, label in LAYERS:
        text = chosen if chosen and name == "OUTPUT" else f"{label}, {chosen or title}"
        details = QgsProcessingContext.LayerDetails(text, given.project, name)
        details.forceName = True
        if hasattr(given, "groupName"):  # since QGIS 3.32
            details.groupName = given.groupName
        _kept.append(EmbeddedStyle())
        details.setPostProcessor(_kept[-1])
        loaded[uris[name]] = details
    context.setLayersToLoadOnCompletion({**waiting, **loaded})
