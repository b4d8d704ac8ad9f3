"""How far measured crack widths are from those of true outlines, after vectorization."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from crackgeo.grid import Grid
from crackgeo.specs import VectorSpec
from crackgeo.stitch import encode_probability
from crackgeo.vectorize import ArraySource, vectorize
from crackgeo.vectors import Vectors

STATION_PX = 5.0
REACH_PX = 5.0  # a station is compared with the nearest true one if that is no farther away
CRACK_STATIONS = 4  # a mean of fewer says little of a crack


def stations(
    probability: NDArray[np.float32], spec: VectorSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places and widths along the cracks of a picture, in pixels.

    Returns
    -------
    tuple of float64 `[n, 2]` and `[n]`
        (x, y) with corner origin, and width.
    """
    return _places_and_widths(_vectors(probability, spec))


def _vectors(
    probability: NDArray[np.float32],
    spec: VectorSpec,
    width_error_px: float = 0.0,
    width_error_share: float = 0.0,
) -> Vectors:
    height, width = probability.shape
    grid = Grid(width, height, Affine.identity())  # a pixel is a unit, so widths are in pixels
    return vectorize(
        ArraySource(encode_probability(probability)),
        grid,
        spec,
        width_error_px=width_error_px,
        width_error_share=width_error_share,
        stations_m=STATION_PX,
        workers=1,
    )


def _places_and_widths(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    table = vectors.width_stations
    assert table is not None
    places = shapely.get_coordinates(table.geometry).reshape(-1, 2)
    return places, np.asarray(table.columns["width_mm"], np.float64)


def width_pairs(
    pictures: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]], spec: VectorSpec
) -> NDArray[np.float64]:
    """Measured and true width at every station that has a true one near it.

    The true width is measured by the same vectorization on the true outline.

    Parameters
    ----------
    pictures : probabilities float32 `[H, W]` and true outlines bool `[H, W]`
    spec : the rules of the vectorization

    Returns
    -------
    float64 `[n, 2]`, pixels
    """
    return np.concatenate(
        [np.zeros((0, 2))]
        + [_beside_true(*stations(found, spec), truth, spec)[0] for found, truth in pictures]
    )


def _beside_true(
    places: NDArray[np.float64],
    widths: NDArray[np.float64],
    truth: NDArray[np.bool_],
    spec: VectorSpec,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Measured and true widths `[n, 2]` of the places that have a true one near, and which."""
    masks = replace(spec, outline=0.0)  # a true outline has no rim that could be left out
    true_places, true_widths = stations(truth.astype(np.float32), masks)
    if not len(places) or not len(true_places):
        return np.zeros((0, 2)), np.zeros(len(places), np.bool_)
    far, nearest = cKDTree(true_places).query(places)
    near = far <= REACH_PX
    return np.stack((widths, true_widths[nearest]), axis=1)[near], near


def crack_errors(
    pictures: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    spec: VectorSpec,
    width_error_px: float,
    width_error_share: float,
) -> NDArray[np.float64]:
    """How far the mean widths of cracks are off, and the uncertainty that is said of them.

    A crack's error is the mean of measured minus true width over its stations that have a true one
    near, of which there must be `CRACK_STATIONS`.

    Parameters
    ----------
    pictures, spec : see `width_pairs`
    width_error_px, width_error_share : of the model, see `vectorize`

    Returns
    -------
    float64 `[n, 2]`: error and `width_unc_mm` of each crack, pixels
    """
    found = [np.zeros((0, 2))]
    for probability, truth in pictures:
        vectors = _vectors(probability, spec, width_error_px, width_error_share)
        pairs, near = _beside_true(*_places_and_widths(vectors), truth, spec)
        assert vectors.width_stations is not None
        crack = vectors.width_stations.columns["crack_id"][near] - 1
        count = np.bincount(crack, minlength=len(vectors.cracks))
        total = np.bincount(crack, pairs[:, 0] - pairs[:, 1], len(vectors.cracks))
        told = count >= CRACK_STATIONS
        said = vectors.cracks.columns["width_unc_mm"]
        found.append(np.stack((total[told] / count[told], said[told]), axis=1))
    return np.concatenate(found)


def width_errors(
    pictures: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]], spec: VectorSpec
) -> NDArray[np.float64]:
    """Measured minus true widths of `width_pairs`: float64 `[n]`, pixels."""
    measured, true = width_pairs(pictures, spec).T
    return np.asarray(measured - true)


@dataclass(frozen=True)
class WidthErrors:
    """What widths are off by on true outlines, in pixels.

    Parameters
    ----------
    mean_px, bias_px : mean absolute and mean error of all of them
    base_px, share : the mean absolute error by the width measured, see `error_line`
    """

    mean_px: float
    bias_px: float
    base_px: float
    share: float


def width_summary(pairs: NDArray[np.float64]) -> WidthErrors | None:
    """The errors of `width_pairs`; None where nothing could be compared."""
    if not len(pairs):
        return None
    errors = pairs[:, 0] - pairs[:, 1]
    return WidthErrors(float(np.abs(errors).mean()), float(errors.mean()), *error_line(pairs))


def error_line(pairs: NDArray[np.float64]) -> tuple[float, float]:
    """How the mean absolute error grows with the width measured: pixels, and a share of the width.

    The line of least squares through the absolute errors, neither part of it negative; at the mean
    width it gives the mean absolute error.

    Parameters
    ----------
    pairs : of `width_pairs`, at least one
    """
    measured, true = pairs.T
    off = np.abs(measured - true)
    spread = measured.var()
    slope = np.mean((measured - measured.mean()) * off) / spread if spread > 0 else 0.0
    share = float(np.clip(slope, 0, off.mean() / measured.mean()))
    return float(off.mean() - share * measured.mean()), share
