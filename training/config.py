"""Training configuration: one TOML file holds every number that shapes a run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from crackgeo.errors import UsageError

Section = TypeVar("Section")


@dataclass(frozen=True)
class DataConfig:
    """What is learned from: sets, how often each is drawn, whose labels are too fat."""

    manifest: str
    train_split: str
    procedural_share: float
    set_weight: dict[str, float]
    loose_px: dict[str, float]


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges of the augmentations; sizes in pixels."""

    crop_px: int
    scale: tuple[float, float]
    rotate_any: float
    tone: float
    gamma: float
    blur: float
    noise: float
    jpeg: float
    shadow: float
    paint: float
    grey: float


@dataclass(frozen=True)
class TrainConfig:
    """Optimiser, schedule and bookkeeping."""

    seed: int
    iterations: int
    batch: int
    encoder_lr: float
    decoder_lr: float
    weight_decay: float
    warmup: int
    dice_weight: float
    ema_decay: float
    checkpoint_every: int


@dataclass(frozen=True)
class Config:
    """A whole training run, as read from a TOML file."""

    data: DataConfig
    augment: AugmentConfig
    train: TrainConfig


def load_config(path: Path) -> Config:
    """Read and check a training configuration.

    Raises
    ------
    UsageError
        The file is missing, is not TOML, or names a key that does not exist or lacks one.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error})") from error
    return Config(
        data=_section(DataConfig, raw, "data", path),
        augment=_section(AugmentConfig, raw, "augment", path),
        train=_section(TrainConfig, raw, "train", path),
    )


def _section(kind: type[Section], raw: dict[str, Any], name: str, path: Path) -> Section:
    values = raw.get(name, {})
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if wrong := set(values) ^ known:
        state = "unknown" if wrong - known else "missing"
        raise UsageError(f"{path}: [{name}] has {state} keys: {', '.join(sorted(wrong))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
