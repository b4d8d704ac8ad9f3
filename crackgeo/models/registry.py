"""Models by name or file; which code runs which architecture."""

from __future__ import annotations

import os
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from .protocol import Segmenter
from .store import open_model

if TYPE_CHECKING:
    from torch import nn

EMBEDDED = {"compact": "weights/compact.safetensors"}

# architecture -> module with `build(file: ModelFile) -> nn.Module` and `SCALING`
ARCHITECTURES = {"compact": "compact", "cracksam": "cracksam"}


def load_model(
    name_or_path: str | os.PathLike[str] = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Segmenter:
    """Load a model, ready to run.

    Parameters
    ----------
    name_or_path : "compact", or the path of a model file
    device : "auto", "cpu", "cuda" (all cards), "cuda:N" or "mps"
    precision : "auto", "fp32", "bf16" or "fp16"
    batch_size : tiles at once; None chooses by the device

    Returns
    -------
    Segmenter
        Its `predict` takes uint8 `[N, 448, 448, 3]` RGB and gives float32 `[N, 448, 448]`.

    Raises
    ------
    ModelError
        No such model, a damaged file, weights that do not fit, or no such device.
    UsageError
        Device or precision are no such words.
    """
    from .runtime import TorchSegmenter

    file = open_model(model_path(name_or_path))
    if file.architecture not in ARCHITECTURES:
        raise ModelError(
            f"{file.path}: unknown architecture {file.architecture!r}",
            "a newer crackgeo may know it",
        )
    module = import_module(f".{ARCHITECTURES[file.architecture]}", __package__)
    net: nn.Module = module.build(file)
    return TorchSegmenter(
        net,
        file.info(),
        device=device,
        precision=precision,
        batch_size=batch_size,
        scaling=module.SCALING,
        temperature=file.number("temperature", 1.0),
    )


def model_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model.

    Raises
    ------
    ModelError
        Neither the name of a model nor a file.
    """
    if isinstance(name_or_path, str) and name_or_path in EMBEDDED:
        return Path(str(resources.files(__package__) / EMBEDDED[name_or_path]))
    path = Path(name_or_path)
    if not path.exists():
        raise ModelError(
            f"{name_or_path}: neither a model's name nor a file",
            f"use {', '.join(EMBEDDED)} or the path of a .safetensors file; "
            "`crackgeo models list` shows the models",
        )
    return path
