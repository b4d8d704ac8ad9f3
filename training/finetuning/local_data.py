"""Samples for fine-tuning: local chips and, against forgetting, pictures of the first training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from crackgeo.errors import InputError

from ..config import AugmentConfig
from ..labelling.blocks import TRAIN, VAL
from ..pictures.augment import augment
from ..pictures.data import to_tensor
from ..pictures.pairs import has_crack, read_label
from ..pictures.records import Record, read_manifest

BASE_SAYS = 254  # label value: the target is what the base model says, not a mask
MAX_JUDGED = 40  # pictures of a validation, so that judging takes a small part of the time

# Milder than the first training's: the local camera and ground are what is to be learned.
AUGMENT = AugmentConfig(
    crop_px=224,
    scale=(0.7, 1.4),
    rotate_any=0.5,
    tone=0.5,
    gamma=0.3,
    blur=0.15,
    noise=0.2,
    jpeg=0.15,
    shadow=0.15,
    paint=0.0,
    grey=0.1,
    hue=0.2,
)


@dataclass(frozen=True)
class LocalData:
    """The pictures of a run.

    Parameters
    ----------
    train, val : local ones
    replay, replay_val : of the first training; empty without replay
    """

    train: tuple[Record, ...]
    val: tuple[Record, ...]
    replay: tuple[Record, ...] = ()
    replay_val: tuple[Record, ...] = ()


def load_data(
    folder: Path,
    replay: Path | None = None,
    seed: int = 1,
    most_judged: int | None = MAX_JUDGED,
    called: Path | None = None,
) -> LocalData:
    """Read the manifest of a chips folder, and of a folder to replay.

    Parameters
    ----------
    folder, replay : each with a manifest.csv
    seed : of the choice of validation pictures
    most_judged : so many validation pictures are kept, see `_judged`; None takes all
    called : what errors call the folder

    Raises
    ------
    InputError
        A manifest is missing; a split is missing or holds no crack at all.
    """
    everything = read_manifest(folder / "manifest.csv")
    train, val = ([r for r in everything if r.split == split] for split in (TRAIN, VAL))
    again: list[list[Record]] = [[], []]
    if replay is not None:
        again = [read_manifest(replay / "manifest.csv", split) for split in (TRAIN, VAL)]
    judged = [_judged(records, seed, most_judged) for records in (val, again[1])]
    for split, records in ((TRAIN, train), (VAL, judged[0])):
        if not any(has_crack(record) for record in records):
            raise InputError(
                f"{called or folder}: no crack in any picture of {split}",
                "label cracks in more places: some are learned from, others only judged on",
            )
    return LocalData(tuple(train), judged[0], tuple(again[0]), judged[1])


def _judged(records: Sequence[Record], seed: int, most: int | None) -> tuple[Record, ...]:
    """Some of the pictures by chance, at least half of them with cracks if there are as many."""
    order = np.random.default_rng(seed).permutation(len(records)).tolist()
    if most is None or len(order) <= most:
        return tuple(records)
    has = [has_crack(record) for record in records]
    share = max(0.5, sum(has) / len(records))
    kept = [i for i in order if has[i]][: round(share * most)]
    kept += [i for i in order if not has[i]][: most - len(kept)]
    return tuple(records[i] for i in sorted(kept))


class LocalSamples(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops; item i depends on the seed and i alone.

    Replayed pictures come without their masks (`BASE_SAYS`): the styles of those masks differ, and
    what must not be forgotten is what the base model makes of such pictures.

    Parameters
    ----------
    data : the pictures
    replay_share : share of the samples that come from `data.replay`
    augmentation : how crops are cut and changed
    seed : of all chance
    """

    def __init__(
        self, data: LocalData, replay_share: float, augmentation: AugmentConfig, seed: int
    ) -> None:
        self.data = data
        self.replay_share = replay_share if data.replay else 0.0
        self.augmentation = augmentation
        self.seed = seed
        names = sorted({record.set for record in data.replay})
        self.replay = [[r for r in data.replay if r.set == name] for name in names]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        again = rng.random() < self.replay_share
        records = self.replay[rng.integers(len(self.replay))] if again else self.data.train
        image, label = read_label(records[rng.integers(len(records))])
        image, label = augment(image, label, self.augmentation, rng)
        if again:
            label = np.full_like(label, BASE_SAYS)
        return to_tensor(image), torch.from_numpy(label)[None]
