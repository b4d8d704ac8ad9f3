"""Every algorithm with the real engine, from the command line of QGIS."""

import re

import pytest
from qgis.core import QgsVectorLayer

pytestmark = pytest.mark.qgis


def run(qgis_process, name, **parameters):
    given = [f"{k}={v}" for k, v in parameters.items()]
    return qgis_process("--json", "run", f"crackgeo:{name}", "--", *given).json["results"]


def test_the_provider_is_listed(qgis_process):
    providers = qgis_process("--json", "list").json["providers"]
    assert set(providers["crackgeo"]["algorithms"]) == {
        f"crackgeo:{name}"
        for name in (
            "mapcracks", "predictprobability", "vectorizecracks", "rasterinfo", "finetune",
            "checkengine",
        )
    }  # fmt: skip


def test_help_shows_parameters_and_outputs(qgis_process):
    text = qgis_process("help", "crackgeo:mapcracks").stdout
    for word in ("MIN_LENGTH", "OUTPUT", "COUNT", "Finds the cracks"):
        assert word in text


def test_mapcracks(qgis_process, survey, tmp_path):
    out, prob = tmp_path / "cracks.gpkg", tmp_path / "p.tif"
    results = run(
        qgis_process, "mapcracks", INPUT=survey, MIN_LENGTH=0, OUTPUT=out, PROBABILITY=prob
    )
    layer = QgsVectorLayer(results["OUTPUT"], "cracks", "ogr")
    assert layer.featureCount() == results["COUNT"] >= 1
    lengths = [f["length_m"] for f in layer.getFeatures()]
    assert results["LONGEST"] == pytest.approx(max(lengths))
    assert results["LENGTH"] == pytest.approx(sum(lengths))
    assert 0.4 < results["LENGTH"] < 0.8  # the line drawn is 0.55 m long
    assert prob.stat().st_size > 0
    assert layer.crs().authid() == "EPSG:32632"


def test_predictprobability_and_vectorizecracks(qgis_process, survey, tmp_path):
    prob, out = tmp_path / "p.tif", tmp_path / "o.gpkg"
    results = run(qgis_process, "predictprobability", INPUT=survey, OUTPUT=prob)
    assert results["TILES"] == 1
    assert results["PIXELS"] == 90000
    results = run(qgis_process, "vectorizecracks", INPUT=prob, MIN_LENGTH=0, OUTPUT=out)
    assert results["COUNT"] >= 1
    assert results["SURVEYED"] == pytest.approx(0.36, rel=1e-2)


def test_rasterinfo(qgis_process, survey):
    results = run(qgis_process, "rasterinfo", INPUT=survey)
    assert (results["WIDTH"], results["HEIGHT"], results["TILES"]) == (300, 300, 1)
    assert results["GSD_X"] == pytest.approx(2, rel=1e-2)
    assert "32632" in results["CRS"]
    assert results["SECONDS"] > 0


def test_finetune(qgis_process, labelled, tmp_path):
    raster, lines = labelled
    out = tmp_path / "mine.safetensors"
    results = run(
        qgis_process, "finetune", INPUT=raster, LABELS=lines, LABEL_WIDTH=10, ITERATIONS=1,
        OUTPUT=out,
    )  # fmt: skip
    assert results["OUTPUT"] == str(out)
    assert out.stat().st_size > 1e6
    assert 0 < results["IOU_BEFORE"] < 1


def test_checkengine(qgis_process, real_engine):
    results = run(qgis_process, "checkengine")
    assert (results["VERSION"], results["EXECUTABLE"]) == ("0.1.0", real_engine)
    assert (results["READY"], results["PROBLEMS"]) == (1, 0), results["REPORT"]
    for name in ("engine", "torch", "model compact"):
        assert re.search(rf"(?m)^ok +{name} ", results["REPORT"]), results["REPORT"]


def test_an_error_of_the_engine_is_shown_with_its_remedy(qgis_process, survey, tmp_path):
    out = tmp_path / "o.gpkg"
    done = qgis_process(
        "run", "crackgeo:mapcracks", "--", f"INPUT={survey}", "MODEL=nonesuch", f"OUTPUT={out}",
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "nonesuch" in said
    assert "What to do" in said
    assert not out.exists()
