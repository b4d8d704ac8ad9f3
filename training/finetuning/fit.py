"""A training run on local data: repeatable, resumable, ends with the best weights it has seen.

The network, its loss and how it is judged come from the caller (`Job`), so that `compact`,
CrackSAM's deltas and the paper's peers share one loop. A folder holds the run:

    checkpoint.pt    all it takes to go on, bit for bit on a CPU
    log.csv          one row an epoch
    sheets/          predictions of the same pictures after each epoch
    tensorboard/     the same numbers for TensorBoard
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from crackgeo.errors import UsageError
from crackgeo.files import output_errors
from crackgeo.monitor import SILENT, Monitor

from ..learning.checkpoints import StateDict, on_device, read_checkpoint, save_checkpoint
from ..learning.stepping import (
    average_into,
    check_loss,
    memory_errors,
    set_rates,
    told_plainly,
)
from .events import EventWriter

Samples = Dataset[tuple[Tensor, Tensor]]
STAGE = "finetune"
CHECKPOINT, LOG, SHEETS, BOARD = "checkpoint.pt", "log.csv", "sheets", "tensorboard"
LESS_MEMORY = "halve --batch and double --accumulate, which learns alike, or take --device cpu"
SCORE = "score"  # the number of a validation that the best weights are chosen by


@dataclass(frozen=True)
class FitSpec:
    """The bookkeeping of a run.

    Parameters
    ----------
    iterations : steps of the optimiser
    batch : samples in a forward pass
    accumulate : passes in a step; batch * accumulate samples decide on a step
    epoch : steps between validations
    patience : epochs without a better score after which the run ends
    ema_decay : of the averaged weights that are validated and kept; 0 keeps the last ones
    dtype : of the matrix products; fp16 comes with loss scaling, on CUDA cards only
    workers : processes that prepare samples
    """

    iterations: int
    batch: int = 8
    accumulate: int = 1
    epoch: int = 25
    patience: int = 4
    ema_decay: float = 0.98
    dtype: torch.dtype = torch.float32
    workers: int = 1

    def __post_init__(self) -> None:
        if min(self.iterations, self.batch, self.accumulate, self.epoch, self.patience) < 1:
            raise UsageError("iterations, batch, accumulation, epoch and patience count from 1")


@dataclass
class Job:
    """What is trained, and how it is judged.

    Parameters
    ----------
    network : only parameters that require a gradient change
    optimizer : over those; each group holds its rate as `base_lr`
    rate : factor of the rates at an iteration
    loss : of a batch of images and labels, by the network
    after_step : told the factor of the rates, after each step
    samples : item i must be a function of i alone
    before : metrics of the network as it begins, `SCORE` among them
    validate : the same of the network as it is
    sheet : draw predictions of the network as it is
    device : where the network is
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    loss: Callable[[Tensor, Tensor], Tensor]
    samples: Samples
    before: Mapping[str, float]
    validate: Callable[[], Mapping[str, float]]
    sheet: Callable[[Path], None] = lambda path: None
    after_step: Callable[[float], None] = lambda factor: None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Fitted:
    """How a run ended; the network holds the best weights.

    Parameters
    ----------
    best : iteration of the best weights, 0 if training did not help
    iterations : steps made
    history : one entry an epoch: iteration, loss and the metrics
    last : what learned, averaged, at the end
    """

    best: int
    iterations: int
    history: tuple[dict[str, float], ...]
    last: StateDict


def fit(
    job: Job, spec: FitSpec, folder: Path, fingerprint: str, monitor: Monitor = SILENT
) -> Fitted:
    """Train, or go on from the checkpoint in `folder`.

    Parameters
    ----------
    job : what to train
    spec : for how long
    folder : of the run; made if missing
    fingerprint : stands for the data, the base and all options; a checkpoint of another one is
        refused
    monitor : progress in iterations; may cancel, which leaves a checkpoint

    Raises
    ------
    ModelError
        The loss is no longer a number, or the checkpoint is not one of this run.
    ResourceError
        The disk is full, or memory does not suffice; the last checkpoint stays.
    """
    with output_errors(folder):
        (folder / SHEETS).mkdir(parents=True, exist_ok=True)
    run = _Run(job, spec, folder, fingerprint)
    try:
        if not run.history:
            run.judge(float("nan"), job.before)
        elif run.is_due and run.history[-1]["iteration"] < run.iteration:
            run.judge(float("nan"), None)  # it was interrupted while it was judged
        _steps(run, monitor)
    finally:
        run.save()
    job.network.load_state_dict(run.best_state, strict=False)
    return Fitted(run.best_iteration, run.iteration, tuple(run.history), run.average)


def _steps(run: _Run, monitor: Monitor) -> None:
    spec = run.spec
    losses: list[float] = []
    batches = _batches(run)
    while run.iteration < spec.iterations and run.waited < spec.patience:
        monitor.step(STAGE, run.iteration, spec.iterations)
        with memory_errors(LESS_MEMORY):
            losses.append(run.step(batches))
        if run.is_due:
            run.judge(sum(losses) / len(losses), None)
            losses = []
            run.save()
    monitor.step(STAGE, spec.iterations, spec.iterations)


def _batches(run: _Run) -> Iterator[tuple[Tensor, Tensor]]:
    """The samples from the run's iteration on."""
    each = run.spec.batch * run.spec.accumulate
    rest = Subset(run.job.samples, range(run.iteration * each, run.spec.iterations * each))
    # with chance of its own: it would take a number from torch's, and a resumed run one more
    loader = DataLoader(
        rest,
        batch_size=run.spec.batch,
        num_workers=run.spec.workers,
        generator=torch.Generator(),
    )
    yield from told_plainly(iter(loader))


class _Run:
    """Network, optimiser, averaged and best weights at one iteration."""

    def __init__(self, job: Job, spec: FitSpec, folder: Path, fingerprint: str) -> None:
        self.job, self.spec, self.folder = job, spec, folder
        self.fingerprint = fingerprint
        self.scaler = torch.amp.GradScaler(job.device.type, enabled=spec.dtype is torch.float16)
        self.iteration, self.waited = 0, 0
        self.best_iteration, self.best_score = 0, float("-inf")
        self.history: list[dict[str, float]] = []
        self.average = copied(trained_state(job.network))
        self.best_state = copied(self.average)
        self.board = EventWriter(folder / BOARD)
        if (folder / CHECKPOINT).exists():
            self._load()

    @property
    def is_due(self) -> bool:
        """Whether it is to be judged after this iteration: after an epoch, and at the end."""
        return self.iteration % self.spec.epoch == 0 or self.iteration == self.spec.iterations

    def step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        """One step of the optimiser; gives the mean loss of its passes."""
        job, factor = self.job, self.job.rate(self.iteration)
        set_rates(job.optimizer, factor)
        job.network.train()
        job.optimizer.zero_grad()
        total = 0.0
        for _ in range(self.spec.accumulate):
            images, labels = (t.to(job.device) for t in next(batches))
            with _products_in(self.spec.dtype, job.device):
                loss = job.loss(images, labels) / self.spec.accumulate
            check_loss(loss, self.iteration, "the learning rate")
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self.scaler.step(job.optimizer)
        self.scaler.update()
        job.after_step(factor)
        self.iteration += 1
        now = trained_state(job.network)
        average_into(self.average, now, self.iteration, self.spec.ema_decay)
        return total

    def judge(self, loss: float, known: Mapping[str, float] | None) -> None:
        """Validate the averaged weights, keep them if they are the best, log, draw a sheet."""
        with _weights(self.job.network, self.average):
            metrics = dict(known or self.job.validate())
            self.job.sheet(self.folder / SHEETS / f"{self.iteration:06d}.png")
        self.waited += 1
        if metrics[SCORE] > self.best_score:
            self.best_score, self.best_iteration, self.waited = metrics[SCORE], self.iteration, 0
            self.best_state = copied(self.average)
        self.history.append({"iteration": float(self.iteration), "loss": loss, **metrics})
        self._log()

    def _log(self) -> None:
        row = self.history[-1]
        path = self.folder / LOG
        with output_errors(path), path.open("w", newline="", encoding="utf-8") as out:
            table = csv.DictWriter(out, list(row))
            table.writeheader()
            table.writerows(self.history)
        scalars = {name: value for name, value in row.items() if name != "iteration"}
        self.board.add(scalars, self.iteration)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "fingerprint": self.fingerprint,
            "trained": trained_state(self.job.network),
            "optimizer": self.job.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            **{name: getattr(self, name) for name in (*_COUNTED, *_WEIGHTS)},
        }
        save_checkpoint(self.folder / CHECKPOINT, state)

    def _load(self) -> None:
        remedy = "begin anew with --overwrite, or give another output"
        state = read_checkpoint(
            self.folder / CHECKPOINT, ("fingerprint",), "crackgeo finetune", remedy
        )
        if state["fingerprint"] != self.fingerprint:
            raise UsageError(
                f"{self.folder}: the run there was begun with other data or options",
                "give the same command, or begin anew with --overwrite and without --resume",
            )
        self.job.network.load_state_dict(state["trained"], strict=False)
        self.job.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        for name in _COUNTED:
            setattr(self, name, state[name])
        for name in _WEIGHTS:
            setattr(self, name, on_device(state[name], self.job.device))


_COUNTED = ("iteration", "waited", "best_iteration", "best_score", "history")
_WEIGHTS = ("best_state", "average")


def trained_state(network: nn.Module) -> StateDict:
    """The parameters that learn and all buffers, by name; frozen weights are not among them."""
    state = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    return state | dict(network.named_buffers())


def copied(state: StateDict) -> StateDict:
    """The same tensors in memory of their own."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


@contextmanager
def _weights(network: nn.Module, state: StateDict) -> Iterator[None]:
    """Put other weights into the network while the block runs."""
    own = copied(trained_state(network))
    network.load_state_dict(state, strict=False)
    try:
        yield
    finally:
        network.load_state_dict(own, strict=False)


def _products_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Matrix products and convolutions in `dtype` while the block runs; fp32 changes nothing."""
    if dtype is torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)
