"""SAM's weights and a delta -> a model file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, UsageError
from ..files import MODEL, check_names, check_output, output_errors, remove_leftovers
from ..monitor import SILENT, Monitor
from .catalogue import Digests, Published, identify, published
from .locks import alone
from .reading import check_text, is_safetensors, storable
from .registry import models_home
from .weights import check_finite, how_to_use, read_weights, resolve

if TYPE_CHECKING:
    from torch import Tensor

_STORY = re.compile(r"calibration|finetune.*")  # of a fine-tuned delta
_STAGE = "import"
_STEPS = 3  # SAM is read, the delta is read, the two are one


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
    monitor : progress and warnings; may cancel

    Returns
    -------
    dict of str
        The metadata of the new file.

    Raises
    ------
    ModelError
        A file is missing, damaged, dangerous or not what it claims; or the two do not match.
    UsageError, ResourceError
        The output exists, is one of the two, or cannot be written; memory or disk do not suffice.
    """
    if scale is not None and not math.isfinite(scale):
        raise UsageError(f"--scale {scale}: not a number", "e.g. --scale 0.2")
    _check_name(output)
    check_output(output, overwrite)
    paths = [resolve(sam), resolve(delta)]
    check_names([(output, MODEL)], paths)
    with alone(output):
        remove_leftovers(output)
        return _import(paths, output, scale, overwrite, monitor)


def _import(
    paths: Sequence[Path], output: Path, scale: float | None, overwrite: bool, monitor: Monitor
) -> dict[str, str]:
    (sam_sums, _), (delta_sums, known) = (_identify(path, monitor) for path in paths)
    from .checkpoint import combine, model_metadata
    from .modelfile import save_model

    told = _told(paths[1])
    own_scale = _told_scale(paths[1], told) if scale is None else scale
    sam, delta = (_read(path, done, monitor) for done, path in enumerate(paths, 1))
    network = combine(sam, delta, _scale(own_scale, known), (str(paths[0]), str(paths[1])))
    if network.delta.adapter_dim and own_scale is None and known is None:
        monitor.warn(
            f"{paths[1].name} does not say the adapters' scale: {network.delta.adapter_scale} is "
            "taken, the paper's; --scale sets another"
        )
    made = model_metadata(network)
    _check_sam(paths, told, made["vit"], sam_sums, monitor)
    metadata = {
        **_story(told),
        "name": output.stem,
        "licence": _licence(told, known),
        **_sources(paths, (sam_sums, delta_sums)),
        **made,
    }
    monitor.step(_STAGE, _STEPS, _STEPS)
    save_model(output, network.state_dict(), metadata, overwrite)
    return metadata


def _check_name(output: Path) -> None:
    """Make the folder of named models if it is meant, and find names that others have there."""
    check_text(output)
    home = models_home()
    if output.parent.resolve() != home.resolve():
        return
    if output.stem == "compact" or published(output.stem) is not None:
        raise UsageError(
            f"{output}: --model {output.stem} would never find it, crackgeo has its own of that "
            "name",
            "choose another name",
        )
    with output_errors(output):
        home.mkdir(parents=True, exist_ok=True)


def _identify(path: Path, monitor: Monitor) -> tuple[Digests, Published | None]:
    """Checksums before anything is read; a name that a file does not deserve is an error."""
    found, item = identify(path, monitor)
    if item is None and not is_safetensors(path):
        monitor.warn(f"{path.name}: not a published file, so there is no checksum to compare")
    return found, item


def _read(path: Path, done: int, monitor: Monitor) -> dict[str, Tensor]:
    """The tensors of one of the files, each of them fit to be a weight."""
    tensors = read_weights(path)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ModelError(
                f"{path}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, no weights",
                "weights are floating-point numbers; give them as they were trained",
            )
    check_finite(path, tensors)
    monitor.step(_STAGE, done, _STEPS)
    return tensors


def _told(delta: Path) -> dict[str, str]:
    """What a delta file of `crackgeo finetune` tells beside its tensors; published ones cannot."""
    if not is_safetensors(delta):
        return {}
    from .modelfile import check_metadata, read_metadata

    told = read_metadata(delta)
    try:
        check_metadata(delta, {**how_to_use(told), "architecture": "cracksam"})
    except ModelError as error:
        raise ModelError(
            error.message, "get the delta again, or make it again with crackgeo finetune"
        ) from error
    return told


def _told_scale(delta: Path, told: Mapping[str, str]) -> float | None:
    text = told.get("adapter_scale")
    if text is None:
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise ModelError(
            f"{delta}: adapter_scale is {text!r}, not a number", "say it yourself: --scale"
        )
    return scale


def _scale(asked: float | None, delta: Published | None) -> float:
    from .deltas import PAPER_SCALE

    if asked is not None:
        return asked
    return delta.scale if delta is not None and delta.scale is not None else PAPER_SCALE


def _check_sam(
    paths: Sequence[Path], told: Mapping[str, str], vit: str, found: Digests, monitor: Monitor
) -> None:
    """Compare SAM with what the delta says that it was trained on, if it says so."""
    sam, delta = paths
    if told.get("vit", vit) != vit:
        raise ModelError(
            f"{delta}: was trained on {told['vit']}, {sam} is {vit}",
            f"use SAM's weights of {told['vit']}",
        )
    if told.get("sam_sha256", found.sha256) != found.sha256:
        monitor.warn(
            f"{delta.name} was trained on other weights of SAM than {sam.name}: on "
            f"{told.get('sam_file', 'a file')} with SHA-256 {told['sam_sha256']}. If they are not "
            "the same in another format, the model finds the wrong things"
        )


def _story(told: Mapping[str, str]) -> dict[str, str]:
    """What goes on from a delta into the model; a delta that began from another one says so."""
    before = {f"base_{key}": told[key] for key in ("delta_file", "delta_sha256") if key in told}
    return {k: v for k, v in told.items() if _STORY.fullmatch(k)} | before | how_to_use(told)


def _licence(told: Mapping[str, str], delta: Published | None) -> str:
    own = delta.licence if delta is not None else "its maker decides"
    return told.get("licence") or f"SAM: Apache-2.0; delta: {own}"


def _sources(paths: Sequence[Path], sums: Sequence[Digests]) -> dict[str, str]:
    """Where a model comes from, for its metadata."""
    sources: dict[str, str] = {}
    for label, path, found in zip(("sam", "delta"), paths, sums, strict=True):
        sources |= {f"{label}_file": storable(path.name), f"{label}_sha256": found.sha256}
    return sources
