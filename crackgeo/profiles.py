"""Sub-pixel measures at the points of a chain: profiles of probability across it and beyond it.

All coordinates are of the whole raster (corner origin), whatever block is in memory, so that
the floating-point results are the same to the last bit from any block size.
"""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Codes
from .jit import compiled
from .specs import PROB_NODATA, PROB_SCALE

Floats = NDArray[np.float64]

STEP_PX = 0.25  # distance of the samples of a profile
BEYOND_PX = 3.5  # a profile goes on this far beyond the distance to background, for its foot
_RIDGE_PX = 1.5  # the ridge lies this close to the thinned line
_VALLEY = 0.05  # a rise by so much beyond the foot is the next crack (or noise)
# How wide a crack is in units of its edges' blur, and in pixels: below the first number its
# integral is the width, above the second the crossing, blended between.
_BLURS = (3.5, 4.5)
_PIXELS = (1.5, 3.0)
_QUARTILES = 1.349  # a Gaussian's quartiles lie so many standard deviations apart
_TOP = 0.34  # erf(_TOP * width / blur): what blur leaves of a plateau, on its middle quarter
_RIM = 0.5  # a model's rim begins here, see `models.compact.with_rim`
FAINT = _RIM + 0.03  # a peak no higher than this shows no outline
_MASK = 0.42  # the mask's own 0.5 lies about here, as all above 0.5 is hidden by the outline
_MAX_FOOT = 0.2  # a background above this is not taken for a pedestal


@compiled
def _says(code: int, outline: float, most: float) -> Any:
    """Probability that a code stands for: of a crack, or with `outline` of lying in its outline.

    P is 0.5 at `outline`; outside of the mask, where none is known, it falls like the number of the
    mask, from `most` at its edge. As faint as `FAINT` it is 0.
    """
    probability = code * PROB_SCALE
    if outline <= _RIM:
        return probability
    if probability < _RIM:
        return probability * min(most / _RIM, 1.0)
    if probability <= FAINT:
        return 0.0
    return min(0.5 * (probability - _RIM) / (outline - _RIM), 1.0)


@compiled
def _sample(
    codes: Codes,
    row: int,
    col: int,
    height: int,
    width: int,
    x: float,
    y: float,
    outline: float = 0.0,
    most: float = 0.0,
) -> Any:
    """Probability at a place by bilinear interpolation; -1 outside the raster or without data.

    `codes` is the part of the raster (height, width) that begins at (row, col); `outline` and
    `most` are those of `_says`.
    """
    if x < 0 or y < 0 or x >= width or y >= height:
        return -1.0
    nearest = codes[int(y) - row, int(x) - col]
    if nearest == PROB_NODATA:
        return -1.0
    u, v = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    j, i = int(u), int(v)
    fu, fv = u - j, v - i
    total = 0.0
    for down in range(2):
        for right in range(2):
            weight = (fv if down else 1 - fv) * (fu if right else 1 - fu)
            if weight > 0:
                code = codes[i + down - row, j + right - col]
                shown = nearest if code == PROB_NODATA else code
                total += weight * _says(shown, outline, most)
    return total


@compiled
def _crossing(values: Floats, size: int, level: float) -> Any:
    """Distance (px) at which one side of a profile first falls below a level."""
    for k in range(size):
        if values[k] < level:
            if k == 0:
                return 0.0
            return STEP_PX * (k - 1 + (values[k - 1] - level) / (values[k - 1] - values[k]))
    return STEP_PX * max(size - 1, 0)


@compiled
def _side(values: Floats, size: int, half: float, out: Floats) -> None:
    """Read one side of a profile outwards from the ridge.

    Parameters
    ----------
    values : float64, probabilities from the ridge (index 0) outwards, `size` of them
    half : probability of the crack's edge
    out : float64 `[3]`, written: distance at which `half` is crossed (px), number of samples
        up to the foot, probability at the foot
    """
    out[0] = _crossing(values, size, half)
    lowest = 9.0
    foot = size
    for k in range(int(np.ceil(out[0] / STEP_PX)), size):
        if values[k] > lowest + _VALLEY:
            foot = k
            break
        if values[k] < half:
            lowest = min(lowest, values[k])
    out[1] = foot
    out[2] = lowest if lowest < 9 else 0.0


@compiled
def _plateau(values: Floats, ridge: int, left: float, right: float) -> Any:
    """Mean probability of the middle quarter of a profile between its crossings."""
    middle = 0.5 * (right - left)
    reach = 0.125 * (left + right)
    low = ridge + int(np.floor((middle - reach) / STEP_PX))
    high = ridge + int(np.ceil((middle + reach) / STEP_PX))
    return values[low : high + 1].mean()


@compiled
def _blurs(inner: Floats, outer: Floats, crossing: float, foot: float, top: float) -> Any:
    """Width of a crack in standard deviations of the blur of its edges.

    Parameters
    ----------
    inner, outer : float64, its two sides from the ridge outwards
    crossing : its width at half height (px)
    foot, top : probability beside it and on it
    """
    low, high = foot + 0.25 * (top - foot), foot + 0.75 * (top - foot)
    edges = _crossing(inner, len(inner), low) - _crossing(inner, len(inner), high)
    edges += _crossing(outer, len(outer), low) - _crossing(outer, len(outer), high)
    return crossing / max(0.5 * edges / _QUARTILES, 1e-3)


@compiled
def _share(value: float, bounds: tuple[float, float]) -> Any:
    """How far a value has come from the first bound to the second, 0 to 1."""
    return min(max((value - bounds[0]) / (bounds[1] - bounds[0]), 0.0), 1.0)


@compiled
def _ridge(values: Floats, centre: int, low: int, high: int) -> Any:
    """Where a profile is highest within the reach of the ridge; the first of equal places."""
    reach = int(_RIDGE_PX / STEP_PX)
    low, high = max(low, centre - reach), min(high, centre + reach + 1)
    ridge = centre
    for k in range(low, high):
        if values[k] > values[ridge] + 1e-9:
            ridge = k
    return ridge


@compiled
def _outline_ridge(values: Floats, centre: int, low: int, high: int, edge_level: float) -> Any:
    """Where the outline is surest: uphill from the ridge, else anywhere across the mask.

    A mask may be lopsided about the crack, by more than a ridge may lie off.
    """
    ridge = _ridge(values, centre, low, high)
    if values[ridge] <= FAINT:
        for step in (-1, 1):
            k = centre
            while low <= k < high and values[k] >= edge_level:
                if values[k] > values[ridge] + 1e-9:
                    ridge = k
                k += step
    for step in (-1, 1):
        while low <= ridge + step < high and values[ridge + step] > values[ridge]:
            ridge += step
    return ridge


@compiled
def _measure_mask(values: Floats, centre: int, low: int, high: int, out: Floats) -> None:
    """Width and offset of a mask without an outline, which says no more than where 0.5 is.

    Parameters are those of `_measure_profile`.
    """
    ridge = _ridge(values, centre, low, high)
    left = _crossing(values[low : ridge + 1][::-1], ridge + 1 - low, _MASK)
    right = _crossing(values[ridge:high], high - ridge, _MASK)
    out[0] = left + right
    out[1] = 0.5 * (right - left) + (ridge - centre) * STEP_PX


@compiled
def _measure_profile(
    values: Floats, centre: int, ridge: int, low: int, high: int, out: Floats
) -> None:
    """Width and offset of one profile.

    Where blur has spread a narrow crack, its width is the integral of probability, if its
    plateau was 1: that it was less cannot be told from more blur. Where edges are sharp against
    the width, the plateau shows; then the crossing of half its height is better. Blur lowers
    the plateau's middle by a share that the sharpness of the edges tells.

    Parameters
    ----------
    values : float64, probabilities; those at `low <= k < high` were read
    centre, ridge : index of the chain's point, and of the highest place near it
    out : float64 `[2]`, written: width (px), offset of the ridge from the centre (px)
    """
    peak = values[ridge]
    inner, outer = values[low : ridge + 1][::-1], values[ridge:high]
    left, right = np.empty(3), np.empty(3)
    half = 0.5 * min(peak, 1.0)
    for _ in range(2):
        _side(inner, len(inner), half, left)
        _side(outer, len(outer), half, right)
        foot = min(0.5 * (left[2] + right[2]), _MAX_FOOT)
        crossing = left[0] + right[0]
        top = _plateau(values, ridge, left[0], right[0]) if crossing > _RIDGE_PX else peak
        blurs = _blurs(inner, outer, crossing, foot, top)
        plateau = min((top - foot) / erf(_TOP * max(blurs, 1.0)), 1.0 - foot)
        half = foot + 0.5 * plateau
    total = moment = 0.0
    for k in range(ridge - int(left[1]) + 1, ridge + int(right[1])):
        value = max(values[k] - foot, 0.0)
        total += value
        moment += value * (k - centre)
    integral = total * STEP_PX
    wide = _share(blurs, _BLURS) * _share(integral, _PIXELS)
    middle = 0.5 * (right[0] - left[0]) + (ridge - centre) * STEP_PX
    out[0] = (1 - wide) * integral + wide * crossing
    centroid = moment / total * STEP_PX if total > 0 else 0.0
    out[1] = (1 - wide) * centroid + wide * middle


@compiled
def _read_outline(
    codes: Codes,
    row: int,
    col: int,
    height: int,
    width: int,
    point: Floats,
    ridge: int,
    low: int,
    high: int,
    outline: float,
    values: Floats,
) -> None:
    """Read a profile once more, as P of the outline alone.

    Codes are read as P before they are interpolated: between a mask's last pixel, sure of the
    outline, and the first outside, the level of the outline lies a quarter pixel too far in. And P
    is not known outside: a mask that ends within a crack's blurred edge would cut it off, so there
    P goes on from what it was on that last pixel and falls as the mask's own number does. A mask
    wider than its crack adds next to nothing.

    Parameters
    ----------
    point : float64 `[5]`, one of those of `measure_profiles`
    ridge : index of the surest place of the outline
    values : float64, written from `low` to `high`, the point in their middle
    """
    x, y, tx, ty = point[:4]
    middle = len(values) // 2
    for side in (-1, 1):
        edge = 0.0
        out = end = high if side > 0 else low - 1
        for k in range(ridge, end, side):
            s = (k - middle) * STEP_PX
            code = codes[int(y + s * tx) - row, int(x - s * ty) - col]
            if code == PROB_NODATA or code * PROB_SCALE < _RIM:
                out = k
                break
            edge = _says(code, outline, 0.0)
        for k in range(ridge, end, side):
            s = (k - middle) * STEP_PX
            at = x - s * ty, y + s * tx
            values[k] = _sample(codes, row, col, height, width, *at, outline, edge)
            if side * k >= side * out:  # pixels are no rise that would end the profile
                values[k] = min(values[k], values[k - side])


@compiled
def _walk(
    codes: Codes,
    row: int,
    col: int,
    height: int,
    width: int,
    point: Floats,
    here: float,
    edge_level: float,
    values: Floats,
) -> tuple[int, int, bool]:
    """Fill `values` from its middle, where the point lies, along its normal as far as it reaches.

    Returns
    -------
    first and last index filled, and whether the border or missing data ended it inside the crack
    """
    x, y, tx, ty, reach = point
    middle = len(values) // 2
    first, last, is_cut = middle, middle, False
    values[middle] = here
    for side in (-1, 1):
        before = here
        for k in range(1, int(np.ceil(reach / STEP_PX)) + 1):
            s = side * k * STEP_PX
            value = _sample(codes, row, col, height, width, x - s * ty, y + s * tx)
            if value < 0:
                is_cut = is_cut or before >= edge_level
                break
            values[middle + side * k] = before = value
            first, last = min(first, middle + side * k), max(last, middle + side * k)
    return first, last, is_cut


@compiled
def measure_profiles(
    codes: Codes,
    row: int,
    col: int,
    height: int,
    width: int,
    points: Floats,
    edge_level: float,
    outline: float = 0.0,
) -> Floats:
    """Profiles across chains at their points.

    Parameters
    ----------
    codes : uint8, part of the raster (height, width) that begins at (row, col); it must reach
        as far around the points as the profiles do
    points : float64 `[n, 5]`: x, y, unit tangent x, y, and reach of the profile (px)
    edge_level : a profile that leaves the raster or the data at a probability above this is cut
    outline : probability at the crack's outline, where the model leaves a rim between that and
        p = 0.5; 0 where there is none

    Returns
    -------
    float64 `[n, 5]`: width (px), offset along the normal (-ty, tx) (px), peak probability, 1
    where the profile is cut by the border or missing data, and 1 where no outline shows: width
    and offset are then those of the mask
    """
    out = np.zeros((len(points), 5))
    size = int(np.ceil(points[:, 4].max() / STEP_PX)) if len(points) else 0
    values = np.zeros(2 * size + 1)
    for i in range(len(points)):
        here = _sample(codes, row, col, height, width, points[i, 0], points[i, 1])
        if here < 0:
            out[i, 3] = 1
            continue
        first, last, is_cut = _walk(
            codes, row, col, height, width, points[i], here, edge_level, values
        )
        low, high = first, last + 1
        out[i, 3] = is_cut
        ridge = _ridge(values, size, low, high)
        if outline > _RIM:
            ridge = _outline_ridge(values, size, low, high, edge_level)
            out[i, 4] = values[ridge] <= FAINT
        out[i, 2] = values[ridge]  # the model's own, not the stretched one
        if out[i, 4]:
            _measure_mask(values, size, low, high, out[i])
            continue
        if outline > _RIM:
            _read_outline(
                codes, row, col, height, width, points[i], ridge, low, high, outline, values
            )
        _measure_profile(values, size, ridge, low, high, out[i])
    return out


@compiled
def measure_tips(
    codes: Codes,
    row: int,
    col: int,
    height: int,
    width: int,
    points: Floats,
    edge_level: float,
) -> Floats:
    """How far cracks go on beyond the free ends of their chains.

    Parameters are those of `measure_profiles`; the tangent points outwards.

    Returns
    -------
    float64 `[n, 2]`: distance (px) along the tangent to the crack's edge (half of the
    probability at the end), and 1 where the border or missing data comes first; 0 if neither
    comes: the crack runs into a region too wide for a line
    """
    out = np.zeros((len(points), 2))
    for i in range(len(points)):
        x, y, tx, ty, reach = points[i]
        first = _sample(codes, row, col, height, width, x, y)
        if first < 0:
            out[i, 1] = 1
            continue
        half = max(0.5 * min(first, 1.0), edge_level)  # nothing fainter is followed
        if first <= half:
            continue
        last = first
        k = 1
        while k * STEP_PX <= reach:
            s = k * STEP_PX
            value = _sample(codes, row, col, height, width, x + s * tx, y + s * ty)
            if value < 0:
                out[i, 1] = last >= edge_level
                out[i, 0] = (k - 1) * STEP_PX
                break
            if value < half:
                s -= STEP_PX * (half - value) / (last - value)
                out[i, 0] = s
                break
            last = value
            k += 1
    return out
