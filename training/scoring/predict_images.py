"""Probabilities of loose images, tiled and blended as `crackgeo map` does it.

An image is mirrored to the extent of its tiles, as there is nothing real to read beyond it.
Tiles of several images share a batch, since most labelled pictures are a tile or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from crackgeo.grid import Window
from crackgeo.models.protocol import Segmenter
from crackgeo.specs import TileSpec
from crackgeo.stitch import overlap_weight
from crackgeo.tiling import TilePlan

DEFAULT_TILES = TileSpec()


@dataclass(frozen=True)
class _Piece:
    """One tile of one image; `last` marks the one that completes it."""

    window: Window
    pixels: NDArray[np.uint8]
    shape: tuple[int, int]
    last: bool


def predict_images(
    segmenter: Segmenter,
    images: Iterable[NDArray[np.uint8]],
    spec: TileSpec = DEFAULT_TILES,
) -> Iterator[NDArray[np.float32]]:
    """Crack probabilities of images of any size, in their order.

    Parameters
    ----------
    segmenter : the model
    images : uint8 `[H, W, 3]`, RGB
    spec : tile size and overlap

    Yields
    ------
    float32 `[H, W]` in [0, 1]
    """
    axis = overlap_weight(spec.size_px, spec.overlap_px)
    weight = axis[:, None] * axis[None, :]
    total = np.zeros((0, 0), np.float32)
    summed = np.zeros((0, 0), np.float32)
    for piece, probability in _infer(segmenter, _pieces(images, spec)):
        window = piece.window
        if window.row == 0 and window.col == 0:
            summed, total = np.zeros(piece.shape, np.float32), np.zeros(piece.shape, np.float32)
        height, width = summed[window.row : window.row_end, window.col : window.col_end].shape
        part = np.s_[window.row : window.row + height, window.col : window.col + width]
        summed[part] += (weight * probability)[:height, :width]
        total[part] += weight[:height, :width]
        if piece.last:
            yield summed / total


def _pieces(images: Iterable[NDArray[np.uint8]], spec: TileSpec) -> Iterator[_Piece]:
    for image in images:
        height, width = image.shape[:2]
        plan = TilePlan((height, width), Window(0, 0, height, width), spec)
        windows = [tile for i in plan.rows for tile in plan.row_tiles(i)]
        end = windows[-1]
        beyond = ((0, max(0, end.row_end - height)), (0, max(0, end.col_end - width)), (0, 0))
        mirrored = np.pad(image, beyond, mode="symmetric")
        for window in windows:
            cut = np.s_[window.row : window.row_end, window.col : window.col_end]
            yield _Piece(window, mirrored[cut], (height, width), window == end)


def _infer(
    segmenter: Segmenter, pieces: Iterator[_Piece]
) -> Iterator[tuple[_Piece, NDArray[np.float32]]]:
    while batch := list(islice(pieces, segmenter.batch_size)):
        probabilities = segmenter.predict(np.stack([piece.pixels for piece in batch]))
        yield from zip(batch, probabilities, strict=True)
