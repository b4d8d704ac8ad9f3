import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from crackgeo.blocks import ArraySource, blocks, grown, parallel
from crackgeo.errors import InputError
from crackgeo.grid import Window
from crackgeo.outlines import merge_runs
from crackgeo.skeleton import high_code, low_code, skeletonize
from crackgeo.specs import VectorSpec
from crackgeo.thinning import _TABLE, thin

SMALL = {"thin_iterations": 3}

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: hnp.arrays(np.bool_, shape)
)


@st.composite
def blobs(draw):
    """Random smooth regions: lines, rings, solid parts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    height, width = draw(st.integers(5, 70)), draw(st.integers(5, 70))
    field = ndimage.gaussian_filter(
        rng.standard_normal((height, width)), draw(st.floats(0.5, 4)), mode="wrap"
    )
    return np.abs(field) < draw(st.floats(0.2, 1.2)) * field.std()


def slow_thin(mask, iterations):
    """Guo-Hall by scans of the whole mask, the plain way."""
    a = np.pad(mask.astype(np.uint8), 1)
    around = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    height, width = mask.shape
    for step in range(2 * iterations):
        code = np.zeros(mask.shape, int)
        for bit, (i, j) in enumerate(around):
            code |= a[i : i + height, j : j + width].astype(int) << bit
        gone = (_TABLE[step & 1][code] == 1) & (a[1:-1, 1:-1] == 1)
        a[1:-1, 1:-1][gone] = 0
    return a[1:-1, 1:-1]


def components(mask):
    return ndimage.label(mask, np.ones((3, 3)))[1]


def holes(mask):
    return ndimage.label(np.pad(~mask, 1, constant_values=True))[1]


@given(st.one_of(masks, blobs()), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_thin_agrees_with_the_plain_scan(mask, iterations):
    np.testing.assert_array_equal(thin(mask, iterations), slow_thin(mask, iterations))


@given(st.one_of(masks, blobs()))
@settings(max_examples=100, deadline=None)
def test_thinning_keeps_components_and_holes(mask):
    skeleton = thin(mask, 64).astype(bool)
    assert not (skeleton & ~mask).any()
    assert components(skeleton) == components(mask)
    assert holes(skeleton) == holes(mask)


def test_a_bar_becomes_its_middle_row():
    mask = np.zeros((9, 30), bool)
    mask[3:6, 4:26] = True
    rows, cols = np.nonzero(thin(mask))
    assert set(rows) == {4}
    assert cols.min() <= 6
    assert cols.max() >= 23


@given(blobs(), st.sampled_from([16, 17, 23, 64, 200]), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_block_size_changes_nothing(mask, block_px, seed):
    rng = np.random.default_rng(seed)
    codes = np.where(mask, rng.integers(100, 255, mask.shape), rng.integers(0, 80, mask.shape))
    codes[rng.random(mask.shape) < 0.002] = 255
    source = ArraySource(codes.astype(np.uint8))
    whole = skeletonize(source, VectorSpec(block_px=1000, **SMALL))
    parts = skeletonize(source, VectorSpec(block_px=block_px, **SMALL))
    for name in ("keys", "radius_px", "peak"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    np.testing.assert_array_equal(merge_runs(parts.runs), merge_runs(whole.runs))


def test_radius_is_the_distance_to_background_and_nodata():
    rng = np.random.default_rng(3)
    field = ndimage.gaussian_filter(rng.standard_normal((200, 160)), 5)
    codes = np.where(field > -0.01, 254, 0).astype(np.uint8)
    codes[60:64, 70:74] = 255
    skeleton = skeletonize(ArraySource(codes), VectorSpec())
    rows, cols = np.divmod(skeleton.keys, 160)
    want = ndimage.distance_transform_edt((codes >= 64) & (codes != 255))[rows, cols]
    np.testing.assert_allclose(skeleton.radius_px, np.minimum(want, 128), rtol=1e-6)


def test_peak_is_the_highest_code_nearby_and_never_nodata():
    codes = np.zeros((20, 40), np.uint8)
    codes[10, 5:35] = 100
    codes[9, 20] = 130
    codes[11, 25] = 255
    skeleton = skeletonize(ArraySource(codes), VectorSpec())
    peaks = dict(zip(skeleton.keys % 40, skeleton.peak, strict=True))
    assert peaks[20] == 130
    assert peaks[10] == peaks[25] == 100


@pytest.mark.parametrize("code", [0, 255])
@pytest.mark.parametrize("block_px", [16, 2048])
@pytest.mark.parametrize(
    ("hole", "filled"),
    [
        (((7, 20),), True),
        (((6, 20), (7, 20), (7, 19), (8, 19)), True),
        (((7, 15), (7, 16), (7, 17), (7, 18)), True),
        (((7, 14), (7, 15), (7, 16), (7, 17), (7, 18)), False),
        (((5, 20), (6, 20)), False),  # open to the outside
    ],
)
def test_holes_of_a_few_pixels_are_filled(hole, filled, block_px, code):
    codes = np.zeros((15, 40), np.uint8)
    codes[5:10, 3:37] = 254
    spec = VectorSpec(block_px=block_px)
    plain = skeletonize(ArraySource(codes), spec)
    codes[tuple(np.transpose(hole))] = code
    holed = skeletonize(ArraySource(codes), spec)
    assert np.array_equal(holed.keys, plain.keys) == filled
    if filled:
        np.testing.assert_array_equal(holed.radius_px, plain.radius_px)


def test_what_is_too_wide_leaves_no_line_but_a_mark():
    codes = np.zeros((120, 200), np.uint8)
    codes[10:110, 80:180] = 254  # 100 px wide, far more than 2 x 10 iterations
    codes[58:62, 5:80] = 254  # a crack that leads into it
    skeleton = skeletonize(ArraySource(codes), VectorSpec(thin_iterations=10, block_px=64))
    assert len(skeleton.solid) > 0
    cols = skeleton.keys % 200
    assert len(cols) > 50
    assert cols.max() < 100  # the lead-in, up to the solid part


def test_runs_are_those_of_the_high_threshold():
    codes = np.array([[200, 200, 0, 130], [126, 255, 254, 127]], np.uint8)
    skeleton = skeletonize(ArraySource(codes), VectorSpec())
    assert skeleton.runs.tolist() == [[0, 0, 2], [0, 3, 4], [1, 2, 4]]


def test_threshold_codes():
    assert high_code(VectorSpec(threshold=0.5)) == 127
    assert low_code(VectorSpec(threshold_low=0.25)) == 64
    assert low_code(VectorSpec(threshold_low=1e-6)) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_parallel_keeps_the_order_and_passes_errors_on(workers):
    assert list(parallel(lambda i: i * i, range(20), workers)) == [i * i for i in range(20)]
    with pytest.raises(ZeroDivisionError):
        list(parallel(lambda i: 1 // i, [1, 0, 2], workers))


def test_blocks_cover_every_pixel_once():
    count = np.zeros((50, 37), int)
    for window in blocks((50, 37), 16):
        count[window.row : window.row_end, window.col : window.col_end] += 1
    assert (count == 1).all()
    assert grown(Window(0, 10, 5, 5), 3, (50, 14)) == Window(0, 7, 8, 7)


def test_array_source_refuses_other_types():
    with pytest.raises(InputError, match="float64"):
        ArraySource(np.zeros((3, 3)))
