"""Training samples of labelled pictures that can be drawn again.

A sample is a pure function of (seed, index), so a run that was interrupted goes on with the
very samples it would have seen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from crackgeo.errors import InputError

from ..config import Config, DataConfig
from ..drawing.scenes import draw_negative
from .augment import augment_beside
from .centrelines import centrelines
from .narrow import narrow
from .pairs import has_crack, read_label
from .records import IGNORE, Pair, Record, read_manifest

CORE = 2  # label value of crack pixels on or beside the centreline
NEAR_PX = 8
HOLD_OUT_PARTS = 4  # one picture in so many is set apart


def loosen(mask: NDArray[np.uint8], rim_px: float) -> NDArray[np.uint8]:
    """Mark the outer rim of a fat label as not to be learned from; its centre line always stays.

    A label that is wider than the crack teaches fat masks; without its rim it still teaches
    where the crack runs.
    """
    if rim_px <= 0 or not mask.any():
        return mask
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    square = np.ones((3, 3), np.uint8)
    ridge = (depth >= cv2.dilate(depth, square)) & (mask > 0)
    core = cv2.dilate(ridge.astype(np.uint8), square) > 0
    label = mask.copy()
    label[(mask > 0) & (depth <= rim_px) & ~core] = IGNORE
    return label


def held_out(record: Record) -> bool:
    """Whether a picture is set apart; depends on its file name alone."""
    digest = hashlib.sha256(record.image.name.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HOLD_OUT_PARTS == 0


def crack_free(records: Sequence[Record]) -> list[Record]:
    """The held-out pictures without a crack pixel."""
    return [r for r in records if held_out(r) and not has_crack(r)]


def mark_core(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark the centreline of the cracks, three pixels wide, with `CORE`."""
    crack = label == 1
    if not crack.any():
        return label
    line = centrelines(crack | (label == IGNORE)).astype(np.uint8)
    near = cv2.dilate(line, np.ones((3, 3), np.uint8)) > 0
    out = label.copy()
    out[crack & near] = CORE
    return out


def around_cracks(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave out all that is farther from a crack than `NEAR_PX`.

    What an outline learns from it is where a crack ends, given that there is one.
    """
    side = 2 * NEAR_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near = cv2.dilate((label > 0).astype(np.uint8), disc) > 0
    return np.where(near, label, np.uint8(IGNORE)).astype(np.uint8)


def training_records(data_dir: Path, config: DataConfig) -> list[Record]:
    """The pictures of a run: the training split of all its manifests, less what is held out."""
    records = []
    for manifest in (config.manifest, *config.extra_manifests):
        records += read_manifest(data_dir / manifest, config.train_split)
    apart = set(crack_free([r for r in records if r.set in config.hold_out_sets]))
    return [r for r in records if r not in apart]


def to_tensor(rgb: NDArray[np.uint8]) -> Tensor:
    """RGB uint8 `[H, W, 3]` to float `[3, H, W]` in [-1, 1]."""
    return scaled(_channels_first(rgb))


def _channels_first(rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def scaled(pixels: Tensor) -> Tensor:
    """Pixels of 0 to 255 as float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


class CrackDataset(Dataset[tuple[Tensor, ...]]):
    """Endless stream of augmented crops; item i depends on the seed and i alone.

    An item is an image, uint8 `[3, crop, crop]` (a quarter of what travels as floats), its label,
    uint8 `[1, crop, crop]`, and with `taught_clear` the image before light, dirt and camera.
    """

    def __init__(self, records: Sequence[Record], config: Config) -> None:
        weights = config.data.set_weight
        self.config = config
        self.by_set = {
            name: [r for r in records if r.set == name]
            for name in weights
            if any(r.set == name for r in records)
        }
        if not self.by_set:
            raise InputError("no set of [data.set_weight] occurs in the manifest")
        self.sets = list(self.by_set)
        share = np.array([weights[name] for name in self.sets])
        self.share = share / share.sum()

    def read(self, record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One picture and its label, without what loose masks say about the outline."""
        image, marked = read_label(record)
        label = (marked == 1).astype(np.uint8)
        if record.set in self.config.data.narrow_sets:
            label = narrow(image, label, IGNORE, self.config.train.learn == "outline")
        label = loosen(label, self.config.data.loose_px.get(record.set, 0.0))
        return image, np.where(marked == IGNORE, np.uint8(IGNORE), label)

    def __len__(self) -> int:
        return self.config.train.last * self.config.train.batch

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng((self.config.train.seed, index))
        if rng.random() < self.config.data.procedural_share:
            image = draw_negative(rng, self.config.augment.crop_px)
            label = np.zeros(image.shape[:2], np.uint8)
        else:
            name = self.sets[rng.choice(len(self.sets), p=self.share)]
            image, label = self._draw(name, rng)
            if self.config.augment.collage > 0 and rng.random() < self.config.augment.collage:
                image, label = self._with_neighbours(image, label, name, rng)
        clear, image, label = augment_beside(image, label, self.config.augment, rng)
        if self.config.train.learn == "outline":
            label = around_cracks(label)
        if self.config.train.skeleton_weight > 0:
            label = mark_core(label)
        sample = (_channels_first(image), torch.from_numpy(label)[None])
        return (*sample, _channels_first(clear)) if self.config.train.taught_clear else sample

    def _draw(self, name: str, rng: np.random.Generator) -> Pair:
        records = self.by_set[name]
        return self.read(records[rng.integers(len(records))])

    def _with_neighbours(
        self,
        image: NDArray[np.uint8],
        label: NDArray[np.uint8],
        name: str,
        rng: np.random.Generator,
    ) -> Pair:
        """Other pictures of the set beside and below one that is smaller than a crop."""
        rows, cols = (math.ceil(self.config.augment.crop_px / side) for side in label.shape)
        pairs = [(image, label)]
        while len(pairs) < rows * cols:
            other, its_label = self._draw(name, rng)
            pairs.append((fill_shape(other, label.shape), fill_shape(its_label, label.shape)))
        images, labels = zip(*pairs, strict=True)
        return _grid(images, cols), _grid(labels, cols)


def fill_shape(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Cut or mirror a picture to a height and width without changing its scale.

    It is turned by a quarter first if it stands where `shape` lies.
    """
    height, width = shape
    if (picture.shape[0] > picture.shape[1]) != (height > width):
        picture = np.rot90(picture)
    picture = picture[:height, :width]
    below, beside = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, ((0, below), (0, beside), *((0, 0),) * (picture.ndim - 2)), "symmetric")


def _grid(pictures: Sequence[NDArray[np.uint8]], cols: int) -> NDArray[np.uint8]:
    rows = [np.hstack(pictures[i : i + cols]) for i in range(0, len(pictures), cols)]
    return np.vstack(rows)
