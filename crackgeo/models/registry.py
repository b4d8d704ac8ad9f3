"""Models by name or file. Importing this module loads no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, UsageError
from .protocol import Segmenter

if TYPE_CHECKING:
    from torch import nn

    from .modelfile import ModelFile

EMBEDDED = Path(__file__).parent / "weights" / "compact.safetensors"


def load_model(
    name_or_path: str | os.PathLike[str] = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Segmenter:
    """Load a crack model, ready to predict.

    Parameters
    ----------
    name_or_path : `compact`, the name of a model in the cache (`crackgeo models list`), or a file
    device : `auto`, `cpu`, `cuda` (every card), `cuda:N` or `mps`
    precision : `auto`, `fp32`, `bf16` or `fp16`
    batch_size : tiles run at once on each device; None chooses

    Raises
    ------
    ModelError
        No such model, or its file is broken.
    UsageError
        No such device, or a precision it does not have.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size must be 1 or more, not {batch_size}")
    path = find_model(name_or_path)
    # cheap mistakes are reported before a gigabyte is read
    from .devices import resolve_devices, resolve_precision
    from .modelfile import open_model_file
    from .runtime import Scaling, TorchSegmenter

    resolve_precision(precision, resolve_devices(device)[0])
    file = open_model_file(path)
    factor, offset = file.normalisation
    scaling = Scaling(factor, offset, file.temperature)
    return TorchSegmenter(build_network(file), file.info, scaling, device, precision, batch_size)


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: the embedded one, or the path given."""
    if str(name_or_path) == "compact":
        return EMBEDDED
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix or os.sep in str(name_or_path):
        raise ModelError(f"{path}: no such model file", "check the path")
    raise ModelError(f"{name_or_path}: unknown model", "see: crackgeo models list")


def build_network(file: ModelFile) -> nn.Module:
    """The network of a model file with its weights, in its form for inference."""
    from .compact import load_compact

    try:
        return load_compact(file.tensors())
    except RuntimeError as error:  # torch says which tensors are missing, left over or misshapen
        detail = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{file.path}: its tensors do not make a {file.architecture} network: {detail}",
            "the file is damaged or from another version: get or import it again",
        ) from error
