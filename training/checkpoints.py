"""Checkpoints of `crackgeo train` and `crackgeo finetune`."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from crackgeo.errors import ModelError

CHECKPOINT_SUFFIX = ".pt"
StateDict = dict[str, Tensor]


def on_device(state: StateDict, device: torch.device) -> StateDict:
    """The same tensors where a network is; checkpoints are read to the processor."""
    return {name: value.to(device) for name, value in state.items()}


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `crackgeo train`.

    Raises
    ------
    ModelError
        It is missing, broken, or another program's.
    """
    remedy = "remove it to begin anew, or name another folder with -o"
    return read_checkpoint(path, ("ema", "iteration"), "crackgeo train", remedy)


def read_checkpoint(path: Path, keys: tuple[str, ...], command: str, remedy: str) -> dict[str, Any]:
    """Read what `command` saved, which must hold `keys`; `remedy` is what to do where it does not.

    Raises
    ------
    ModelError
        It is missing, broken, or another program's.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        for key in keys:
            state[key]
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a checkpoint of {command} ({error})", remedy) from error
    return state
