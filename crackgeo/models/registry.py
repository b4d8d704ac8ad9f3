"""Models by name or file. Importing this module loads no torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, UsageError
from ..specs import number
from .catalogue import published
from .protocol import Segmenter
from .reading import read_errors

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
    ResourceError
        Memory did not suffice.
    """
    if batch_size is not None and number(batch_size, int, "--batch-size") < 1:
        raise UsageError(f"--batch-size must be 1 or more, not {batch_size}")
    path = find_model(name_or_path)
    # cheap mistakes are reported before a gigabyte is read
    from .devices import resolve_devices, resolve_precision
    from .memory import memory_errors
    from .modelfile import open_model_file
    from .runtime import Scaling, TorchSegmenter

    resolve_precision(precision, *resolve_devices(device))
    file = open_model_file(path)
    scaling = Scaling.of(file)  # which checks itself, before a network is built
    with memory_errors(path):
        network = build_network(file)
        return TorchSegmenter(network, file.info, scaling, device, precision, batch_size)


def models_home() -> Path:
    """Where the user's own models lie: `models` in `CRACKGEO_HOME`, else in the cache folder.

    Raises
    ------
    UsageError
        `CRACKGEO_HOME` names the home folder of nobody.
    """
    home = os.environ.get("CRACKGEO_HOME")
    if home:
        try:
            return Path(home).expanduser() / "models"
        except RuntimeError as error:
            raise UsageError(
                f"CRACKGEO_HOME={home}: there is no such home folder", "set it to a folder's path"
            ) from error
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "crackgeo" / "models"


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: the embedded one, one of the user's by its name, or the path given.

    Raises
    ------
    ModelError
        There is none.
    """
    name, path = os.fspath(name_or_path), Path(name_or_path)
    if name == "compact":
        return EMBEDDED
    with read_errors(path):
        if path.is_file():
            return path
        if path.name == name and (own := models_home() / f"{name}.safetensors").is_file():
            return own
        if path.is_dir():
            raise ModelError(f"{path}: a folder, not a model file", "name the file in it")
    if path.suffix or path.name != name:
        raise ModelError(f"{path}: no such model file", "check the path")
    raise _no_model(name)


def _no_model(name: str) -> ModelError:
    """Why a name is not that of a model; some are of what a model is made of."""
    item = published(name)
    if item is not None:
        what, parts = "weights of SAM", f"--sam {name} --delta NAME"
        if item.kind == "delta":
            what, parts = "a delta", f"--sam NAME --delta {name}"
        return ModelError(
            f"{name}: {what}, not yet a model",
            f"make one of it: crackgeo models import {parts} -o FILE.safetensors",
        )
    return ModelError(f"{name}: unknown model", "crackgeo models list shows those that are there")


def build_network(file: ModelFile) -> nn.Module:
    """The network of a model file with its weights, in its form for inference."""
    from .checkpoint import load_cracksam
    from .compact import load_compact
    from .memory import memory_errors

    try:
        with memory_errors(file.path):
            if file.architecture == "cracksam":
                return load_cracksam(file.tensors(), file.info.metadata)
            return load_compact(file.tensors())
    except ModelError as error:
        raise ModelError(f"{file.path}: {error.message}", error.remedy) from error
    except RuntimeError as error:  # torch says which tensors are missing, left over or misshapen
        detail = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{file.path}: its tensors do not make a {file.architecture} network: {detail}",
            "the file is damaged or from another version: get or import it again",
        ) from error
