"""Training configuration: one TOML file holds every number that shapes a run."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from crackgeo.errors import UsageError

from .values import what_is_wrong

Learn = Literal["all", "outline"]
Section = TypeVar("Section")
EXAMPLE = "see compact.toml in crackgeo_training/configs for an example"
STRIDE_PX = 32  # of the networks' coarsest features
_MOST = sys.float_info.max
_SHARE, _COUNT = (0.0, 1.0), (1.0, _MOST)
_RANGES = {  # of numbers, also of those in lists and tables; all others are 0 or more
    **dict.fromkeys(("procedural_share", "ema_decay"), _SHARE),
    **dict.fromkeys(("rotate_any", "tone", "gamma", "blur", "noise", "jpeg", "shadow"), _SHARE),
    **dict.fromkeys(("paint", "grey", "hue", "plain", "collage", "overhead", "sharpen"), _SHARE),
    **dict.fromkeys(("crop_px", "iterations", "batch", "warmup", "checkpoint_every"), _COUNT),
    **dict.fromkeys(("stop_after", "look_pictures", "workers"), _COUNT),
    **dict.fromkeys(("scale", "enlarge"), (1e-3, _MOST)),
}
_ASCENDING = ("scale",)  # a least and a greatest value


class _Checked:
    """A table whose values are of the types and in the ranges that are wanted."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if wrong := what_is_wrong(value, kind, *_RANGES.get(name, (0.0, _MOST))):
                raise UsageError(f"{name} is {value!r}, not {wrong}", EXAMPLE)
            if name in _ASCENDING and list(value) != sorted(value):
                raise UsageError(f"{name} is {value!r}, the larger number first", EXAMPLE)
        if not any(getattr(self, "set_weight", {"": 1}).values()):
            raise UsageError("set_weight draws no set", EXAMPLE)


@dataclass(frozen=True)
class DataConfig(_Checked):
    """What is learned from.

    Parameters
    ----------
    manifest, train_split : the pictures, below the data folder
    procedural_share : share of the samples that are drawn scenes without a crack
    set_weight : how often a set is drawn, before normalisation
    loose_px : rim inside the label that is not learned from, by set
    narrow_sets : sets whose labels are narrowed to what the picture shows, see `narrow`
    extra_manifests : more pictures, such as those of `crackgeo_training.draw_set`
    hold_out_sets : of these, the crack-free pictures that `pictures.data.held_out` sets apart are
        not learned from, so that the object rule can be chosen on them
    """

    manifest: str
    train_split: str
    procedural_share: float
    set_weight: dict[str, float]
    loose_px: dict[str, float]
    narrow_sets: tuple[str, ...] = ()
    extra_manifests: tuple[str, ...] = ()
    hold_out_sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class AugmentConfig(_Checked):
    """Probabilities and ranges of the augmentations; sizes in pixels.

    `plain` is the share of the crops that are cut, mirrored and given quarter turns, but else are
    as they will be met: their own scale, light and sharpness. Very small pictures are enlarged by
    `enlarge`, lest a crop be mostly mirror images; with `collage` they need not be.
    `collage` is the share of the pictures with a side shorter than a crop that get others of their
    set beside them, where else their own mirror images would be. With `inside` a crop that is not
    turned lies within its picture where that is large enough. `overhead` is the share of all crops,
    plain ones too, that cables hang over or thin shadows lie on, see `drawing.overhead`.
    `sharpen` is the chance of a crop that is not plain to be sharpened, as phones and drones do.
    """

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
    hue: float = 0.0
    plain: float = 0.0
    enlarge: float = 1.4
    collage: float = 0.0
    inside: bool = False
    overhead: float = 0.0
    sharpen: float = 0.0


@dataclass(frozen=True)
class TrainConfig(_Checked):
    """Optimiser, schedule and bookkeeping.

    `skeleton_weight` weighs the recall of centrelines in the loss, `jaccard_weight` the IoU crop by
    crop, in which crops without a crack count if `empty_iou_px` is not 0, see `learning.losses`.
    With `keep_norms` the statistics of the batch norms stay those of the start and are normalised
    with, as at inference: those of the few crops that fit a processor's batch say little.
    `stop_after` ends the run early in a schedule of `iterations`, for a next stage to go on from.
    `decay_share` is the last part of the run in which the rates fall to nothing; before it they
    stay as they are, so a run can be made longer while it goes on and still be repeated in one.
    None lets them fall along a cosine from the start.
    Every `look_every` iterations the run scores `look_pictures` validation pictures of each set
    (of `val_split`) and draws curves and sheets, see `watch`; 0 never does.
    `precision` "bf16" multiplies in that type, about twice as fast where the processor has it.
    `learn` "outline" keeps the mask as it is and learns the crack's own outline beside it (see
    `crackgeo.models.compact`); its P is meant to be learned by entropy alone, so with `dice_weight`
    and `skeleton_weight` 0. Labels of `narrow_sets` become what is dark.
    `network` is one of `learning.networks.NAMES`; `hed` teaches `compact`, others are compared.
    `workers` processes prepare samples; one keeps up with a processor, a card wants several.
    `teacher` names a model, or a checkpoint of `crackgeo train`, whose probabilities are learned,
    see `distil`, or a list of them that take turns, one an iteration; `crackgeo train --teacher`
    names others. `taught_share` is its share of the loss, the rest is that of the labels; of 1 the
    labels are not looked at. With `taught_clear` the teacher sees crops before light, dirt and the
    camera changed them, and the network learns to say the same in worse light.
    """

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
    skeleton_weight: float = 0.0
    jaccard_weight: float = 0.0
    empty_iou_px: float = 0.0
    keep_norms: bool = False
    learn: Learn = "all"
    network: str = "compact"
    stop_after: int | None = None
    teacher: str | tuple[str, ...] | None = None
    taught_share: float = 1.0
    taught_clear: bool = False
    decay_share: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    look_every: int = 0
    look_pictures: int = 4
    val_split: str = "val"
    workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teachers and self.learn == "outline":
            raise UsageError("a teacher has no outline", 'set learn = "all", or no teacher')
        if not 0 < self.taught_share <= 1:
            raise UsageError("taught_share is a share of the loss, above 0 and at most 1")
        if self.decay_share is not None and not 0 < self.decay_share <= 1:
            raise UsageError("decay_share is a share of the run, above 0 and at most 1")

    @property
    def teachers(self) -> tuple[str, ...]:
        """All that are learned from beside labels."""
        named = self.teacher or ()
        return (named,) if isinstance(named, str) else named

    @property
    def last(self) -> int:
        """The iteration at which the run ends."""
        return self.iterations if self.stop_after is None else min(self.stop_after, self.iterations)


@dataclass(frozen=True)
class Config:
    """A whole training run, as read from a TOML file."""

    data: DataConfig
    augment: AugmentConfig
    train: TrainConfig


def load_config(path: Path) -> Config:
    """Read and check a training configuration.

    `base = "other.toml"` at its top takes every number from that file, beside it, that it does not
    set itself; of `[data.set_weight]` and `[data.loose_px]` set by set.

    Raises
    ------
    UsageError
        The file or its base is missing, is not TOML, names a key that does not exist, lacks one,
        or holds a value of another type or out of range; a file is its own base.
    """
    raw = _read_with_base(path, ())
    if unknown := sorted(set(raw) - {"data", "augment", "train"}):
        raise UsageError(f"{path}: has unknown tables or keys: {', '.join(unknown)}")
    with _named(f"{path}: "):
        config = Config(
            data=_section(DataConfig, raw, "data"),
            augment=_section(AugmentConfig, raw, "augment"),
            train=_section(TrainConfig, raw, "train"),
        )
        if (side := config.augment.crop_px) % STRIDE_PX:
            raise UsageError(
                f"[augment] crop_px is {side}, which networks cannot halve five times",
                f"set a multiple of {STRIDE_PX}",
            )
    return config


def _read_with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise UsageError(f"{path}: is its own base", "remove `base` from one of the files")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # text that is no UTF-8 is a ValueError, too
        raise UsageError(f"{path}: not a readable TOML file ({error})") from error
    base = raw.pop("base", None)
    if base is None:
        return raw
    return _merged(_read_with_base(path.parent / str(base), (*above, path.resolve())), raw)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The tables of two files as one; where both set a value, that of `above`."""
    both = {
        key: _merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | both


def _section(kind: type[Section], raw: dict[str, Any], name: str) -> Section:
    values = raw.get(name, {})
    if not isinstance(values, dict):
        raise UsageError(f"{name} is {values!r}, not a table", EXAMPLE)
    known = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    needed = {key for key, default in known.items() if default is MISSING}
    for state, wrong in (("unknown", set(values) - set(known)), ("missing", needed - set(values))):
        if wrong:
            raise UsageError(f"[{name}] has {state} keys: {', '.join(sorted(wrong))}", EXAMPLE)
    with _named(f"[{name}] "):
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Say where a mistake lies."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}{error.message}", error.remedy) from error
