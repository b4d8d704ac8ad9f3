"""crackgeo's model files: safetensors with metadata that says how the model wants to be used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..files import atomic_output
from .protocol import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "crackgeo-model"
FORMAT_VERSION = "1"


@dataclass(frozen=True)
class ModelFile:
    """A model file whose header was read and checked."""

    path: Path
    metadata: Mapping[str, str]
    sha256: str

    @property
    def architecture(self) -> str:
        """Key of the registry's architectures."""
        return self.metadata.get("architecture", "")

    def info(self) -> ModelInfo:
        """What the file says about itself.

        Raises
        ------
        ModelError
            A number in the metadata is none.
        """
        own = ModelInfo("", "")
        return ModelInfo(
            name=self.metadata.get("name", self.path.stem),
            sha256=self.sha256,
            threshold=self.number("threshold", own.threshold),
            threshold_low=self.number("threshold_low", own.threshold_low),
            min_length_px=self.number("min_length_px", own.min_length_px),
            width_error_px=self.number("width_error_px", own.width_error_px),
            metadata=dict(self.metadata),
        )

    def number(self, key: str, default: float) -> float:
        """A number of the metadata."""
        try:
            return float(self.metadata.get(key, default))
        except ValueError as error:
            raise ModelError(f"{self.path}: metadata {key} is no number") from error

    def tensors(self) -> dict[str, Tensor]:
        """The weights, float32.

        Raises
        ------
        ModelError
            The file is damaged.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = load_file(self.path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(f"{self.path}: damaged model file ({error})") from error
        return {k: v.float() if v.dtype == torch.float16 else v for k, v in weights.items()}


def open_model(path: Path) -> ModelFile:
    """Read and check the header of a model file.

    Raises
    ------
    ModelError
        The file is missing, is no safetensors file, is cut short, or is not crackgeo's.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: no such model file", "`crackgeo models list` shows the models")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a model file of crackgeo, or cut short ({error})",
            "weights of other programs are converted with `crackgeo models import`",
        ) from error
    if metadata.get("format") != FORMAT or metadata.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path}: safetensors, but not a model of crackgeo (version {FORMAT_VERSION})",
            "convert it with `crackgeo models import`",
        )
    return ModelFile(path, metadata, hashlib.sha256(path.read_bytes()).hexdigest())


def save_model(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], overwrite: bool = False
) -> None:
    """Write a model file, whole or not at all.

    Parameters
    ----------
    path : the .safetensors file
    tensors : weights by name
    metadata : at least `architecture` and `name`; format and version are added
    overwrite : replace an existing file
    """
    from safetensors.torch import save_file

    said = {**metadata, "format": FORMAT, "format_version": FORMAT_VERSION}
    with atomic_output(path, overwrite=overwrite) as part:
        save_file({k: v.contiguous() for k, v in tensors.items()}, part, said)
