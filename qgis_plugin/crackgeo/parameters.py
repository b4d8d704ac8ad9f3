"""Parameters of algorithms, each written once: how QGIS asks for it, which option it becomes.

A parameter with an empty option is the engine's argument itself. What the user left empty puts
nothing on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qgis.core import (
    NULL,
    QgsExpression,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProperty,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QVariant

from .translation import tr


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
        text = value.expressionString()
        if found or not text:
            return result
        expression = QgsExpression(text)  # it is NULL, or wrong, which only this tells
        expression.evaluate(self.context.expressionContext())
        problem = expression.parserErrorString() or expression.evalErrorString()
        if problem:
            told = tr("{}: the expression {} has no value ({})")
            raise QgsProcessingException(told.format(name, text, problem))
        return None

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
