"""QGIS's own batch window, filled in and run; in QGIS 3.22 it runs in the window's thread."""

import time

import pytest
from qgis.core import QgsProcessingContext, QgsProject
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication, QTextEdit

pytestmark = pytest.mark.qgis


@pytest.fixture
def batch(provider, qgis_iface, qgis_new_project):
    """Open the window and fill it in: a row for each output."""
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog
    from qgis.core import QgsApplication

    opened = []

    def open_window(survey, outputs):
        registry = QgsApplication.processingRegistry()
        window = BatchAlgorithmDialog(registry.createAlgorithmById("crackgeo:mapcracks"))
        opened.append(window)
        window.show()  # newer QGIS deletes one that nobody sees when it is done
        panel = window.mainWidget()
        panel.checkLoadLayersOnCompletion.setChecked(True)
        while panel.batchRowCount() < len(outputs):
            panel.addRow()
        for row, output in enumerate(outputs):
            wrapper = panel.wrappers[row][panel.parameter_to_column["INPUT"]]
            wrapper.setParameterValue(survey, QgsProcessingContext())
            column = panel.parameter_to_column["OUTPUT"]
            panel.tblParameters.cellWidget(row + 1, column).setValue(str(output))
        return window

    yield open_window
    for window in opened:
        window.close()
        window.deleteLater()


def run(window, ready, limit_s=60):
    window.runAlgorithm()
    deadline = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < deadline, window.findChildren(QTextEdit)[-1].toPlainText()
        QApplication.processEvents()
        time.sleep(0.01)


def has_ended(window):
    return not window.cancelButton().isEnabled()


def test_a_batch_writes_and_loads_each_row(fake_engine, batch, survey, tmp_path):
    outputs = [tmp_path / "one.gpkg", tmp_path / "two.gpkg"]
    window = batch(survey, outputs)
    run(window, lambda: len(QgsProject.instance().mapLayers()) >= 6)
    names = [layer.name() for layer in QgsProject.instance().mapLayers().values()]
    assert sorted(names) == sorted(
        2 * ["Cracks, survey one", "Crack outlines, survey one", "Coverage, survey one"]
    )
    assert all(output.exists() for output in outputs)


def test_a_batch_is_cancelled_by_its_button_while_the_engine_is_silent(
    fake_engine, batch, survey, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAKE_WAITS", "1")
    outputs = [tmp_path / "one.gpkg", tmp_path / "two.gpkg"]
    window = batch(survey, outputs)
    QTimer.singleShot(2000, window.cancelButton().click)
    run(window, lambda: has_ended(window), limit_s=20)
    assert not any(output.exists() for output in outputs)
