from itertools import pairwise

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from crackgeo.outlines import label_runs, merge_runs, trace_outlines
from crackgeo.polygons import _doubled_area
from crackgeo.thinning import runs_from

masks = st.tuples(st.integers(1, 25), st.integers(1, 25)).flatmap(
    lambda shape: hnp.arrays(np.bool_, shape)
)


def runs_of(mask):
    return runs_from(mask.astype(np.uint8), np.argwhere(mask).astype(np.int32), 1, 1)


def polygons_of(mask):
    """Polygons by region, put together with shapely's own point-in-polygon rules."""
    runs = merge_runs(runs_of(mask))
    label = label_runs(runs)
    points, offsets, members = trace_outlines(runs)
    rings = [points[a:b] for a, b in pairwise(offsets)]
    outer = _doubled_area(points, offsets) > 0 if len(rings) else np.empty(0, bool)
    out = []
    for i in np.flatnonzero(outer):
        holes = [rings[j] for j in np.flatnonzero(~outer) if label[members[j]] == label[members[i]]]
        out.append(shapely.Polygon(rings[i], holes))
    return out


@given(masks)
@settings(max_examples=200, deadline=None)
def test_one_valid_polygon_a_region_and_none_touch(mask):
    polygons = polygons_of(mask)
    _, count = ndimage.label(mask)
    assert len(polygons) == count
    assert all(p.is_valid for p in polygons)
    if polygons:
        union = shapely.union_all(polygons)
        assert len(shapely.get_parts(union)) == count


@given(masks)
@settings(max_examples=100, deadline=None)
def test_every_pixel_centre_is_on_its_side(mask):
    rows, cols = np.indices(mask.shape)
    union = shapely.union_all(polygons_of(mask))
    inside = shapely.intersects_xy(union.buffer(1e-9), cols + 0.5, rows + 0.5)
    np.testing.assert_array_equal(inside & ~mask, np.zeros_like(mask))
    strict = shapely.contains_xy(union.buffer(0.26), cols + 0.5, rows + 0.5)
    assert strict[mask].all()


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_area_is_that_of_the_pixels(seed):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((80, 90)), 3)
    mask = field > 0.3 * field.std()
    area = sum(p.area for p in polygons_of(mask))
    assert abs(area - mask.sum()) <= 0.02 * mask.sum() + 1


def test_square_with_a_hole():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    (polygon,) = polygons_of(mask)
    assert len(polygon.interiors) == 1
    assert abs(polygon.area - 28) < 0.6


def test_runs_merge_over_block_seams():
    runs = np.array([[0, 0, 4], [0, 4, 9], [0, 10, 12], [1, 3, 5], [1, 4, 5]], np.int32)
    assert merge_runs(runs).tolist() == [[0, 0, 9], [0, 10, 12], [1, 3, 5]]


def test_corner_touching_pixels_are_two_regions():
    assert len(set(label_runs(runs_of(np.eye(2))).tolist())) == 2
    assert len(polygons_of(np.eye(2, dtype=bool))) == 2
