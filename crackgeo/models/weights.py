"""The user's models and weights: where they lie, fetching, importing and verifying them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..files import check_output
from ..monitor import SILENT, Monitor
from .catalogue import PUBLISHED, Digests, Published, identify, published
from .download import Patience, download
from .registry import EMBEDDED, models_home

if TYPE_CHECKING:
    from torch import Tensor

_USE = re.compile(
    r"temperature|threshold|threshold_low|min_length_px|outline|width_error_(px|share)"
)
_STORY = re.compile(r"calibration|finetune.*")  # of a fine-tuned delta


@dataclass(frozen=True)
class Listed:
    """One line of `crackgeo models list`.

    Parameters
    ----------
    name : what to call it
    kind : `model` (ready for --model), `sam` or `delta` (to be imported)
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
    own = sorted(models_home().glob("*.safetensors")) if models_home().is_dir() else []
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
    if target.exists():
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


def import_model(
    sam: str | Path,
    delta: str | Path,
    output: Path,
    scale: float | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> dict[str, str]:
    """Make a model file of SAM's weights and a delta.

    Parameters
    ----------
    sam : a file (.pth of Meta, .safetensors of Hugging Face) or the name of a fetched one
    delta : a file of CrackSAM (.pth, or the same tensors as .safetensors), or a fetched one
    output : the model file to write
    scale : of the adapters; None takes the published delta's, else the paper's
    monitor : warnings

    Returns
    -------
    dict of str
        The metadata of the new file.

    Raises
    ------
    ModelError
        A file is missing, damaged, dangerous or not what it claims; or the two do not match.
    UsageError, ResourceError
        The output exists or cannot be written.
    """
    check_output(output, overwrite)
    paths = [resolve(sam), resolve(delta)]
    (sam_sums, _), (delta_sums, known) = (_identify(path, monitor) for path in paths)
    from .checkpoint import combine, model_metadata
    from .modelfile import save_model

    told = _told(paths[1])
    own_scale = _told_scale(paths[1], told) if scale is None else scale
    chosen = _scale(own_scale, known)
    network = combine(read_weights(paths[0]), read_weights(paths[1]), chosen)
    if network.delta.adapter_dim and own_scale is None and known is None:
        monitor.warn(
            f"{paths[1].name} does not say the adapters' scale: {network.delta.adapter_scale} is "
            "taken, the paper's; --scale sets another"
        )
    metadata = {
        **{key: text for key, text in told.items() if _STORY.fullmatch(key)},
        **how_to_use(told),
        "name": output.stem,
        "licence": f"SAM: Apache-2.0; delta: {known.licence if known else 'its maker decides'}",
        **_sources(paths, (sam_sums, delta_sums)),
        **model_metadata(network),
    }
    save_model(output, network.state_dict(), metadata, overwrite)
    return metadata


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
    from .modelfile import open_model_file, read_metadata
    from .registry import build_network

    if path.suffix != ".safetensors" or "architecture" not in read_metadata(path):
        read_weights(path)
        return Verified(path, "weights", found.sha256, known=False)
    build_network(open_model_file(path))
    return Verified(path, "model", found.sha256, known=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file.

    Raises
    ------
    ModelError
        See `read_pickle` and `read_tensors`.
    """
    if path.suffix == ".safetensors":
        from .modelfile import read_tensors

        return read_tensors(path)
    from .pickles import read_pickle

    return read_pickle(path)


def resolve(name_or_path: str | Path) -> Path:
    """The file of a published name, of `compact`, of a model in the cache, or the path given."""
    item = published(str(name_or_path))
    if item is not None:
        if not cached(item).exists():
            raise ModelError(
                f"{item.name}: not fetched yet",
                f"crackgeo models fetch {item.name}, or put the file at {cached(item)}",
            )
        return cached(item)
    from .registry import find_model

    return find_model(name_or_path)


def _sources(paths: Sequence[Path], sums: Sequence[Digests]) -> dict[str, str]:
    """Where a model comes from, for its metadata."""
    sources: dict[str, str] = {}
    for label, path, found in zip(("sam", "delta"), paths, sums, strict=True):
        sources |= {f"{label}_file": path.name, f"{label}_sha256": found.sha256}
    return sources


def _identify(path: Path, monitor: Monitor) -> tuple[Digests, Published | None]:
    """Checksums before anything is read; a name that a file does not deserve is an error."""
    found, item = identify(path)
    if item is None and path.suffix != ".safetensors":
        monitor.warn(f"{path.name}: not a published file, so there is no checksum to compare")
    return found, item


def _scale(asked: float | None, delta: Published | None) -> float:
    from .deltas import PAPER_SCALE

    if asked is not None:
        return asked
    return delta.scale if delta is not None and delta.scale is not None else PAPER_SCALE


def _told(delta: Path) -> dict[str, str]:
    """What a delta file of `crackgeo finetune` tells beside its tensors; published ones cannot."""
    if delta.suffix != ".safetensors":
        return {}
    from .modelfile import read_metadata

    return read_metadata(delta)


def _told_scale(delta: Path, told: Mapping[str, str]) -> float | None:
    text = told.get("adapter_scale")
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ModelError(
            f"{delta}: adapter_scale is {text!r}, not a number", "say it yourself: --scale"
        ) from None


def _list_model(path: Path) -> Listed:
    from .modelfile import read_metadata

    there = path.is_file()
    try:
        metadata = read_metadata(path) if there else {}
        about = metadata.get("about", metadata.get("architecture", "not a model of crackgeo"))
    except ModelError as error:
        metadata, about = {}, error.message
    source = "comes with crackgeo" if path == EMBEDDED else metadata.get("delta_file", "")
    licence = metadata.get("licence", "")
    size = path.stat().st_size if there else None
    return Listed(path.stem, "model", size, licence, source, about, path, there)


def _list_published(item: Published) -> Listed:
    path = cached(item)
    there = path.is_file()
    size = path.stat().st_size if there else item.size_bytes
    return Listed(item.name, item.kind, size, item.licence, item.url, item.about, path, there)
