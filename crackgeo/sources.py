"""Which raster of a survey each crack was found in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .grid import Floats, Grid, Window
from .predict_job import Share
from .probability import open_probability
from .specs import PROB_NODATA
from .vectors import FeatureTable

_BLOCK_PX = 512  # probabilities are looked up a block at a time


def crack_sources(cracks: FeatureTable, grid: Grid, shares: Sequence[Share]) -> NDArray[np.object_]:
    """Name of the raster that most points of each crack come from.

    Parameters
    ----------
    cracks : lines in the coordinates of the grid
    grid : of the whole survey, from the first pixel of the part asked for
    shares : windows on that grid and probabilities, which exclude each other

    Returns
    -------
    object `[n]` of str
        Empty where no raster has data.
    """
    if len(shares) == 1:
        return np.full(len(cracks), shares[0].name, np.object_)
    points, crack = shapely.get_coordinates(cracks.geometry, return_index=True)
    pixels = np.floor(np.stack(grid.pixel(points[:, 0], points[:, 1]), axis=1)).astype(np.int64)
    owner = _owners(pixels, shares)
    names = np.array([*(share.name for share in shares), ""], np.object_)
    votes, counts = np.unique(
        np.stack([crack, owner], axis=1)[owner >= 0], axis=0, return_counts=True
    )
    best = np.full(len(cracks), len(shares))
    order = np.argsort(counts, kind="stable")  # the most come last and stay
    best[votes[order, 0]] = votes[order, 1]
    return np.asarray(names[best], np.object_)


def own_pixels_mm(sources: NDArray[np.object_], inputs: Sequence[Mapping[str, Any]]) -> Floats:
    """Size of the pixels that each crack was seen in, mm (the raster's unit without a CRS).

    Parameters
    ----------
    sources : object `[n]`, as of `crack_sources`
    inputs : what is known of the rasters, `Provenance.inputs`

    Returns
    -------
    float64 `[n]`
        The root of a pixel's area at the raster's centre; NaN where it is not known.
    """
    known = {one["name"]: math.sqrt(math.prod(one["gsd_mm"])) for one in inputs if "gsd_mm" in one}
    return np.array([known.get(name, np.nan) for name in sources], np.float64)


def _owners(pixels: NDArray[np.int64], shares: Sequence[Share]) -> NDArray[np.int64]:
    """Number of the share that has data at each pixel (col, row), -1 where none has."""
    several = _inside_several(pixels, shares)
    owner = np.full(len(pixels), -1)
    for number, share in enumerate(shares):
        here = _inside(pixels, share.window)
        owner[here & ~several] = number
        asked = np.flatnonzero(here & several)
        owner[asked[_has_data(pixels[asked], share)]] = number
    return owner


def _inside_several(pixels: NDArray[np.int64], shares: Sequence[Share]) -> NDArray[np.bool_]:
    """Which pixels lie in the windows of more than one share; memory does not grow with these."""
    once, again = np.zeros((2, len(pixels)), np.bool_)
    for share in shares:
        here = _inside(pixels, share.window)
        again |= once & here
        once |= here
    return again


def _inside(pixels: NDArray[np.int64], window: Window) -> NDArray[np.bool_]:
    cols, rows = pixels.T
    in_rows = (rows >= window.row) & (rows < window.row_end)
    return np.asarray(in_rows & (cols >= window.col) & (cols < window.col_end))


def _has_data(pixels: NDArray[np.int64], share: Share) -> NDArray[np.bool_]:
    """At which pixels, all in its window, a share has data."""
    found = np.zeros(len(pixels), np.bool_)
    if len(pixels) == 0:
        return found
    local = pixels - (share.window.col, share.window.row)
    blocks, block_of = np.unique(local // _BLOCK_PX, axis=0, return_inverse=True)
    block_of = block_of.ravel()
    with open_probability(share.raster) as raster:
        for number, (col, row) in enumerate((blocks * _BLOCK_PX).tolist()):
            codes = raster.read(Window(row, col, _BLOCK_PX, _BLOCK_PX))
            chosen = block_of == number
            cols, rows = (local[chosen] - (col, row)).T
            found[chosen] = codes[rows, cols] != PROB_NODATA
    return found
