"""The parts of the benchmarks that take no time, so that they keep up with what they measure."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pictures
import pytest
from crackgeo_training.pictures.records import read_manifest
from pictures import DarkModel, write_folder

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
ELSEWHERE = {"qgis_cancel"}  # runs within QGIS


@pytest.fixture
def script(monkeypatch):
    """A script of the folder, as a module."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A picture of deepcrack and one of masonry, in each split."""
    monkeypatch.setattr(pictures, "SETS", {"deepcrack": 2, "masonry": 6})
    return write_folder(tmp_path, per_set=1)


@pytest.mark.parametrize("name", sorted({path.stem for path in SCRIPTS.glob("*.py")} - ELSEWHERE))
def test_what_a_script_takes_from_the_packages_is_there(script, name):
    assert callable(script(name).main)


def test_a_variant_is_scored(script, shown):
    found = script("ablations").scores_of(DarkModel(), shown)["scores"]
    assert found["all"]["iou"] == found["deepcrack"]["iou"] == pytest.approx(1.0)
    assert found["masonry"]["f1_2px"] == pytest.approx(1.0)
    assert found["deepcrack"]["line_width_px"] == pytest.approx(2, abs=1)


def test_ridges_are_lines_that_are_darker_than_their_surroundings(script, shown):
    yardstick = script("yardstick")
    [record] = [r for r in read_manifest(shown / "manifest.csv", "val") if r.set == "deepcrack"]
    tried = yardstick.try_all(record)
    assert len(tried) == len(yardstick.HIGH) * len(yardstick.SIZE_PX)
    assert max(t["f1_2px"] for t in tried) > 0.8


def test_cables_over_pictures_are_counted(script, shown):
    records = read_manifest(shown / "manifest.csv", "val")
    rows = [script("cables").row(DarkModel(), records, kind) for kind in ("as they are", "cables")]
    assert rows[0] == "1.000 | 0 | -"
    assert rows[1].endswith("%")


def test_masks_are_measured(script):
    masks = script("real_masks")
    mask = np.zeros((40, 60), bool)
    mask[18:22, 5:55] = True
    found = masks.measure(mask, masks.vectors_of(mask))
    assert found["width_px"] == pytest.approx(4, abs=0.2)
    assert found["length_px"] == pytest.approx(50, abs=4)
