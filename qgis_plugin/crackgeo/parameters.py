"""Parameters of algorithms, each written once: how QGIS asks for it, which option it becomes.

A parameter with an empty option is the engine's argument itself. What the user left empty puts
nothing on the command line.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from typing import Any

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProperty,
    QgsProviderRegistry,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QThread

from .features import write_features
from .translation import tr

_CURL = "/vsicurl/"  # GDAL's word before an address
_SERVERS = ("http://", "https://", "/vsis3/", "/vsigs/", "/vsiaz/", "/vsioss/")
_SERVICE = re.compile(rb"<(GDAL_W|WCS_GDAL|WMS_Capabilities)")  # a file that stands for a web layer


@dataclass(frozen=True)
class Values:
    """The values of one run: the algorithm reads them, `of` is what the user gave.

    `paths` collects where outputs go: QGIS names another temporary file each time it is asked.
    """

    algorithm: QgsProcessingAlgorithm
    of: dict[str, Any]
    context: QgsProcessingContext
    feedback: QgsProcessingFeedback
    paths: dict[str, str] = field(default_factory=dict)  # of outputs, by name

    def given(self, name: str) -> Any:
        """The value that the user gave, None without one; of a layer to write its path."""
        value = self.of.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value, _ = value.sink.valueAsString(self.context.expressionContext())
        elif isinstance(value, QgsProperty):
            value, _ = value.value(self.context.expressionContext())
        return None if value in (None, "", NULL) else value

    def raster(self, name: str) -> QgsRasterLayer:
        """A raster layer that is a file.

        Raises
        ------
        QgsProcessingException
            It is none.
        """
        layer = self.algorithm.parameterAsRasterLayer(self.of, name, self.context)
        if layer is None or not layer.isValid():
            raise QgsProcessingException(self.algorithm.invalidRasterError(self.of, name))
        return layer


@dataclass(frozen=True)
class Parameter:
    """What all parameters have.

    Parameters
    ----------
    name : in scripts and models
    label, help : for the user
    option : of the engine, empty for its argument
    default : in QGIS
    advanced : shown under Advanced
    optional : may be left empty
    """

    name: str
    label: str
    help: str
    option: str = ""
    default: Any = None
    advanced: bool = False
    optional: bool = False

    def definition(self) -> QgsProcessingParameterDefinition:
        """The parameter as QGIS knows it."""
        definition = self._make()
        definition.setHelp(self.help)
        if self.advanced:
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            definition.setFlags(definition.flags() | flag)
        return definition

    def problem(self, values: Values) -> str:
        """Why the engine could not work with the value; empty if it can."""
        return ""

    def arguments(self, values: Values) -> list[str]:
        """What it puts on the engine's command line.

        Raises
        ------
        QgsProcessingException
            The value has a `problem`: algorithms inside a model are not asked before they run.
        """
        problem = self.problem(values)
        if problem:
            raise QgsProcessingException(problem)
        wanted = values.given(self.name) is not None or not self.optional
        text = self._text(values) if wanted else None
        if text is None:
            return []
        return [self.option, text] if self.option else [text]

    def _make(self) -> QgsProcessingParameterDefinition:
        raise NotImplementedError

    def _text(self, values: Values) -> str | None:
        """The value as the engine reads it, None if there is nothing to say."""
        text = values.algorithm.parameterAsString(values.of, self.name, values.context)
        return text or None


class Raster(Parameter):
    """A raster file."""

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterRasterLayer(self.name, self.label)

    def problem(self, values: Values) -> str:
        """A layer that is no file, or whose CRS the file does not have."""
        layer = values.algorithm.parameterAsRasterLayer(values.of, self.name, values.context)
        if layer is None or not layer.isValid():
            return ""
        if layer.providerType() != "gdal" or not _is_file(raster_path(layer)):
            wanted = tr(
                "{}: save the layer as a GeoTIFF first (Export > Save As), the engine reads "
                "files only"
            )
            return wanted.format(self.label)
        return self._crs_problem(layer.crs(), layer.dataProvider().crs())

    def _crs_problem(
        self, told: QgsCoordinateReferenceSystem, held: QgsCoordinateReferenceSystem
    ) -> str:
        """A CRS that QGIS was told, and another one, or none, that the file holds."""
        if told == held or told.toProj() == held.toProj():
            return ""
        wanted = tr(
            "{}: its coordinate system is {} in QGIS, but {} in the file, which the engine reads. "
            "Raster > Projections > Assign Projection writes it into the file; then load it anew"
        )
        return wanted.format(self.label, _crs_name(told), _crs_name(held))

    def _text(self, values: Values) -> str:
        return raster_path(values.raster(self.name))


def raster_path(layer: QgsRasterLayer) -> str:
    """What the engine opens: the layer's source without QGIS's and GDAL's own words."""
    path = layer.source().partition("|")[0]
    _, curl, address = path.partition(_CURL)
    return address if curl else path


def _is_file(path: str) -> bool:
    """Whether it is a raster file, here or on a server: no table, archive or web service."""
    if not os.path.isfile(path):
        return path.startswith(_SERVERS)
    with open(path, "rb") as file:
        return _SERVICE.search(file.read(1000)) is None


def _crs_name(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.authid() or crs.description() or tr("none")


class Text(Parameter):
    """Free text."""

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterString(
            self.name, self.label, self.default, optional=self.optional
        )


@dataclass(frozen=True)
class Number(Parameter):
    """A number with its bounds."""

    minimum: float = 0
    maximum: float = 1e9
    whole: bool = False

    def _make(self) -> QgsProcessingParameterDefinition:
        if self.whole:
            kind = QgsProcessingParameterNumber.Type.Integer
        else:
            kind = QgsProcessingParameterNumber.Type.Double
        return QgsProcessingParameterNumber(
            self.name, self.label, kind, self.default, self.optional, self.minimum, self.maximum
        )

    def _text(self, values: Values) -> str:
        if self.whole:
            return str(values.algorithm.parameterAsInt(values.of, self.name, values.context))
        number = values.algorithm.parameterAsDouble(values.of, self.name, values.context)
        text = f"{number:.12g}"
        return text if float(text) == number else repr(number)


@dataclass(frozen=True)
class Choice(Parameter):
    """One of several words, the engine's own."""

    words: tuple[str, ...] = ()

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterEnum(
            self.name,
            self.label,
            options=list(self.words),
            defaultValue=self.default,
            usesStaticStrings=True,
        )

    def _text(self, values: Values) -> str:
        return values.algorithm.parameterAsEnumString(values.of, self.name, values.context)


class Flag(Parameter):
    """Yes or no; yes puts the option on the command line."""

    def arguments(self, values: Values) -> list[str]:
        """The option alone."""
        wanted = values.algorithm.parameterAsBool(values.of, self.name, values.context)
        return [self.option] if wanted else []

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterBoolean(self.name, self.label, self.default)


class Model(Parameter):
    """A crack model: a file, or the name of one that the engine knows."""

    def _make(self) -> QgsProcessingParameterDefinition:
        # Optional, for QGIS 3.22 forgets a file's default in scripts. The filter lets the name of
        # a model through: QGIS's own, *.*, refuses what has no dot.
        return QgsProcessingParameterFile(
            self.name, self.label, defaultValue=self.default, optional=True, fileFilter="(*)"
        )


@dataclass(frozen=True)
class Extent(Parameter):
    """A rectangle, handed over in the CRS of the raster."""

    raster: str = "INPUT"

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterExtent(self.name, self.label, optional=self.optional)

    def _text(self, values: Values) -> str | None:
        crs = values.raster(self.raster).dataProvider().crs()
        box = values.algorithm.parameterAsExtent(values.of, self.name, values.context, crs)
        if box.isNull():
            return None
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        return ",".join(f"{side:.12g}" for side in sides)

    def arguments(self, values: Values) -> list[str]:
        """As one word: a negative coordinate is no option."""
        return ["=".join(arguments)] if (arguments := super().arguments(values)) else []


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
        return write_features(source, self.label, self.fields, values.context.transformContext())


@dataclass(frozen=True)
class Output(Parameter):
    """A file that the engine writes; QGIS has asked already whether it may replace one."""

    suffix: str = ""

    def problem(self, values: Values) -> str:
        """A name that says it is another kind of file, or a file that cannot be replaced."""
        path = values.given(self.name)
        if path is None or path == QgsProcessing.TEMPORARY_OUTPUT:
            return ""
        if not str(path).lower().endswith(self.suffix):
            return tr("{}: the file must end in {}, not {}").format(self.label, self.suffix, path)
        layer = _layer_of(str(path), values.context) if sys.platform == "win32" else None
        if layer is None:
            return ""
        wanted = tr("{}: the layer {} has this file open. Remove the layer, or choose another name")
        return wanted.format(self.label, layer.name())

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
