"""Which raster a crack comes from, in memory that does not grow with their number."""

import tracemalloc
from pathlib import Path

import numpy as np

from crackgeo.grid import Window
from crackgeo.predict_job import Share
from crackgeo.sources import _owners


def test_many_rasters_take_no_more_memory_than_few():
    count, side = 20_000, 10
    pixels = np.random.default_rng(0).integers(0, 200 * side, (count, 2))
    pixels[:, 1] %= side
    shares = [Share(str(n), Window(0, n * side, side, side), Path("none")) for n in range(200)]
    tracemalloc.start()
    try:
        owner = _owners(pixels, shares)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(owner, pixels[:, 0] // side)
    assert most < 40 * count  # a byte a point and raster would be 200
