"""QGIS with the real engine: a model of one's own, progress, models and batches, and its end."""

import ast
import json
import os
import signal
import time
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProject,
    QgsVectorLayer,
)

pytestmark = pytest.mark.qgis


@pytest.fixture
def engine(real_engine, provider, monkeypatch):
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", real_engine)
    return real_engine


@pytest.fixture(scope="module")
def tuned(real_engine, provider, labelled, tmp_path_factory):
    """The folder, results and log of a fine-tuning of two steps."""
    from qgis.core import QgsProcessingFeedback

    folder = tmp_path_factory.mktemp("tuned")
    feedback = QgsProcessingFeedback(False)
    percents = []
    feedback.progressChanged.connect(percents.append)
    survey, lines = labelled
    parameters = {
        "INPUT": survey,
        "LABELS": f"{lines}|layername=cracks",
        "LABEL_WIDTH": 10,
        "ITERATIONS": 2,
        "OUTPUT": str(folder / "mine.safetensors"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACKGEO_EXECUTABLE", real_engine)
        results = processing.run("crackgeo:finetune", parameters, feedback=feedback)
    return folder, results, percents


def test_finetune_gives_a_model_a_report_and_numbers(tuned):
    folder, results, _ = tuned
    assert results["OUTPUT"] == str(folder / "mine.safetensors")
    assert Path(results["OUTPUT"]).stat().st_size > 1e6
    assert Path(results["REPORT"]).read_text(encoding="utf-8").startswith("#")
    assert 0 < results["IOU_BEFORE"] < 1
    assert 0 < results["IOU_AFTER"] < 1


def test_finetune_shows_its_progress(tuned):
    _, _, percents = tuned
    assert percents == sorted(percents)
    assert any(5 < percent < 95 for percent in percents), "the steps, the most of its time"
    assert percents[-1] == pytest.approx(100)


def test_the_model_of_ones_own_maps(engine, tuned, survey, feedback):
    parameters = {
        "INPUT": survey,
        "MODEL": tuned[1]["OUTPUT"],
        "MIN_LENGTH": 0,
        "OUTPUT": "TEMPORARY_OUTPUT",
    }
    results = processing.run("crackgeo:mapcracks", parameters, feedback=feedback)
    assert results["COUNT"] >= 1
    assert "--model" in feedback.of("command")[0]
    assert feedback.percents == sorted(feedback.percents)
    assert feedback.percents[-1] == pytest.approx(100)


def test_a_second_run_into_the_same_file_shows_its_cracks(
    engine, mapped, tmp_path, feedback, qgis_new_project
):
    """QGIS would go on reading the file that was replaced."""
    project = QgsProject.instance()
    for min_length, some in ((0, True), (50, False)):
        parameters = {
            "INPUT": mapped[1],
            "MIN_LENGTH": min_length,
            "OUTPUT": str(tmp_path / "o.gpkg"),
        }
        context = QgsProcessingContext()
        context.setProject(project)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            "crackgeo:vectorizecracks"
        )
        processing.runAndLoadResults(algorithm, parameters, feedback=feedback, context=context)
        cracks = [v for v in project.mapLayers().values() if v.name().startswith("Cracks")]
        assert cracks
        assert [len(list(v.getFeatures())) > 0 for v in cracks] == [some] * len(cracks)
        assert {v.renderer().type() for v in cracks} == {"graduatedSymbol"}


def test_without_a_crack_in_the_labels_it_says_so(engine, labelled, tmp_path, feedback):
    from qgis.core import QgsProcessingException

    empty = QgsVectorLayer("LineString?crs=EPSG:32632", "nothing", "memory")
    parameters = {
        "INPUT": labelled[0],
        "LABELS": empty,
        "OUTPUT": str(tmp_path / "m.safetensors"),
    }
    with pytest.raises(QgsProcessingException):
        processing.run("crackgeo:finetune", parameters, feedback=feedback)
    assert "Corrected cracks: no feature to use" in "".join(feedback.of("error"))
    assert not (tmp_path / "m.safetensors").exists()


def processes(word):
    """Ids of processes with a word in their command line, QGIS's own programs left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if word.encode() in command and b"qgis_process" not in command:
            found.append(path.parent.name)
    return found


def until(condition, limit_s=120):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        QgsApplication.processEvents()
        time.sleep(0.02)


def test_a_cancel_ends_the_engine_and_leaves_no_output(engine, large, tmp_path, feedback):
    target = tmp_path / "cancelled.gpkg"
    algorithm = QgsApplication.processingRegistry().algorithmById("crackgeo:mapcracks")
    context = QgsProcessingContext()
    parameters = {"INPUT": large, "OUTPUT": str(target)}
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    done = []
    task.executed.connect(lambda ok, results: done.append(results))
    QgsApplication.taskManager().addTask(task)
    work = tmp_path / "cancelled.gpkg.work"
    until(lambda: any(work.glob("*/rows-*.tif")) or done)  # without a finished row nothing is kept
    assert any("looking at tiles" in text for text in feedback.of("progress"))
    assert processes(target.name)
    task.cancel()
    until(lambda: done)
    assert done == [{}]
    until(lambda: not processes(target.name), limit_s=10)
    assert [p.name for p in tmp_path.iterdir()] == ["cancelled.gpkg.work"]
    assert any("Go on with a cancelled run" in text for text in feedback.of("info"))


def test_the_engine_ends_with_a_qgis_that_is_killed(qgis_process, large, tmp_path):
    """With SIGKILL, as a task manager does."""
    target = tmp_path / "killed.gpkg"
    arguments = ["run", "crackgeo:mapcracks", "--", f"INPUT={large}", f"OUTPUT={target}"]
    host = qgis_process.start(*arguments)
    until(lambda: (tmp_path / "killed.gpkg.work").exists() or host.poll() is not None)
    assert processes(target.name)
    host.send_signal(signal.SIGKILL)
    host.wait()
    until(lambda: not processes(target.name), limit_s=10)
    assert not target.exists()
    assert [p for p in tmp_path.iterdir() if ".part-" in p.name] == []


def test_an_engine_deep_in_its_start_ends_too(qgis_process, large, tmp_path):
    target = tmp_path / "early.gpkg"
    arguments = ["run", "crackgeo:mapcracks", "--", f"INPUT={large}", f"OUTPUT={target}"]
    host = qgis_process.start(*arguments)
    until(lambda: processes(target.name) or host.poll() is not None)
    assert host.poll() is None
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    until(lambda: not processes(target.name), limit_s=20)


def test_a_model_from_the_designer_runs_by_its_file(qgis_process, chain, survey, tmp_path):
    path, output = chain
    out = tmp_path / "out.gpkg"
    done = qgis_process("--json", "run", path, "--", f"image={survey}", f"{output}={out}")
    assert out.exists(), done.stdout
    assert QgsVectorLayer(f"{out}|layername=cracks", "c", "ogr").featureCount() >= 1


INFO = "crackgeo:rasterinfo"


def copied_as_python(algorithm, parameters):
    """What the history and the dialog's Copy as Python Command give."""
    said = algorithm.asPythonCommand(parameters, QgsProcessingContext())
    command = ast.parse(said, mode="eval").body
    return ast.literal_eval(command.args[1])


def copied_as_json(algorithm, parameters):
    if not hasattr(algorithm, "asMap"):
        pytest.skip("QGIS before 3.24 cannot copy as JSON")
    return json.loads(json.dumps(algorithm.asMap(parameters, QgsProcessingContext())))["inputs"]


@pytest.mark.parametrize("copied", [copied_as_python, copied_as_json])
def test_a_copied_run_is_the_same_run(engine, survey, copied):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(INFO)
    given = copied(algorithm, {"INPUT": survey, "GSD": 0.004, "DEVICE": "cpu"})
    assert (given["INPUT"], given["GSD"], given["DEVICE"]) == (survey, 0.004, "cpu")
    results = processing.run(INFO, given)
    assert results["TILES"] == 1
    assert results["GSD_X"] == pytest.approx(4, rel=1e-2)
