"""What is trained, as `fit` wants it: samples, recipe, loss and judgement of any base."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from crackgeo.errors import UsageError
from crackgeo.models.devices import resolve_devices, resolve_precision
from crackgeo.models.protocol import Segmenter
from crackgeo.models.sam import CrackSam
from crackgeo.monitor import SILENT, Monitor

from ..pictures.records import checksum
from ..scoring.evaluate import Evaluation, evaluate
from ..scoring.sheets import write_sheet
from .bases import Base, unfreeze
from .fit import SCORE, FitSpec, Job, trained_state
from .local_data import AUGMENT, LocalData, LocalSamples
from .paper_data import PaperSamples
from .recipes import (
    COMPACT,
    PAPER,
    Recipe,
    anchored,
    compact_loss,
    optimizer,
    paper_class_loss,
    save_memory,
    schedule,
)

SHEET_PICTURES = 6
FORGET_COST = 3.0  # what is lost beyond that weighs more than what is gained
EMA_DECAY = 0.98  # of `compact`; the paper keeps the last weights
FORGIVEN = 0.01  # of the 2 px F1 on replayed pictures; more counts against the local gain


@dataclass(frozen=True)
class FinetuneSpec:
    """What a user decides about a fine-tuning.

    Parameters
    ----------
    iterations : at most
    batch, accumulate : samples in a pass, passes in a step
    lr : greatest learning rate; None takes the recipe's
    unfreeze : `all`, `decoder` or `head` of `compact`
    replay_share : share of samples that are replayed, where there is a folder to replay
    epoch, patience : see `fit.FitSpec`
    recalibrate : choose outline and object rule on the local validation part
    spare_memory : recompute the encoder's blocks in the backward pass, CrackSAM only
    precision : of training's matrix products, see `training_dtype`; judging is always in fp32
    seed : of all chance
    chosen_by : metric of the validation pictures that the best weights are chosen by
    """

    iterations: int = 200
    batch: int = 8
    accumulate: int = 1
    lr: float | None = None
    unfreeze: str = "all"
    replay_share: float = 0.5
    epoch: int = 25
    patience: int = 4
    recalibrate: bool = False
    spare_memory: bool = False
    precision: str = "auto"
    seed: int = 1
    chosen_by: str = "f1_2px"

    def __post_init__(self) -> None:
        if not 0 <= self.replay_share < 1:
            raise UsageError(f"--replay-share must lie in [0, 1), not {self.replay_share}")
        if self.lr is not None and not self.lr > 0:
            raise UsageError(f"--lr must be positive, not {self.lr}")


def training_job(
    base: Base,
    data: LocalData,
    spec: FinetuneSpec,
    device: str = "auto",
    monitor: Monitor = SILENT,
) -> tuple[Job, FitSpec]:
    """What `fit` needs to train a base: `compact` by its own recipe, all others by the paper's.

    Parameters
    ----------
    base : is judged as it is, then prepared for training in place
    data : to learn from and to judge on
    spec : how
    device : see `models.registry.load_model`
    monitor : of the first judgement; later ones show no progress, but stop as fast
    """
    start = judge(base.segmenter(device), data, monitor)
    stopping = Monitor(is_cancelled=monitor.is_cancelled)
    place = resolve_devices(device)[0]
    recipe = _recipe(base, spec)
    _prepare(base, spec)
    base.network.to(place)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as the paper
    steps = optimizer(base, recipe)
    job = Job(
        network=base.network,
        optimizer=steps,
        rate=schedule(recipe, spec.iterations),
        loss=compact_loss(base, recipe) if base.is_compact else paper_class_loss(base),
        samples=_samples(base, data, spec),
        before=start.metrics(start, spec.chosen_by),
        validate=lambda: judge(base.segmenter(device), data, stopping).metrics(
            start, spec.chosen_by
        ),
        sheet=lambda path: _sheet(path, base.segmenter(device), data),
        after_step=anchored(recipe, steps),
        device=place,
    )
    bookkeeping = FitSpec(
        iterations=spec.iterations,
        batch=spec.batch,
        accumulate=spec.accumulate,
        epoch=spec.epoch,
        patience=spec.patience,
        ema_decay=EMA_DECAY if base.is_compact else 0.0,
        dtype=training_dtype(spec.precision, place, base.is_compact),
    )
    return job, bookkeeping


def _prepare(base: Base, spec: FinetuneSpec) -> None:
    """Let learn what shall learn, in the form that is fastest or takes least memory."""
    if base.is_compact:
        unfreeze(base.network, spec.unfreeze)  # type: ignore[arg-type]
        base.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    elif spec.spare_memory and isinstance(base.network, CrackSam):
        save_memory(base.network)


def _samples(base: Base, data: LocalData, spec: FinetuneSpec) -> Any:
    if base.is_compact:
        return LocalSamples(data, spec.replay_share, AUGMENT, spec.seed)
    return PaperSamples(data.train, spec.seed)


def training_dtype(precision: str, device: torch.device, is_compact: bool) -> torch.dtype:
    """The type of training's matrix products; weights, sums and steps are always fp32.

    `auto` is fp16 for CrackSAM on a CUDA card, as in the paper, bf16 on a processor that has it
    natively, else fp32.
    """
    if precision != "auto" or device.type == "cpu":
        return resolve_precision(precision, device)
    return torch.float16 if device.type == "cuda" and not is_compact else torch.float32


def _recipe(base: Base, spec: FinetuneSpec) -> Recipe:
    recipe = COMPACT if base.is_compact else PAPER
    return recipe if spec.lr is None else replace(recipe, lr=spec.lr)


@dataclass(frozen=True)
class Judgement:
    """Scores on the local validation pictures, and on the replayed ones if there are any."""

    local: Evaluation
    replay: Evaluation | None

    def metrics(self, start: Judgement, chosen_by: str = "f1_2px") -> dict[str, float]:
        """Numbers to log; the score is the local gain, less what is forgotten beyond a trifle."""
        told = {name: _value(self.local, name) for name in ("f1_2px", "iou", "cliou_4px")}
        score = told[chosen_by]
        if self.replay is not None and start.replay is not None:
            told["replay_f1_2px"] = _value(self.replay, "f1_2px")
            lost = _value(start.replay, "f1_2px") - told["replay_f1_2px"]
            score -= FORGET_COST * max(0.0, lost - FORGIVEN)
        return {SCORE: score, **told}


def _value(evaluation: Evaluation, name: str) -> float:
    return evaluation.scores[-1].metrics[name].value  # the last one pools all sets


def judge(segmenter: Segmenter, data: LocalData, monitor: Monitor = SILENT) -> Judgement:
    """Score a model on the validation pictures."""
    replay = evaluate(segmenter, data.replay_val, monitor=monitor) if data.replay_val else None
    return Judgement(evaluate(segmenter, data.val, monitor=monitor), replay)


def _sheet(path: Path, segmenter: Segmenter, data: LocalData) -> None:
    shown = data.val[:SHEET_PICTURES]
    write_sheet(path, segmenter, shown, [r.image.stem for r in shown], 0.5)


def fingerprint(base: Base, data: LocalData, spec: FinetuneSpec, dtype: torch.dtype) -> str:
    """Stands for all that decides about the weights, with file names but without their folders."""
    pictures = [
        [(r.set, r.image.name, checksum(r.image), checksum(r.mask)) for r in part]
        for part in (data.train, data.val, data.replay, data.replay_val)
    ]
    told = {name: value for name, value in asdict(spec).items() if name != "recalibrate"}
    options = [told, asdict(_recipe(base, spec)), asdict(AUGMENT), str(dtype)]
    learning = [(name, list(t.shape)) for name, t in trained_state(base.network).items()]
    story = [base.info.sha256, learning, *options, pictures]
    return hashlib.sha256(json.dumps(story).encode()).hexdigest()
