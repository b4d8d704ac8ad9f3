from dataclasses import replace

import cv2
import numpy as np
import pytest
from crackgeo_training.pictures.data import crack_free, held_out
from crackgeo_training.pictures.pairs import write_label, write_picture
from crackgeo_training.pictures.records import Record
from crackgeo_training.scoring.calibrate import (
    Predicted,
    best_level,
    calibrate,
    choose_rule,
    drawn_negatives,
    fit_masks,
    fit_temperature,
    reliability,
)
from crackgeo_training.scoring.evaluate import evaluate, find_records
from crackgeo_training.scoring.objects import HIGHS, LOWS, LineTable, line_table
from pictures import DarkModel

LEVEL = np.arange(513) / 16 - 16


def histograms(temperature, offset):
    """Pixels whose true probability is sigmoid((logit + offset) / temperature)."""
    weight = np.exp(-((LEVEL / 5) ** 2))
    p = 1 / (1 + np.exp(-(LEVEL + offset) / temperature))
    return weight * p, weight * (1 - p)


@pytest.mark.parametrize(("temperature", "offset"), [(1.0, 0.0), (2.5, -1.0), (0.6, 0.8)])
def test_the_fit_finds_the_temperature(temperature, offset):
    got = fit_temperature(*histograms(temperature, offset), offset)
    assert got == pytest.approx(temperature, abs=0.01)


def test_the_level_of_the_best_masks():
    truth = np.zeros((20, 40), bool)
    truth[5:9] = True
    logit = np.full((20, 40), -6.0, np.float16)
    logit[3:11], logit[5:9] = 1.0, 3.0  # a rim of too much around every crack
    assert best_level([Predicted("a", logit, truth)]) == pytest.approx(2, abs=0.1)
    thin = np.zeros((20, 40), bool)
    thin[3:11] = True
    assert best_level([Predicted("a", logit, thin)]) == pytest.approx(-2.5, abs=0.1)


def test_ground_that_nobody_labelled_calibrates_nothing(tmp_path):
    """The same picture beside as much ground without labels: the same fit, the same curve."""
    rng = np.random.default_rng(2)
    image = rng.integers(100, 250, (60, 80, 3)).astype(np.uint8)
    image[20:26] = rng.integers(0, 120, (6, 80, 3))
    label = np.zeros((60, 80), np.uint8)
    label[20:26] = 1
    open_label = np.vstack([label, np.full_like(label, 255)])
    records = []
    for name, pixels, marks in (
        ("all", image, label),
        ("half", np.vstack([image, image]), open_label),
    ):
        write_picture(tmp_path / f"{name}.png", pixels)
        write_label(tmp_path / f"{name}_m.png", marks)
        records.append(Record("val", "own", tmp_path / f"{name}.png", tmp_path / f"{name}_m.png"))
    fits = [fit_masks(Shades(), [record]) for record in records]
    assert fits[0] == fits[1]
    found = [calibrate(Shades(), [r], (), f, drawn=1) for r, f in zip(records, fits, strict=True)]
    assert found[0] == found[1]
    scores = [evaluate(Shades(), [record]).scores[0] for record in records]
    assert repr(scores[0].metrics) == repr(scores[1].metrics)  # some are not a number
    sweeps = [score.sweep.f1[1:] for score in scores]  # at 0 the mask is all of the picture
    np.testing.assert_array_equal(*sweeps)


class Shades(DarkModel):
    """The darker a pixel, the likelier it is crack."""

    def predict(self, images):
        return (1 - images.mean(axis=3) / 256).astype(np.float32)


def test_where_the_best_level_of_named_sets_is_flat_the_highest_is_taken(tmp_path):
    tight = np.full((64, 64, 3), 230, np.uint8)
    tight[20:30] = 20
    loose = np.full((64, 64, 3), 150, np.uint8)
    loose[10:40] = 90  # labelled to here; above the level of these the other mask is as good
    records = []
    for name, pixels, rows in (("tight", tight, (20, 30)), ("loose", loose, (10, 40))):
        label = np.zeros((64, 64), np.uint8)
        label[slice(*rows)] = 1
        write_picture(tmp_path / f"{name}.png", pixels)
        write_label(tmp_path / f"{name}_m.png", label)
        records.append(Record("val", name, tmp_path / f"{name}.png", tmp_path / f"{name}_m.png"))
    low, high = np.log(26 / 230), np.log(236 / 20)  # of the tight picture's ground and crack
    assert -fit_masks(Shades(), records[:1]).offset == pytest.approx((low + high) / 2, abs=0.1)
    assert -fit_masks(Shades(), records, ["tight"]).offset == pytest.approx(high, abs=0.1)
    assert low < -fit_masks(Shades(), records).offset < 1.0  # where the loose one is right, too


def test_reliability_of_a_calibrated_and_an_overconfident_model():
    assert reliability(*histograms(1.0, 0.0)).error < 1e-3
    curve = reliability(*histograms(2.0, 0.0))
    assert curve.error > 0.05
    assert curve.observed[-1] < curve.stated[-1]
    assert sum(curve.share) == pytest.approx(1)


def test_candidates_of_a_picture():
    probability = np.zeros((60, 100), np.float32)
    truth = np.zeros((60, 100), bool)
    probability[10, 10:50], truth[12, 10:50] = 0.7, True  # right, 2 px off
    probability[40, 10:30] = 0.9  # invented
    truth[50, 60:90] = True  # missed
    table = line_table(probability, truth, 0.3)
    assert table.peak == pytest.approx([0.7, 0.9])
    assert table.length.tolist() == [40, 20]
    assert table.hit.tolist() == [40, 0]
    assert table.found.tolist() == [40, 0]
    assert table.real == 70
    assert table.counts(0.5, 10) == (40, 60, 40, 70)
    assert table.counts(0.8, 10) == (0, 20, 0, 70)
    assert table.counts(0.5, 30) == (40, 40, 40, 70)


def test_a_picture_without_anything():
    table = line_table(np.zeros((9, 9), np.float32), np.zeros((9, 9), bool), 0.3)
    assert table.counts(0.4, 10) == (0, 0, 0, 0)


def table(peak, length, right):
    right = np.array(right, float) * length
    return LineTable(np.array(peak, float), np.array(length, float), right, right, right.sum())


def test_the_rule_drops_what_crack_free_pictures_show_and_no_more():
    iou = np.ones(len(HIGHS))
    cracked = [(iou, [table([0.95, 0.95], [200, 45], [1, 1])] * len(LOWS))]
    free = [(iou, [table([0.95], [36], [0])] * len(LOWS))]
    high, _, shortest, clean, f1 = choose_rule(["a"], cracked, free)
    assert (high, shortest) == (HIGHS[0], 40)
    assert (clean, f1) == (1, 1)


def test_the_rule_raises_the_threshold_if_length_does_not_help():
    iou = np.ones(len(HIGHS))
    cracked = [(iou, [table([0.95], [50], [1])] * len(LOWS))]
    free = [(iou, [table([0.62], [400], [0])] * len(LOWS))]
    high, _, shortest, clean, f1 = choose_rule(["a"], cracked, free)
    assert (high, clean, f1) == (0.65, 1, 1)
    assert shortest <= 50


def test_without_crack_free_pictures_the_best_masks_decide():
    iou = np.array([0.5 + 0.1 * (h == 0.55) for h in HIGHS])
    cracked = [(iou, [table([0.95], [50], [1])] * len(LOWS))]
    assert choose_rule(["a"], cracked, [])[0] == 0.55


def test_the_hold_out_depends_on_the_name_alone(tmp_path):
    records = [Record("train", "s", tmp_path / f"{i}.png", tmp_path / "m.png") for i in range(400)]
    share = np.mean([held_out(r) for r in records])
    assert 0.18 < share < 0.32
    elsewhere = [Record("x", "t", r.image.parent / "b" / r.image.name, r.mask) for r in records]
    assert [held_out(r) for r in elsewhere] == [held_out(r) for r in records]


def test_cracked_pictures_are_no_crack_free_ones(data):
    assert crack_free(find_records(data, None)) == []


def test_drawn_scenes_repeat():
    first, again = next(drawn_negatives(1)), next(drawn_negatives(1))
    assert first.shape == (448, 448, 3)
    assert (first == again).all()


def test_calibrating_a_model_that_is_right_but_modest(data):
    val = find_records(data, "val")
    fit = fit_masks(DarkModel(), val)
    assert fit.temperature < 1  # always right, so surer than 0.95
    assert -2.95 < -fit.offset < 3.9  # the level lies between 0.95 on cracks and 0.02 elsewhere
    got = calibrate(DarkModel(), val, [], fit, drawn=2, outlined_sets=["wide"])
    assert (got.temperature, got.offset) == (fit.temperature, fit.offset)
    assert got.reliability.error == pytest.approx(fit.before.error)  # of the same model
    assert got.threshold_low <= got.threshold
    assert got.line_f1 == pytest.approx(1)
    assert got.negatives == 2
    assert abs(got.widths.bias_px) <= got.widths.mean_px < 0.5


def test_widths_are_measured_where_the_model_says_its_outlines_lie(data):
    class Rimmed(DarkModel):
        """Cracks with a rim of 3 px around them."""

        def __init__(self, outline):
            super().__init__()
            self.info = replace(self.info, outline=outline)

        def predict(self, images):
            p = super().predict(images)
            around = np.stack([cv2.dilate(one, np.ones((7, 7), np.uint8)) for one in p])
            return np.where(p > 0.5, p, np.where(around > 0.5, np.float32(0.51), p))

    val = find_records(data, "val")
    fit = fit_masks(DarkModel(), val)
    with_rim, without = (
        calibrate(Rimmed(outline), val, [], fit, drawn=1, outlined_sets=["wide"]).widths.bias_px
        for outline in (0.0, 0.75)
    )
    assert abs(without) < 1 < 2 < with_rim
