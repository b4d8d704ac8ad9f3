"""What the loops of `train` and `fit` do alike at every step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from crackgeo.errors import CrackgeoError, ModelError, ResourceError
from crackgeo.models.memory import is_out_of_memory

Batch = TypeVar("Batch")
_OF_A_WORKER = re.compile(
    r"\ACaught .*^crackgeo\.errors\.\w+: (?P<message>.*?)(?:\n  remedy: (?P<remedy>.*?))?\s*\Z",
    re.DOTALL | re.MULTILINE,
)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each group of parameters this share of its full rate, which it holds as `base_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def told_plainly(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; an error of ours in a process that reads them comes as it was raised.

    torch hands on its type with a traceback as the message.
    """
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except CrackgeoError as error:
            found = _OF_A_WORKER.search(error.message)
            if found is None:
                raise
            raise type(error)(found["message"], found["remedy"] or "") from None
        yield batch


def keep_norms(network: nn.Module) -> None:
    """Let batch norms normalise with their statistics and leave them, while the rest learns."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def check_loss(loss: Tensor, iteration: int, rates: str) -> None:
    """Stop before a step that would spoil the weights.

    Parameters
    ----------
    loss : of a batch
    iteration : at which it was found
    rates : what to lower, in the user's words

    Raises
    ------
    ModelError
        The loss is no number.
    """
    if not torch.isfinite(loss):
        raise ModelError(
            f"the loss is {loss.item()} at iteration {iteration}",
            f"lower {rates}, or look for broken pictures in the data",
        )


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Say what to do where a step needs more memory than there is.

    Parameters
    ----------
    remedy : what to change, in the user's words

    Raises
    ------
    ResourceError
        The block ran out of memory; the weights are those of the step before.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError("out of memory while training", remedy) from error


@torch.no_grad()
def average_into(
    average: Mapping[str, Tensor], now: Mapping[str, Tensor], iteration: int, decay: float
) -> None:
    """Let averaged weights follow a network's; counters are taken as they are.

    Parameters
    ----------
    average : changed in place
    now : the network's, by the same names
    iteration : steps made; the average of a short run grows into its length, else it would never
        forget where it began
    decay : share that is kept, of a long run; 0 keeps nothing
    """
    keep = min(decay, (iteration + 1) / (iteration + 10))
    moving = [name for name, value in now.items() if value.dtype.is_floating_point]
    torch._foreach_lerp_([average[k] for k in moving], [now[k] for k in moving], 1 - keep)
    for name in now.keys() - set(moving):
        average[name].copy_(now[name])
