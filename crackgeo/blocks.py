"""Reading a probability raster in blocks, several at a time, in a fixed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .grid import Window

Codes = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")


class ProbabilitySource(Protocol):
    """A probability raster: codes `round(p * 254)`, 255 where nothing was surveyed."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    def read(self, window: Window) -> Codes:
        """Codes of a window inside the raster, uint8 `[height, width]`; safe in threads."""
        ...


class ArraySource:
    """A probability raster in memory.

    Parameters
    ----------
    codes : uint8 `[height, width]`, see `ProbabilitySource`

    Raises
    ------
    InputError : another dtype or number of dimensions
    """

    def __init__(self, codes: Codes) -> None:
        if codes.dtype != np.uint8 or codes.ndim != 2:
            raise InputError(
                f"probabilities must be uint8 [height, width], not {codes.dtype} {codes.shape}",
                "use round(p * 254), and 255 where there is no data",
            )
        self._codes = codes

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self._codes.shape
        return height, width

    def read(self, window: Window) -> Codes:
        """Codes of a window inside the raster."""
        return self._codes[window.row : window.row_end, window.col : window.col_end]


def blocks(shape: tuple[int, int], block_px: int) -> Iterator[Window]:
    """Windows of `block_px` a side that cover a raster, row by row; smaller at its far borders."""
    height, width = shape
    for row in range(0, height, block_px):
        for col in range(0, width, block_px):
            yield Window(row, col, min(block_px, height - row), min(block_px, width - col))


def grown(window: Window, margin_px: int, shape: tuple[int, int]) -> Window:
    """A window with a margin on every side, cut off at the raster's border."""
    height, width = shape
    row, col = max(window.row - margin_px, 0), max(window.col - margin_px, 0)
    row_end = min(window.row_end + margin_px, height)
    col_end = min(window.col_end + margin_px, width)
    return Window(row, col, row_end - row, col_end - col)


def parallel(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Results of a function over items, in their order, computed by threads a little ahead.

    Only `workers + 1` results wait at a time, so that memory stays bounded; closing the
    generator (or an error) starts no further item.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
