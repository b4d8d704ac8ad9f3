"""Folders of labelled pictures as the crack data sets lay them out.

| data set | layout |
|---|---|
| Khanhha | `train/images`, `train/masks`, `test/images`, `test/masks`, equal stems |
| DeepCrack | `train_img`, `train_lab`, `test_img`, `test_lab`, equal stems |
| CRACK500 | `traincrop`, `valcrop`, `testcrop`: `NAME.jpg` with its mask `NAME.png` beside it |
| CrackForest | `image/NAME.jpg`, `groundTruth/NAME.mat` |
| any | `images`, `masks`, equal stems |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError

from ..pictures.pairs import PICTURES, match_masks, to_label
from ..pictures.records import read_grey
from .blocks import TRAIN, VAL

_SPLITS = (TRAIN, VAL, "test")
_BACKGROUND = 1  # of CrackForest's segments; the others are cracks


@dataclass(frozen=True)
class Pair:
    """A picture and its mask in a layout; `name` is unique in its split."""

    split: str
    name: str
    image: Path
    mask: Path

    def read_mask(self) -> NDArray[np.uint8]:
        """The label, 0, 1 or 255 (open), uint8 `[H, W]`.

        Raises
        ------
        InputError
            The file is broken, or no mask, see `pictures.pairs.check_mask`.
        """
        if self.mask.suffix == ".mat":
            return _read_mat(self.mask)
        return to_label(read_grey(self.mask), self.mask)


def find_pairs(folder: Path, val_share: float) -> list[Pair]:
    """The labelled pictures of a folder, in the order of their names.

    Parameters
    ----------
    folder : in one of the layouts above
    val_share : share of the training pictures set apart where the layout has no validation, at
        least one; see `_set_apart`

    Raises
    ------
    InputError
        No known layout, no picture, or masks that do not belong to images one by one.
    """
    pairs = list_pairs(folder)
    if any(pair.split == VAL for pair in pairs):
        return pairs
    apart = _set_apart([pair for pair in pairs if pair.split == TRAIN], val_share)
    return [replace(p, split=VAL) if p in apart else p for p in pairs]


def list_pairs(folder: Path) -> list[Pair]:
    """The pictures of `find_pairs` in the splits of their layout; errors as there."""
    pairs = sorted(_find(folder), key=lambda pair: (pair.split, pair.name))
    for one, other in pairwise(pairs):
        if (one.split, one.name) == (other.split, other.name):
            raise InputError(
                f"{other.image}: {one.image} has the same name", "rename or remove one of the two"
            )
    if not pairs:
        raise InputError(
            f"{folder}: no folder of images and masks as crackgeo knows them",
            "docs/finetune.md shows the layouts; simplest: images/ and masks/ with equal names",
        )
    return pairs


def _find(folder: Path) -> Iterator[Pair]:
    for split in _SPLITS:
        yield from _matched(split, folder / split / "images", folder / split / "masks")
        yield from _matched(split, folder / f"{split}_img", folder / f"{split}_lab")
        crops = folder / f"{split}crop"
        yield from _matched(split, crops, crops, (".jpg", ".jpeg"), (".png",))
    yield from _matched(TRAIN, folder / "image", folder / "groundTruth", mask_types=(".mat",))
    yield from _matched(TRAIN, folder / "images", folder / "masks")


def _matched(
    split: str,
    images: Path,
    masks: Path,
    image_types: tuple[str, ...] = PICTURES,
    mask_types: tuple[str, ...] = PICTURES,
) -> Iterator[Pair]:
    if not images.is_dir() or not masks.is_dir():
        return
    for image, mask in match_masks(images, masks, image_types, mask_types):
        yield Pair(split, image.stem, image, mask)


def _set_apart(pairs: Sequence[Pair], share: float) -> set[Pair]:
    """A share of the photographs with cracks, and of those without, at least one that teaches left.

    Crops of one photograph (`NAME-1`, `NAME-2`) stay together. The first by a hash of the name are
    taken, so most stay what they are when the folder grows.
    """
    photographs: dict[str, list[Pair]] = {}
    for pair in pairs:
        photographs.setdefault(re.sub(r"-\d+$", "", pair.name), []).append(pair)
    cracked = {
        name
        for name, crops in photographs.items()
        if any((c.read_mask() == 1).any() for c in crops)
    }
    apart: set[Pair] = set()
    for names in (cracked, photographs.keys() - cracked):
        count = min(max(1, round(share * len(names))), len(names) - 1)
        for name in sorted(names, key=_hashed)[: max(0, count)]:
            apart.update(photographs[name])
    return apart


def _hashed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _read_mat(path: Path) -> NDArray[np.uint8]:
    from scipy.io import loadmat

    try:
        segments = loadmat(path)["groundTruth"]["Segmentation"][0, 0]
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise InputError(f"{path}: not a label file of CrackForest ({error})") from error
    return np.asarray(segments != _BACKGROUND, np.uint8)
