"""Samples as the CrackSAM paper draws them: half turned by quarters and mirrored, a quarter turned
by up to 20 degrees, a quarter as they are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from crackgeo.specs import TILE_PX

from ..pictures.data import to_tensor
from ..pictures.pairs import read_label
from ..pictures.records import IGNORE, Record

TURNED, TILTED = 0.5, 0.25  # shares of the samples (Ge et al. 2024); the rest stays
TILT_DEG = 20.0


class PaperSamples(Dataset[tuple[Tensor, Tensor]]):
    """Pictures of 448 px; item i depends on the seed and i alone.

    Every picture comes once in a pass through the data, in an order of its own each time: whole,
    or of a larger one a part that changes from pass to pass.

    Parameters
    ----------
    records : the pictures
    seed : of all chance
    """

    def __init__(self, records: Sequence[Record], seed: int) -> None:
        self.records = records
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        turn, place = divmod(index, len(self.records))
        order = np.random.default_rng((self.seed, turn)).permutation(len(self.records))
        image, label = read_label(self.records[order[place]])
        image, label = _to_tile(image, label, np.random.default_rng((self.seed, turn, place, 1)))
        image, label = turned(image, label, np.random.default_rng((self.seed, turn, place)))
        return to_tensor(image), torch.from_numpy(np.ascontiguousarray(label))[None]


def turned(
    image: NDArray[np.uint8], label: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Turn and mirror a picture and its label as the paper does; same shapes, square."""
    chance = rng.random()
    if chance < TURNED:
        quarters, axis = int(rng.integers(4)), int(rng.integers(2))
        return _mirrored(image, quarters, axis), _mirrored(label, quarters, axis)
    if chance < TURNED + TILTED:
        size = label.shape[0]
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-TILT_DEG, TILT_DEG), 1)
        tilted = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
        # ground beyond the picture is background there; here it is not learned from
        marks = cv2.warpAffine(
            label, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=(IGNORE,)
        )
        return np.asarray(tilted, np.uint8), np.asarray(marks, np.uint8)
    return image, label


def _mirrored(array: NDArray[np.uint8], quarters: int, axis: int) -> NDArray[np.uint8]:
    return np.flip(np.rot90(array, quarters), axis)


def _to_tile(
    image: NDArray[np.uint8], label: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut or pad to 448 px; padding is not learned from."""
    row, col = _corner(label, rng)
    part = np.s_[row : row + TILE_PX, col : col + TILE_PX]
    image, label = image[part], label[part]
    beyond = [(0, TILE_PX - n) for n in label.shape]
    label = np.pad(label, beyond, constant_values=IGNORE)
    return np.pad(image, [*beyond, (0, 0)], mode="symmetric"), label


def _corner(label: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
    """Row and column where a cut begins: around any labelled pixel, within the picture."""
    known = np.flatnonzero(label != IGNORE)
    if max(label.shape) <= TILE_PX or not len(known):
        return 0, 0
    row, col = (
        max(0, min(int(centre) - TILE_PX // 2, size - TILE_PX))
        for centre, size in zip(
            np.unravel_index(rng.choice(known), label.shape), label.shape, strict=True
        )
    )
    return row, col
