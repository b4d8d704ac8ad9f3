"""Parameters that are layers, places or files: what of the project the engine can read or write."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QThread

from .features import write_features
from .parameters import Parameter, Values
from .translation import tr

_CURL = "/vsicurl/"  # GDAL's word before an address
_SERVERS = ("http://", "https://", "/vsis3/", "/vsigs/", "/vsiaz/", "/vsioss/")
_CRS_OF_TEXT = re.compile(r"^\s*(?:[^,\[\]]+,){3}[^,\[\]]+\[(.+)\]\s*$")  # of an extent
_SERVICE = re.compile(rb"<(GDAL_W|WCS_GDAL|WMS_Capabilities)")  # a file that stands for a web layer


class Raster(Parameter):
    """A raster file."""

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterRasterLayer(self.name, self.label)

    def check(self, values: Values) -> None:
        """Refuse a layer that is no file, or whose CRS the file does not have."""
        layer = values.algorithm.parameterAsRasterLayer(values.of, self.name, values.context)
        if layer is None or not layer.isValid():
            return
        path = raster_path(layer)
        try:
            readable = layer.providerType() == "gdal" and _is_file(path)
        except OSError as error:
            raise self._wrong(tr("{} cannot be read ({})"), path, error.strerror) from error
        if not readable:
            raise self._wrong(
                tr(
                    "save the layer as a GeoTIFF first (Export > Save As), the engine reads "
                    "files only"
                )
            )
        self._check_crs(layer.crs(), layer.dataProvider().crs())

    def _check_crs(
        self, told: QgsCoordinateReferenceSystem, held: QgsCoordinateReferenceSystem
    ) -> None:
        """Refuse a CRS that QGIS was told where the file holds another one, or none."""
        if told == held or told.toProj() == held.toProj():
            return
        raise self._wrong(
            tr(
                "its coordinate system is {} in QGIS, but {} in the file, which the engine reads. "
                "Raster > Projections > Assign Projection writes it into the file; then load it "
                "anew"
            ),
            _crs_name(told),
            _crs_name(held),
        )

    def _text(self, values: Values) -> str:
        return raster_path(values.raster(self.name))


def raster_path(layer: QgsRasterLayer) -> str:
    """What the engine opens: the layer's source without QGIS's and GDAL's own words."""
    path = layer.source().partition("|")[0]
    return path.removeprefix(_CURL)


def _is_file(path: str) -> bool:
    """Whether it is a raster file, here or on a server: no table, archive or web service.

    Raises
    ------
    OSError
        It is a file of this machine that is not there any more, or may not be read.
    """
    if os.path.isabs(path) and not path.startswith("/vsi"):
        os.stat(path)
    if not os.path.isfile(path):
        return path.startswith(_SERVERS)
    with open(path, "rb") as file:
        return _SERVICE.search(file.read(1000)) is None


def _crs_name(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.authid() or crs.description() or tr("none")


@dataclass(frozen=True)
class Extent(Parameter):
    """A rectangle, handed over in the CRS of the raster."""

    raster: str = "INPUT"

    def check(self, values: Values) -> None:
        """Refuse an extent without an area: the whole image would be run instead."""
        if values.given(self.name) is not None and self._box(values).isEmpty():
            raise self._wrong(tr("this extent has no area"))

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterExtent(self.name, self.label, optional=self.optional)

    def _box(self, values: Values) -> QgsRectangle:
        """The rectangle in the CRS of the raster."""
        crs = values.raster(self.raster).dataProvider().crs()
        told = _told_crs(values.given(self.name))
        if told is not None and not told.isValid():
            raise self._wrong(tr("its coordinate system is not known"))
        if told is None or not crs.isValid():  # QGIS draws an image without CRS where it says
            return values.algorithm.parameterAsExtent(values.of, self.name, values.context, crs)
        box = values.algorithm.parameterAsExtent(values.of, self.name, values.context)
        change = QgsCoordinateTransform(told, crs, values.context.transformContext())
        try:
            return change.transformBoundingBox(box)
        except QgsCsException as error:
            problem = tr("it does not lie where the image's coordinate system is used")
            raise self._wrong(problem) from error

    def _text(self, values: Values) -> str:
        box = self._box(values)
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        return ",".join(f"{side:.12g}" for side in sides)

    def arguments(self, values: Values) -> list[str]:
        """As one word: a negative coordinate is no option."""
        return ["=".join(arguments)] if (arguments := super().arguments(values)) else []


def _told_crs(extent: Any) -> QgsCoordinateReferenceSystem | None:
    """The CRS that an extent names itself, None if it names none."""
    if isinstance(extent, QgsReferencedRectangle):
        return extent.crs() if extent.crs().isValid() else None
    found = _CRS_OF_TEXT.search(extent) if isinstance(extent, str) else None
    return QgsCoordinateReferenceSystem(found[1]) if found else None


@dataclass(frozen=True)
class Vector(Parameter):
    """Features, handed over as a file of their own: layers in memory, edits and selections count.

    `kinds` are the kinds of geometry that QGIS offers, `fields` the names of those that count.
    """

    kinds: tuple[int, ...] = (QgsProcessing.SourceType.TypeVectorPolygon,)
    fields: tuple[str, ...] = ()

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterFeatureSource(
            self.name, self.label, list(self.kinds), optional=self.optional
        )

    def _text(self, values: Values) -> str:
        source = values.algorithm.parameterAsSource(values.of, self.name, values.context)
        if source is None:
            problem = values.algorithm.invalidSourceError(values.of, self.name)
            raise QgsProcessingException(problem)
        path = write_features(source, self.label, self.fields, values.context.transformContext())
        values.handed[path] = f"{self.label} ({source.sourceName()})"
        return path


@dataclass(frozen=True)
class Output(Parameter):
    """A file that the engine writes; QGIS has asked already whether it may replace one."""

    suffix: str = ""

    def check(self, values: Values) -> None:
        """Refuse a name of another kind of file, and a file that cannot be replaced."""
        path = values.given(self.name)
        if path is None or path == QgsProcessing.TEMPORARY_OUTPUT:
            return
        if not str(path).lower().endswith(self.suffix):
            raise self._wrong(tr("the file must end in {}, not {}"), self.suffix, path)
        layer = _layer_of(str(path), values.context) if sys.platform == "win32" else None
        if layer is not None:
            told = tr("the layer {} has this file open. Remove the layer, or choose another name")
            raise self._wrong(told, layer.name())

    def target(self, values: Values) -> list[str]:
        """Its `arguments` where it is wanted, without another look at the value or the project.

        For the run's own thread, see `host.settings`.
        """
        return self._argument(values)

    def _text(self, values: Values) -> str:
        values.paths[self.name] = self._path(values)
        return values.paths[self.name]

    def _path(self, values: Values) -> str:
        return values.algorithm.parameterAsOutputLayer(values.of, self.name, values.context)


def _layer_of(path: str, context: QgsProcessingContext) -> QgsMapLayer | None:
    """A layer of the project that lies in a file: Windows replaces none that is open.

    None in any thread but the project's, where layers may not be asked.
    """

    def same(layer: QgsMapLayer) -> bool:
        source = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
        return os.path.normcase(source.get("path") or "") == os.path.normcase(path)

    project = context.project()
    ours = project is not None and project.thread() == QThread.currentThread()
    return next(filter(same, project.mapLayers().values() if ours else ()), None)


class VectorOutput(Output):
    """A GeoPackage of cracks."""

    def _make(self) -> QgsProcessingParameterDefinition:
        kind = QgsProcessing.SourceType.TypeVectorLine
        return QgsProcessingParameterVectorDestination(self.name, self.label, kind)


class RasterOutput(Output):
    """A GeoTIFF."""

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterRasterDestination(
            self.name, self.label, optional=self.optional, createByDefault=not self.optional
        )


class ModelOutput(Output):
    """A model file."""

    def _make(self) -> QgsProcessingParameterDefinition:
        kind = tr("Crack models (*.safetensors)")
        return QgsProcessingParameterFileDestination(self.name, self.label, kind)

    def _path(self, values: Values) -> str:
        return values.algorithm.parameterAsFileOutput(values.of, self.name, values.context)
