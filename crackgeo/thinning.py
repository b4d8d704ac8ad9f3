"""Thinning and what is read off a mask at its centre pixels: compiled loops over pixels.

Parallel thinning by Guo and Hall 1989, algorithm A1 (Comm. ACM 32, 359-373), with a fixed bound
on its iterations, so that a pixel's fate depends on nothing beyond twice that distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Codes
from .jit import compiled
from .specs import VectorSpec

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
Box = tuple[int, int, int, int]

HOLE_PX = 4  # so many open pixels inside a mask are noise


def _thinning_table() -> Codes:
    """Whether a pixel goes, uint8 `[2, 256]`: by sub-iteration and by its 8 neighbours.

    Bit k of the neighbourhood is P(k + 2) of Guo and Hall: north, then clockwise.
    """
    table = np.zeros((2, 256), np.uint8)
    for code in range(256):
        p2, p3, p4, p5, p6, p7, p8, p9 = (code >> k & 1 for k in range(8))
        crossings = (
            ((1 - p2) & (p3 | p4))
            + ((1 - p4) & (p5 | p6))
            + ((1 - p6) & (p7 | p8))
            + ((1 - p8) & (p9 | p2))
        )
        pairs = (p9 | p2) + (p3 | p4) + (p5 | p6) + (p7 | p8)
        other_pairs = (p2 | p3) + (p4 | p5) + (p6 | p7) + (p8 | p9)
        thin_enough = crossings == 1 and 2 <= min(pairs, other_pairs) <= 3
        table[0, code] = thin_enough and not (p6 | p7 | (1 - p9)) & p8
        table[1, code] = thin_enough and not (p2 | p3 | (1 - p5)) & p4
    return table


_TABLE = _thinning_table()


@compiled
def _neighbours(a: Codes, i: int, stride: int) -> Any:
    """The 8 neighbours of flat pixel i as bits, north first, clockwise."""
    return (
        a[i - stride]
        | a[i - stride + 1] << 1
        | a[i + 1] << 2
        | a[i + stride + 1] << 3
        | a[i + stride] << 4
        | a[i + stride - 1] << 5
        | a[i - 1] << 6
        | a[i - stride - 1] << 7
    )


@compiled
def _all_neighbours(a: Codes, pixels: Places, stride: int) -> tuple[Codes, Places]:
    """`_neighbours` of the pixels, at their places, and those pixels that lack one of the 8."""
    around = np.empty(a.size, np.uint8)
    border = np.empty(len(pixels), np.int32)
    size = 0
    for i in pixels:
        around[i] = _neighbours(a, i, stride)
        if around[i] != 255:
            border[size] = i
            size += 1
    return around, border[:size].copy()


@compiled
def _thin(a: Codes, pixels: Places, stride: int, table: Codes, iterations: int) -> None:
    """Thin a flat mask with a border of zeros, in place; `pixels` are those set in it.

    A pixel's fate can only change when a neighbour went since its rule was last asked, two
    sub-iterations ago: so only neighbours of the pixels of the last two are looked at again,
    after all border pixels at first. This gives what a scan of all pixels gives. While it runs,
    a pixel is 2 as long as it waits among the neighbours of the last sub-iteration's pixels.
    """
    around, last = _all_neighbours(a, pixels, stride)
    older = last[:0]
    # Neighbour k of `_neighbours`; from there, this pixel is neighbour k + 4 (modulo 8).
    offsets = np.array([-stride, 1 - stride, 1, stride + 1, stride, stride - 1, -1, -stride - 1])
    quiet = 0
    for step in range(2 * iterations):
        rule = table[step & 1]
        gone = np.empty(len(last) + len(older), np.int32)
        n_gone = 0
        for front in (last, older):
            for i in front:
                if a[i]:
                    a[i] = 1
                    gone[n_gone] = i
                    n_gone += rule[around[i]]
        for i in gone[:n_gone]:
            a[i] = 0
        touched = np.empty(8 * n_gone, np.int32)
        n_touched = 0
        for i in gone[:n_gone]:
            for k in range(8):
                j = i + offsets[k]
                if a[j]:
                    around[j] &= ~(1 << (k + 4) % 8)
                    if a[j] == 1:
                        a[j] = 2
                        touched[n_touched] = j
                        n_touched += 1
        older, last = last, touched[:n_touched].copy()
        quiet = quiet + 1 if n_gone == 0 else 0
        if quiet == 2:
            break
    for i in last:
        a[i] = min(a[i], 1)


def thin(mask: NDArray[np.bool_], iterations: int = VectorSpec.thin_iterations) -> Codes:
    """Skeleton of a mask by at most `iterations` rounds of Guo-Hall thinning.

    Parameters
    ----------
    mask : bool `[height, width]`; outside counts as background

    Returns
    -------
    uint8 `[height, width]`, 1 on the skeleton and where the mask is too wide to thin
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    thin_pixels(padded, np.flatnonzero(padded).astype(np.int32), iterations)
    return padded[1:-1, 1:-1]


def thin_pixels(mask: Codes, pixels: Places, iterations: int) -> None:
    """Thin a mask with a border of zeros in place; `pixels` are the flat places set in it."""
    _thin(mask.reshape(-1), pixels, mask.shape[1], _TABLE, iterations)


@compiled
def _hole(flat: Codes, start: int, stride: int, hole: Places) -> int:
    """Write the open pixels that hang together with a place; how many, or 0 for more than fit.

    Parameters
    ----------
    flat : uint8, a mask with a border of zeros, whose pixels are no hole
    hole : int32, written; as long as the largest hole
    """
    hole[0], size = start, 1
    done = 0
    while done < size:
        i = hole[done]
        done += 1
        row, col = i // stride, i % stride
        if row == 0 or col == 0 or col == stride - 1 or i + stride >= len(flat):
            return 0
        for beside in (i - stride, i - 1, i + 1, i + stride):
            if flat[beside] or (hole[:size] == beside).any():
                continue
            if size == len(hole):
                return 0
            hole[size] = beside
            size += 1
    return size


@compiled
def filled_mask(codes: Codes, found: Ints) -> tuple[Codes, Places]:
    """Mask of pixels in a border of zeros, with holes of a few pixels filled.

    They are noise, or single pixels without data; left open, they would split the line, or set
    rings beside it.

    Parameters
    ----------
    codes : uint8 `[height, width]`
    found : int64, flat places in `codes` that belong to the mask

    Returns
    -------
    mask : uint8 `[height + 2, width + 2]`
    pixels : int32, flat places set in it: those of `found` in their order, then the filled
    """
    height, width = codes.shape
    stride = width + 2
    mask = np.zeros((height + 2, stride), np.uint8)
    flat = mask.reshape(-1)
    pixels = np.empty((1 + HOLE_PX) * len(found), np.int32)
    for k in range(len(found)):
        pixels[k] = (found[k] // width + 1) * stride + found[k] % width + 1
        flat[pixels[k]] = 1
    size = len(found)
    hole = np.empty(HOLE_PX, np.int32)
    for k in range(len(found)):
        i = pixels[k] + 1
        if not flat[i] and flat[i - stride]:  # as the first pixel of a hole lies
            filled = _hole(flat, i, stride, hole)
            for j in hole[:filled]:
                flat[j] = 1
            pixels[size : size + filled] = hole[:filled]
            size += filled
    return mask, pixels[:size].copy()


@compiled
def _is_deep(codes: Codes, row: int, col: int, low: int, nodata: int, reach: int) -> Any:
    """Whether the mask goes on for `reach` pixels from a place, looking in 8 directions."""
    height, width = codes.shape
    for distance in (max(1, reach // 2), reach):
        for down in (-distance, 0, distance):
            for right in (-distance, 0, distance):
                y, x = row + down, col + right
                if not (0 <= y < height and 0 <= x < width):
                    return False
                if codes[y, x] < low or codes[y, x] == nodata:
                    return False
    return True


@compiled
def drop_solid(
    mask: Codes, codes: Codes, pixels: Places, low: int, nodata: int, reach: int
) -> Places:
    """Take solid rests (a full 3 x 3 deep in the mask, and its rim) out of a thinned mask.

    Parameters
    ----------
    mask : uint8, thinned in place, with a border of 1
    pixels : int32 `[n]`, flat places set in it

    Returns
    -------
    int32 `[k]`, those pixels that are the middle of a solid 3 x 3. Thinning that has ended can
    leave a full 3 x 3, too, but none that is deep.
    """
    stride = mask.shape[1]
    flat = mask.reshape(-1)
    cores = np.empty_like(pixels)
    count = 0
    for i in pixels:
        row, col = i // stride - 1, i % stride - 1
        full = _neighbours(flat, i, stride) == 255
        if full and _is_deep(codes, row, col, low, nodata, reach):
            cores[count] = i
            count += 1
    for i in cores[:count]:
        row, col = i // stride, i % stride
        mask[row - 1 : row + 2, col - 1 : col + 2] = 0
    return cores[:count].copy()


@compiled
def places_within(pixels: Places, stride: int, box: Box) -> Places:
    """Rows and columns, int32 `[k, 2]`, of those pixels of a bordered mask that lie in a box.

    Parameters
    ----------
    pixels : int32 `[n]`, flat places
    stride : width of the mask with its border
    box : first row, first column, end row, end column, without the border
    """
    places = np.empty((len(pixels), 2), np.int32)
    count = 0
    for i in pixels:
        row, col = i // stride - 1, i % stride - 1
        if box[0] <= row < box[2] and box[1] <= col < box[3]:
            places[count, 0], places[count, 1] = row, col
            count += 1
    return places[:count].copy()


@compiled
def runs_from(codes: Codes, places: Places, least: int, most: int) -> Places:
    """Runs of the places whose code is from `least` to `most`.

    Parameters
    ----------
    places : int32 `[n, 2]`, rows and columns in `codes`, row by row

    Returns
    -------
    int32 `[k, 3]`: row, column, end column
    """
    runs = np.empty((len(places), 3), np.int32)
    count = 0
    for row, col in places:
        if not least <= codes[row, col] <= most:
            continue
        if count > 0 and runs[count - 1, 0] == row and runs[count - 1, 2] == col:
            runs[count - 1, 2] = col + 1
        else:
            runs[count, 0], runs[count, 1], runs[count, 2] = row, col, col + 1
            count += 1
    return runs[:count].copy()


@compiled
def _radius(mask: Codes, row: int, col: int, cap: int) -> Any:
    """Distance to the centre of the nearest background pixel of a bordered mask, at most `cap`.

    Square rings from the inside out, until none can hold a nearer one. Beyond the raster there
    is no background: a crack that runs out of it is not narrow there.
    """
    height, width = mask.shape[0] - 2, mask.shape[1] - 2
    best = cap * cap
    r = 1
    while r * r < best:
        for t in range(-r, r + 1):
            d2 = r * r + t * t
            if d2 < best:
                for side in range(4):
                    y = (row - r, row + r, row + t, row + t)[side]
                    x = (col + t, col + t, col - r, col + r)[side]
                    if 0 <= y < height and 0 <= x < width and not mask[y + 1, x + 1]:
                        best = d2
        r += 1
    return np.sqrt(best)


@compiled
def _peak(codes: Codes, row: int, col: int, nodata: int, radius: float) -> int:
    """Highest code around a place as far as its mask goes on all sides, at least in 3 x 3."""
    height, width = codes.shape
    reach = max(int(radius), 1)
    best = 0
    for y in range(max(row - reach, 0), min(row + reach + 1, height)):
        for x in range(max(col - reach, 0), min(col + reach + 1, width)):
            inside = (y - row) ** 2 + (x - col) ** 2 <= max(radius * radius, 2.0)
            if inside and codes[y, x] != nodata and codes[y, x] > best:
                best = codes[y, x]
    return best


@compiled
def measure_pixels(
    codes: Codes, mask: Codes, places: Places, nodata: int, cap: int
) -> tuple[NDArray[np.float32], Codes]:
    """Radius and peak of each skeleton pixel; the mask has a border of 1."""
    radius = np.empty(len(places), np.float32)
    peak = np.empty(len(places), np.uint8)
    for i in range(len(places)):
        row, col = places[i, 0], places[i, 1]
        radius[i] = _radius(mask, row, col, cap)
        peak[i] = _peak(codes, row, col, nodata, radius[i])
    return radius, peak
