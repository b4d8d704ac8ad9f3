import csv
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crackgeo_training.config import load_config
from crackgeo_training.drawing.scenes import draw_negative
from crackgeo_training.pictures.augment import augment
from crackgeo_training.pictures.data import (
    CORE,
    CrackDataset,
    around_cracks,
    fill_shape,
    held_out,
    loosen,
    mark_core,
    training_records,
)
from crackgeo_training.pictures.records import IGNORE, read_manifest, read_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SETS, labelled

from crackgeo.errors import InputError, UsageError

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"


@pytest.fixture(scope="module")
def config():
    full = load_config(CONFIG)
    weights = {"thin": 1.0, "wide": 1.0}
    return replace(
        full,
        data=replace(
            full.data,
            set_weight=weights,
            loose_px={"wide": 2.0},
            extra_manifests=(),
            hold_out_sets=(),
        ),
        augment=replace(full.augment, crop_px=64, hue=0.0),
    )


# ---- configuration


@pytest.mark.parametrize("path", sorted(CONFIG.parent.glob("compact*.toml")), ids=lambda p: p.stem)
def test_the_shipped_configurations_are_complete_and_fit_together(path):
    config = load_config(path)
    assert config.augment.scale == (0.5, 2.0)
    assert config.train.iterations > 0
    data = config.data
    assert set(data.loose_px) | set(data.hold_out_sets) <= set(data.set_weight)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 2026", "", r"\[train\] has missing keys: seed"),
        ("seed = 2026", "seed = 2026\nsede = 1", r"\[train\] has unknown keys: sede"),
        ('precision = "bf16"', 'precision = "half"', "not 'fp32' or 'bf16'"),
        (
            "iterations = 7000",
            'iterations = "ten"',
            r"c\.toml: \[train\] iterations is 'ten', not a w",
        ),
        ("iterations = 7000", "iterations = true", "iterations is True, not a whole number"),
        ("crop_px = 256", "crop_px = 250", r"c\.toml: \[augment\] crop_px is 250, which"),
        ("batch = 8", "batch = 0", r"\[train\] batch is 0, not 1 or more"),
        ("checkpoint_every = 100", "checkpoint_every = 0", "checkpoint_every is 0, not 1 or more"),
        ("warmup = 150", "warmup = 0", "warmup is 0, not 1 or more"),
        ("encoder_lr = 3.5e-4", "encoder_lr = nan", "encoder_lr is nan, not 0 or more"),
        ("blur = 0.35", "blur = 35", r"\[augment\] blur is 35, not from 0 to 1"),
        ("scale = [0.5, 2.0]", "scale = [0.5]", r"scale is \(0\.5,\), not a list of 2, each a num"),
        ("scale = [0.5, 2.0]", "scale = [2, 0.5]", r"scale is \(2, 0\.5\), the larger number"),
        ("encoder_lr = 3.5e-4", "encoder_lr = inf", "encoder_lr is inf, not 0 or more"),
        ("scale = [0.5, 2.0]", "scale = [0, 2]", r"scale is \(0, 2\), not 0\.001 or more"),
        ("cfd = 1.2", 'cfd = "much"', r"\[data\] set_weight is .*, not a table of numbers"),
        ("seed = 2026", "seed = 2026\nteacher = 3", "not a text or a list, each a text"),
        ("decay_share = 0.3", "decay_share = 0.0", "decay_share is a share"),
        ("[train]", "[train", "not a readable TOML file"),
        ("[augment]", "[augmentation]", "has unknown tables or keys: augmentation"),
        ("jpeg = 0.2", "", r"\[augment\] has missing keys: jpeg"),
    ],
)
def test_wrong_configurations_are_named(tmp_path, old, new, message):
    path = tmp_path / "c.toml"
    path.write_text(CONFIG.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_config(path)


def test_a_configuration_without_its_tables_is_named(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("data = 3\n")
    with pytest.raises(UsageError, match=r"c\.toml: data is 3, not a table") as told:
        load_config(path)
    assert "compact.toml" in told.value.remedy
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a readable TOML file"):
        load_config(path)


def test_a_configuration_takes_what_it_does_not_set_from_its_base(tmp_path):
    (tmp_path / "first.toml").write_text(CONFIG.read_text())
    (tmp_path / "second.toml").write_text('base = "first.toml"\n[train]\nseed = 7\n')
    third = (
        'base = "second.toml"\n[data.set_weight]\ncfd = 9.0\nmoon = 1.0\n[augment]\nplain = 0.5\n'
    )
    (tmp_path / "third.toml").write_text(third)

    config, first = load_config(tmp_path / "third.toml"), load_config(CONFIG)

    assert config.data.set_weight == {**first.data.set_weight, "cfd": 9.0, "moon": 1.0}
    assert config.augment == replace(first.augment, plain=0.5)
    assert config.train == replace(first.train, seed=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "c.toml"', r"c\.toml: is its own base"),
        ('base = "d.toml"', r"c\.toml: is its own base"),
        ('base = "none.toml"', r"none\.toml: not a readable TOML file"),
        ('base = "whole.toml"\n[augmnt]\nplain = 1.0', r"unknown tables or keys: augmnt"),
        ('base = "whole.toml"\n[augment]\nplian = 1.0', r"\[augment\] has unknown keys: plian"),
    ],
)
def test_wrong_bases_are_named(tmp_path, text, message):
    (tmp_path / "whole.toml").write_text(CONFIG.read_text())
    (tmp_path / "d.toml").write_text('base = "c.toml"')
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_config(tmp_path / "c.toml")


def test_missing_configuration(tmp_path):
    with pytest.raises(UsageError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")


def test_options_may_be_left_out(tmp_path):
    optional = ("extra_manifests", "hold_out_sets", "hue", "skeleton_weight", "decay_share")
    lines = CONFIG.read_text().splitlines()
    (tmp_path / "c.toml").write_text("\n".join(t for t in lines if not t.startswith(optional)))
    config = load_config(tmp_path / "c.toml")
    assert (config.augment.hue, config.train.skeleton_weight) == (0, 0)
    assert config.data.extra_manifests == config.data.hold_out_sets == ()
    assert config.train.decay_share is None


# ---- manifest and pictures


def test_a_run_learns_from_all_its_manifests_less_what_is_held_out(data, config, monkeypatch):
    plain = training_records(data, config.data)
    assert {r.split for r in plain} == {"train"}
    held = replace(config.data, hold_out_sets=("thin", "wide"))
    assert training_records(data, held) == plain  # they all have cracks
    monkeypatch.setattr("crackgeo_training.pictures.data.has_crack", lambda r: False)
    held = replace(config.data, hold_out_sets=("thin",))
    apart = set(plain) - set(training_records(data, held))
    assert apart == {r for r in plain if r.set == "thin" and held_out(r)} != set()
    twice = replace(config.data, extra_manifests=("manifest.csv",))
    assert training_records(data, twice) == plain * 2


def test_manifest_columns_and_files(tmp_path):
    with pytest.raises(InputError, match="no such manifest"):
        read_manifest(tmp_path / "manifest.csv")
    (tmp_path / "manifest.csv").write_text("split,set,image\ntrain,a,b\n")
    with pytest.raises(InputError, match="column 'mask' is missing"):
        read_manifest(tmp_path / "manifest.csv")


def test_pictures_and_masks_must_fit(data, tmp_path):
    record = read_manifest(data / "manifest.csv", "train")[0]
    image, mask = read_pair(record)
    assert image[mask > 0].max() == 20
    assert set(np.unique(mask)) == {0, 1}
    with pytest.raises(InputError, match=r"no\.png: cannot be read \(No such file"):
        read_pair(replace(record, mask=tmp_path / "no.png"))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match="pixels, its picture"):
        read_pair(replace(record, mask=tmp_path / "small.png"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_may_come_from_a_spreadsheet(tmp_path, encoding):
    (tmp_path / "manifest.csv").write_text("split,set,image,mask\ntrain,ä,b,c\n", encoding)
    assert [r.set for r in read_manifest(tmp_path / "manifest.csv")] == ["ä"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("split,set,image,mask\ntrain,ä,b,c\n".encode("latin-1"), "not UTF-8"),
        ("split,set,image,mask\ntrain,ä,b,c\n".encode("utf-16"), "not UTF-8"),
        (b"split,set,image,mask\ntrain,a,b,c\ntrain,a,b\n", "line 3 has no mask"),
        (b"split,set,image,mask\ntrain,a,,c\n", "line 2 has no image"),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path, content, words):
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_manifest(tmp_path / "manifest.csv")


def test_files_of_sixteen_bits(data, tmp_path):
    record = read_manifest(data / "manifest.csv", "train")[0]
    image, mask = read_pair(record)
    deep = replace(record, mask=tmp_path / "m.png", image=tmp_path / "i.png")
    shutil.copy(record.image, deep.image)
    for most in (255, 65535):
        cv2.imwrite(str(deep.mask), mask.astype(np.uint16) * most)
        np.testing.assert_array_equal(read_pair(deep)[1], mask)
    cv2.imwrite(str(tmp_path / "m.tif"), mask.astype(np.float32))
    with pytest.raises(InputError, match="holds float32, no mask"):
        read_pair(replace(deep, mask=tmp_path / "m.tif"))
    cv2.imwrite(str(deep.image), image.astype(np.uint16) * 16)
    with pytest.raises(InputError, match="has 16 bits a colour") as caught:
        read_pair(deep)
    assert "-ot Byte" in caught.value.remedy


# ---- labels


def test_training_reads_masks_as_all_others_do(data, tmp_path, config):
    (record,) = read_manifest(data / "manifest.csv", "train")[:1]
    _, mask = read_pair(record)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "manifest.csv").write_text(f"split,set,image,mask\ntrain,{record.set},i.png,m.png\n")
    shutil.copy(record.image, folder / "i.png")
    samples = CrackDataset(read_manifest(folder / "manifest.csv"), config)
    cv2.imwrite(str(folder / "m.png"), np.where(mask > 0, 255, 127).astype(np.uint8))
    _, label = samples.read(samples.by_set[record.set][0])
    np.testing.assert_array_equal(label == IGNORE, mask == 0)  # open ground is not learned from
    cv2.imwrite(str(folder / "m.png"), mask)
    with pytest.raises(InputError, match="its greatest value is 1"):
        samples.read(samples.by_set[record.set][0])


def bar(width_px):
    mask = np.zeros((40, 60), np.uint8)
    mask[20 - width_px // 2 : 20 - width_px // 2 + width_px, 5:55] = 1
    return mask


def test_a_loose_label_keeps_its_core_and_forgets_its_rim():
    label = loosen(bar(12), 3)
    column = label[14:26, 30].tolist()
    assert column == [IGNORE] * 3 + [1] * 6 + [IGNORE] * 3
    assert not label[:14].any()  # background stays background


def test_thin_labels_stay_whole():
    for width_px in (1, 2, 3):
        assert (loosen(bar(width_px), 3)[:, 10:50] == bar(width_px)[:, 10:50]).all()


def test_no_rim_or_no_crack_changes_nothing():
    assert loosen(bar(9), 0) is not None
    assert (loosen(bar(9), 0) == bar(9)).all()
    empty = np.zeros((9, 9), np.uint8)
    assert (loosen(empty, 3) == empty).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 14), st.floats(0.5, 5))
def test_loosening_never_invents_nor_erases(width_px, rim_px):
    mask = bar(width_px)
    label = loosen(mask, rim_px)
    assert ((label > 0) == (mask > 0)).all()
    assert (label == 1).any(axis=0)[11:49].all()  # the crack is still there all along


def test_the_core_is_three_pixels_on_the_centreline():
    label = mark_core(loosen(bar(12), 2))
    assert label[14:26, 30].tolist() == [255, 255, 1, 1, 2, 2, 2, 1, 1, 1, 255, 255]
    assert (mark_core(bar(1))[20, 10:50] == CORE).all()
    assert not mark_core(np.zeros((9, 9), np.uint8)).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 14), st.floats(0, 4))
def test_the_core_lies_in_the_crack(width_px, rim_px):
    label = loosen(bar(width_px), rim_px)
    marked = mark_core(label)
    assert (np.where(marked == CORE, 1, marked) == label).all()
    assert (marked == CORE).any(axis=0)[20:40].all()


# ---- augmentation


def test_an_outline_is_learned_near_cracks_only():
    label = np.zeros((40, 60), np.uint8)
    label[20, 30] = 1
    label[20, 31] = IGNORE
    out = around_cracks(label)
    assert (out[20, 30], out[20, 31], out[20, 33], out[14, 30]) == (1, IGNORE, 0, 0)
    assert (out[20, :20] == IGNORE).all()
    assert (around_cracks(np.zeros((9, 9), np.uint8)) == IGNORE).all()


def test_labels_stay_on_their_cracks(config):
    plain = replace(config.augment, tone=0, gamma=0, blur=0, noise=0, jpeg=0, shadow=0, paint=0)
    hits = total = 0
    for seed in range(40):
        image, mask = labelled(seed, 5)
        rng = np.random.default_rng(seed)
        x, y = augment(image, mask // 255, replace(plain, grey=0), rng)
        dark = x.mean(axis=2) < 90
        hits += (dark & (y == 1)).sum()
        total += (dark | (y == 1)).sum()
    assert hits / total > 0.8


def test_augmented_crops_have_the_size_and_types_asked_for(config):
    heavy = dict.fromkeys(("tone", "gamma", "hue", "blur", "noise", "jpeg", "shadow", "paint"), 1.0)
    image, mask = labelled(3, 4, (90, 300))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, y = augment(image, loosen(mask // 255, 1), replace(config.augment, **heavy), rng)
        assert (x.shape, x.dtype, y.shape, y.dtype) == ((64, 64, 3), np.uint8, (64, 64), np.uint8)
        assert set(np.unique(y)) <= {0, 1, IGNORE}


def test_a_plain_crop_is_a_piece_of_the_picture_pixel_for_pixel(config):
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (300, 280, 3), dtype=np.uint8)
    mask = (rng.random((300, 280)) < 0.02).astype(np.uint8)
    size = config.augment.crop_px
    asked = replace(config.augment, plain=1.0, rotate_any=1.0, scale=(0.5, 2.0))

    x, y = augment(image, mask, asked, rng)

    around = np.pad(image, ((size, size), (size, size), (0, 0)), mode="reflect")
    labels = np.pad(mask, size, mode="reflect")
    found = False
    for turn in range(4):
        for flipped in (False, True):
            crop, label = np.rot90(x, turn), np.rot90(y, turn)
            if flipped:
                crop, label = crop[:, ::-1], label[:, ::-1]
            for row, col in np.argwhere((around == crop[0, 0]).all(axis=-1)):
                place = np.s_[row : row + size, col : col + size]
                if np.array_equal(around[place], crop):
                    found = np.array_equal(labels[place], label)
    assert found


def test_a_crop_that_stays_inside_holds_no_mirror_image(config):
    image = np.arange(210 * 230, dtype=np.int32).reshape(210, 230)  # each pixel its own colour
    coded = np.stack([image % 251, image // 251, np.zeros_like(image)], axis=-1).astype(np.uint8)
    mask = np.zeros((210, 230), np.uint8)
    mask[0, :] = 1  # draws centres to the border
    asked = replace(config.augment, plain=1.0, inside=True)
    for seed in range(30):
        x, _ = augment(coded, mask, asked, np.random.default_rng(seed))
        assert len(np.unique(x.reshape(-1, 3), axis=0)) == 64 * 64


def test_a_flat_picture_stands_in_the_middle_of_a_crop_that_stays_inside(config):
    image, mask = np.full((220, 700, 3), 7, np.uint8), np.zeros((220, 700), np.uint8)
    image[110] = 200
    asked = replace(config.augment, plain=1.0, inside=True, crop_px=300)
    for seed in range(8):
        x, _ = augment(image, mask, asked, np.random.default_rng(seed))
        bright = x[..., 0] == 200
        lines = np.nonzero(bright.all(axis=1) | bright.all(axis=0))[0]
        assert abs(lines - 150).min() <= 1


def test_drawn_scenes_are_pictures_of_all_kinds():
    means = set()
    for seed in range(8):
        image = draw_negative(np.random.default_rng(seed), 96)
        assert (image.shape, image.dtype) == ((96, 96, 3), np.uint8)
        assert image.std() > 1
        means.add(image.mean().round())
    assert len(means) > 5


def test_another_hue_is_the_same_picture(config):
    image, mask = labelled(5, 5)
    hue = dict.fromkeys(("tone", "gamma", "blur", "noise", "jpeg", "shadow", "paint", "grey"), 0.0)
    plain = replace(config.augment, **hue)
    x, y = augment(image, mask // 255, plain, np.random.default_rng(2))
    other, label = augment(image, mask // 255, replace(plain, hue=1.0), np.random.default_rng(2))
    assert (label == y).all()
    assert np.abs(x.mean((0, 1)) - other.mean((0, 1))).max() > 2
    assert np.corrcoef(x.mean(2).ravel(), other.mean(2).ravel())[0, 1] > 0.98


def test_a_sharpened_crop_is_the_same_picture_with_more_grain(config):
    image, mask = labelled(5, 5)
    names = ("tone", "gamma", "blur", "noise", "jpeg", "shadow", "paint", "grey", "hue")
    plain = replace(config.augment, **dict.fromkeys(names, 0.0))
    x, y = augment(image, mask // 255, plain, np.random.default_rng(2))
    always = replace(plain, sharpen=1.0)
    sharp, label = augment(image, mask // 255, always, np.random.default_rng(2))
    assert (label == y).all()
    grain = [np.abs(np.diff(p.astype(float), axis=1)).mean() for p in (x, sharp)]
    assert grain[1] > 1.2 * grain[0]
    assert np.abs(x.mean((0, 1)) - sharp.mean((0, 1))).max() < 2
    assert np.corrcoef(x.ravel(), sharp.ravel())[0, 1] > 0.8


# ---- samples


def test_samples_repeat_and_differ(data, config):
    records = read_manifest(data / "manifest.csv", "train")
    first, second = CrackDataset(records, config), CrackDataset(records, config)
    for index in (0, 7, 123):
        (x, y), (again_x, again_y) = first[index], second[index]
        assert (x == again_x).all()
        assert (y == again_y).all()
    assert not (first[0][0] == first[1][0]).all()
    assert first[0][0].dtype == torch.uint8


def test_sets_are_drawn_by_their_weights(data, config, monkeypatch):
    seen = []

    def note(record):
        seen.append(record.set)
        return read_pair(record)

    blank = np.full((64, 64, 3), 128, np.uint8)
    monkeypatch.setattr("crackgeo_training.pictures.data.read_label", note)
    monkeypatch.setattr("crackgeo_training.pictures.data.draw_negative", lambda rng, size: blank)
    weights = replace(config.data, set_weight={"thin": 3.0, "wide": 1.0}, procedural_share=0.2)
    dataset = CrackDataset(read_manifest(data / "manifest.csv"), replace(config, data=weights))
    for index in range(300):
        dataset[index]
    assert seen.count("thin") / len(seen) == pytest.approx(0.75, abs=0.09)
    assert len(seen) / 300 == pytest.approx(0.8, abs=0.08)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_a_picture_is_fitted_by_cutting_and_mirroring_alone(shape, wanted):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    fitted = fill_shape(picture, wanted)
    assert fitted.shape == (*wanted, 3)
    turned = (shape[0] > shape[1]) != (wanted[0] > wanted[1])
    upright = np.rot90(picture) if turned else picture
    height, width = (min(a, b) for a, b in zip(upright.shape, wanted, strict=False))
    assert (fitted[:height, :width] == upright[:height, :width]).all()
    if min(upright.shape[:2]) >= max(wanted):
        assert (fitted == upright[: wanted[0], : wanted[1]]).all()


def test_a_very_small_picture_is_enlarged_or_keeps_its_scale(config):
    striped = np.zeros((120, 130, 3), np.uint8)
    striped[:, ::2] = 200
    mask = np.zeros((120, 130), np.uint8)
    asked = replace(config.augment, plain=1.0, inside=True)
    for enlarge, as_it_is in ((1.0, True), (1.4, False)):
        scaled = replace(asked, enlarge=enlarge)
        x, _ = augment(striped, mask, scaled, np.random.default_rng(3))
        assert (set(np.unique(x)) == {0, 200}) == as_it_is


def test_small_pictures_get_others_of_their_set_beside_them(data, config, monkeypatch):
    seen = []

    def note(record):
        seen.append(record.set)
        return read_pair(record)

    monkeypatch.setattr("crackgeo_training.pictures.data.read_label", note)
    height, width = read_pair(read_manifest(data / "manifest.csv", "train")[0])[1].shape
    asked = replace(config.augment, crop_px=height + 8, collage=1.0, inside=True)
    only = replace(config.data, procedural_share=0.0)
    samples = CrackDataset(
        read_manifest(data / "manifest.csv", "train"), replace(config, data=only, augment=asked)
    )
    for index in range(6):
        seen.clear()
        x, y = samples[index]
        assert (x.shape[1:], y.shape[1:]) == ((height + 8,) * 2,) * 2
        assert len(set(seen)) == 1
        assert len(seen) == 2 * -(-(height + 8) // width)


def test_no_known_set(data, config):
    strange = replace(config, data=replace(config.data, set_weight={"moon": 1.0}))
    with pytest.raises(InputError, match="no set of"):
        CrackDataset(read_manifest(data / "manifest.csv"), strange)


def test_every_set_of_the_fixture_is_in_the_manifest(data):
    with (data / "manifest.csv").open() as lines:
        assert {row["set"] for row in csv.DictReader(lines)} == set(SETS)
