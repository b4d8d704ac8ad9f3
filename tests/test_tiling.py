import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackgeo.errors import UsageError
from crackgeo.grid import Window
from crackgeo.specs import TileSpec
from crackgeo.tiling import TilePlan, lattice_range

SPEC = TileSpec(10, 4)  # tiles begin every 6 px


@pytest.mark.parametrize(
    ("start", "end", "length", "expected"),
    [
        (0, 7, 7, [0]),  # smaller than a tile
        (0, 10, 10, [0]),  # exactly one
        (0, 11, 11, [0, 1]),  # one pixel more
        (0, 16, 16, [0, 1]),  # tile 1 ends at 16
        (0, 17, 17, [0, 1, 2]),
        (10, 12, 100, [1]),  # tile 0 ends at 10
        (9, 12, 100, [0, 1]),
        (12, 13, 100, [1, 2]),
    ],
)
def test_lattice_range_lists_the_tiles_that_touch(start, end, length, expected):
    assert list(lattice_range(start, end, length, SPEC)) == expected


@given(
    length=st.integers(1, 300),
    size=st.integers(2, 40),
    data=st.data(),
)
def test_every_pixel_asked_for_is_covered_and_every_tile_touches(length, size, data):
    spec = TileSpec(size, data.draw(st.integers(0, size // 2)))
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    tiles = lattice_range(start, end, length, spec)
    covered = {p for i in tiles for p in range(i * spec.step_px, i * spec.step_px + size)}
    assert set(range(start, end)) <= covered
    for i in tiles:
        assert i * spec.step_px < end
        assert i * spec.step_px + size > start


@given(data=st.data())
def test_a_part_uses_exactly_the_tiles_of_the_whole_that_touch_it(data):
    length = data.draw(st.integers(1, 200))
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    whole = lattice_range(0, length, length, SPEC)
    touching = [i for i in whole if i * 6 < end and i * 6 + 10 > start]
    assert list(lattice_range(start, end, length, SPEC)) == touching


def test_a_strip_spans_its_tiles():
    plan = TilePlan((30, 40), Window(8, 5, 10, 20), SPEC)
    tiles = list(plan.row_tiles(plan.rows[0]))
    strip = plan.strip(plan.rows[0])
    assert (strip.col, strip.col_end) == (tiles[0].col, tiles[-1].col_end)
    assert {plan.lattice_row(t) for t in tiles} == {plan.rows[0]}


def test_overlap_beyond_half_a_tile_is_refused():
    with pytest.raises(UsageError, match="--overlap must lie between 0 and 224"):
        TileSpec(448, 225)
