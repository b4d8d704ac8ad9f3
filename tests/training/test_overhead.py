from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crackgeo_training.config import load_config
from crackgeo_training.drawing.overhead import draw_overhead, hang_cables, lay_shadows
from crackgeo_training.pictures.augment import augment_beside

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"
SIZE = 96


def grey(level=150):
    return np.full((SIZE, SIZE, 3), level, np.uint8)


@pytest.fixture
def augmentation():
    section = load_config(CONFIG).augment
    off = dict.fromkeys(("tone", "gamma", "blur", "noise", "jpeg", "shadow", "paint", "grey"), 0.0)
    return replace(section, **off, crop_px=SIZE, hue=0.0, overhead=1.0)


@pytest.mark.parametrize("shape", [(SIZE, SIZE, 3), (60, 140, 3)])
def test_a_cable_covers_what_it_changes_and_nothing_else(shape):
    seen = 0
    for seed in range(20):
        crop = np.full(shape, 150, np.float32)
        cover = hang_cables(crop, np.random.default_rng(seed))
        assert cover.shape == shape[:2]
        assert cover.dtype == np.float32
        assert cover.min() >= 0
        assert cover.max() <= 1
        full = cover == 1
        if full.sum() < 30:  # thinner than a pixel and its soft rim, or hardly in the picture
            continue
        seen += 1
        # one colour lit from one side, whatever is below it
        other = np.full(shape, 40, np.float32)
        assert np.array_equal(hang_cables(other, np.random.default_rng(seed)), cover)
        np.testing.assert_allclose(other[full], crop[full], atol=1e-3)
    assert seen > 8


def test_a_cable_is_nearly_straight_and_of_one_width():
    widths = []
    for seed in range(40):
        cover = hang_cables(np.full((200, 200, 3), 150, np.float32), np.random.default_rng(seed))
        rows = np.nonzero(cover > 0.5)[0]
        if len(rows) < 100 or np.ptp(rows) < 150:
            continue
        per_row = np.bincount(rows, minlength=200)[rows.min() + 20 : rows.max() - 20]
        widths.append(per_row.std() / per_row.mean())
    assert len(widths) > 5
    assert np.median(widths) < 0.25


def test_a_shadow_darkens_and_keeps_what_is_below():
    for seed in range(10):
        crop = np.full((SIZE, SIZE, 3), 150, np.float32)
        crop[:, ::2] = 90
        assert not lay_shadows(crop, np.random.default_rng(seed)).any()
        assert crop.min() > 0
        assert (crop[:, ::2] <= 90).all()
        assert (crop[:, 1::2] <= 150).all()
        # shade is a factor: light and dark stripes keep their ratio where it changes slowly
        ratio = crop[:, 1::2] / crop[:, ::2]
        assert np.median(ratio) == pytest.approx(150 / 90, rel=0.05)


def test_cracks_below_a_cable_are_not_learned_from_and_the_clear_crop_knows_no_cable(augmentation):
    label = np.ones((SIZE, SIZE), np.uint8)
    hidden = 0
    for seed in range(20):
        clear, crop, kept = augment_beside(
            grey(255), label, augmentation, np.random.default_rng(seed)
        )
        assert (clear == 255).all()
        assert (kept[(crop == 255).all(axis=2)] == 1).all()
        assert set(np.unique(kept)) <= {1, 255}
        hidden += int((kept == 255).sum())
    assert hidden > 0


def test_ground_below_a_cable_is_no_crack(augmentation):
    label = np.zeros((SIZE, SIZE), np.uint8)
    changed = 0
    for seed in range(10):
        _, crop, kept = augment_beside(grey(), label, augmentation, np.random.default_rng(seed))
        assert not kept.any()
        changed += int((crop != 150).any())
    assert changed > 5


def test_plain_crops_have_cables_too(augmentation):
    plain = replace(augmentation, plain=1.0)
    label = np.zeros((SIZE, SIZE), np.uint8)
    crops = [augment_beside(grey(), label, plain, np.random.default_rng(i))[1] for i in range(10)]
    assert sum(bool((crop != 150).any()) for crop in crops) > 5


def test_drawing_does_not_touch_the_picture():
    picture = grey()
    crop, hidden = draw_overhead(picture, np.random.default_rng(0))
    assert (picture == 150).all()
    assert crop.dtype == np.float32
    assert hidden.dtype == np.bool_
