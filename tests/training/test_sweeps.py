import numpy as np
import pytest
from crackgeo_training.pictures.pairs import write_label, write_picture
from crackgeo_training.pictures.records import Record
from crackgeo_training.scoring.evaluate import evaluate, predicted
from crackgeo_training.scoring.metrics import LEVELS, ObjectRule, score, sweep_thresholds
from crackgeo_training.scoring.noise import disturb
from crackgeo_training.scoring.plots import blur_curve
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import DarkModel


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), level=st.integers(0, LEVELS - 1))
def test_the_sweep_holds_the_masks_of_every_threshold(seed, level):
    rng = np.random.default_rng(seed)
    pictures = [(rng.random((9, 7)).astype(np.float32), rng.random((9, 7)) < 0.3) for _ in "ab"]
    sweep = sweep_thresholds([score(p, t, ObjectRule()) for p, t in pictures])
    masks = [np.floor(p * LEVELS) >= level for p, _ in pictures]
    right = sum((m & t).sum() for m, (_, t) in zip(masks, pictures, strict=True))
    marked = sum(m.sum() for m in masks)
    real = sum(t.sum() for _, t in pictures)
    if marked:
        assert sweep.precision[level] == pytest.approx(right / marked)
    if real:
        assert sweep.recall[level] == pytest.approx(right / real)
    assert sweep.f1[level] == pytest.approx(2 * right / max(marked + real, 1))


def test_blur_spreads_a_line():
    image = np.full((40, 40, 3), 200, np.uint8)
    image[20] = 0
    dark = [(disturb(image, f"blur{side}")[:, 20, 0] < 190).sum() for side in (5, 13, 29)]
    assert dark == sorted(dark)
    assert dark[0] > 1
    with pytest.raises(ValueError, match="blur6"):
        disturb(image, "blur6")


def test_open_ground_counts_as_neither_found_nor_missed(tmp_path):
    image = np.full((40, 60, 3), 170, np.uint8)
    image[10:14] = 20  # labelled
    image[30:34] = 20  # a crack on ground that nobody labelled
    label = (image[..., 0] < 90).astype(np.uint8)
    label[25:] = 255
    write_picture(tmp_path / "i.png", image)
    write_label(tmp_path / "m.png", label)
    record = Record("val", "one", tmp_path / "i.png", tmp_path / "m.png")
    [(probability, truth)] = predicted(DarkModel(), [record])
    np.testing.assert_array_equal(probability > 0.5, label == 1)
    np.testing.assert_array_equal(truth, label == 1)
    result = evaluate(DarkModel(), [record], variants=("clean", "blur29"))
    assert result.scores[0].metrics["iou"].value == 1
    sides, values = blur_curve(result, "iou")
    assert sides == [1, 29]
    assert values[0] > values[1]
