"""Cracks that cross are two, however thinning draws their crossing."""

import numpy as np
import pytest
import synth
from affine import Affine

from crackgeo.blocks import ArraySource
from crackgeo.grid import Grid
from crackgeo.specs import VectorSpec
from crackgeo.vectorize import vectorize

SIDE = 320


def vectors_of(*lines, width_px, rim_px=0.0):
    """Vectors of straight cracks, each from (x, y) to (x, y); with a rim as a model codes it."""
    own, mask = (
        np.max([synth.segment(SIDE, *line, width) for line in lines], axis=0)
        for width in (width_px, width_px + 2 * rim_px)
    )
    if rim_px:
        own = synth.coded(own, mask)
    spec = VectorSpec(outline=0.75 if rim_px else 0.0)
    grid = Grid(SIDE, SIDE, Affine.identity())
    return vectorize(ArraySource(synth.codes(own)), grid, spec, workers=1)


def through(middle, turn_deg, half_px=120):
    step = half_px * np.array([np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))])
    return np.array(middle) - step, np.array(middle) + step


@pytest.mark.parametrize("turn_deg", [0.0, 17.0, 52.0])
@pytest.mark.parametrize("angle_deg", [90, 75, 60, 40, 25])
@pytest.mark.parametrize(("width_px", "rim_px"), [(3, 0), (3, 2), (8, 0)])
def test_two_cracks_that_cross_are_two(width_px, rim_px, angle_deg, turn_deg):
    lines = [through((160.3, 159.6), turn) for turn in (turn_deg, turn_deg + angle_deg)]
    vectors = vectors_of(*lines, width_px=width_px, rim_px=rim_px)
    lengths = np.sort(vectors.cracks.columns["length_m"])
    assert len(lengths) == 2
    assert lengths == pytest.approx([240, 240], abs=3 + 2 * rim_px)
    assert vectors.crack_nodes.columns["degree"].max() == 4
    assert vectors.cracks.columns["width_mean_mm"] == pytest.approx([width_px] * 2, abs=0.3)


def test_branches_that_end_apart_on_both_sides_of_a_crack_stay_three():
    main = (30, 160), (290, 160)
    up, down = ((140, 160), (140, 40)), ((160, 160), (160, 280))
    vectors = vectors_of(main, up, down, width_px=4)
    assert len(vectors.cracks) == 3
    lengths = np.sort(vectors.cracks.columns["length_m"])
    assert lengths == pytest.approx([118, 118, 260], abs=3)


def test_a_ring_within_a_crack_stays_a_ring():
    upper = ((80, 160), (160, 130)), ((160, 130), (240, 160))
    lower = ((80, 160), (160, 190)), ((160, 190), (240, 160))
    ends = ((20, 160), (80, 160)), ((240, 160), (300, 160))
    vectors = vectors_of(*upper, *lower, *ends, width_px=4)
    assert vectors.crack_nodes.columns["degree"].tolist().count(3) == 2
    total = 2 * 2 * np.hypot(80, 30) + 120
    assert vectors.cracks.columns["length_m"].sum() == pytest.approx(total, rel=0.02)


def test_crossings_in_a_row_are_found_each():
    main = (20, 160), (300, 160)
    sides = [through((x, 160), 70, 60) for x in (90, 160, 230)]
    vectors = vectors_of(main, *sides, width_px=5)
    lengths = np.sort(vectors.cracks.columns["length_m"])
    assert lengths == pytest.approx([120, 120, 120, 280], abs=3)
