"""The record of a run: what the table `runs` and the JSON file say."""

import json
import sqlite3

import numpy as np
import pytest
from fakes import IdentityModel
from rasters import write

from crackgeo import cli
from crackgeo.errors import UsageError
from crackgeo.monitor import Monitor
from crackgeo.pipeline import map_cracks, predict_raster
from crackgeo.report import StageClock


def test_time_between_reports_belongs_to_the_first(monkeypatch):
    times = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr("crackgeo.report.time.monotonic", lambda: next(times))
    heard = []
    clock = StageClock(Monitor(on_progress=lambda *event: heard.append(event)))
    for event in (("predict", 0, 2), ("predict", 2, 2), ("write", 0, 1), ("predict", 0, 1)):
        clock.monitor.step(*event)
    assert clock.seconds() == {"open": 1.0, "predict": 2.0 + 3.0 + 5.0, "write": 4.0}
    assert heard[2] == ("write", 0, 1)


def test_predict_says_what_it_did_and_left_out(tmp_path):
    survey = tmp_path / "survey"
    survey.mkdir()
    write(survey / "a.tif", np.full((1, 60, 80), 7, np.uint8))
    (survey / "b.tif").write_text("no raster")
    out, report = tmp_path / "p.tif", tmp_path / "p.json"
    options = {"model": IdentityModel(), "on_error": "skip", "report": report}
    predict_raster(survey, out, **options)
    said = json.loads(report.read_text())
    assert [one["name"] for one in said["run"]["inputs"]] == ["a.tif", "b.tif"]
    assert len(said["run"]["inputs"][0]["header_sha256"]) == 64
    assert "not a raster" in said["run"]["inputs"][1]["error"]
    assert said["run"]["options"]["overlap"] == 112
    assert {"python", "gdal", "torch"} <= set(said["run"]["versions"])
    assert list(said["run"]["stages"]) == ["open", "predict", "write"]
    assert (said["result"]["tiles_run"], said["result"]["left_out"]) == (1, ["b.tif"])
    with pytest.raises(UsageError, match=r"p\.json: exists already"):
        predict_raster(survey, tmp_path / "q.tif", **options)


def strict_json(text):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_has_no_word_for_are_text(tmp_path, capfd):
    pixels = np.full((3, 60, 80), 7, np.float32)
    pixels[:, :, :20] = np.nan
    path, out, report = tmp_path / "a.tif", tmp_path / "o.gpkg", tmp_path / "o.json"
    write(path, pixels, nodata=np.nan)
    assert cli.run(["info", str(path), "--no-timing", "--json"]) == 0
    assert strict_json(capfd.readouterr().out)["nodata"] == "nan"
    map_cracks(path, out, model=IdentityModel(), nodata=-np.inf, report=report)
    assert strict_json(report.read_text())["run"]["options"]["nodata"] == "-inf"
    with sqlite3.connect(out) as database:
        (options,) = database.execute("SELECT options FROM runs").fetchone()
    database.close()
    assert strict_json(options)["nodata"] == "-inf"


def test_the_table_and_the_file_agree(tmp_path):
    pixels = np.full((1, 120, 300), 1, np.uint8)
    pixels[:, 50:55, 50:250] = 254
    path = write(tmp_path / "a.tif", pixels)
    out, report = tmp_path / "o.gpkg", tmp_path / "o.json"
    map_cracks(path, out, model=IdentityModel(), report=report)
    said = json.loads(report.read_text())
    with sqlite3.connect(out) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM runs").fetchall()
    database.close()
    for name in ("inputs", "skipped", "options", "versions", "stages"):
        assert json.loads(row[name]) == said["run"][name], name
    assert (row["n_cracks"], row["model"]) == (said["result"]["cracks"], said["run"]["model"])
    assert 0 < sum(said["run"]["stages"].values()) <= said["result"]["seconds"]
    assert {"predict", "skeleton", "coverage"} <= set(said["run"]["stages"])
