"""The training loop of `compact` and its like: repeatable, interruptible, resumable."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from crackgeo.errors import ModelError, UsageError
from crackgeo.files import output_errors
from crackgeo.models.compact import OUTLINE, has_outline, without_outline
from crackgeo.models.devices import resolve_devices
from crackgeo.models.modelfile import read_tensors
from crackgeo.monitor import SILENT, Monitor

from ..config import Config, TrainConfig
from ..pictures.data import CrackDataset, scaled, training_records
from ..pictures.records import Record, read_manifest
from .averaging import mean_weights
from .checkpoints import StateDict, on_device, read_state, save_checkpoint
from .distil import UnlabelledDataset, load_teacher, taught_loss
from .losses import crack_loss
from .networks import build_network, load_pretrained
from .stepping import average_into, check_loss, keep_norms, memory_errors, set_rates, told_plainly
from .watch import LOSS_LOG, Watch, some_of_each

Report = Callable[[str], None]
_START = "check the path given to --start"


def train(
    config: Config,
    data_dir: Path,
    out_dir: Path,
    report: Report = print,
    monitor: Monitor = SILENT,
    start: Sequence[Path] = (),
    device: str = "cpu",
) -> Path:
    """Train a network, or go on from the checkpoint in `out_dir`.

    Parameters
    ----------
    config : the run; one that goes on takes its numbers as they are now
    data_dir : folder of the manifest
    out_dir : receives checkpoint.pt and log.csv (iteration, loss, crops a second), and what
        `watch` adds
    report : told a line every `checkpoint_every` iterations
    monitor : progress in iterations; may cancel, which leaves a checkpoint
    start : begin a new run from the averaged weights of this checkpoint, or from this model file,
        not from ImageNet; of several from their mean
    device : auto, cpu, cuda, cuda:N or mps; of several cards the first

    Raises
    ------
    ModelError
        The loss is no longer a number; the checkpoint holds the weights before that.
    ResourceError
        The disk is full, or `out_dir` cannot be written to, or memory does not suffice; the last
        checkpoint stays.
    UsageError
        The run in `out_dir` was begun with another seed or network; a teacher is wanted and none
        is named.

    Returns
    -------
    Path
        The checkpoint, with the averaged weights under `ema`. It is rewritten every
        `checkpoint_every` iterations and when the run is interrupted.
    """
    cv2.setNumThreads(1)
    if config.train.taught_share < 1 and not config.train.teachers:
        raise UsageError("the configuration wants a teacher", "name a model with --teacher")
    dataset = _samples(training_records(data_dir, config.data), config)
    if start and (out_dir / "checkpoint.pt").exists():
        report("the run there goes on; --start counts at its beginning only")
    run = _Run(config, out_dir / "checkpoint.pt", resolve_devices(device)[0], start)
    watch = _watch(config, data_dir, out_dir)
    log = out_dir / LOSS_LOG
    with output_errors(out_dir):  # last: what cannot be begun leaves no folder
        out_dir.mkdir(parents=True, exist_ok=True)
        log.touch()
    rest = Subset(dataset, range(run.iteration * config.train.batch, len(dataset)))
    loader = DataLoader(
        rest,
        batch_size=config.train.batch,
        num_workers=config.train.workers,
        prefetch_factor=4,
        pin_memory=run.device.type == "cuda",
    )
    try:
        _loop(run, loader, log, watch, report, monitor)
    finally:
        run.save()
    return run.checkpoint


def _samples(records: Sequence[Record], config: Config) -> CrackDataset:
    train = config.train
    labelled = not train.teachers or train.taught_share < 1
    kind = CrackDataset if labelled else UnlabelledDataset
    return kind(records, config)


def _watch(config: Config, data_dir: Path, out_dir: Path) -> Watch | None:
    train = config.train
    if not train.look_every:
        return None
    pictures = read_manifest(data_dir / config.data.manifest, train.val_split)
    return Watch(out_dir, some_of_each(pictures, train.look_pictures), train.network)


def _append(log: Path, *values: object) -> None:
    """Add a row to the loss curve, which is readable while the run goes on."""
    with output_errors(log), log.open("a", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerow(values)


def _loop(
    run: _Run,
    loader: DataLoader[tuple[Tensor, ...]],
    log: Path,
    watch: Watch | None,
    report: Report,
    monitor: Monitor,
) -> None:
    every, last = run.config.train.checkpoint_every, run.config.train.last
    look_every = run.config.train.look_every
    started, first = time.monotonic(), run.iteration
    losses: list[float] = []
    batches = iter(loader)
    run.recall_chance()  # of which the loader has taken a number
    for sample in told_plainly(batches):
        monitor.step("train", run.iteration, last)
        with memory_errors("set a smaller batch in [train], or take --device cpu"):
            losses.append(run.step(*sample))
        if run.iteration % every == 0:
            rate = (run.iteration - first) * len(sample[0]) / (time.monotonic() - started)
            mean = sum(losses) / len(losses)
            _append(log, run.iteration, f"{mean:.5f}", f"{rate:.2f}")
            report(f"iteration {run.iteration} loss {mean:.4f}, {rate:.1f} crops/s")
            losses.clear()
            run.save()
        if watch is not None and run.iteration % look_every == 0:
            report(f"iteration {run.iteration} {watch.look(run.iteration, run.ema)}")


class _Run:
    """Network, optimiser and averaged weights at one iteration."""

    def __init__(
        self, config: Config, checkpoint: Path, device: torch.device, start: Sequence[Path] = ()
    ) -> None:
        torch.manual_seed(config.train.seed)
        self.config = config
        self.device = device
        self.checkpoint = checkpoint
        self.outline_only = config.train.learn == "outline"
        network = build_network(config.train.network, self.outline_only)
        if self.outline_only:
            network.requires_grad_(False)
            network.final.outline.requires_grad_(True)
        self.net = network.to(device, memory_format=torch.channels_last)
        self.iteration = 0
        self.chance: Tensor | None = None
        self.optimizer = _optimizer(self.net, config)
        names, crop_px = config.train.teachers, config.augment.crop_px
        self.teachers = [load_teacher(name, crop_px, device) for name in names]
        if checkpoint.exists():
            for path in start:
                if not path.is_file():
                    raise UsageError(f"{path}: no such file", _START)
            self._load()
        else:
            if start:
                _begin_with(self.net, start)
            else:
                load_pretrained(self.net)
            self.ema = {k: v.clone() for k, v in self.net.state_dict().items()}

    def _load(self) -> None:
        state = read_state(self.checkpoint)
        _check_seed(state, self.config.train.seed, self.checkpoint)
        try:
            self.net.load_state_dict(state["net"])
        except RuntimeError as error:
            raise UsageError(
                f"{self.checkpoint}: that run was begun with another network",
                "give the configuration it was begun with, or another folder with -o",
            ) from error
        _load_optimizer(self.optimizer, state["optimizer"])
        self.ema = on_device(state["ema"], self.device)
        self.iteration = state["iteration"]
        self.chance = state.get("random")  # older checkpoints have none

    def recall_chance(self) -> None:
        """Let torch's chance, which drops parts of some networks, go on where it was."""
        if self.chance is not None:
            torch.set_rng_state(self.chance)

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "iteration": self.iteration,
            "config": asdict(self.config),
        }
        save_checkpoint(self.checkpoint, state)

    def step(self, image: Tensor, label: Tensor, clear: Tensor | None = None) -> float:
        """Learn from a batch as `CrackDataset` gives it; gives the loss."""
        train = self.config.train
        set_rates(self.optimizer, rate_factor(train, self.iteration))
        self._set_mode()
        image, label = self._here(image), label.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=train.precision == "bf16"):
            logits = self._logits(image).float()
        loss = self._loss(logits, image if clear is None else self._here(clear), label)
        check_loss(loss, self.iteration, "encoder_lr and decoder_lr")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.iteration += 1
        average_into(self.ema, self.net.state_dict(), self.iteration, train.ema_decay)
        return loss.item()

    def _set_mode(self) -> None:
        self.net.train()
        if self.config.train.keep_norms:
            keep_norms(self.net)
        if self.outline_only:  # the statistics of the other norms belong to the mask
            self.net.eval()
            self.net.final.outline.train()

    def _here(self, pixels: Tensor) -> Tensor:
        image = scaled(pixels.to(self.device, non_blocking=True))
        return image.contiguous(memory_format=torch.channels_last)

    def _loss(self, logits: Tensor, image: Tensor, label: Tensor) -> Tensor:
        train = self.config.train
        labels = 1 - train.taught_share if self.teachers else 1.0
        loss = logits.new_zeros(())
        if labels:
            told = crack_loss(
                logits,
                label,
                train.dice_weight,
                train.skeleton_weight,
                train.jaccard_weight,
                train.empty_iou_px,
            )
            loss = loss + labels * told
        if self.teachers:
            said = self.teachers[self.iteration % len(self.teachers)](image)
            loss = loss + (1 - labels) * taught_loss(logits, said, train.dice_weight)
        return loss

    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net.heads(image)[:, 1:] if self.outline_only else self.net(image)
        return logits


def rate_factor(train: TrainConfig, iteration: int) -> float:
    """Share of the full rates at an iteration: warm-up, then a cosine, or level and a fall."""
    warm = min(1.0, (iteration + 1) / train.warmup)
    done = min(1.0, iteration / train.iterations)
    if train.decay_share is None:
        return warm * 0.5 * (1 + math.cos(math.pi * done))
    return warm * min(1.0, (1 - done) / train.decay_share)


def _check_seed(state: dict[str, Any], seed: int, path: Path) -> None:
    """A run goes on with the samples that it would have seen."""
    begun = state.get("config", {}).get("train", {}).get("seed", seed)
    if begun != seed:
        raise UsageError(
            f"{path}: that run was begun with seed {begun}, not {seed}",
            f"give --seed {begun} to go on, or another folder with -o",
        )


def _begin_with(net: nn.Module, paths: Sequence[Path]) -> None:
    """Load the mean of the averaged weights of checkpoints, or of the weights of model files.

    The outline is the mean of those that know one; one that none of them knows stays as it is, one
    that is not to be trained is left out, as it belongs to their masks.
    """
    weights = {path: _weights_of(path) for path in paths}
    masks = mean_weights(paths, [without_outline(weights[path]) for path in paths])
    own = _outline_of(net.state_dict())
    known = {path: _outline_of(weights[path]) for path in paths if has_outline(weights[path])}
    if own and known:
        own = mean_weights(list(known), list(known.values()))
    try:
        net.load_state_dict({**masks, **own})
    except RuntimeError as error:
        raise ModelError(
            f"{paths[0]}: not of the network that is to be trained",
            "name a checkpoint or a model file of the same `network`",
        ) from error


def _outline_of(weights: Mapping[str, Tensor]) -> StateDict:
    return {name: value for name, value in weights.items() if name.startswith(OUTLINE)}


def _weights_of(path: Path) -> StateDict:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    ema: StateDict = read_state(path, _START)["ema"]
    return ema


def _optimizer(net: Any, config: Config) -> torch.optim.Optimizer:
    encoder = [p for p in net.encoder.parameters() if p.requires_grad]
    known = {id(p) for p in net.encoder.parameters()}
    decoder = [p for p in net.parameters() if id(p) not in known and p.requires_grad]
    train = config.train
    groups = [
        {"params": encoder, "lr": train.encoder_lr, "base_lr": train.encoder_lr},
        {"params": decoder, "lr": train.decoder_lr, "base_lr": train.decoder_lr},
    ]
    return torch.optim.AdamW(groups, weight_decay=train.weight_decay, fused=True)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take the moments of a checkpoint, but rates and decay as they are configured now."""
    asked = [{k: group[k] for k in ("base_lr", "weight_decay")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, asked, strict=True):
        group.update(own)
