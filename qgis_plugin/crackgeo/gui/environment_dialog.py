"""Plugins > CrackGeo > Engine: what is there, what is missing, set up, remove, diagnostics."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtGui import QTextDocument
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMessageBox,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from ..diagnostics import Diagnosis, Finding, diagnose, proxy_url
from ..engine import EXECUTABLE_SETTING, EngineError
from ..engine import SET_UP as NO_ENGINE
from ..environment import Request, last_request, remove, set_up
from ..host import host_versions, settings
from ..steps import Reporter
from ..translation import tr
from .background import Background, running

CHECK, SET_UP, REMOVE = tr("Checking crackgeo"), tr("Setting up crackgeo"), tr("Removing crackgeo")
STAGES = {
    "Python": tr("making the environment"),
    "torch": tr("downloading and installing torch, the largest part"),
    "packages": tr("downloading and installing the engine and its other packages"),
    "kernels": tr("compiling the measuring code, once"),
    "check": tr("trying the engine"),
}


class EnvironmentDialog(QDialog):
    """Closing it leaves a set-up running; opened again, it shows that set-up."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setWindowTitle(tr("CrackGeo: the engine"))
        self.resize(820, 720)
        self.task = None
        self.diagnosis = None
        layout = QVBoxLayout(self)
        self.status = QLabel()
        self.status.setWordWrap(True)
        layout.addWidget(self.status)
        layout.addWidget(self._make_table(), stretch=3)
        layout.addWidget(self._make_set_up_box())
        layout.addWidget(self._make_own_box())
        layout.addLayout(self._make_progress())
        self.log = QPlainTextEdit(readOnly=True)
        self.log.textChanged.connect(self._show_log)
        layout.addWidget(self.log, stretch=2)
        layout.addWidget(self._make_buttons())
        self._show_log()
        under_way = running(SET_UP)
        if under_way:
            self._watch(under_way)
        else:
            self.check()

    def _make_table(self):
        self.table = QTreeWidget()
        self.table.setHeaderLabels([tr("What"), tr("Found")])
        self.table.setRootIsDecorated(False)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        resize = QHeaderView.ResizeMode.ResizeToContents
        self.table.header().setSectionResizeMode(0, resize)
        return self.table

    def _make_set_up_box(self):
        box = QGroupBox(tr("Set up an engine of its own, apart from QGIS"))
        form = QFormLayout(box)
        last = last_request()  # one that was cut off goes on only if the same is asked for
        self.wheels = QgsFileWidget()
        self.wheels.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.wheels.setFilePath(last.wheels)
        self.wheels.lineEdit().setPlaceholderText(
            tr("only without internet, or for a build of yours")
        )
        form.addRow(tr("Folder of wheels"), self.wheels)
        self.offline = QCheckBox(tr("Use nothing but this folder"), checked=last.offline)
        form.addRow("", self.offline)
        self.graphics_card = QCheckBox(
            tr("For an NVIDIA graphics card (about 3 GB to download)"), checked=last.graphics_card
        )
        form.addRow("", self.graphics_card)
        return box

    def _make_own_box(self):
        box = QGroupBox(tr("Or use an engine that is there"))
        form = QFormLayout(box)
        self.own = QgsFileWidget()
        self.own.setFilePath(settings()[EXECUTABLE_SETTING])
        self.own.lineEdit().setPlaceholderText(tr("path of the program crackgeo; empty: as above"))
        self.own.lineEdit().editingFinished.connect(self.keep_own)
        self.own.fileChanged.connect(self._picked)
        form.addRow(tr("Program"), self.own)
        return box

    def _make_progress(self):
        row = QHBoxLayout()
        self.bar = QProgressBar()
        self.stage = QLabel()
        self.cancel = QPushButton(tr("Cancel"))
        self.cancel.setAutoDefault(False)  # Enter in a field shall press no button
        self.cancel.clicked.connect(self.stop)
        row.addWidget(self.bar, stretch=1)
        row.addWidget(self.stage, stretch=2)
        row.addWidget(self.cancel)
        return row

    def _make_buttons(self):
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        buttons.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        self.actions = []
        for text, action in (
            (tr("Set up"), self.set_up),
            (tr("Remove"), self.remove),
            (tr("Check again"), self.check),
            (tr("Copy diagnostics"), self.copy),
        ):
            button = QPushButton(text)
            button.setAutoDefault(False)
            button.clicked.connect(action)
            buttons.addButton(button, QDialogButtonBox.ButtonRole.ActionRole)
            self.actions.append(button)
        return buttons

    def check(self):
        """Look at everything, without blocking the window."""

        def work(reporter: Reporter) -> Diagnosis:
            return diagnose(kept, host, reporter.is_cancelled)

        kept, host = settings(), host_versions()
        self.status.setText(tr("Looking for the engine..."))
        self._watch(Background(CHECK, work).start())

    def set_up(self):
        """Make, finish or repair the managed environment."""
        try:
            request = Request(
                wheels=self.wheels.filePath(),
                offline=self.offline.isChecked(),
                graphics_card=self.graphics_card.isChecked(),
                proxy=proxy_url(settings()),
            )
        except EngineError as error:
            self._show_error(error)
            return
        self.log.clear()
        self.status.setText(tr("Setting up the engine. This window may be closed meanwhile."))
        self._watch(Background(SET_UP, lambda reporter: set_up(request, reporter)).start())

    def remove(self):
        """Remove the managed environment, if the user means it."""
        answer = QMessageBox.question(
            self, self.windowTitle(), tr("Remove the engine that this plugin has set up?")
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._watch(Background(REMOVE, lambda reporter: remove()).start())

    def copy(self):
        """Put the report on the clipboard."""
        status = QTextDocument()
        status.setHtml(self.status.text())
        report = [self.diagnosis.report()] if self.diagnosis else []
        text = [status.toPlainText(), *report, "", *self.log.toPlainText().splitlines()[-40:]]
        QgsApplication.clipboard().setText("\n".join(text).strip())

    def keep_own(self):
        """Remember the user's own engine, and look at it."""
        path = self.own.filePath()
        if path != settings()[EXECUTABLE_SETTING]:
            QgsSettings().setValue(EXECUTABLE_SETTING, path)
            if self.task is None or self.task.description() == CHECK:  # it ends a check only
                self.check()

    def _picked(self, path):
        if not self.own.lineEdit().hasFocus():  # chosen in the file window, not being typed
            self.keep_own()

    def stop(self):
        """End what is running."""
        if self.task:
            self.stage.setText(tr("stopping..."))
            self.task.cancel()

    def done(self, code):
        """Close; only a set-up goes on without the window."""
        task = self._forget()
        if task and task.description() == CHECK:
            task.cancel()
        super().done(code)

    def _watch(self, task):
        self._forget()
        self.task = task
        self.log.setPlainText("\n".join(task.lines))
        self.bar.setValue(round(task.progress()))
        task.line.connect(self.log.appendPlainText)
        task.stage.connect(self._show_stage)
        task.progressChanged.connect(self._show_progress)
        task.ended.connect(self._ended)
        self._show_busy(True)

    def _forget(self):
        task, self.task = self.task, None
        if task:
            task.line.disconnect(self.log.appendPlainText)
            task.stage.disconnect(self._show_stage)
            task.progressChanged.disconnect(self._show_progress)
            task.ended.disconnect(self._ended)
        return task

    def _show_log(self):
        self.log.setVisible(not self.log.document().isEmpty())

    def _show_stage(self, stage):
        self.stage.setText(STAGES.get(stage, ""))

    def _show_progress(self, percent):
        self.bar.setValue(round(percent))

    def _show_busy(self, busy):
        for button in self.actions:
            button.setEnabled(not busy)
        self.own.setEnabled(not busy or self.task.description() == CHECK)
        self.cancel.setVisible(busy)
        self.bar.setVisible(busy)
        self.stage.setVisible(busy)
        checking = bool(self.task) and self.task.description() == CHECK
        self.bar.setMaximum(0 if busy and checking else 100)  # 0: moves without a percentage

    def _ended(self):
        task = self._forget()
        self._show_busy(False)
        if task.error:
            self._show_error(task.error)
        elif isinstance(task.result, Diagnosis):
            self._show(task.result)
        elif task.isCanceled() and task.description() == SET_UP:
            self.status.setText(tr("Cancelled. The next set-up goes on from here."))
        elif task.isCanceled() and task.description() == CHECK:
            self.status.setText(tr("Cancelled."))
        else:
            self._keep_log_and_check()

    def _keep_log_and_check(self):
        text = self.log.toPlainText()
        self.check()
        self.log.setPlainText(text)

    def _show_error(self, error):
        self.status.setText(_trouble(tr("That did not work."), error.message, error.remedy))

    def _show(self, diagnosis):
        self.diagnosis = diagnosis
        self.table.clear()
        self.table.addTopLevelItems([_row(finding) for finding in diagnosis.findings])
        self.status.setText(_headline(diagnosis))


def _row(finding: Finding) -> QTreeWidgetItem:
    found = finding.found if finding.ok else f"{finding.found} ({finding.remedy})"
    row = QTreeWidgetItem([finding.name, found])
    theme = "/mIconSuccess.svg" if finding.ok else "/mIconWarning.svg"
    row.setIcon(0, QgsApplication.getThemeIcon(theme))
    row.setToolTip(1, found)
    return row


def _headline(diagnosis: Diagnosis) -> str:
    if diagnosis.ready:
        ready = tr("The engine is ready: crackgeo {}, {}.")
        return f"<b>{ready.format(diagnosis.version, _html(diagnosis.engine.origin))}</b>"
    if diagnosis.engine is None:
        (problem,) = (f for f in diagnosis.problems if f.name == "engine")
        if problem.remedy != NO_ENGINE:
            headline = tr("The engine that was found cannot be used.")
            return _trouble(headline, problem.found, problem.remedy)
        return f"<b>{tr('There is no engine yet.')}</b> {tr('Set up makes one in some minutes.')}"
    return f"<b>{tr('The engine has problems:')}</b> {len(diagnosis.problems)}"


def _trouble(headline: str, message: str, remedy: str) -> str:
    what = f"<br>{tr('What to do')}: {_html(remedy)}" if remedy else ""
    return f"<b>{headline}</b> {_html(message)}{what}"


def _html(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("\n", "<br>")
