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
    QgsCoordinateTransform,
    QgsCsException,
    QgsExpression,
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
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QThread, QVariant

from .features import write_features
from .translation import tr

_CURL = "/vsicurl/"  # GDAL's word before an address
_SERVERS = ("http://", "https://", "/vsis3/", "/vsigs/", "/vsiaz/", "/vsioss/")
_CRS_OF_TEXT = re.compile(r"^\s*(?:[^,\[\]]+,){3}[^,\[\]]+\[(.+)\]\s*$")  # of an extent
_SERVICE = re.compile(rb"<(GDAL_W|WCS_GDAL|WMS_Capabilities)")  # a file that stands for a web layer


@dataclass(frozen=True)
class Values:
    """The values of one run: the algorithm reads them, `of` is what the user gave.

    `paths` collects where outputs go: QGIS names another temporary file each time it is asked.
    `handed` collects what stands for the user's layers, to name these in messages.
    """

    algorithm: QgsProcessingAlgorithm
    of: dict[str, Any]
    context: QgsProcessingContext
    feedback: QgsProcessingFeedback
    paths: dict[str, str] = field(default_factory=dict)  # of outputs, by name
    handed: dict[str, str] = field(default_factory=dict)  # temporary file: what it holds

    def given(self, name: str) -> Any:
        """The value that the user gave, None without one; of a layer to write its path.

        Raises
        ------
        QgsProcessingException
            An expression that cannot be evaluated.
        """
        value = self.of.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value, _ = value.sink.valueAsString(self.context.expressionContext())
        elif isinstance(value, QgsProperty):
            value = self._evaluated(name, value)
        if isinstance(value, QVariant):
            value = value.value()
        return None if value in (None, "", NULL) else value

    def _evaluated(self, name: str, value: QgsProperty) -> Any:
        result, found = value.value(self.context.expressionContext())
        expression = QgsExpression(value.expressionString())
        if not found and value.expressionString():  # it is NULL, or wrong
            expression.evaluate(self.context.expressionContext())
        problem = expression.parserErrorString() or expression.evalErrorString()
        if problem and not found and value.expressionString():
            told = tr("{}: the expression {} has no value ({})")
            raise QgsProcessingException(told.format(name, value.expressionString(), problem))
        return result

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

    def check(self, values: Values) -> None:
        """Find a value that the engine could not work with.

        Raises
        ------
        QgsProcessingException
            Says why, for the user.
        """

    def is_wanted(self, values: Values) -> bool:
        """Whether it goes on the command line; errors as `check`."""
        self.check(values)  # algorithms inside a model are not asked before they run
        return values.given(self.name) is not None or not self.optional

    def arguments(self, values: Values) -> list[str]:
        """What it puts on the engine's command line; errors as `check`."""
        return self._argument(values) if self.is_wanted(values) else []

    def _argument(self, values: Values) -> list[str]:
        text = self._text(values)
        if text is None:
            return []
        return [self.option, text] if self.option else [text]

    def _wrong(self, text: str, *values: object) -> QgsProcessingException:
        """An error that begins with the label; `text` is translated."""
        return QgsProcessingException(f"{self.label}: {text.format(*values)}")

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


class Text(Parameter):
    """Free text."""

    def _make(self) -> QgsProcessingParameterDefinition:
        return QgsProcessingParameterString(
            self.name, self.label, self.default, optional=self.optional
        )


@dataclass(frozen=True)
class Number(Parameter):
    """A number with its bounds; `open_range` leaves the bounds themselves out.

    QGIS itself takes any text for a number that is optional, and makes 0 of it.
    """

    minimum: float = 0
    maximum: float = 1e9
    whole: bool = False
    open_range: bool = False

    def check(self, values: Values) -> None:
        """Refuse what is no number, or lies out of bounds."""
        if values.given(self.name) is not None:
            self._number(values)

    def _make(self) -> QgsProcessingParameterDefinition:
        if self.whole:
            kind = QgsProcessingParameterNumber.Type.Integer
        else:
            kind = QgsProcessingParameterNumber.Type.Double
        return QgsProcessingParameterNumber(
            self.name, self.label, kind, self.default, self.optional, self.minimum, self.maximum
        )

    def _number(self, values: Values) -> float:
        given = values.given(self.name)
        try:
            number = float(self.default if given is None else given)
        except (TypeError, ValueError) as error:
            told = tr("{} is no number; fractions have a point, as in 0.25")
            raise self._wrong(told, given) from error
        inside = self.minimum <= number <= self.maximum
        if self.open_range:
            inside = self.minimum < number < self.maximum
        if not inside:
            told = tr("{} does not lie between {} and {}")
            raise self._wrong(told, given, f"{self.minimum:g}", f"{self.maximum:g}")
        if self.whole and number != int(number):
            raise self._wrong(tr("{} is no whole number"), given)
        return number

    def _text(self, values: Values) -> str:
        number = self._number(values)
        if self.whole:
            return str(int(number))
        text = f"{number:.12g}"
        return text if float(text) == number else repr(number)


@dataclass(frozen=True)
class Choice(Parameter):
    """One of several words, the engine's own."""

    words: tuple[str, ...] = ()

    def check(self, values: Values) -> None:
        """Refuse another word, which QGIS would replace by the default."""
        given = values.given(self.name)
        if given is not None and str(given) not in self.words:
            raise self._wrong(tr("{} is none of {}"), given, ", ".join(self.words))

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
