import numpy as np
import pytest
import synth
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from scipy.stats import norm

from crackgeo.blocks import ArraySource
from crackgeo.chains import smooth, tangents
from crackgeo.grid import Grid
from crackgeo.profiles import measure_profiles, measure_tips
from crackgeo.specs import VectorSpec
from crackgeo.vectorize import vectorize

OPEN, CLOSED = np.array([False]), np.array([True])


def across(probability, x, y, tx, ty, reach):
    codes = synth.codes(probability)
    points = np.array([[x, y, tx, ty, reach]], np.float64)
    return measure_profiles(codes, 0, 0, *codes.shape, points, 0.25)[0, :4]


def strip(width_px, centre=20.0, size=40):
    """A crack down the raster, of exact coverage."""
    edges = np.arange(size + 1, dtype=float)
    low, high = centre - width_px / 2, centre + width_px / 2
    cover = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, 1)
    return np.tile(cover, (size, 1))


def vectors_of(probability, **rules):
    codes = synth.codes(probability)
    height, width = codes.shape
    grid = Grid(width, height, Affine(1, 0, 0, 0, 1, 0))
    return vectorize(ArraySource(codes), grid, VectorSpec(**rules), workers=1)


@given(st.floats(0, np.pi), st.integers(14, 60), st.floats(0.5, 3))
@settings(max_examples=50, deadline=None)
def test_smoothing_keeps_a_straight_line_and_its_ends(turn, n, sigma):
    t = np.arange(float(n))
    x, y = 5 + t * np.cos(turn), 7 + t * np.sin(turn)
    sx, sy = smooth(x, y, np.array([0, n]), OPEN, sigma)
    np.testing.assert_allclose(sx, x, atol=1e-9)
    np.testing.assert_allclose(sy, y, atol=1e-9)


def test_smoothing_a_closed_chain_goes_round():
    t = np.linspace(0, 2 * np.pi, 201)
    x, y = 30 * np.cos(t), 30 * np.sin(t)
    sx, sy = smooth(x, y, np.array([0, 201]), CLOSED, 2.0)
    radius = np.hypot(sx, sy)
    assert np.ptp(radius) < 1e-9
    assert radius[0] == pytest.approx(30, rel=0.01)
    tx, ty = tangents(x, y, np.array([0, 201]), CLOSED)
    np.testing.assert_allclose(tx * x + ty * y, 0, atol=1e-9)


@pytest.mark.parametrize("width_px", [1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("shift", [-0.6, 0.0, 0.3])
def test_width_and_ridge_of_a_strip(width_px, shift):
    width, offset, peak, cut = across(strip(width_px), 20 - shift, 20.0, 0, 1, width_px / 2 + 4.5)
    assert width == pytest.approx(width_px, abs=0.15)
    assert -offset == pytest.approx(shift, abs=0.13)  # the normal of (0, 1) is (-1, 0)
    assert peak > 0.7
    assert cut == 0


def test_next_crack_is_not_counted():
    both = np.maximum(strip(4, 16), strip(4, 23.5))
    width, *_ = across(both, 16.0, 20.0, 0, 1, 9.0)
    assert width == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("code", [255, None])
def test_profile_cut_by_missing_data_or_border_says_so(code):
    probability = strip(8, 3.0 if code is None else 20.0)
    codes = synth.codes(probability)
    if code is not None:
        codes[:, 21:] = code
    x = 3.0 if code is None else 20.0
    points = np.array([[x, 20.0, 0, 1, 8.0]])
    assert measure_profiles(codes, 0, 0, 40, 40, points, 0.25)[0, 3] == 1


def test_place_of_the_window_changes_nothing():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 255, (60, 70)).astype(np.uint8)
    turn = rng.uniform(0, 2 * np.pi, 50)
    points = np.stack(
        [rng.uniform(25, 45, 50), rng.uniform(25, 35, 50), np.cos(turn), np.sin(turn),
         rng.uniform(1, 8, 50)], axis=-1,
    )  # fmt: skip
    whole = measure_profiles(codes, 0, 0, 60, 70, points, 0.25)
    part = measure_profiles(codes[10:50, 12:60].copy(), 10, 12, 60, 70, points, 0.25)
    np.testing.assert_array_equal(whole, part)


def test_tip_reaches_the_edge_of_the_crack_or_of_the_data():
    codes = synth.codes(strip(4.0).T)  # along the columns
    codes[:, 30:] = 0
    points = np.array([[20.0, 20.0, 1, 0, 30.0]])
    ahead, cut = measure_tips(codes, 0, 0, 40, 40, points, 0.25)[0]
    assert ahead == pytest.approx(10, abs=0.3)
    assert cut == 0
    codes[:, 30:] = 255
    assert measure_tips(codes, 0, 0, 40, 40, points, 0.25)[0, 1] == 1


@pytest.mark.parametrize("width_px", [1.5, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("how", ["coverage", "blurred", "degraded"])
def test_length_and_width_of_rendered_truth(width_px, how):
    rng = np.random.default_rng(2)
    length_error, width_error = [], []
    for kind, xy in synth.centre_lines(rng, 2):
        if kind == "sinusoid" and width_px > 12:
            continue  # bends sharper than its own width
        truth = synth.render(kind, xy, width_px)
        probability = {
            "coverage": truth.probability,
            "blurred": synth.blurred(truth.probability),
            "degraded": synth.degraded(truth.probability, rng),
        }[how]
        cracks = vectors_of(probability).cracks
        assert len(cracks) == 1
        length_error.append(cracks.columns["length_m"][0] / truth.length_px - 1)
        width_error.append(abs(cracks.columns["width_mean_mm"][0] - width_px))
    assert abs(np.mean(length_error)) <= 0.006
    assert np.std(length_error) <= 0.01
    assert np.mean(width_error) <= (0.20 if how == "degraded" else 0.10)


def test_line_runs_along_the_true_centre():
    truth = synth.render("walk", synth.walk(200, np.random.default_rng(4)), 6.0)
    (geometry,) = vectors_of(synth.blurred(truth.probability), simplify_px=0.0).cracks.geometry
    xy = np.array(geometry.coords)
    nearest = np.sqrt(((xy[:, None] - truth.xy[None]) ** 2).sum(-1).min(axis=1))
    assert nearest.mean() < 0.1
    assert nearest.max() < 0.6


@pytest.mark.parametrize("width_px", [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("rim_px", [1.5, 3.0])
def test_a_rim_is_not_of_the_width(width_px, rim_px):
    around = strip(width_px + 2 * rim_px)
    probability = np.where(strip(width_px) > 0, 0.5 + 0.5 * strip(width_px), 0.52 * (around > 0.5))
    codes = synth.codes(probability)
    points = np.array([[20.0, 20.0, 0, 1, width_px / 2 + rim_px + 4.5]])
    place = (codes, 0, 0, *codes.shape, points, 0.25)
    width, offset, peak, cut, faint = measure_profiles(*place, 0.75)[0]
    assert width == pytest.approx(width_px, abs=0.25)
    assert offset == pytest.approx(0, abs=0.1)
    assert peak == pytest.approx(probability.max(), abs=0.01)  # the model's own
    assert not cut
    assert not faint
    assert measure_profiles(*place)[0, 0] > width_px + 0.5


@pytest.mark.parametrize("width_px", [3, 4, 6, 9])
@pytest.mark.parametrize("shift_px", [0.0, 0.3])
@pytest.mark.parametrize("beside", [0.0, 0.1])
def test_a_mask_that_ends_where_its_outline_does_has_that_width(width_px, shift_px, beside):
    inside = np.zeros((40, 40), np.bool_)
    inside[:, 18 : 18 + width_px] = True
    codes = synth.codes(np.where(inside, 1.0, beside))
    points = np.array([[18 + width_px / 2 + shift_px, 20.3, 0, 1, width_px / 2 + 4.5]])
    width, offset, *_ = measure_profiles(codes, 0, 0, 40, 40, points, 0.25, 0.75)[0]
    assert width == pytest.approx(width_px, abs=0.1)
    assert offset == pytest.approx(shift_px, abs=0.15)


@pytest.mark.parametrize("width_px", [1.5, 2.0, 3.0, 4.0, 6.0, 9.0])
@pytest.mark.parametrize("blur_px", [0.5, 0.8])
@pytest.mark.parametrize(("mask_at", "within_px"), [(0.4, 0.45), (0.5, 0.2), (0.6, 0.45)])
def test_a_mask_that_ends_within_the_blurred_edge_does_not_cut_it_off(
    width_px, blur_px, mask_at, within_px
):
    core = synth.blurred(strip(width_px), blur_px)
    number = np.minimum(core * 0.49 / mask_at, 0.49)  # below the mask's level, its own number
    codes = synth.codes(np.where(core >= mask_at, 0.5 + 0.5 * core, number))
    points = np.array([[20.0, 20.0, 0, 1, width_px / 2 + 4.5]])
    width = measure_profiles(codes, 0, 0, 40, 40, points, 0.25, 0.75)[0, 0]
    assert width == pytest.approx(width_px, abs=within_px)


@pytest.mark.parametrize("off_px", [-4.0, -2.5, 2.0, 3.0, 5.0])
def test_an_outline_far_off_the_middle_of_its_mask_is_found(off_px):
    core = synth.blurred(strip(2.5, 20 + off_px), 0.7)
    codes = synth.codes(np.where(strip(14) > 0.5, 0.5 + 0.5 * core, 0))
    points = np.array([[20.0, 20.0, 0, 1, 10.5]])
    width, offset, peak, _, faint = measure_profiles(codes, 0, 0, 40, 40, points, 0.45, 0.75)[0]
    assert width == pytest.approx(2.5, abs=0.35)
    assert -offset == pytest.approx(off_px, abs=0.25)
    assert peak > 0.9
    assert not faint


@pytest.mark.parametrize("width_px", [3, 5, 8])
@pytest.mark.parametrize("blur_px", [0.5, 1.0])
def test_where_no_outline_shows_the_mask_is_measured(width_px, blur_px):
    codes = synth.codes(np.minimum(synth.blurred(strip(width_px), blur_px), 0.51))
    points = np.array([[20.0, 20.0, 0, 1, width_px / 2 + 4.5]])
    width, offset, _, _, faint = measure_profiles(codes, 0, 0, 40, 40, points, 0.45, 0.75)[0]
    assert faint
    assert width == pytest.approx(width_px, abs=0.6)  # the mask's edge is known to half a pixel
    assert offset == pytest.approx(0, abs=0.1)


def test_where_the_outline_fails_for_a_while_no_width_is_taken():
    core = synth.blurred(strip(3, 20, 80)[:, :40], 0.7)
    core[30:45] = 0  # the mask alone
    probability = np.where(strip(12, 20, 80)[:, :40] > 0.5, 0.5 + 0.5 * core, 0)
    columns = vectors_of(probability, outline=0.75, threshold_low=0.45).cracks.columns
    assert columns["width_max_mm"][0] == pytest.approx(3, abs=0.3)
    assert columns["width_mean_mm"][0] == pytest.approx(3, abs=0.2)
    faint = np.minimum(probability, 0.5)  # throughout
    columns = vectors_of(faint, outline=0.75, threshold_low=0.45).cracks.columns
    assert columns["width_mean_mm"][0] == pytest.approx(12, abs=0.8)


def field(turn_deg, shift, width_px, rim_px, blur_px):
    """A crack as a model codes it: its blurred edge, and a mask so much wider, blurred alike."""
    turn = np.radians(turn_deg)
    ys, xs = np.mgrid[:100, :100] + 0.5
    d = np.abs((ys - 50 - shift) * np.cos(turn) - (xs - 50) * np.sin(turn))
    own, mask = (
        norm.cdf((w / 2 - d) / blur_px) - norm.cdf((-w / 2 - d) / blur_px)
        for w in (width_px, width_px + 2 * rim_px)
    )
    return synth.coded(own, mask)


@pytest.mark.parametrize("rim_px", [0, 2, 3])
@pytest.mark.parametrize("width_px", [3.0, 4.0, 10.0])
def test_an_outlines_width_does_not_depend_on_its_direction(width_px, rim_px):
    widths = [
        vectors_of(field(turn, shift, width_px, rim_px, 1.0), outline=0.75).cracks.columns[
            "width_mean_mm"
        ][0]
        for turn in (0, 22, 45)
        for shift in (0.1, 0.4)
    ]
    assert widths == pytest.approx(np.full(6, width_px), abs=0.25)


@pytest.mark.parametrize("turn_deg", [0, 45])
@pytest.mark.parametrize("length_px", [10.0, 20.0])
def test_the_largest_width_is_a_mean_over_its_own_length(turn_deg, length_px):
    """A bulge from 4 to 20 px, whose mean over 20 px of length can be written down."""
    turn = np.radians(turn_deg)
    ys, xs = np.mgrid[:260, :260] + 0.5 - 130
    along, across = xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)
    width = 4 + 16 * np.exp(-((along / length_px) ** 2))
    inside = (np.abs(along) < 110) * np.clip(width / 2 - np.abs(across) + 0.5, 0, 1)
    expected = 4 + 16 * np.sqrt(np.pi) * length_px * erf(10 / length_px) / 20
    (largest,) = vectors_of(inside).cracks.columns["width_max_mm"]
    assert largest == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("rim_px", [0, 2])
@pytest.mark.parametrize(("width_px", "angle_deg"), [(4, 15), (8, 15), (8, 30), (6, 60)])
def test_where_cracks_part_at_an_acute_angle_nothing_gets_wider(width_px, angle_deg, rim_px):
    turn = np.radians(angle_deg)
    end = 150 + 150 * np.cos(turn), 150 - 150 * np.sin(turn)
    cracks = ((30, 150), (300, 150)), ((150, 150), end)
    own, mask = (
        np.max([synth.segment(330, *ends, width, square=True) for ends in cracks], axis=0)
        for width in (width_px, width_px + 2 * rim_px)
    )
    coded = synth.coded(own, mask) if rim_px else own
    columns = vectors_of(coded, outline=0.75 if rim_px else 0.0).cracks.columns
    assert columns["width_max_mm"] == pytest.approx(np.full(2, width_px), abs=0.35)


def test_polygons_end_at_the_outline_and_lines_stay_whole():
    core = strip(4)
    core[:20] *= 0.2  # half of the crack is all rim
    probability = np.where(strip(10) > 0.5, 0.52 + 0.46 * core, 0.0)
    fat = vectors_of(probability, min_length_px=5)
    thin = vectors_of(probability, min_length_px=5, outline=0.75)
    area = [float(v.crack_polygons.columns["area_m2"].sum()) for v in (fat, thin)]
    assert area[0] == pytest.approx(10 * 40, rel=0.05)
    assert area[1] == pytest.approx(4 * 20 + 20, rel=0.15)  # a line of pixels where it is faint
    length = [float(v.cracks.columns["length_m"].sum()) for v in (fat, thin)]
    assert length[1] == pytest.approx(length[0], rel=0.02)


def test_the_polygon_of_a_crack_without_an_outline_is_its_mask():
    rim, core = (strip(width_px, 20, 60)[:, :40] for width_px in (10, 4))
    faint, clear = 0.5 * (rim > 0.5), 0.5 * (rim > 0.5) + 0.46 * core
    vectors = vectors_of(np.hstack([faint, clear]), outline=0.75, threshold_low=0.45)
    area = vectors.crack_polygons.columns["area_m2"]
    width = vectors.cracks.columns["width_mean_mm"]
    assert area == pytest.approx([10 * 60, 4 * 60], rel=0.1)
    assert width == pytest.approx([10, 4], rel=0.1)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_the_threshold_moves_no_outline(threshold):
    core = synth.blurred(strip(4, 20, 60)[:, :40])
    probability = 0.5 * (strip(10, 20, 60)[:, :40] > 0.5) + 0.5 * core
    vectors = vectors_of(probability, outline=0.75, threshold=threshold, threshold_low=0.45)
    assert vectors.crack_polygons.columns["area_m2"] == pytest.approx([4 * 60], rel=0.02)
