"""Model files: safetensors with string metadata. Reading one runs no code from the file."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from ..errors import ModelError
from ..files import atomic_output
from ..specs import TILE_PX
from .catalogue import sha256_of
from .protocol import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "crackgeo-model"
FORMAT_VERSION = "1"
ARCHITECTURES = ("compact", "cracksam")
# value = RGB * factor + offset; compact as its ImageNet start was trained, cracksam as the
# published code does it, which is not SAM's own normalisation
NORMALISATIONS = {"minus-one-to-one": (1 / 127.5, -1.0), "zero-to-one": (1 / 255, 0.0)}
_DEFAULT_NORMALISATION = {"compact": "minus-one-to-one", "cracksam": "zero-to-one"}
_INFO_NUMBERS = {f.name for f in fields(ModelInfo) if f.type in ("float", "int")}
# what is believed of a file: beyond, a threshold marks nothing
_RANGES = {
    "threshold": (0.0, 1.0),
    "threshold_low": (0.0, 1.0),
    "min_length_px": (0.0, 1e6),
    "outline": (0.0, 0.99),
    "width_error_px": (0.0, 1e3),
    "width_error_share": (0.0, 1.0),
}
_GET_ANOTHER = "get the file again, or make it with: crackgeo models import"


@dataclass(frozen=True)
class ModelFile:
    """A model file whose header has been read and checked.

    Parameters
    ----------
    path : the file
    info : what it says about itself; `info.metadata` holds all of its metadata
    """

    path: Path
    info: ModelInfo

    @property
    def architecture(self) -> str:
        """`compact` or `cracksam`."""
        return self.info.metadata["architecture"]

    @property
    def normalisation(self) -> tuple[float, float]:
        """Factor and offset that turn RGB 0 to 255 into what the network takes."""
        name = self.info.metadata.get("normalisation", _DEFAULT_NORMALISATION[self.architecture])
        if name not in NORMALISATIONS:
            known = ", ".join(NORMALISATIONS)
            raise ModelError(f"{self.path}: unknown normalisation {name!r}", f"one of: {known}")
        return NORMALISATIONS[name]

    @property
    def temperature(self) -> float:
        """Logits are divided by it before the sigmoid."""
        value = _number(self.path, "temperature", self.info.metadata.get("temperature", "1"))
        if not 0 < value < math.inf:
            raise ModelError(f"{self.path}: temperature {value} is not positive", _GET_ANOTHER)
        return value

    def tensors(self) -> dict[str, Tensor]:
        """All tensors on the CPU, as they are stored."""
        return read_tensors(self.path)


def open_model_file(path: Path) -> ModelFile:
    """Read and check a model file's header, and take its checksum.

    Raises
    ------
    ModelError
        The file is missing, not safetensors, truncated, or not a crackgeo model of this version.
    """
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ModelError(
            f"{path}: is a safetensors file, but not a crackgeo model",
            "SAM weights and deltas become a model with: crackgeo models import",
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path}: model format {metadata.get('format_version')!r}, this crackgeo reads "
            f"{FORMAT_VERSION!r}",
            "update crackgeo, or import the weights again",
        )
    if metadata.get("architecture") not in ARCHITECTURES:
        raise ModelError(
            f"{path}: unknown architecture {metadata.get('architecture')!r}",
            f"this crackgeo knows: {', '.join(ARCHITECTURES)}",
        )
    return ModelFile(path, _info(path, metadata))


def read_metadata(path: Path) -> dict[str, str]:
    """The string metadata of any safetensors file."""
    with _safetensors(path) as handle:
        return dict(handle.metadata() or {})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of any safetensors file, on the CPU."""
    with _safetensors(path) as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118


def save_model(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], overwrite: bool = False
) -> None:
    """Write a model file; it appears when it is complete.

    Parameters
    ----------
    path : the file to write
    tensors : the network's state dict; stored as they are (fp16 storage is allowed)
    metadata : at least `architecture` and `name`; `format` and `format_version` are added

    Raises
    ------
    ModelError
        The metadata would not make a model that `load_model` accepts.
    UsageError, ResourceError
        The file exists already, or cannot be written.
    """
    if metadata.get("architecture") not in ARCHITECTURES or not metadata.get("name"):
        raise ModelError(f"{path}: a model file needs an architecture and a name in its metadata")
    whole = {**metadata, "format": FORMAT, "format_version": FORMAT_VERSION}
    with atomic_output(path, overwrite) as part:
        write_tensors(part, tensors, whole)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file that whoever may read other new files may read."""
    from safetensors.torch import save_file

    path.touch()
    usual_mode = path.stat().st_mode
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path, metadata)
    path.chmod(usual_mode)  # safetensors would leave the file to its owner alone


def _safetensors(path: Path) -> safe_open:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file", "check the path, or: crackgeo models list")
    try:
        return safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise ModelError(f"{path}: {_damage(path)} ({error})", _GET_ANOTHER) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", _GET_ANOTHER) from error


def _damage(path: Path) -> str:
    """Tell a cut-off safetensors file from one of another format, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < 100_000_000:
        return "truncated or damaged"
    return "not a safetensors file"


def _info(path: Path, metadata: dict[str, str]) -> ModelInfo:
    numbers = {key: _number(path, key, metadata[key]) for key in _INFO_NUMBERS & metadata.keys()}
    _check_side(path, numbers.pop("tile_px", TILE_PX))
    for key, value in numbers.items():
        low, high = _RANGES[key]
        if not low <= value <= high:
            raise ModelError(
                f"{path}: {key} is {value:g}, not between {low:g} and {high:g}", _GET_ANOTHER
            )
    name = metadata.get("name", path.stem)
    return ModelInfo(name, sha256_of(path), metadata=metadata, **numbers)  # type: ignore[arg-type]


def _check_side(path: Path, side_px: float) -> None:
    if side_px != TILE_PX:
        raise ModelError(
            f"{path}: is for tiles of {side_px:g} px, crackgeo cuts tiles of {TILE_PX} px",
            f"if it works on those as well, save it with tile_px {TILE_PX}",
        )


def _number(path: Path, key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ModelError(f"{path}: {key} is {text!r}, not a number", _GET_ANOTHER) from None
