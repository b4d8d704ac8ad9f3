"""Rows of tiles computed apart give the very numbers of the whole."""

import numpy as np
from fakes import ArrayImage, ContextModel
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crackgeo.grid import Window
from crackgeo.predict import PredictCounts, WholeRaster, predict
from crackgeo.seams import Edges, Piece, join_pieces
from crackgeo.specs import TileSpec
from crackgeo.tiling import TilePlan


def piece(image, spec, part, first, end):
    """Rows from `first` to `end` of a part, without the rows of tiles above if it is not first."""
    width = Window(first, part.col, end - first, part.width)
    first_row = first // spec.step_px if first > part.row else 0
    plan = TilePlan(image.grid.shape, width, spec, first_row)
    edges, counts = Edges(plan), PredictCounts()
    blocks = predict(image, ContextModel(2), spec, WholeRaster(width), counts=counts, edges=edges)
    rows = [(first + row, codes, {}) for row, codes in blocks]
    return Piece(rows, edges.upper, edges.lower), counts.tiles_run


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_pieces_join_to_the_whole(data):
    size = data.draw(st.integers(4, 20))
    spec = TileSpec(size, data.draw(st.integers(0, size // 2)))
    shape = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 50))
    pixels = data.draw(hnp.arrays(np.uint8, shape))
    valid = data.draw(hnp.arrays(np.bool_, shape, elements=st.booleans()))
    image = ArrayImage(pixels, valid)
    row, col = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    part = Window(row, col, shape[0] - row, data.draw(st.integers(1, shape[1] - col)))
    plan = TilePlan(shape, part, spec)
    wanted_counts = PredictCounts()
    wanted = list(predict(image, ContextModel(2), spec, WholeRaster(part), counts=wanted_counts))
    cuts = [i * spec.step_px for i in plan.rows[:-1] if i * spec.step_px > part.row]
    cuts = sorted(data.draw(st.sets(st.sampled_from(cuts)))) if cuts else []
    found = [
        piece(image, spec, part, a, b)
        for a, b in zip([part.row, *cuts], [*cuts, part.row_end], strict=True)
    ]
    joined = list(join_pieces(plan, [one for one, _ in found]))
    assert sum(tiles for _, tiles in found) == wanted_counts.tiles_run  # none is run twice
    np.testing.assert_array_equal(
        np.concatenate([codes for _, codes, _ in joined]),
        np.concatenate([codes for _, codes in wanted]),
    )
    assert [r for r, _, _ in joined] == [part.row + r for r, _ in wanted]
