from dataclasses import replace

import cv2
import numpy as np
import pytest
from crackgeo_training.scoring.widths import crack_errors, error_line, stations, width_errors

from crackgeo.specs import VectorSpec

SPEC = VectorSpec()


def bar(width_px):
    mask = np.zeros((60, 200), np.float32)
    mask[30 - width_px // 2 : 30 - width_px // 2 + width_px, 10:190] = 1
    return mask


def test_stations_measure_pixels():
    places, widths = stations(bar(6), SPEC)
    assert len(widths) > 20
    assert np.median(widths) == pytest.approx(6, abs=0.3)
    assert np.allclose(places[:, 1], 30, atol=0.7)


@pytest.mark.parametrize("wider", [-2, 0, 4])
def test_the_error_is_the_difference_of_widths(wider):
    errors = width_errors([(bar(8 + wider), bar(8) > 0)], SPEC)
    assert np.median(errors) == pytest.approx(wider, abs=0.3)


@pytest.mark.parametrize("width_px", [3, 6, 9])
@pytest.mark.parametrize("rim_px", [0, 3])
def test_an_outline_as_wide_as_the_truth_has_no_error(width_px, rim_px):
    around = cv2.dilate(bar(width_px), np.ones((2 * rim_px + 1,) * 2))
    coded = np.where(bar(width_px) > 0, 1.0, 0.51 * around).astype(np.float32)
    errors = width_errors([(coded, bar(width_px) > 0)], replace(SPEC, outline=0.75))
    assert len(errors) > 20
    assert np.abs(errors).max() < 0.15


def test_cracks_elsewhere_are_not_compared():
    assert len(width_errors([(np.roll(bar(4), 20, 0), bar(4) > 0)], SPEC)) == 0
    nothing = np.zeros((60, 200), np.float32)
    assert len(width_errors([(nothing, bar(4) > 0), (bar(4), nothing > 0)], SPEC)) == 0


def test_the_error_of_a_crack_stands_beside_the_uncertainty_given():
    two = np.maximum(bar(8), np.roll(bar(4), 20, 0))
    true = np.maximum(bar(6), np.roll(bar(4), 20, 0)) > 0
    errors, said = crack_errors([(two, true)], SPEC, 0.5, 0.1).T
    assert np.sort(errors) == pytest.approx([0, 2], abs=0.2)
    assert np.sort(said) == pytest.approx([0.5 + 0.1 * 4, 0.5 + 0.1 * 8], abs=0.1)


def test_cracks_with_few_stations_or_none_near_have_no_error():
    short = bar(4) * (np.arange(200) < 25)
    assert crack_errors([(short, short > 0)], SPEC, 1.0, 0.0).shape == (0, 2)
    assert crack_errors([(np.roll(bar(4), 20, 0), bar(4) > 0)], SPEC, 1.0, 0.0).shape == (0, 2)
    nothing = np.zeros((60, 200), np.float32)
    pictures = [(nothing, bar(4) > 0), (bar(4), nothing > 0)]
    assert crack_errors(pictures, SPEC, 1.0, 0.0).shape == (0, 2)


def test_errors_grow_with_the_width():
    true = np.array([2.0, 4.0, 10.0, 20.0, 2.0, 4.0, 10.0, 20.0])
    off = 0.5 + 0.1 * true
    measured = true + off
    fixed, share = error_line(np.stack((measured, true), axis=1))
    assert fixed + share * measured == pytest.approx(off)
    assert share == pytest.approx(0.1 / 1.1)


def test_errors_that_fall_with_the_width_count_as_level():
    pairs = np.array([[3.0, 1.0], [10.5, 10.0]])
    assert error_line(pairs) == (1.25, 0.0)
    assert error_line(pairs[:1]) == (2.0, 0.0)


def test_errors_that_vanish_at_no_width_are_a_share_alone():
    pairs = np.array([[4.0, 4.0], [12.0, 8.0], [12.0, 8.0]])
    assert error_line(pairs) == pytest.approx((0, 8 / 28))
