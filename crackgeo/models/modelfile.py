"""Model files: safetensors with string metadata. Reading one runs no code from the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import ModelError
from ..files import atomic_output
from ..specs import TILE_PX
from .catalogue import sha256_of
from .memory import memory_errors
from .protocol import ModelInfo
from .reading import begins_as_safetensors, check_text, read_errors, shown

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "crackgeo-model"
FORMAT_VERSION = "1"
DELTA_FORMAT = "crackgeo-delta"  # what `crackgeo finetune` makes of CrackSAM, to be imported
ARCHITECTURES = ("compact", "cracksam")
# value = RGB * factor + offset; compact as its ImageNet start was trained, cracksam as the
# published code does it, which is not SAM's own normalisation
NORMALISATIONS = {"minus-one-to-one": (1 / 127.5, -1.0), "zero-to-one": (1 / 255, 0.0)}
_DEFAULT_NORMALISATION = {"compact": "minus-one-to-one", "cracksam": "zero-to-one"}
_INFO_NUMBERS = {f.name for f in fields(ModelInfo) if f.type in ("float", "int")}
# what is believed of a file; thresholds are checked apart, as their ends mark nothing or all
_RANGES = {
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


def check_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Hold what metadata say of a model's use to the rules that hold when it is loaded.

    Parameters
    ----------
    path : of the file that the metadata are in, or will be
    metadata : with `architecture`

    Raises
    ------
    ModelError
        A model with these metadata could not be loaded.
    """
    numbers = _numbers(path, metadata)
    info = ModelInfo(path.stem, "", metadata=metadata, **numbers)  # type: ignore[arg-type]
    file = ModelFile(path, info)
    _ = file.normalisation, file.temperature  # which check themselves


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
    check_metadata(path, metadata)
    whole = {**metadata, "format": FORMAT, "format_version": FORMAT_VERSION}
    with atomic_output(path, overwrite) as part:
        write_tensors(part, tensors, whole)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file that whoever may read other new files may read.

    Raises
    ------
    OSError
        As the operating system gave it; safetensors has an error of its own for it.
    ResourceError
        Memory did not suffice.
    """
    from safetensors.torch import save_file

    path.touch()
    usual_mode = path.stat().st_mode
    with memory_errors(path):
        try:
            save_file(_apart(tensors), path, metadata)
        except SafetensorError as error:
            raise _system_error(error) from error
    path.chmod(usual_mode)  # safetensors would leave the file to its owner alone


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: contiguous, and no two of them in the same memory."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        place = own.untyped_storage().data_ptr()
        apart[name] = own.clone() if place in taken else own
        taken.add(place)
    return apart


def _system_error(error: SafetensorError) -> OSError:
    """The operating system's error in one of safetensors, such as `... (os error 28)`."""
    text = str(error)
    number = re.search(r"\(os error (\d+)\)", text)
    if number is None:
        return OSError(text)
    return OSError(int(number[1]), text, None, int(number[1]))  # on Windows the last one counts


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    with read_errors(path):
        there = path.is_file()
    if not there:
        raise ModelError(f"{path}: no such model file", "check the path, or: crackgeo models list")
    check_text(path)
    try:
        with (
            read_errors(path),
            memory_errors(path),
            safe_open(path, framework="pt", device="cpu") as handle,
        ):
            yield handle
    except SafetensorError as error:
        raise ModelError(f"{path}: {_damage(path)} ({error})", _GET_ANOTHER) from error


def _damage(path: Path) -> str:
    """Tell a cut-off safetensors file from one of another format, by its first bytes."""
    return "truncated or damaged" if begins_as_safetensors(path) else "not a safetensors file"


def _info(path: Path, metadata: dict[str, str]) -> ModelInfo:
    name, numbers = shown(metadata.get("name", path.stem)), _numbers(path, metadata)
    with read_errors(path):
        found = sha256_of(path)
    return ModelInfo(name, found, metadata=metadata, **numbers)  # type: ignore[arg-type]


def _numbers(path: Path, metadata: Mapping[str, str]) -> dict[str, float]:
    """The numbers that a file says of its use, each one believable."""
    numbers = {key: _number(path, key, metadata[key]) for key in _INFO_NUMBERS & metadata.keys()}
    _check_side(path, numbers.pop("tile_px", TILE_PX))
    for key in numbers.keys() & _RANGES.keys():
        low, high = _RANGES[key]
        if not low <= numbers[key] <= high:
            raise ModelError(
                f"{path}: {key} is {numbers[key]:g}, not between {low:g} and {high:g}", _GET_ANOTHER
            )
    _check_thresholds(path, **{k: v for k, v in numbers.items() if k.startswith("threshold")})
    if "threshold" in numbers:  # the low one goes with it
        ratio = ModelInfo.threshold_low / ModelInfo.threshold
        numbers.setdefault("threshold_low", numbers["threshold"] * ratio)
    return numbers


def _check_thresholds(
    path: Path, threshold: float = ModelInfo.threshold, threshold_low: float | None = None
) -> None:
    """The rules of `VectorSpec`, which would refuse them once the whole survey is predicted."""
    if not 0 < threshold < 1:
        raise ModelError(f"{path}: threshold is {threshold:g}, not within (0, 1)", _GET_ANOTHER)
    if threshold_low is not None and not 0 < threshold_low <= threshold:
        raise ModelError(
            f"{path}: threshold_low is {threshold_low:g}, not within (0, {threshold:g}]",
            _GET_ANOTHER,
        )


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
