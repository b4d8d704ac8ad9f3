"""Result layers in the project: named after the image, with the styles the engine embedded."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from qgis.core import (
    QgsLayerTree,
    QgsLayerTreeNode,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputVectorLayer,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
)

from .translation import tr

# Layers of the engine's GeoPackage in the order they are drawn, the last on top.
LAYERS = (
    ("COVERAGE", "coverage", tr("Coverage")),
    ("POLYGONS", "crack_polygons", tr("Crack outlines")),
    ("OUTPUT", "cracks", tr("Cracks")),
    ("STATIONS_LAYER", "width_stations", tr("Widths at stations")),
)
CRACKS = "OUTPUT"
OPTIONAL = "width_stations"  # the engine writes it if stations are asked for


PROBABILITY_LABEL = tr("Crack probability")


def title_of(layer: QgsRasterLayer | None) -> str:
    """What layers made of an image are named after: its own name.

    Without the suffix of its file (any other dot belongs to the name), and without what
    `name_after` put before it.
    """
    if layer is None:
        return ""
    file = Path(layer.source().partition("|")[0])
    name = layer.name() or file.stem
    if file.suffix and name.endswith(file.suffix):
        name = name[: -len(file.suffix)]
    return name.removeprefix(f"{PROBABILITY_LABEL}, ")


def name_after(context: QgsProcessingContext, path: str, label: str, title: str) -> None:
    """Let a raster that will be loaded say which image it is of; a name that was chosen stays."""
    waiting = context.layersToLoadOnCompletion()
    if path in waiting and waiting[path].name == label and title:
        waiting[path].name = f"{label}, {title}"
        waiting[path].forceName = True
        context.setLayersToLoadOnCompletion(waiting)


class Arrival(QgsProcessingLayerPostProcessorInterface):
    """Receives a layer in the project: its data, its style, its place above those before it.

    Processing loads layers without the style that the engine stored in the file (table
    layer_styles). A file that was replaced QGIS goes on reading as it was, also for layers that
    are loaded anew.

    Parameters
    ----------
    project : that it is loaded into
    before : the layers of this run that were loaded, the next is added to it
    is_new : False for a layer that was there already, whose style is the user's
    """

    def __init__(self, project: QgsProject | None, before: list[str], is_new: bool) -> None:
        super().__init__()
        self._project = project
        self._before = before
        self._is_new = is_new

    def postProcessLayer(self, layer, context, feedback):
        """Called by QGIS when the layer is in the project."""
        others = self._project.mapLayers().values() if self._project else ()
        for same in (layer, *(other for other in others if _place(other) == _place(layer))):
            same.dataProvider().reloadData()
            same.reload()
        if self._is_new:
            layer.loadDefaultStyle()
            if self._project:
                _raise_above(self._before, layer.id(), self._project.layerTreeRoot())
        self._before.append(layer.id())
        layer.triggerRepaint()


def _place(layer: QgsMapLayer) -> tuple[str, str]:
    """File and layer name of a layer, however its source is spelt."""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    path = str(parts.get("path") or layer.source())
    return os.path.normcase(os.path.abspath(path)), str(parts.get("layerName") or "")


def _raise_above(before: list[str], new: str, root: QgsLayerTree) -> None:
    """Move a layer above those before it: into a group QGIS puts each one below the last."""
    node = root.findLayer(new)
    siblings = node.parent().children() if node else []
    places = [i for i, one in enumerate(siblings) if _layer_id(one) in before]
    if places and siblings.index(node) > min(places):
        node.parent().insertChildNode(min(places), node.clone())
        node.parent().removeChildNode(node)


def _layer_id(node: QgsLayerTreeNode) -> str:
    return node.layerId() if QgsLayerTree.isLayer(node) else ""


def layer_outputs() -> list[QgsProcessingOutputVectorLayer]:
    """Outputs for the layers beside the cracks, for models and scripts."""
    return [
        QgsProcessingOutputVectorLayer(name, label) for name, _, label in LAYERS if name != CRACKS
    ]


def layer_uris(path: str) -> dict[str, str]:
    """Where each layer of a GeoPackage lies, by name of output; those that it has."""
    known = [name for name, layer, _ in LAYERS if layer != OPTIONAL or _has_layer(path, layer)]
    return {name: f"{path}|layername={layer}" for name, layer, _ in LAYERS if name in known}


def _has_layer(path: str, layer: str) -> bool:
    """Asked of SQLite, for the run's own thread must not ask QGIS, see `host.settings`."""
    # four slashes before a server's name, where `as_uri` has two: SQLite knows no other machine
    place = f"file://{quote(Path(path).absolute().as_posix())}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True)) as database:
            found = database.execute("SELECT 1 FROM gpkg_contents WHERE table_name = ?", (layer,))
            return found.fetchone() is not None
    except sqlite3.Error:  # the run is done, and this layer is an extra
        return False


# The context deletes a layer's post-processor, so each layer needs its own; until then only a
# reference from Python keeps the part of it that is written in Python. The last ones are enough.
_kept: deque[Arrival] = deque(maxlen=300)


def load_with_cracks(context: QgsProcessingContext, path: str, title: str) -> None:
    """If the cracks are to be loaded, load the layers that belong to them, named and styled.

    A name or a group that the user or a model chose for them stays, and so do name and style of
    layers that the project has already.

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
    labels = {name: label for name, _, label in LAYERS}
    chosen = "" if given.name == labels[CRACKS] else given.name
    layers = given.project.mapLayers().values() if given.project else ()
    there = {one.source(): one.name() for one in layers}
    before: list[str] = []
    loaded = {}
    for name, uri in layer_uris(path).items():
        text = chosen if chosen and name == CRACKS else f"{labels[name]}, {chosen or title}"
        details = QgsProcessingContext.LayerDetails(there.get(uri, text), given.project, name)
        details.forceName = True
        if hasattr(given, "groupName"):  # since QGIS 3.32
            details.groupName = given.groupName
        _kept.append(Arrival(given.project, before, uri not in there))
        details.setPostProcessor(_kept[-1])
        loaded[uri] = details
    context.setLayersToLoadOnCompletion({**waiting, **loaded})
