import numpy as np
import pytest
from crackgeo_training.widths import stations, width_errors

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


def test_cracks_elsewhere_are_not_compared():
    assert len(width_errors([(np.roll(bar(4), 20, 0), bar(4) > 0)], SPEC)) == 0
    nothing = np.zeros((60, 200), np.float32)
    assert len(width_errors([(nothing, bar(4) > 0), (bar(4), nothing > 0)], SPEC)) == 0
