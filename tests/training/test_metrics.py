"""Metrics against tiny cases worked out by hand, and against their definitions."""

import math

import numpy as np
import pytest
from crackgeo_training.scoring.metrics import (
    ObjectRule,
    centrelines,
    long_lines,
    objects,
    score,
    summarise,
    sweep_f1,
    within,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

RULE = ObjectRule(0.5, 0.25, 10)
MASKS = arrays(np.bool_, (12, 15))


def as_probability(mask):
    return mask.astype(np.float32) * np.float32(0.9)


def parts(mask, truth):
    return score(as_probability(np.array(mask, bool)), np.array(truth, bool), RULE).parts


def test_one_of_three_pixels_in_common():
    got = parts([[1, 1, 0]], [[0, 1, 1]])
    assert got["iou"] == pytest.approx(1 / 3)
    assert (got["precision"], got["recall"], got["f1"]) == (0.5, 0.5, 0.5)
    assert got["f1_2px"] == 1  # everything lies within 2 px


def test_both_empty_is_one_and_one_empty_is_nought():
    none, some = np.zeros((6, 6)), np.eye(6)
    for name in ("iou", "precision", "recall", "f1", "f1_2px", "cldice"):
        assert parts(none, none)[name] == 1, name
        assert parts(some, none)[name] == 0, name
        assert parts(none, some)[name] == 0, name


def test_a_line_beside_the_truth_counts_up_to_two_pixels():
    truth = np.zeros((20, 20), bool)
    truth[5] = True
    for shift, f1 in ((1, 1), (2, 1), (3, 0)):
        assert parts(np.roll(truth, shift, 0), truth)["f1_2px"] == f1


def test_centreline_iou_of_shifted_lines():
    truth = np.zeros((40, 60), bool)
    truth[12] = True
    for shift, iou in ((0, 1.0), (4, 1.0), (5, 0.0)):
        got = parts(np.roll(truth, shift, 0), truth)
        assert got["line_found"] / got["line_any"] == iou
    more = truth.copy()
    more[30, :30] = True  # half a line is invented
    got = parts(more, truth)
    assert got["line_found"] / got["line_any"] == pytest.approx(60 / 90)
    got = parts(truth, more)  # or missed
    assert got["line_found"] / got["line_any"] == pytest.approx(60 / 90)


def test_cldice_ignores_width():
    thin, wide = np.zeros((30, 60), bool), np.zeros((30, 60), bool)
    thin[15, 5:55], wide[12:19, 5:55] = True, True
    assert parts(wide, thin)["cldice"] > 0.95 > 0.2 > parts(wide, thin)["iou"]


def test_crack_free_picture_is_clean_after_the_object_rule():
    probability = np.zeros((40, 40), np.float32)
    empty = np.zeros((40, 40), bool)
    probability[20, 3:8] = 0.9  # five pixels long, the rule wants ten
    got = score(probability, empty, RULE).parts
    assert (got["free"], got["clean"], got["clean_objects"]) == (1, 0, 1)
    probability[20, 3:33] = 0.9
    assert score(probability, empty, RULE).parts["clean_objects"] == 0


def test_objects_are_followed_down_to_the_low_threshold_but_must_reach_the_high_one():
    probability = np.zeros((30, 60), np.float32)
    probability[10, 5:50] = 0.3
    assert not objects(probability, RULE).any()
    probability[10, 20] = 0.6
    assert objects(probability, RULE).sum() == 45


def test_long_lines_drops_short_ones():
    lines = np.zeros((5, 30), bool)
    lines[1, :9], lines[3, :10] = True, True
    kept = long_lines(lines, 10)
    assert not kept[1].any()
    assert kept[3].sum() == 10


def test_sweep_against_counting():
    rng = np.random.default_rng(1)
    p, truth = rng.random(500).astype(np.float32), rng.random(500) < 0.4
    got = score(p[None], truth[None], RULE)
    f1 = sweep_f1(got.crack, got.background)
    for i in (0, 64, 128, 250):
        mask = np.floor(np.minimum(p * 256, 255)) >= i
        expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        assert f1[i] == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(MASKS, MASKS)
def test_bounds_and_order(mask, truth):
    got = parts(mask, truth)
    assert 0 <= got["iou"] <= got["f1"] <= 1
    assert got["f1"] <= got["f1_2px"] + 1e-9
    assert got["line_found"] <= got["line_any"]
    assert got["tp"] + got["fn"] == truth.sum()


@settings(max_examples=30, deadline=None)
@given(MASKS, st.integers(0, 4))
def test_within_against_brute_force(mask, reach):
    rows, cols = np.nonzero(mask)
    i, j = np.indices(mask.shape)
    far = np.full(mask.shape, np.inf)
    for r, c in zip(rows, cols, strict=True):
        far = np.minimum(far, np.hypot(i - r, j - c))
    assert (within(mask, reach) == (far <= reach)).all()


@settings(max_examples=20, deadline=None)
@given(MASKS)
def test_perfect_prediction(truth):
    got = summarise([score(as_probability(truth), truth, RULE)])
    for name in ("iou", "precision", "recall", "f1", "f1_2px", "cldice"):
        assert got[name].value == pytest.approx(1), name


def test_summary_means_ratios_and_intervals():
    a, b, none = np.zeros((8, 8), bool), np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    a[2], b[2:6] = True, True
    scored = [score(as_probability(m), t, RULE) for m, t in ((a, a), (a, b), (none, none))]
    got = summarise(scored)
    assert got["iou"].value == pytest.approx((1 + 0.25 + 1) / 3)
    assert got["iou_crack"].value == pytest.approx((1 + 0.25) / 2)
    assert got["iou_pooled"].value == pytest.approx(16 / 40)
    assert (got["clean"].value, got["clean_objects"].value) == (1, 1)
    assert got["ods"].value == pytest.approx(2 * 16 / (16 + 40))
    assert got["ois"].value == pytest.approx((1 + 2 / 3) / 2)  # threshold 0 marks all of b
    assert got["iou"].low < got["iou"].value < got["iou"].high
    assert summarise(scored) == got


def test_metrics_of_crack_free_pictures_only_are_undefined_where_they_need_cracks():
    none = np.zeros((4, 4), bool)
    got = summarise([score(as_probability(none), none, RULE)])
    assert math.isnan(got["iou_crack"].value)
    assert math.isnan(got["ods"].value)
    assert got["clean"].value == 1


def test_bootstrap_interval_is_about_right():
    rng = np.random.default_rng(0)
    scored = []
    for hit in rng.random(200) < 0.5:  # IoU 1 or 0, so a standard error of 0.035
        truth = np.zeros((1, 2), bool)
        truth[0, 0] = True
        scored.append(score(as_probability(truth if hit else ~truth), truth, RULE))
    got = summarise(scored)["iou"]
    assert got.high - got.low == pytest.approx(4 * 0.0354, rel=0.15)


def test_centrelines_are_thin():
    wide = np.zeros((20, 40), bool)
    wide[8:13, 4:36] = True
    assert centrelines(wide).sum(axis=0).max() == 1
