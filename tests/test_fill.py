import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crackgeo.fill import fill_invalid


def test_one_colour_continues_as_itself():
    image = np.full((7, 5, 3), (10, 200, 90), np.uint8)
    valid = np.zeros((7, 5), np.bool_)
    valid[2, 3] = True
    image[~valid] = 0
    np.testing.assert_array_equal(fill_invalid(image, valid), np.full((7, 5, 3), (10, 200, 90)))


def test_the_border_of_the_data_is_no_step():
    rng = np.random.default_rng(1)
    image = rng.integers(90, 110, (64, 64, 3), dtype=np.uint8)
    valid = np.ones((64, 64), np.bool_)
    valid[:, 40:] = False
    image[~valid] = 0
    filled = fill_invalid(image, valid).astype(int)
    assert abs(filled[:, 40:].mean() - 100) < 3
    assert filled[:, 40:].min() >= 85


@given(
    image=hnp.arrays(np.uint8, (9, 13, 3)),
    valid=hnp.arrays(np.bool_, (9, 13)),
)
def test_data_stays_and_the_rest_keeps_within_its_range(image, valid):
    filled = fill_invalid(image, valid)
    np.testing.assert_array_equal(filled[valid], image[valid])
    if valid.any():
        for band in range(3):
            known = image[..., band][valid]
            assert known.min() <= filled[..., band].min()
            assert filled[..., band].max() <= known.max()


@given(size=st.integers(1, 30))
def test_nothing_valid_changes_nothing(size):
    image = np.full((size, size, 3), 7, np.uint8)
    assert fill_invalid(image, np.zeros((size, size), np.bool_)) is image
