"""Where chips lie: spatial blocks, so that training and validation never touch.

    block        gap     block
    +----+----+         +----+----+
    |chip|chip|  gap_px |    |    |      all chips of a block belong to the same split
    +----+----+         +----+----+

Neighbouring pixels of one survey are near copies of each other. If a crack's one half taught and
its other half tested, the test would only ask whether the model remembers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from crackgeo.errors import UsageError
from crackgeo.grid import Window
from crackgeo.specs import TILE_PX, TileSpec

BLOCK_SIDES = (4, 3, 2, 1)  # chips along a block's side, the largest that leaves enough blocks
LEAST_CHIP_PX = 112  # smaller chips show too little of the ground around a crack
TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class ChipSpec:
    """How a raster is cut into chips.

    Parameters
    ----------
    size_px : side of a chip
    gap_px : ground between blocks that belongs to none; the context that decides on a pixel is
        about half of it, see `TileSpec`
    val_share : share of the chips with cracks that validate
    empty_ratio : crack-free chips for each chip with a crack or a rejected one
    seed : of the choice of blocks
    """

    size_px: int = TILE_PX
    gap_px: int = TileSpec().overlap_px
    val_share: float = 0.2
    empty_ratio: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.size_px < LEAST_CHIP_PX:
            raise UsageError(f"--chip-px must be at least {LEAST_CHIP_PX}, not {self.size_px}")
        if not 0 < self.val_share < 1:
            raise UsageError(f"--val-share must lie between 0 and 1, not {self.val_share}")
        if self.gap_px < 0 or self.empty_ratio < 0:
            raise UsageError("the gap and the share of crack-free chips cannot be negative")


@dataclass(frozen=True)
class Chip:
    """One chip: its window, its block (row, col), the split of that block."""

    window: Window
    block: tuple[int, int]
    split: str


def plan_chips(
    extent: Window, raster: Window, marked: NDArray[np.object_], spec: ChipSpec
) -> list[Chip]:
    """Chips with labels, and some without, in blocks of which some validate.

    Parameters
    ----------
    extent : window around the known ground
    raster : the whole raster; no chip reaches beyond it
    marked : polygons of cracks and rejected cracks, pixel coordinates
    spec : sizes and shares

    Returns
    -------
    list of Chip
        By block, row and column. Without any val chip if one block holds all the labels.
    """
    tree = shapely.STRtree(marked)
    side, size = _layout(extent, tree, spec)
    cells = list(_cells(extent, raster, side, size, spec.gap_px))
    boxes = shapely.box(*np.array([_corners(window) for window, _ in cells]).T)
    has_mark = np.zeros(len(cells), np.bool_)
    has_mark[tree.query(boxes, predicate="intersects")[0]] = True
    rng = np.random.default_rng(spec.seed)
    marked_blocks = Counter(cells[i][1] for i in np.flatnonzero(has_mark))
    other_blocks = Counter(block for _, block in cells if block not in marked_blocks)
    val = _validating(marked_blocks, spec, rng) | _validating(other_blocks, spec, rng)
    empty = np.flatnonzero(~has_mark)
    count = min(len(empty), round(spec.empty_ratio * int(has_mark.sum())))
    taken = np.sort(np.concatenate([np.flatnonzero(has_mark), rng.permutation(empty)[:count]]))
    return [Chip(cells[i][0], cells[i][1], VAL if cells[i][1] in val else TRAIN) for i in taken]


def _layout(extent: Window, tree: shapely.STRtree, spec: ChipSpec) -> tuple[int, int]:
    """Chips along a block's side and size of a chip: the largest with enough marked blocks."""
    wanted = round(1 / min(spec.val_share, 1 - spec.val_share))
    best = (1, spec.size_px)
    most = 0
    for size in (spec.size_px, max(spec.size_px // 2, LEAST_CHIP_PX)):
        for side in BLOCK_SIDES:
            blocks = _marked_blocks(extent, tree, side * size + spec.gap_px, side * size)
            if blocks >= wanted:
                return side, size
            if blocks > most:
                best, most = (side, size), blocks
    return best


def _marked_blocks(extent: Window, tree: shapely.STRtree, step: int, side: int) -> int:
    rows, cols = np.mgrid[
        extent.row : extent.row_end : step, extent.col : extent.col_end : step
    ].reshape(2, -1)
    boxes = shapely.box(cols, rows, cols + side, rows + side)
    return len(np.unique(tree.query(boxes, predicate="intersects")[0]))


def _cells(
    extent: Window, raster: Window, side: int, size: int, gap: int
) -> Iterator[tuple[Window, tuple[int, int]]]:
    """All chips with their block; those cut to less than `LEAST_CHIP_PX` by the border go."""
    least = min(LEAST_CHIP_PX, raster.height, raster.width)
    for block_row, row in _starts(extent.row, extent.row_end, side, size, gap):
        for block_col, col in _starts(extent.col, extent.col_end, side, size, gap):
            window = Window(row, col, size, size).intersect(raster)
            if window is not None and min(window.height, window.width) >= least:
                yield window, (block_row, block_col)


def _starts(first: int, end: int, side: int, size: int, gap: int) -> Iterator[tuple[int, int]]:
    step = side * size + gap
    for block, start in enumerate(range(first, end, step)):
        for i in range(side):
            if start + i * size < end:
                yield block, start + i * size


def _validating(
    chips: Counter[tuple[int, int]], spec: ChipSpec, rng: np.random.Generator
) -> set[tuple[int, int]]:
    """Blocks, in random order, until they hold their share of the chips; one block always stays."""
    names = sorted(chips)
    chosen: set[tuple[int, int]] = set()
    held = 0
    for i in rng.permutation(len(names))[: max(0, len(names) - 1)]:
        if held >= spec.val_share * chips.total():
            break
        chosen.add(names[i])
        held += chips[names[i]]
    return chosen


def _corners(window: Window) -> tuple[int, int, int, int]:
    return window.col, window.row, window.col_end, window.row_end
