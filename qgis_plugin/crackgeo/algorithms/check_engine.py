"""crackgeo:checkengine, what is there, what is missing, and setting it up."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
)

from ..diagnostics import Diagnosis, diagnose, proxy_url
from ..engine import EngineError
from ..environment import Request, set_up
from ..host import host_versions, settings
from ..parameters import Parameter
from ..steps import Reporter
from ..tools import Cancelled
from ..translation import tr
from .base import EngineAlgorithm, Value


class Switch(Parameter):
    """Yes or no."""

    def _make(self):
        return QgsProcessingParameterBoolean(self.name, self.label, self.default)


class Folder(Parameter):
    """A folder that is there."""

    def _make(self):
        kind = QgsProcessingParameterFile.Behavior.Folder
        return QgsProcessingParameterFile(self.name, self.label, kind, optional=self.optional)


SETUP = Switch(
    "SETUP",
    tr("Set up the engine"),
    tr(
        "Makes, finishes or repairs the engine's own Python environment in your user folder. "
        "QGIS's Python is not touched. Needs about 3 GB of room and some minutes; what was "
        "interrupted goes on where it stopped."
    ),
    default=False,
)
WHEELS = Folder(
    "WHEELS",
    tr("Folder of wheels"),
    tr("Where to look for packages on a machine without internet, see the tutorial."),
    optional=True,
)
OFFLINE = Switch(
    "OFFLINE",
    tr("Use nothing but the folder of wheels"),
    tr("Off: what the folder lacks comes from the package index."),
    default=True,
    advanced=True,
)
GRAPHICS_CARD = Switch(
    "GRAPHICS_CARD",
    tr("For an NVIDIA graphics card"),
    tr("A larger set-up, about 3 GB to download, that runs on CUDA."),
    default=False,
    advanced=True,
)


class CheckEngine(EngineAlgorithm):
    """Nothing in, a report out."""

    NAME = "checkengine"
    TITLE = tr("Check engine")
    SUMMARY = tr(
        "Says whether the crackgeo engine works, what is missing, and sets it up if asked."
    )
    HELP = tr(
        "<p>The engine does the work in a Python of its own. This finds it as every other "
        "algorithm does: the variable CRACKGEO_EXECUTABLE, the path set in Plugins &gt; CrackGeo "
        "&gt; Engine, the managed environment, the PATH. Send the report along with a question.</p>"
    )
    GROUP = ("engine", tr("Engine"))
    TAGS = tr("crack,engine,install,setup,doctor,diagnostics,python,environment")
    COMMAND = "doctor"
    PARAMETERS = (SETUP, WHEELS, OFFLINE, GRAPHICS_CARD)
    VALUES = (
        Value("READY", tr("Ready: 1, or 0"), "ready"),
        Value("PROBLEMS", tr("Problems"), "problems"),
        Value("VERSION", tr("Version of the engine"), "version", text=True),
        Value("EXECUTABLE", tr("Path of the engine"), "executable", text=True),
        Value("REPORT", tr("Report"), "report", text=True),
    )

    def prepareAlgorithm(self, parameters, context, feedback):
        """Read parameters and settings, and what it runs in."""
        self.settings, self.host = settings(), host_versions()
        wanted = self.parameterAsBool(parameters, SETUP.name, context)
        try:
            self.request = self._request(parameters, context) if wanted else None
        except EngineError as error:
            raise QgsProcessingException(self.explain(error)) from error
        return True

    def processAlgorithm(self, parameters, context, feedback):
        """Set up if asked, then look at everything."""
        try:
            if self.request:
                set_up(self.request, reporter(feedback))
            diagnosis = diagnose(self.settings, self.host, feedback.isCanceled)
        except Cancelled:
            feedback.pushInfo(tr("Cancelled. The next set-up goes on from here."))
            return {}
        except EngineError as error:
            raise QgsProcessingException(self.explain(error)) from error
        for finding in diagnosis.findings:
            show = feedback.pushInfo if finding.ok else feedback.pushWarning
            show(str(finding))
        found = outcome(diagnosis)
        return {value.name: value.of(found) for value in self.VALUES}

    def _request(self, parameters, context):
        return Request(
            wheels=self.parameterAsFile(parameters, WHEELS.name, context),
            offline=self.parameterAsBool(parameters, OFFLINE.name, context),
            graphics_card=self.parameterAsBool(parameters, GRAPHICS_CARD.name, context),
            proxy=proxy_url(self.settings),
        )


def reporter(feedback) -> Reporter:
    """The set-up's progress as a Processing log."""

    def on_progress(percent: int, stage: str) -> None:
        feedback.setProgress(percent)
        feedback.setProgressText(tr("Setting up: {}").format(stage))

    return Reporter(on_progress, feedback.pushConsoleInfo, feedback.isCanceled)


def outcome(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as the values of the algorithm."""
    return {
        "ready": int(diagnosis.ready),
        "problems": len(diagnosis.problems),
        "version": diagnosis.version,
        "executable": diagnosis.engine.executable if diagnosis.engine else "",
        "report": diagnosis.report(),
    }
