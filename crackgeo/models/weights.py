"""The user's models and weights: where they lie, fetching and verifying them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..monitor import SILENT, Monitor
from .catalogue import PUBLISHED, Published, identify, published
from .download import Patience, download
from .reading import is_safetensors, read_errors, shown
from .registry import EMBEDDED, models_home

if TYPE_CHECKING:
    from torch import Tensor

_USE = re.compile(
    r"temperature|threshold|threshold_low|min_length_px|outline|width_error_(px|share)"
)


@dataclass(frozen=True)
class Listed:
    """One line of `crackgeo models list`.

    Parameters
    ----------
    name : what to call it
    kind : `model` (ready for --model), `sam` or `delta` (to be imported), or `other` (a file
        among the models that is none)
    size_bytes : of the file; None if unknown and not there
    licence, source, about : for people
    path : where it is, or would be
    there : whether it is there
    """

    name: str
    kind: str
    size_bytes: int | None
    licence: str
    source: str
    about: str
    path: Path
    there: bool


@dataclass(frozen=True)
class Verified:
    """What `crackgeo models verify` found out about a file that passed."""

    path: Path
    kind: str
    sha256: str
    known: bool


def weights_home() -> Path:
    """Where fetched files lie."""
    return models_home().parent / "weights"


def cached(item: Published) -> Path:
    """Where a published file lies or would lie."""
    return weights_home() / item.filename


def list_models() -> list[Listed]:
    """The embedded model, the user's own in the cache, and what can be fetched."""
    home = models_home()
    with read_errors(home):
        found = sorted(home.iterdir()) if home.is_dir() else []
    # the hidden ones are of runs that were killed while they wrote
    own = [p for p in found if p.suffix == ".safetensors" and not p.name.startswith(".")]
    return [*(_list_model(path) for path in (EMBEDDED, *own)), *map(_list_published, PUBLISHED)]


def fetch(name: str, monitor: Monitor = SILENT, patience: Patience | None = None) -> Path:
    """Get a published file into the cache, unless it is there already.

    Parameters
    ----------
    name : as `list_models` gives it
    monitor : progress in bytes; may cancel, and the next call goes on
    patience : with the connection

    Raises
    ------
    ModelError
        Unknown name, no connection, or wrong bytes; the remedy says what to put where.
    ResourceError
        The cache cannot be written to, or its disk is full.
    """
    item = published(name)
    if item is None:
        known = ", ".join(p.name for p in PUBLISHED)
        raise ModelError(f"{name}: nothing to fetch under this name", f"one of: {known}")
    target = cached(item)
    if _is_there(target):
        item.check(target)
        return target
    try:
        download(item.url, target, item.check, item.size_bytes, monitor, patience or Patience())
    except ModelError as error:
        raise ModelError(
            error.message,
            f"{error.remedy}; or get {item.url} on another computer and put it at {target}",
        ) from error
    return target


def how_to_use(told: Mapping[str, str]) -> dict[str, str]:
    """What metadata say of how a model wants to be used; it goes on into what becomes of it."""
    return {key: text for key, text in told.items() if _USE.fullmatch(key)}


def verify(name_or_path: str | Path) -> Verified:
    """Check that a file is whole and what it claims to be, without running anything in it.

    Raises
    ------
    ModelError
        It is not.
    """
    path = resolve(name_or_path)
    found, item = identify(path)
    if item is not None:
        return Verified(path, item.kind, found.sha256, known=True)
    return Verified(path, _verify_content(path), found.sha256, known=False)


def _verify_content(path: Path) -> str:
    """What a file that nobody published is, once its tensors and what it says hold."""
    from .checkpoint import check_delta
    from .modelfile import DELTA_FORMAT, FORMAT, check_metadata, open_model_file, read_metadata
    from .registry import build_network

    told = read_metadata(path) if is_safetensors(path) else {}
    if told.get("format") == FORMAT:
        file = open_model_file(path)
        check_metadata(path, file.info.metadata)
        check_finite(path, file.tensors())  # not kept while the network is built
        build_network(file)
        return "model"
    tensors = read_weights(path)
    check_finite(path, tensors)
    if told.get("format") != DELTA_FORMAT:
        return "weights"
    check_metadata(path, {**how_to_use(told), "architecture": "cracksam"})
    check_delta(tensors, str(path))
    return "delta"


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Find numbers that are none, which a network spreads over the whole image.

    Raises
    ------
    ModelError
        Names the file and the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
            raise ModelError(
                f"{path}: {name} holds values that are no finite numbers",
                "its training diverged or the file is damaged: take another one",
            )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file.

    Raises
    ------
    ModelError
        See `read_pickle` and `read_tensors`.
    """
    if is_safetensors(path):
        from .modelfile import read_tensors

        return read_tensors(path)
    from .pickles import read_pickle

    return read_pickle(path)


def resolve(name_or_path: str | Path) -> Path:
    """The file of a published name, of `compact`, of a model in the cache, or the path given."""
    item = published(str(name_or_path))
    if item is not None:
        if not _is_there(cached(item)):
            raise ModelError(
                f"{item.name}: not fetched yet",
                f"crackgeo models fetch {item.name}, or put the file at {cached(item)}",
            )
        return cached(item)
    from .registry import find_model

    return find_model(name_or_path)


def _is_there(path: Path) -> bool:
    with read_errors(path):
        return path.exists()


def _list_model(path: Path) -> Listed:
    with read_errors(path):
        there = path.is_file()
        size = path.stat().st_size if there else None
    kind, metadata, about = _claim(path) if there else ("model", {}, "not installed")
    source = "comes with crackgeo" if path == EMBEDDED else metadata.get("delta_file", "")
    licence, source, about = map(shown, (metadata.get("licence", ""), source, about))
    return Listed(shown(path.stem), kind, size, licence, source, about, path, there)


def _claim(path: Path) -> tuple[str, Mapping[str, str], str]:
    """What kind of file one among the models is, what it says, and what it is for people."""
    from .modelfile import DELTA_FORMAT, FORMAT, read_metadata

    try:
        metadata = read_metadata(path)
    except ModelError as error:
        return "other", {}, error.message
    if metadata.get("format") == DELTA_FORMAT:
        return "delta", metadata, "a delta, not yet a model: crackgeo models import makes one of it"
    if metadata.get("format") != FORMAT:
        return "other", metadata, "not a model of crackgeo"
    return "model", metadata, metadata.get("about", metadata.get("architecture", ""))


def _list_published(item: Published) -> Listed:
    path = cached(item)
    with read_errors(path):
        there = path.is_file()
        size = path.stat().st_size if there else item.size_bytes
    return Listed(item.name, item.kind, size, item.licence, item.url, item.about, path, there)
