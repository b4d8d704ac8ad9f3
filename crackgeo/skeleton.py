"""Centre pixels of cracks: thinning, block by block, the same from any block size.

Parallel thinning (Guo and Hall 1989, algorithm A1: Comm. ACM 32, 359-373) with a fixed bound on
its iterations. One sub-iteration looks one pixel far, so K iterations depend on nothing beyond
2 K pixels: a block read with that halo gives the very pixels that the whole raster gives.
What is still solid after K iterations is too wide to thin; it is left to the polygons.

Only sparse results leave a block, so memory grows with the skeleton and the outlines, never
with the raster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Codes, ProbabilitySource, blocks, grown, parallel
from .grid import Window
from .jit import compiled
from .monitor import SILENT, Monitor
from .specs import PROB_NODATA, PROB_SCALE, VectorSpec

Ints = NDArray[np.int64]


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
_SOLID_REACH_PX = 2  # a pixel's place in a solid rest depends on this many pixels around


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
def _thin(a: Codes, height: int, stride: int, table: Codes, iterations: int) -> None:
    """Thin a flat mask with a border of zeros, in place.

    A pixel's fate can only change when a neighbour went since its rule was last asked, two
    sub-iterations ago: so only neighbours of the pixels of the last two are looked at again,
    after all border pixels at first. This gives what a scan of all pixels gives.
    """
    border = np.empty(np.count_nonzero(a), np.int32)
    size = 0
    for i in range(stride, (height - 1) * stride):
        if a[i] and _neighbours(a, i, stride) != 255:
            border[size] = i
            size += 1
    border = border[:size].copy()
    seen = np.zeros(a.size, np.int32)
    offsets = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    last, older = border, border[:0]
    quiet = 0
    for step in range(2 * iterations):
        rule = table[step & 1]
        gone = np.empty(len(last) + len(older), np.int32)
        n_gone = 0
        for front in (last, older):
            for i in front:
                if a[i] and seen[i] != 2 * step + 1:
                    seen[i] = 2 * step + 1
                    if rule[_neighbours(a, i, stride)]:
                        gone[n_gone] = i
                        n_gone += 1
        for k in range(n_gone):
            a[gone[k]] = 0
        touched = np.empty(8 * n_gone, np.int32)
        n_touched = 0
        for k in range(n_gone):
            for offset in offsets:
                j = gone[k] + offset
                if a[j] and seen[j] != 2 * step + 2:
                    seen[j] = 2 * step + 2
                    touched[n_touched] = j
                    n_touched += 1
        older, last = last, touched[:n_touched].copy()
        quiet = quiet + 1 if n_gone == 0 else 0
        if quiet == 2:
            return


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
    height, stride = padded.shape
    _thin(padded.reshape(-1), height, stride, _TABLE, iterations)
    return padded[1:-1, 1:-1]


@compiled
def _padded_mask(codes: Codes, low: int, nodata: int) -> Codes:
    """Mask of the codes from `low` on, in a border of zeros; holes of one pixel are filled.

    A lone pixel below the threshold inside a crack is noise; left open, it would split the line.
    """
    height, width = codes.shape
    mask = np.zeros((height + 2, width + 2), np.uint8)
    for row in range(height):
        for col in range(width):
            code = codes[row, col]
            mask[row + 1, col + 1] = code >= low and code != nodata
    for row in range(1, height - 1):
        for col in range(1, width - 1):
            if mask[row, col + 1] and not mask[row + 1, col + 1]:
                beside = mask[row + 1, col] == 1 and mask[row + 1, col + 2] == 1
                if beside and mask[row + 2, col + 1] and codes[row, col] != nodata:
                    mask[row + 1, col + 1] = 1
    return mask


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
def _drop_solid(
    mask: Codes, codes: Codes, places: NDArray[np.int32], low: int, nodata: int, reach: int
) -> NDArray[np.int32]:
    """Take solid rests (a full 3 x 3 deep in the mask, and its rim) out of a thinned mask.

    Parameters
    ----------
    mask : uint8, thinned in place, with a border of 1
    places : int32 `[n, 2]`, rows and columns in `codes` to look at

    Returns
    -------
    int32 `[k, 2]`, the places of the cores. Thinning that has ended can leave a full 3 x 3,
    too, but none that is deep.
    """
    stride = mask.shape[1]
    flat = mask.reshape(-1)
    cores = np.empty_like(places)
    count = 0
    for row, col in places:
        full = _neighbours(flat, (row + 1) * stride + col + 1, stride) == 255
        if full and _is_deep(codes, row, col, low, nodata, reach):
            cores[count, 0], cores[count, 1] = row, col
            count += 1
    for row, col in cores[:count]:
        mask[row : row + 3, col : col + 3] = 0
    return cores[:count].copy()


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
def _peak(codes: Codes, row: int, col: int, nodata: int) -> int:
    """Highest code of the 3 x 3 pixels around a place."""
    height, width = codes.shape
    best = 0
    for y in range(max(row - 1, 0), min(row + 2, height)):
        for x in range(max(col - 1, 0), min(col + 2, width)):
            if codes[y, x] != nodata and codes[y, x] > best:
                best = codes[y, x]
    return best


@compiled
def _measure_pixels(
    codes: Codes, mask: Codes, places: NDArray[np.int32], nodata: int, cap: int
) -> tuple[NDArray[np.float32], Codes]:
    """Radius and peak of each skeleton pixel; the mask has a border of 1."""
    radius = np.empty(len(places), np.float32)
    peak = np.empty(len(places), np.uint8)
    for i in range(len(places)):
        row, col = places[i, 0], places[i, 1]
        radius[i] = _radius(mask, row, col, cap)
        peak[i] = _peak(codes, row, col, nodata)
    return radius, peak


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Runs of a mask, int32 `[n, 3]`: row, first column, column after the last."""
    height, width = mask.shape
    bordered = np.zeros((height, width + 1), np.bool_)  # False between rows and before the first
    bordered[:, 1:] = mask
    flat = np.append(bordered.reshape(-1), False)
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # the last False, then the last True
    rows, starts = np.divmod(edges[::2], width + 1)
    return np.stack([rows, starts, starts + edges[1::2] - edges[::2]], axis=-1).astype(np.int32)


@dataclass(frozen=True)
class Skeleton:
    """What one pass over a probability raster leaves, sorted by row and column.

    Parameters
    ----------
    shape : (height, width) of the raster
    keys : int64 `[n]`, row * width + col of the centre pixels
    radius_px : float32 `[n]`, distance to the nearest background pixel (below the low
        threshold, or without data)
    peak : uint8 `[n]`, highest code in the 3 x 3 pixels around
    runs : int32 `[m, 3]`, row, first column, end column of the runs at the high threshold;
        a run is cut where a block ends
    solid : int64 `[k]`, keys of pixels in regions too wide to thin, at least one a region
    """

    shape: tuple[int, int]
    keys: Ints
    radius_px: NDArray[np.float32]
    peak: Codes
    runs: NDArray[np.int32]
    solid: Ints


def low_code(spec: VectorSpec) -> int:
    """Lowest code that belongs to the mask that is thinned."""
    return max(1, int(np.ceil(spec.threshold_low / PROB_SCALE - 1e-9)))


def high_code(spec: VectorSpec) -> int:
    """Lowest code that makes a crack."""
    return max(1, int(np.ceil(spec.threshold / PROB_SCALE - 1e-9)))


def skeletonize(
    source: ProbabilitySource, spec: VectorSpec, *, workers: int = 2, monitor: Monitor = SILENT
) -> Skeleton:
    """Centre pixels of all that lies above the low threshold; see `Skeleton`."""
    windows = list(blocks(source.shape, spec.block_px))
    parts = parallel(partial(_skeletonize_block, source, spec), windows, workers)
    return _joined(source.shape, _reported(parts, len(windows), monitor))


def _reported(parts: Iterator[Skeleton], total: int, monitor: Monitor) -> Iterator[Skeleton]:
    for done, part in enumerate(parts, 1):
        monitor.step("skeleton", done, total)
        yield part


def _skeletonize_block(source: ProbabilitySource, spec: VectorSpec, core: Window) -> Skeleton:
    cap, low = 2 * spec.thin_iterations, low_code(spec)
    window = grown(core, cap + _SOLID_REACH_PX, source.shape)
    codes = np.ascontiguousarray(source.read(window))
    inner = _part(codes, window, core)
    places = cores = np.empty((0, 2), np.int32)
    mask = np.empty((0, 0), np.uint8)
    if ((inner >= low) & (inner != PROB_NODATA)).any():
        mask = _padded_mask(codes, low, PROB_NODATA)
        places, cores = _thin_window(codes, mask.copy(), window, core, source.shape, spec)
    radius_px, peak = _measure_pixels(codes, mask, places, PROB_NODATA, cap)
    runs = _runs((inner >= high_code(spec)) & (inner != PROB_NODATA))
    return Skeleton(
        source.shape,
        _keys(places, window, source.shape[1]),
        radius_px,
        peak,
        runs + np.array([core.row, core.col, core.col], np.int32),
        _keys(_row_starts(cores), window, source.shape[1]),
    )


def _thin_window(
    codes: Codes,
    mask: Codes,
    window: Window,
    core: Window,
    shape: tuple[int, int],
    spec: VectorSpec,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Places in the window of the core's centre pixels, and of its solid pixels.

    `mask` (with a border of 1) is thinned in place.
    """
    low = low_code(spec)
    height, stride = mask.shape
    _thin(mask.reshape(-1), height, stride, _TABLE, spec.thin_iterations)
    thinned = mask[1:-1, 1:-1]
    around = grown(core, _SOLID_REACH_PX, shape)
    places = _places(thinned, window, around)
    reach = max(1, spec.thin_iterations // 2)
    cores = _drop_solid(mask, codes, places, low, PROB_NODATA, reach)
    row, col = core.row - window.row, core.col - window.col
    own = (cores >= [row, col]) & (cores < [row + core.height, col + core.width])
    return _places(thinned, window, core), cores[own.all(axis=1)]


def _part(array: Codes, window: Window, part: Window) -> Codes:
    """The pixels of a part of a window, as an array of its own."""
    row, col = part.row - window.row, part.col - window.col
    return np.ascontiguousarray(array[row : row + part.height, col : col + part.width])


def _places(mask: Codes, window: Window, part: Window) -> NDArray[np.int32]:
    """Rows and columns in the window, int32 `[n, 2]`, of the pixels set in a part of it."""
    inner = _part(mask, window, part)
    rows, cols = np.divmod(np.flatnonzero(inner.reshape(-1).view(np.bool_)), part.width)
    places = np.stack([rows + part.row - window.row, cols + part.col - window.col], axis=-1)
    return places.astype(np.int32)


def _keys(places: NDArray[np.int32], window: Window, width: int) -> Ints:
    rows, cols = places.T.astype(np.int64)
    return np.asarray((rows + window.row) * width + cols + window.col)


def _row_starts(places: NDArray[np.int32]) -> NDArray[np.int32]:
    """Only the first pixel of each horizontal run of pixels; enough to mark a region."""
    follows = (np.diff(places[:, 0]) == 0) & (np.diff(places[:, 1]) == 1)
    first = np.ones(min(len(places), 1), np.bool_)
    return np.asarray(places[np.concatenate([first, ~follows])])


def _joined(shape: tuple[int, int], parts: Iterator[Skeleton]) -> Skeleton:
    found = list(parts)
    keys = np.concatenate([part.keys for part in found])
    runs = np.concatenate([part.runs for part in found])
    order = np.argsort(keys, kind="stable")
    return Skeleton(
        shape,
        keys[order],
        np.concatenate([part.radius_px for part in found])[order],
        np.concatenate([part.peak for part in found])[order],
        runs[np.lexsort((runs[:, 1], runs[:, 0]))],
        np.sort(np.concatenate([part.solid for part in found])),
    )
