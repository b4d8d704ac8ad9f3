"""What all algorithms share: they declare parameters and results, the engine does the work."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
)
from qgis.PyQt.QtCore import QCoreApplication, QUrl
from qgis.PyQt.QtGui import QIcon

from ..engine import (
    EngineError,
    Result,
    command_line,
    find_engine,
    quoted,
    run_engine,
)
from ..host import settings
from ..layer_parameters import Output, RasterOutput
from ..layers import name_after, title_of
from ..parameters import Parameter, Values
from ..progress import Progress
from ..tools import Cancelled
from ..translation import tr

FOLDER = Path(__file__).parent.parent
RESUME = "--resume"
_OPTION = re.compile(r"'?(--[a-z][a-z-]+)'?")
_UNIT = re.compile(r"\((?:mm|m2|m)\)")


@dataclass(frozen=True)
class Value:
    """A result that is a number or a text.

    Parameters
    ----------
    name : in scripts and models
    label : for the user
    key : in the engine's result; "gsd_mm.0" is the first of a list, "after.iou" lies in an object
    text : it is a text, no number
    """

    name: str
    label: str
    key: str
    text: bool = False

    def definition(self) -> QgsProcessingOutputNumber | QgsProcessingOutputString:
        """The output as QGIS knows it."""
        kind = QgsProcessingOutputString if self.text else QgsProcessingOutputNumber
        return kind(self.name, self.label)

    def of(self, values: Mapping[str, Any]) -> Any:
        """Its value, None where the engine has none (the width of no crack)."""
        value: Any = values
        for part in self.key.split("."):
            if isinstance(value, list):
                value = value[int(part)]
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        return ", ".join(map(str, value)) if isinstance(value, list) else value


class EngineAlgorithm(QgsProcessingAlgorithm):
    """One command of the engine.

    A subclass says what it is; see `map_cracks.py`.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    SUMMARY: ClassVar[str]  # one sentence, shown as a tool tip
    HELP: ClassVar[str]  # paragraphs of HTML
    GROUP: ClassVar[tuple[str, str]] = ("cracks", tr("Cracks"))
    TAGS: ClassVar[str]  # separated by commas
    COMMAND: ClassVar[str]  # of the engine
    FLAGS: ClassVar[tuple[str, ...]] = ()  # options that are always given
    PARAMETERS: ClassVar[tuple[Parameter, ...]]
    VALUES: ClassVar[tuple[Value, ...]] = ()
    SHARES: ClassVar[tuple[tuple[str, float], ...]] = ()  # stages of the engine, share of time

    def __init__(self):
        super().__init__()
        self.handed: dict[str, str] = {}  # temporary files that stand for layers
        self.paths: dict[str, str] = {}  # where outputs go, by name
        self.outputs: list[Output] = []  # those that are wanted
        self.title = ""  # what layers are named after

    def createInstance(self):
        """A new one, as QGIS asks for each run."""
        return type(self)()

    def name(self):
        """The name in scripts."""
        return self.NAME

    def displayName(self):
        """The name in the toolbox."""
        return self.TITLE

    def group(self):
        """The group in the toolbox."""
        return self.GROUP[1]

    def groupId(self):
        """The group's name in scripts."""
        return self.GROUP[0]

    def tags(self):
        """Words one may search for."""
        return [tag.strip() for tag in self.TAGS.split(",")]

    def icon(self):
        """The plugin's icon."""
        return QIcon(str(FOLDER / "icon.svg"))

    def shortDescription(self):
        """What it does, in one sentence."""
        return self.SUMMARY

    def shortHelpString(self):
        """The help beside the dialog: what it does and each parameter."""
        rows = [f"<h3>{p.label}</h3><p>{p.help}</p>" for p in self.PARAMETERS]
        return f"<p>{self.SUMMARY}</p>{self.HELP}{''.join(rows)}"

    def helpUrl(self):
        """The tutorial, which the zip holds: it needs no net."""
        page = FOLDER / "help" / "qgis.html"
        return QUrl.fromLocalFile(str(page)).toString() if page.exists() else ""

    def initAlgorithm(self, configuration=None):
        """Declare parameters and results."""
        for parameter in self.PARAMETERS:
            self.addParameter(parameter.definition())
        for value in self.VALUES:
            self.addOutput(value.definition())

    def checkParameterValues(self, parameters, context):
        """Also refuse what the engine could not open or write."""
        ok, message = super().checkParameterValues(parameters, context)
        values = Values(self, parameters, context, QgsProcessingFeedback(False))
        try:
            for parameter in self.PARAMETERS if ok else ():
                parameter.check(values)
        except QgsProcessingException as error:
            return False, str(error)
        return ok, message

    def prepareAlgorithm(self, parameters, context, feedback):
        """Read layers and settings, in the thread they live in; write what the engine reads."""
        values = Values(self, parameters, context, feedback)
        outputs = [p for p in self.PARAMETERS if isinstance(p, Output)]
        self.outputs = [p for p in outputs if p.is_wanted(values)]
        inputs = (p for p in self.PARAMETERS if p not in outputs)
        self.inputs = [argument for p in inputs for argument in p.arguments(values)]
        self.handed = values.handed
        self.title = title_of(self.parameterAsRasterLayer(parameters, "INPUT", context))
        self.settings = settings()
        return True

    def processAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and give its results.

        Raises
        ------
        QgsProcessingException
            With the engine's message and remedy.
        """
        # Not before: what is to be loaded counts in the context of the run's own thread only.
        values = Values(self, parameters, context, feedback)
        targets = [argument for p in self.outputs for argument in p.target(values)]
        self.arguments = [self.COMMAND, *self.inputs, *targets, *self.FLAGS]
        self.paths = values.paths
        try:
            result = self.run_command(feedback)
        except Cancelled:
            feedback.pushInfo(tr("Cancelled: the output was not written."))
            for parameter in self.PARAMETERS:
                if parameter.option == RESUME:
                    feedback.pushInfo(tr("To take up what was done: {}.").format(parameter.label))
            return {}
        except EngineError as error:
            raise QgsProcessingException(self.explain(error)) from error
        found = {v.name: v.of(result.values) for v in self.VALUES}
        for value in self.VALUES:
            label = value.label if has_ground_units(result.values) else _without_units(value.label)
            feedback.pushInfo(f"{label}: {_readable(found[value.name])}")
        return {**self.paths, **found}

    def postProcessAlgorithm(self, context, feedback):
        """Name the rasters that QGIS loads after the image."""
        for parameter in self.outputs:
            if isinstance(parameter, RasterOutput):
                path = self.paths.get(parameter.name, "")
                name_after(context, path, parameter.label, self.title)
        return {}

    def run_command(self, feedback: QgsProcessingFeedback) -> Result:
        """Find the engine, say the command, run it."""

        def cancelled() -> bool:
            return is_cancelled(feedback)

        engine = find_engine(self.settings)
        version = engine.check_version(cancelled)
        feedback.pushInfo(tr("Engine: crackgeo {} ({})").format(version, engine.origin))
        feedback.pushCommandInfo(quoted(command_line(engine, self.arguments)))
        progress = Progress(feedback, self.SHARES, self.in_words)
        return run_engine(engine, self.arguments, progress.take, cancelled)

    def explain(self, error: EngineError) -> str:
        """The whole error for the user."""
        remedy = f"\n{tr('What to do')}: {error.remedy}" if error.remedy else ""
        return self.in_words(f"{error.message}{remedy}")

    def in_words(self, text: str) -> str:
        """What the engine says, with layers for its files and labels for its options."""
        for path, layer in self.handed.items():
            text = text.replace(str(Path(path)), layer).replace(path, layer)
        labels = {p.option: f'"{p.label}"' for p in self.PARAMETERS if p.option}
        return _OPTION.sub(lambda found: labels.get(found[1], found[0]), text)


def is_cancelled(feedback: QgsProcessingFeedback) -> bool:
    """Whether the user cancelled, also where the run holds up the window, as QGIS's batches do."""
    if threading.current_thread() is threading.main_thread():  # not QThread's: see `host.settings`
        QCoreApplication.processEvents()
    return feedback.isCanceled()


def has_ground_units(values: Mapping[str, Any]) -> bool:
    """Whether lengths of a result are metres: the engine says so where they may not be."""
    return bool(values.get("ground_units", values.get("has_ground_units", True)))


def _without_units(label: str) -> str:
    """A label for lengths in the units of an image without CRS."""
    return _UNIT.sub(f"({tr('units of the image')})", label)


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return tr("none") if value is None else str(value)
