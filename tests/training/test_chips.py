import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from crackgeo_training.labelling.blocks import ChipSpec, plan_chips
from crackgeo_training.labelling.chips import make_chips
from crackgeo_training.labelling.layouts import find_pairs
from crackgeo_training.pictures.pairs import read_label, write_label
from crackgeo_training.pictures.records import Record, read_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from survey import grid_of_lines, write_lines, write_raster

from crackgeo import cli
from crackgeo.errors import Cancelled, InputError, UsageError
from crackgeo.grid import Window
from crackgeo.monitor import Monitor
from crackgeo.specs import BandSpec

SMALL = ChipSpec(size_px=112, gap_px=24)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    lines = grid_of_lines()
    raster = write_raster(folder / "survey.tif", lines)
    labels = write_lines(folder / "labels.gpkg", lines, width_mm=[10.0] * len(lines))
    return raster, labels


def rows_of(folder):
    with (folder / "manifest.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


@settings(max_examples=30, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(0, 1999), st.integers(0, 1499)), min_size=2, max_size=12),
    gap=st.integers(0, 120),
    seed=st.integers(0, 5),
)
def test_training_and_validation_never_touch(points, gap, seed):
    raster = Window(0, 0, 1500, 2000)
    marks = shapely.points(np.array(points)).astype(object)
    marked = shapely.buffer(marks, 3)
    chips = plan_chips(raster, raster, marked, ChipSpec(224, gap, seed=seed))
    boxes = {
        split: [
            shapely.box(c.window.col, c.window.row, c.window.col_end, c.window.row_end)
            for c in chips
            if c.split == split
        ]
        for split in ("train", "val")
    }
    for a in boxes["train"]:
        for b in boxes["val"]:
            assert not shapely.area(shapely.intersection(a, b))
            assert gap == 0 or shapely.distance(a, b) >= gap
    assert boxes["train"] or not boxes["val"]


def test_chips_hold_the_pixels_and_labels_of_their_window(survey, tmp_path):
    as_it_is = BandSpec(stretch=(0, 255))
    result = make_chips(survey[0], tmp_path / "c", survey[1], chip_spec=SMALL, bands=as_it_is)
    rows = rows_of(tmp_path / "c")
    assert result.train + result.val == len(rows)
    assert result.val_cracks >= 1
    assert result.train_cracks > result.val_cracks
    assert result.warnings == ()
    for row in rows:
        image, label = read_label(
            Record("", "", tmp_path / "c" / row["image"], tmp_path / "c" / row["mask"])
        )
        dark = image.max(axis=2) < 100
        crack = label == 1
        assert crack.sum() == int(row["crack_px"])
        if crack.any():  # the drawn line is 5 px, the label 10 mm of 2 mm
            assert (dark & crack).sum() > 0.6 * crack.sum()
    sheet = cv2.imread(str(tmp_path / "c" / "contact_sheet.png"))
    assert sheet.shape[1] == 6 * 228
    assert json.loads((tmp_path / "c" / "chips.json").read_text())["raster"] == "survey.tif"


def test_what_unlabelled_pictures_tell_is_json_whatever_no_data_is(survey, tmp_path):
    raster = tmp_path / "floats.tif"
    with rasterio.open(survey[0]) as source:
        pixels, profile = source.read(), source.profile
    with rasterio.open(raster, "w", **{**profile, "dtype": "float32"}) as floats:
        floats.write(pixels.astype("float32"))
    args = ["chips", str(raster), "--unlabelled", "--nodata", "nan", "-o", str(tmp_path / "c")]
    assert cli.run(args) == 0

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    text = (tmp_path / "c" / "chips.json").read_text()
    assert json.loads(text, parse_constant=refuse)["bands"]["nodata"] == "nan"


def test_labels_off_the_dark_ridges_are_told(survey, tmp_path):
    lines = grid_of_lines()
    moved = write_lines(tmp_path / "m.gpkg", lines, offset=(9, -4), width_mm=[10.0] * len(lines))
    result = make_chips(survey[0], tmp_path / "c", moved, chip_spec=SMALL)
    assert (result.shift.cols, result.shift.rows) == (-9, 4)
    assert "10 px off the dark ridges" in result.warnings[-1]


def test_one_place_with_labels_leaves_nothing_to_validate(survey, tmp_path):
    labels = write_lines(tmp_path / "one.gpkg", [[(20, 20), (80, 60)]], width_mm=[10.0])
    result = make_chips(survey[0], tmp_path / "c", labels, chip_spec=SMALL)
    assert result.val_cracks == 0
    assert any("validation has no crack" in w for w in result.warnings)
    assert any("labels fill 0% of the raster" in w for w in result.warnings)


def test_stopping_leaves_nothing(survey, tmp_path):
    stop = Monitor(is_cancelled=lambda: True)
    with pytest.raises(Cancelled):
        make_chips(survey[0], tmp_path / "c", survey[1], chip_spec=SMALL, monitor=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["folder", "raster", "labels", "unlabelled"])
def test_chips_are_not_written_over_what_they_are_made_of(survey, tmp_path, role, capsys):
    out = tmp_path / "c"
    make_chips(survey[0], out, survey[1], chip_spec=SMALL)
    raster, labels = (Path(shutil.copy(path, out / path.name)) for path in survey)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    given = {
        "folder": [out],
        "raster": [raster, "--labels", survey[1]],
        "labels": [survey[0], "--labels", labels],
        "unlabelled": [raster, "--unlabelled"],
    }
    assert cli.run(["chips", *map(str, given[role]), "-o", str(out), "--overwrite"]) == 2
    assert "is read by this run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before


def test_only_chips_are_overwritten(survey, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("keep me")
    with pytest.raises(UsageError, match="exists already"):
        make_chips(survey[0], tmp_path / "c", survey[1], chip_spec=SMALL)
    with pytest.raises(UsageError, match="so it is not overwritten"):
        make_chips(survey[0], tmp_path / "c", survey[1], chip_spec=SMALL, overwrite=True)
    assert (tmp_path / "c" / "thesis.txt").read_text() == "keep me"


def test_chips_are_not_split_anew(survey, tmp_path):
    make_chips(survey[0], tmp_path / "c", survey[1], chip_spec=SMALL)
    with pytest.raises(UsageError, match="holds chips already") as caught:
        make_chips(tmp_path / "c", tmp_path / "d")
    assert "--data" in caught.value.remedy


def test_a_label_file_keeps_open_ground(tmp_path):
    label = np.array([[0, 1, 255], [1, 255, 0]], np.uint8)
    write_label(tmp_path / "m.png", label)
    cv2.imwrite(str(tmp_path / "i.png"), np.zeros((2, 3, 3), np.uint8))
    record = Record("", "", tmp_path / "i.png", tmp_path / "m.png")
    np.testing.assert_array_equal(read_label(record)[1], label)


def picture(path, crack_row=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((60, 80, 3), 170, np.uint8)
    image[crack_row : crack_row + 4] = 20
    cv2.imwrite(str(path), image)
    return np.where(image[..., 0] < 90, 255, 0).astype(np.uint8)


def save_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mat":
        segments = np.where(mask > 0, 2, 1).astype(np.uint16)
        kind = np.array([[(segments,)]], dtype=[("Segmentation", object)])
        savemat(path, {"groundTruth": kind})
    else:
        cv2.imwrite(str(path), mask)


LAYOUTS = {
    "khanhha": ("{split}/images/{name}.jpg", "{split}/masks/{name}.jpg"),
    "deepcrack": ("{split}_img/{name}.jpg", "{split}_lab/{name}.png"),
    "crack500": ("{split}crop/{name}.jpg", "{split}crop/{name}.png"),
    "crackforest": ("image/{split}{name}.jpg", "groundTruth/{split}{name}.mat"),
    "plain": ("images/{split}{name}.png", "masks/{split}{name}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_of_the_data_sets(layout, tmp_path):
    image, mask = LAYOUTS[layout]
    for split in ("train", "test"):
        for i in range(6):
            names = {"split": split, "name": f"{split}{i}"}
            crack = picture(tmp_path / "in" / image.format(**names), 10 + 3 * i)
            save_mask(tmp_path / "in" / mask.format(**names), crack)
    result = make_chips(tmp_path / "in", tmp_path / "out", chip_spec=ChipSpec(val_share=0.5))
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 12
    assert {int(row["crack_px"]) for row in rows} == {320}
    assert result.train > 0 < result.val


def test_pictures_of_one_name_in_several_splits_stay_apart(tmp_path):
    """As numbered data sets have them: 000.png to learn from, 000.png to validate on."""
    rows = {"train": 10, "val": 20, "test": 30}
    for split, row in rows.items():
        crack = picture(tmp_path / "in" / split / "images" / "000.png", row)
        save_mask(tmp_path / "in" / split / "masks" / "000.png", crack)
    make_chips(tmp_path / "in", tmp_path / "out")
    for record in read_manifest(tmp_path / "out" / "manifest.csv"):
        image, label = read_label(record)
        assert int(np.flatnonzero(label.any(axis=1))[0]) == rows[record.split]
        np.testing.assert_array_equal(label == 1, image[..., 0] < 90)


def write_plain(folder, cracked, empty=0):
    """Pictures c0, c1, ... with a crack, and e0, e1, ... without."""
    names = [f"c{i}" for i in range(cracked)] + [f"e{i}" for i in range(empty)]
    for i, name in enumerate(names):
        crack = picture(folder / "images" / f"{name}.png", 5 + i)
        save_mask(folder / "masks" / f"{name}.png", crack * name.startswith("c"))


def validating(folder):
    return {pair.name for pair in find_pairs(folder, 0.2) if pair.split == "val"}


@pytest.mark.parametrize("count", range(2, 12))
def test_small_folders_are_validated_on_cracks_too(count, tmp_path):
    write_plain(tmp_path / "in", count, empty=20)
    made = make_chips(tmp_path / "in", tmp_path / "out")
    assert made.val_cracks == max(1, round(0.2 * count))
    assert made.train_cracks == count - made.val_cracks
    assert made.val - made.val_cracks == 4


def test_most_of_what_validates_stays_when_a_folder_grows(tmp_path):
    write_plain(tmp_path, 20)
    before = validating(tmp_path)
    write_plain(tmp_path, 25)
    assert len(before & validating(tmp_path)) >= len(before) - 1


def test_one_photograph_alone_does_not_validate(tmp_path):
    for i in (1, 2, 3):
        crack = picture(tmp_path / "in" / "images" / f"wall-{i}.png")
        save_mask(tmp_path / "in" / "masks" / f"wall-{i}.png", crack)
    made = make_chips(tmp_path / "in", tmp_path / "out")
    assert made.val == 0
    [warning] = made.warnings
    assert "add pictures" in warning
    assert "one photograph" in warning
    assert "--chip-px" not in warning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("images/a.png", "images/a.jpg"),
        ("masks/a.png", "masks/a.bmp"),
        ("images/a.png", "train/images/a.png"),
    ],
)
def test_two_files_of_one_name_are_named(one, other, tmp_path):
    crack = picture(tmp_path / "images" / "a.png")
    save_mask(tmp_path / "masks" / "a.png", crack)
    picture(tmp_path / other)
    if other.startswith("train"):
        save_mask(tmp_path / "train" / "masks" / "a.png", crack)
    with pytest.raises(InputError, match="the same name") as caught:
        make_chips(tmp_path, tmp_path / "out")
    assert Path(one).name in caught.value.message
    assert "rename or remove" in caught.value.remedy


def test_open_ground_of_a_folder_stays_open(tmp_path):
    crack = picture(tmp_path / "in" / "images" / "a.png")
    crack[52:] = 127
    save_mask(tmp_path / "in" / "masks" / "a.png", crack)
    picture(tmp_path / "in" / "images" / "b.png")
    save_mask(tmp_path / "in" / "masks" / "b.png", np.where(crack == 127, crack, 0))
    make_chips(tmp_path / "in", tmp_path / "out")
    for record in read_manifest(tmp_path / "out" / "manifest.csv"):
        np.testing.assert_array_equal(read_label(record)[1] == 255, crack == 127)
    assert not validating(tmp_path / "in")  # only one of the two has a crack


def test_broken_folders_are_named(tmp_path, capsys):
    def attempt():
        return cli.run(["chips", str(tmp_path / "in"), "-o", str(tmp_path / "out")])

    (tmp_path / "in").mkdir()
    assert attempt() == 3
    assert "docs/finetune.md" in capsys.readouterr().err
    crack = picture(tmp_path / "in" / "images" / "a.png")
    (tmp_path / "in" / "masks").mkdir()
    assert attempt() == 3
    assert "no mask of that name" in capsys.readouterr().err
    mask = tmp_path / "in" / "masks" / "a.png"
    for wrong, message in (
        (crack[:50], "a.png: the mask has 80 x 50 pixels, its picture 80 x 60"),
        (crack // 255, "greatest value is 1"),
        (np.full_like(crack, 100), "grey picture"),
        (np.zeros_like(crack), "nothing to learn"),
    ):
        save_mask(mask, wrong)
        assert attempt() == 3
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert cli.run(["chips", str(mask), "-o", str(tmp_path / "out")]) == 2
    assert "--labels" in capsys.readouterr().err
    with pytest.raises(InputError):
        make_chips(tmp_path / "in", tmp_path / "out")


def test_a_folder_of_mostly_empty_masks_is_told(tmp_path):
    for i in range(3):
        crack = picture(tmp_path / "in" / "images" / f"{i}.png")
        (tmp_path / "in" / "masks").mkdir(exist_ok=True)
        save_mask(tmp_path / "in" / "masks" / f"{i}.png", crack if i == 0 else 0 * crack)
    made = make_chips(tmp_path / "in", tmp_path / "out")
    assert any("2 of 3 masks are empty" in warning for warning in made.warnings)
    save_mask(tmp_path / "in" / "masks" / "1.png", crack)
    made = make_chips(tmp_path / "in", tmp_path / "out2")
    assert not any("masks are empty" in warning for warning in made.warnings)


def test_the_command_says_what_it_made(survey, tmp_path, capsys):
    arguments = ["chips", str(survey[0]), "--labels", str(survey[1]), "-o", str(tmp_path / "c")]
    assert cli.run([*arguments, "--chip-px", "112", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["train"] > told["val"] > 0
    assert told["chip_px"] == 112
