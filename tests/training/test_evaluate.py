import csv
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from crackgeo_training.pictures.colours import GREEN, OPEN_SHADE, RED
from crackgeo_training.pictures.pairs import write_label, write_picture
from crackgeo_training.pictures.records import Record, read_image
from crackgeo_training.scoring.evaluate import evaluate, find_records, rule_of
from crackgeo_training.scoring.metrics import ObjectRule
from crackgeo_training.scoring.report import to_dict, to_markdown, write_report
from crackgeo_training.scoring.sheets import CAPTION_PX, panel, write_extremes, write_sheet
from pictures import SETS, DarkModel, labelled

from crackgeo.errors import Cancelled, InputError, ResourceError
from crackgeo.models.protocol import ModelInfo
from crackgeo.monitor import Monitor


def test_a_model_that_sees_everything_scores_one(data):
    result = evaluate(DarkModel(), find_records(data, "val"))
    assert [(s.set, s.images) for s in result.scores] == [("thin", 3), ("wide", 3), ("all", 6)]
    for item in result.scores:
        for name in ("iou", "iou_pooled", "f1_2px", "cldice", "cliou_4px", "ods", "ois"):
            assert item.metrics[name].value == pytest.approx(1), (item.set, name)


def test_noise_hides_thin_cracks_before_wide_ones(data):
    result = evaluate(DarkModel(), find_records(data, "val"), variants=("clean", "noise2"))
    score = {(s.set, s.variant): s.metrics["recall"].value for s in result.scores}
    assert score["thin", "noise2"] < score["wide", "noise2"] <= score["wide", "clean"]


def test_sets_and_splits(data):
    assert {r.set for r in find_records(data, "val", ["thin"])} == {"thin"}
    assert len(find_records(data, None)) == 2 * 3 * len(SETS)
    with pytest.raises(InputError, match="no set nowhere"):
        find_records(data, "val", ["nowhere"])
    with pytest.raises(InputError, match="no image of split 'devtest'"):
        find_records(data, "devtest")


def test_plain_folders(tmp_path):
    for kind, array in zip(("images", "masks"), labelled(1, 4), strict=True):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / f"a.{'jpg' if kind == 'images' else 'png'}"), array)
    records = find_records(tmp_path, "val")
    assert [(r.set, r.mask.name) for r in records] == [(tmp_path.name, "a.png")]
    assert evaluate(DarkModel(), records).scores[0].metrics["iou"].value > 0.8
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(InputError, match="no mask of that name"):
        find_records(tmp_path, None)


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(InputError, match=r"neither a manifest\.csv nor"):
        find_records(tmp_path, None)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        find_records(tmp_path, None)


@pytest.mark.parametrize("factor", [1 / 255, 0.4])
def test_masks_that_are_none_are_refused(tmp_path, factor):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    image, mask = labelled(0, 4)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), (mask * factor).round().astype(np.uint8))
    with pytest.raises(InputError, match=r"a\.png: its greatest value"):
        evaluate(DarkModel(), find_records(tmp_path, None))


def test_a_sheet_shows_no_invention_where_nobody_labelled(tmp_path):
    image = np.full((300, 300, 3), 170, np.uint8)
    image[50:60] = 20  # labelled
    image[200:220] = 20  # a crack on ground that nobody labelled
    label = (image[..., 0] < 90).astype(np.uint8)
    label[150:] = 255
    write_picture(tmp_path / "i.png", image)
    write_label(tmp_path / "m.png", label)
    record = Record("val", "one", tmp_path / "i.png", tmp_path / "m.png")
    write_sheet(tmp_path / "new" / "sheet.png", DarkModel(), [record], ["one"])
    cells = read_image(tmp_path / "new" / "sheet.png")[CAPTION_PX:]
    seen, marked, _, outcome = (cells[:300, 304 * i : 304 * i + 300] for i in range(4))
    for cell in (marked, outcome):
        green = (cell == GREEN).all(axis=2)
        np.testing.assert_array_equal(green, label == 1)
    assert not (outcome == RED).all(axis=2).any()
    assert int(seen[180, 0, 0]) == int(170 * OPEN_SHADE)


def test_a_sheet_that_cannot_be_written_is_said(data, tmp_path):
    (tmp_path / "sheets").write_text("a file is in the way")
    records = find_records(data, "val")[:1]
    with pytest.raises(ResourceError, match="sheets"):
        write_sheet(tmp_path / "sheets" / "s.png", DarkModel(), records, ["one"])


def test_a_report_that_cannot_be_written_is_said(data, tmp_path):
    result = evaluate(DarkModel(), find_records(data, "val"))
    (tmp_path / "report").write_text("a file is in the way")
    with pytest.raises(ResourceError, match="report"):
        write_report(result, tmp_path / "report")


def test_the_rule_is_the_models_own_unless_told_otherwise():
    info = ModelInfo("m", "0", 0.6, 0.35, 33)
    assert rule_of(info) == ObjectRule(0.6, 0.35, 33)
    assert rule_of(info, 0.3) == ObjectRule(0.6, 0.35, 33, mask_at=0.3)


def test_cancelling_stops_between_pictures(data):
    model = DarkModel(batch_size=1)
    monitor = Monitor(is_cancelled=lambda: len(model.batches) >= 2)
    with pytest.raises(Cancelled):
        evaluate(model, find_records(data, "val"), monitor=monitor)
    assert len(model.batches) == 2


def test_progress_ends_at_the_total(data):
    seen = []
    monitor = Monitor(on_progress=lambda stage, done, total: seen.append((done, total)))
    evaluate(DarkModel(), find_records(data, "val"), variants=("clean", "noise1"), monitor=monitor)
    assert seen[0] == (0, 12)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_report_files_agree(data, tmp_path):
    result = evaluate(DarkModel(), find_records(data, "val"))
    write_report(result, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert stored == to_dict(result)
    with (tmp_path / "out" / "scores.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    by_name = {(r["set"], r["metric"]): float(r["value"]) for r in rows}
    for item in result.scores:
        for name, estimate in item.metrics.items():
            assert by_name[item.set, name] == pytest.approx(estimate.value, abs=1e-5, nan_ok=True)
    text = (tmp_path / "out" / "scores.md").read_text()
    assert "p >= 0.5" in text
    assert "| thin | 3 | 1.000 |" in text
    assert "clean by rule" not in text  # no crack-free picture, so no such column


def test_undefined_metrics_are_null_and_a_dash(data, tmp_path):
    image, mask = labelled(1, 3)
    for kind, array in (("images", image), ("masks", mask * 0)):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), array)
    records = find_records(tmp_path, None)
    result = evaluate(DarkModel(), records + find_records(data, "val"))
    stored = {s["set"]: s["metrics"] for s in to_dict(result)["scores"]}
    assert stored[tmp_path.name]["iou_crack"] == [None, None, None]
    assert stored[tmp_path.name]["clean"][0] == 0
    assert math.isnan(result.scores[0].metrics["iou_crack"].value)
    assert " - |" in to_markdown(result.scores)


def test_a_set_may_be_called_anything(data, tmp_path):
    records = [replace(r, set="../a|b") for r in find_records(data, "val")]
    result = evaluate(DarkModel(), records)
    out = tmp_path / "out"
    write_report(result, out)
    paths = write_extremes(out, DarkModel(), result.pictures, 1)
    assert [path.parent for path in paths] == [out] * 2
    assert all(path.is_file() for path in paths)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    rows = [row for row in to_markdown(result.scores).splitlines() if "../a" in row]
    assert all(r"../a\|b" in row for row in rows)


def test_a_panel_shows_right_wrong_and_missed():
    image = np.full((50, 100, 3), 128, np.uint8)
    truth, probability = np.zeros((50, 100), bool), np.zeros((50, 100), np.float32)
    truth[:, :40], probability[:, 20:60] = True, 0.9
    row = panel(image, truth, probability, 0.5, "caption", side_px=100)
    outcome = row[16:, 3 * 104 :]
    assert outcome[25, 10].tolist() == [40, 110, 255]  # missed
    assert outcome[25, 30].tolist() == [40, 200, 60]  # right
    assert outcome[25, 50].tolist() == [230, 40, 30]  # invented


def test_sheets_of_the_worst_and_best(data, tmp_path):
    model = DarkModel(threshold=0.5)
    result = evaluate(model, find_records(data, "val"))
    paths = write_extremes(tmp_path, model, result.pictures, 2)
    assert sorted(p.name for p in paths) == [
        "thin_best.png",
        "thin_worst.png",
        "wide_best.png",
        "wide_worst.png",
    ]
    sheet = cv2.imread(str(paths[0]))
    assert sheet.shape == (2 * (16 + 225 + 4), 4 * 304, 3)
