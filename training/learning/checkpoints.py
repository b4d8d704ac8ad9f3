"""Checkpoints of `crackgeo train` and `crackgeo finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from crackgeo.errors import ModelError
from crackgeo.files import atomic_output, output_errors, remove_leftovers

CHECKPOINT_SUFFIX = ".pt"
_ANEW = "remove it to begin anew, or name another folder with -o"
StateDict = dict[str, Tensor]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the old one stays until the new one is whole.

    Raises
    ------
    ResourceError
        The disk is full, or the place cannot be written to.
    """
    remove_leftovers(path)  # of a run that was killed while it saved
    # torch's own error of a full disk is a RuntimeError
    with output_errors(path, RuntimeError), atomic_output(path, overwrite=True) as part:
        torch.save(dict(state), part)


def on_device(state: StateDict, device: torch.device) -> StateDict:
    """The same tensors where a network is; checkpoints are read to the processor."""
    return {name: value.to(device) for name, value in state.items()}


def read_state(path: Path, remedy: str = _ANEW) -> dict[str, Any]:
    """Read a checkpoint of `crackgeo train`; `remedy` is what to do where it is none.

    Raises
    ------
    ModelError
        It is missing, broken, or another program's.
    """
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
        reason = str(error).split("\n")[0].split(". ")[0]  # what torch goes on to advise is unsafe
        raise ModelError(f"{path}: not a checkpoint of {command} ({reason})", remedy) from error
    return state
