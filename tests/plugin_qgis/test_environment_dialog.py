"""The window that sets up the engine, and the same from the toolbox; pip is a stand-in."""

import shutil
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.qgis
FAKE = Path(__file__).parents[1] / "plugin_unit" / "fake_python.sh"


@pytest.fixture
def bare(provider, tmp_path, monkeypatch):
    """No engine anywhere; setting one up takes the stand-in for Python."""
    from qgis.core import QgsSettings

    from crackgeo import environment, interpreters

    QgsSettings().remove("crackgeo/executable")
    python = tmp_path / "python3"
    shutil.copy(FAKE, python)
    monkeypatch.delenv("CRACKGEO_EXECUTABLE", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", str(tmp_path / "home"))
    monkeypatch.setattr(interpreters, "candidates", lambda: [str(python)])
    monkeypatch.setattr(environment, "find_uv", lambda: None)
    monkeypatch.setattr(environment, "NEEDED_GB", 0.0)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / f"crackgeo-{environment.ENGINE_VERSION}-py3-none-any.whl").touch()
    monkeypatch.setattr(environment, "OWN_WHEELS", wheels)
    return tmp_path / "home"


@pytest.fixture
def dialog(bare, qgis_app):
    from crackgeo.gui.environment_dialog import EnvironmentDialog

    window = EnvironmentDialog()
    yield window
    window.stop()
    window.done(0)
    window.deleteLater()


def until(condition, limit_s=60):
    """Let the window live until something holds."""
    from qgis.PyQt.QtWidgets import QApplication

    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        QApplication.processEvents()
        time.sleep(0.01)


def rows(dialog):
    return [dialog.table.topLevelItem(i).text(0) for i in range(dialog.table.topLevelItemCount())]


def test_without_an_engine_it_says_what_is_missing(dialog):
    assert not dialog.actions[0].isEnabled(), "busy looking"
    until(lambda: dialog.task is None)
    assert "There is no engine yet" in dialog.status.text()
    assert {"QGIS", "engine", "Python for a set-up"} <= set(rows(dialog))
    assert dialog.actions[0].isEnabled()


def test_the_diagnostics_can_be_copied(dialog):
    from qgis.core import QgsApplication

    until(lambda: dialog.task is None)
    dialog.copy()
    text = QgsApplication.clipboard().text()
    assert "NO  engine" in text
    assert "QGIS" in text


def test_set_up_makes_an_engine_and_remove_takes_it_away(dialog, bare, monkeypatch):
    from qgis.PyQt.QtWidgets import QMessageBox

    from crackgeo import environment

    until(lambda: dialog.task is None)
    dialog.set_up()
    until(lambda: dialog.task is None)
    assert environment.managed_executable()
    assert "crackgeo[train] @ file:" in dialog.log.toPlainText()
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.Yes)
    dialog.remove()
    until(lambda: dialog.task is None)
    assert environment.managed_executable() is None


def test_what_went_wrong_is_shown_with_its_remedy(dialog, monkeypatch):
    until(lambda: dialog.task is None)
    monkeypatch.setenv("FAKE_FAIL", "packages")
    monkeypatch.setenv("FAKE_SAYS", "SSL error <a>")
    dialog.set_up()
    until(lambda: dialog.task is None)
    assert "SSL error &lt;a>" in dialog.status.text()
    assert "PIP_CERT" in dialog.status.text()
    dialog.wheels.setFilePath("/no/such/folder")
    dialog.set_up()
    assert "no such folder" in dialog.status.text()


def test_a_set_up_goes_on_without_the_window_and_can_be_cancelled_from_a_new_one(
    dialog, bare, monkeypatch
):
    from crackgeo.gui.environment_dialog import SET_UP, EnvironmentDialog, running

    until(lambda: dialog.task is None)
    monkeypatch.setenv("FAKE_HANG", "torch")
    dialog.set_up()
    until(lambda: "hanging" in dialog.log.toPlainText())
    dialog.done(0)
    task = running(SET_UP)
    assert task is not None
    second = EnvironmentDialog()
    assert second.task is task
    assert "hanging" in second.log.toPlainText()
    begin = time.monotonic()
    second.stop()
    until(lambda: second.task is None)
    assert time.monotonic() - begin < 5
    assert "goes on from here" in second.status.text()
    assert running(SET_UP) is None
    second.done(0)


def test_an_engine_of_the_users_own_is_kept(dialog, bare, tmp_path):
    from qgis.core import QgsSettings

    until(lambda: dialog.task is None)
    own = tmp_path / "crackgeo"
    own.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "crackgeo, version 9.0.0"\n')
    own.chmod(0o755)
    dialog.own.setFilePath(str(own))
    until(lambda: dialog.task is None)
    assert QgsSettings().value("crackgeo/executable") == str(own)
    problems = [f.found for f in dialog.diagnosis.problems]
    assert any("9.0.0" in found for found in problems)
    dialog.own.setFilePath("")
    dialog.keep_own()
    until(lambda: dialog.task is None)
    assert not QgsSettings().value("crackgeo/executable")


def test_what_went_wrong_can_be_copied_from_a_window_opened_later(dialog):
    from crackgeo.engine import EngineError
    from qgis.core import QgsApplication

    until(lambda: dialog.task is None)
    dialog.diagnosis = None
    dialog._show_error(EngineError("no room <a>", "make some"))
    dialog.log.setPlainText("the last line")
    dialog.copy()
    text = QgsApplication.clipboard().text()
    assert "no room <a>" in text
    assert text.endswith("the last line")


def test_another_program_does_not_end_the_set_up_that_is_watched(dialog, monkeypatch):
    until(lambda: dialog.task is None)
    monkeypatch.setenv("FAKE_HANG", "torch")
    dialog.set_up()
    until(lambda: "hanging" in dialog.log.toPlainText())
    task = dialog.task
    assert not dialog.own.isEnabled()
    dialog.own.setFilePath("/old/crackgeo")
    dialog.keep_own()
    assert dialog.task is task
    dialog.stop()
    until(lambda: dialog.task is None)
    assert dialog.own.isEnabled()
    dialog.own.setFilePath("")
    dialog.keep_own()
    until(lambda: dialog.task is None)


def test_a_program_that_is_none_has_its_own_headline(dialog):
    until(lambda: dialog.task is None)
    dialog.own.setFilePath("/old/crackgeo")
    until(lambda: dialog.task is None)
    assert "cannot be used" in dialog.status.text()
    assert "/old/crackgeo" in dialog.status.text()
    assert "empty the field Program" in dialog.status.text()
    dialog.own.setFilePath("")
    dialog.keep_own()
    until(lambda: dialog.task is None)
    assert "There is no engine yet" in dialog.status.text()


def test_enter_in_a_field_presses_no_button(dialog, monkeypatch):
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtTest import QTest
    from qgis.PyQt.QtWidgets import QApplication

    until(lambda: dialog.task is None)
    monkeypatch.setenv("FAKE_HANG", "torch")
    dialog.show()
    dialog.set_up()
    until(lambda: "hanging" in dialog.log.toPlainText())
    QTest.keyClick(dialog.wheels.lineEdit(), Qt.Key.Key_Return)
    QApplication.processEvents()
    assert not dialog.task.isCanceled()
    assert dialog.isVisible()


def test_a_set_up_that_was_cancelled_is_asked_for_again_as_it_was(
    dialog, bare, tmp_path, monkeypatch
):
    from crackgeo.gui.environment_dialog import EnvironmentDialog

    until(lambda: dialog.task is None)
    monkeypatch.setenv("FAKE_HANG", "packages")
    dialog.graphics_card.setChecked(True)
    dialog.offline.setChecked(False)
    dialog.wheels.setFilePath(str(tmp_path))
    dialog.set_up()
    until(lambda: "hanging" in dialog.log.toPlainText())
    dialog.stop()
    until(lambda: dialog.task is None)
    second = EnvironmentDialog()
    until(lambda: second.task is None)
    assert second.graphics_card.isChecked()
    assert not second.offline.isChecked()
    assert second.wheels.filePath() == str(tmp_path)
    second.done(0)


def test_a_check_that_is_cancelled_is_not_begun_again(dialog, monkeypatch):
    from crackgeo.gui import environment_dialog
    from crackgeo.tools import Cancelled

    until(lambda: dialog.task is None)
    begun = []

    def wait(settings, host, is_cancelled):
        begun.append(1)
        while not is_cancelled():
            time.sleep(0.01)
        raise Cancelled

    monkeypatch.setattr(environment_dialog, "diagnose", wait)
    dialog.check()
    until(lambda: begun)
    dialog.stop()
    until(lambda: dialog.task is None)
    assert begun == [1]
    assert dialog.status.text() == "Cancelled."


def check(parameters, feedback):
    import processing

    return processing.run("crackgeo:checkengine", parameters, feedback=feedback)


def test_the_toolbox_says_that_there_is_no_engine(bare, feedback):
    results = check({}, feedback)
    assert (results["READY"], results["PROBLEMS"], results["EXECUTABLE"]) == (0, 1, "")
    assert "NO  engine" in results["REPORT"]
    assert any("NO  engine" in text for text in feedback.of("warning"))


def test_the_toolbox_sets_it_up(bare, feedback):
    results = check({"SETUP": True}, feedback)
    assert results["EXECUTABLE"].startswith(str(bare))
    assert max(feedback.percents) == 100


def test_the_toolbox_shows_a_failed_set_up_whole(bare, feedback, monkeypatch, tmp_path):
    from qgis.core import QgsProcessingException

    monkeypatch.setenv("FAKE_FAIL", "torch")
    with pytest.raises(QgsProcessingException, match="torch: stopped with exit code 7"):
        check({"SETUP": True}, feedback)
    with pytest.raises(QgsProcessingException):
        check({"SETUP": True, "WHEELS": str(tmp_path / "none")}, feedback)
    assert any("no such folder" in text for text in feedback.of("error"))
