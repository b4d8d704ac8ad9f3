import numpy as np
import pytest
from fakes import ArrayImage, ContextModel, IdentityModel
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crackgeo.errors import Cancelled
from crackgeo.grid import Window
from crackgeo.monitor import Monitor
from crackgeo.predict import PredictCounts, WholeRaster, predict
from crackgeo.specs import PROB_NODATA, TileSpec
from crackgeo.stitch import encode_probability, overlap_weight


def run(image, model, spec, area=None, **kwargs):
    blocks = list(predict(image, model, spec, area, **kwargs))
    rows = [row for row, _ in blocks]
    heights = [len(codes) for _, codes in blocks]
    assert rows == [sum(heights[:i]) for i in range(len(rows))]  # consecutive, from 0
    return np.concatenate([codes for _, codes in blocks])


def images(max_side=70):
    sides = st.integers(1, max_side)
    return st.tuples(sides, sides).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.uint8, shape, elements=st.integers(0, 254)),
            hnp.arrays(np.bool_, shape),
        )
    )


def specs():
    return st.integers(4, 24).flatmap(
        lambda size: st.integers(0, size // 2).map(lambda overlap: TileSpec(size, overlap))
    )


def test_weights_of_neighbours_sum_to_one():
    weight = overlap_weight(10, 4)
    np.testing.assert_allclose(weight[-4:] + weight[:4], 1, rtol=1e-6)
    np.testing.assert_array_equal(weight[4:6], 1)
    assert weight.min() > 0


def test_codes_round_to_the_nearest():
    probability = np.array([0, 0.5 / 254 - 1e-5, 0.5 / 254 + 1e-5, 0.5, 1, 1.1], np.float32)
    assert encode_probability(probability).tolist() == [0, 0, 1, 127, 254, 254]


@settings(max_examples=60, deadline=None)
@given(content=images(), spec=specs(), batch=st.integers(1, 5))
def test_an_identity_model_gives_the_input_back(content, spec, batch):
    pixels, valid = content
    out = run(ArrayImage(pixels, valid), IdentityModel(batch), spec)
    np.testing.assert_array_equal(out, np.where(valid, pixels, PROB_NODATA))


@settings(max_examples=60, deadline=None)
@given(content=images(), spec=specs(), data=st.data())
def test_a_part_gives_the_probabilities_of_the_whole(content, spec, data):
    pixels, valid = content
    height, width = pixels.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    part = Window(
        row, col, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - col))
    )
    image = ArrayImage(pixels, valid)
    whole = run(image, ContextModel(), spec)
    alone = run(image, ContextModel(), spec, WholeRaster(part))
    np.testing.assert_array_equal(alone, whole[part.row : part.row_end, part.col : part.col_end])


def test_tiles_without_data_never_reach_the_model():
    valid = np.zeros((40, 40), np.bool_)
    valid[5, 5] = True
    counts = PredictCounts()
    model = IdentityModel(1)
    image = ArrayImage(np.full((40, 40), 9, np.uint8), valid)
    out = run(image, model, TileSpec(10, 0), counts=counts)
    assert (counts.tiles, counts.tiles_run, counts.tiles_empty, model.tiles) == (16, 1, 15, 1)
    assert counts.pixels_valid == 1
    assert (out != PROB_NODATA).sum() == 1


def test_cancelling_stops_between_batches_and_ends_the_reader():
    image = ArrayImage(np.zeros((64, 64), np.uint8), np.ones((64, 64), np.bool_))
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        run(
            image,
            IdentityModel(1),
            TileSpec(16, 0),
            monitor=Monitor(is_cancelled=lambda: next(calls)),
        )


def test_an_error_of_the_reader_surfaces():
    class Broken(ArrayImage):
        def read(self, window):
            if window.row > 0:
                raise OSError("block 7 is damaged")
            return super().read(window)

    image = Broken(np.zeros((64, 64), np.uint8), np.ones((64, 64), np.bool_))
    with pytest.raises(OSError, match="block 7"):
        run(image, IdentityModel(), TileSpec(16, 0))


def test_progress_counts_every_tile_once():
    seen = []
    image = ArrayImage(np.zeros((64, 64), np.uint8), np.ones((64, 64), np.bool_))
    monitor = Monitor(on_progress=lambda stage, done, total: seen.append((done, total)))
    run(image, IdentityModel(3), TileSpec(16, 0), monitor=monitor)
    assert seen[0] == (0, 16)
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
