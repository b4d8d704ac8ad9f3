"""Checkpoints of `crackgeo train`."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from crackgeo.errors import ModelError

CHECKPOINT_SUFFIX = ".pt"
StateDict = dict[str, Tensor]


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    ModelError
        It is missing, broken, or another program's.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        state["ema"], state["iteration"]
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a checkpoint of crackgeo train ({error})",
            "remove it to begin anew, or name another folder with -o",
        ) from error
    return state
