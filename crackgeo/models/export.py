"""Models as ONNX, for other programs, with a description in the terms of STAC's MLM extension."""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from ..files import (
    JSON,
    ONNX,
    AtomicOutput,
    Format,
    all_or_none,
    atomic_output,
    check_names,
    check_output,
    output_errors,
    remove_leftovers,
)
from .locks import alone
from .modelfile import ModelFile, open_model_file
from .registry import build_network
from .runtime import Scaling
from .weights import resolve

TOLERANCE = 1e-3  # of probabilities; a larger difference is refused
_ONE_FILE_MAX_BYTES = 1_900_000_000  # protobuf ends at 2 GiB; the graph needs some of it
_WEIGHTS = Format("weights beside an ONNX file", ())
_BANDS = ("red", "green", "blue")
_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


@dataclass(frozen=True)
class Exported:
    """What was written, and how far onnxruntime's probabilities are from torch's.

    `weights` lies beside `output` if the model is too large for one file, as that of a ViT-H.
    """

    output: Path
    description: Path
    weights: Path | None
    difference: float


class Portable(nn.Module):
    """A crack network with its normalisation, temperature and sigmoid inside.

    Input: float `[N, 3, 448, 448]`, RGB from 0 to 1. Output: float crack probabilities
    `[N, 1, 448, 448]`.
    """

    def __init__(self, file: ModelFile) -> None:
        super().__init__()
        scaling = Scaling.of(file)  # which checks itself, before a network is built
        self.network = build_network(file).eval()
        self.factor, self.offset = scaling.factor * 255, scaling.offset
        self.temperature = scaling.temperature

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image * self.factor + self.offset)
        return torch.sigmoid(logits / self.temperature)


def export_onnx(model: str | Path, output: Path, overwrite: bool = False) -> Exported:
    """Write a model as ONNX (fp32, any number of tiles) and check it with onnxruntime.

    Parameters
    ----------
    model : name or file of a model
    output : the .onnx file; the description goes beside it as .json, and the weights of a model
        of 2 GB or more as .onnx.data

    Raises
    ------
    UsageError
        The packages for it are not installed, or an output exists or is the model itself.
    ModelError
        onnxruntime's probabilities differ by more than 0.001.
    ResourceError
        An output cannot be written, or another run is writing it.
    """
    description, weights = output.with_suffix(".json"), output.with_name(f"{output.name}.data")
    check_names([(output, ONNX)], [])
    path = resolve(model)
    check_names([(output, ONNX), (description, JSON), (weights, _WEIGHTS)], [path])
    for target in (output, description, weights):
        check_output(target, overwrite)
    _check_packages()
    file = open_model_file(path)
    with alone(output):
        for target in (output, description, weights):
            _clean(target)
        return _export(file, output, description, weights, overwrite)


def _export(
    file: ModelFile, output: Path, description: Path, weights: Path, overwrite: bool
) -> Exported:
    portable = Portable(file)
    apart = weights if _size_bytes(portable) > _ONE_FILE_MAX_BYTES else None
    with (
        output_errors(output),
        TemporaryDirectory(dir=output.parent, prefix=_folder_prefix(output)) as folder,
    ):
        # the model refers to its weights by their name, so they are written under the final ones
        part = Path(folder) / output.name
        _write(portable, file, part, apart is not None)
        difference = _compare(portable, file, part)
        item = json.dumps(stac_item(file, output, apart, _count(portable)), indent=2)
        (part.parent / description.name).write_text(item + "\n", encoding="utf-8")
        targets = [target for target in (apart, description, output) if target is not None]
        with all_or_none(targets):
            for target in targets:
                with atomic_output(target, overwrite) as final:
                    os.replace(part.parent / target.name, final)
    return Exported(output, description, apart, difference)


def _folder_prefix(output: Path) -> str:
    """Of the folder that an export works in, as of any temporary file of the output."""
    return f"{AtomicOutput(output).path.stem.rpartition('-')[0]}-"


def _clean(target: Path) -> None:
    """Remove what runs left that were killed while they wrote a target."""
    remove_leftovers(target)
    for folder in target.parent.glob(f"{glob.escape(_folder_prefix(target))}*"):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def stac_item(
    file: ModelFile, output: Path, weights: Path | None, parameters: int
) -> dict[str, Any]:
    """A STAC item that describes the exported model (STAC 1.1, MLM extension 1.4)."""
    info = file.info
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    bands = [{"name": name, "eo:common_name": name} for name in _BANDS]
    properties = {
        "description": f"Crack probabilities of RGB imagery ({info.name})",
        "datetime": now,
        "bands": bands,
        "mlm:name": _mlm_name(info.name),
        "mlm:architecture": info.metadata.get("vit", file.architecture),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:total_parameters": parameters,
        "mlm:pretrained": True,
        "mlm:input": [_mlm_input(info.tile_px)],
        "mlm:output": [_mlm_output(info.tile_px)],
        "mlm:hyperparameters": {
            "threshold": info.threshold,
            "threshold_low": info.threshold_low,
            "source_sha256": info.sha256,
        },
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _EO, _CLASSIFICATION],
        "id": output.stem,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": _assets(f"{info.name} as ONNX", output, weights, bands),
    }


def _assets(
    title: str, output: Path, weights: Path | None, bands: list[dict[str, str]]
) -> dict[str, Any]:
    """The files of the model."""
    assets: dict[str, Any] = {
        "model": {
            "href": f"./{output.name}",
            "type": "application/octet-stream; framework=onnx",
            "title": title,
            "roles": ["mlm:model"],
            "mlm:artifact_type": "onnx",
            "bands": bands,  # STAC allows them above only if an asset has them, MLM wants both
        }
    }
    if weights is not None:
        assets["weights"] = {
            "href": f"./{weights.name}",
            "type": "application/octet-stream",
            "title": "The model's weights, which it looks for beside itself",
            "roles": ["mlm:weights"],
        }
    return assets


def _mlm_name(name: str) -> str:
    """A model's name in the letters that the extension allows."""
    plain = re.sub(r"[^a-zA-Z0-9_.\-\s]+", "-", name).strip("-_. ")
    return plain if re.match(r"[a-zA-Z]..", plain) else f"crackgeo-{plain or 'model'}"


def _mlm_input(side: int) -> dict[str, Any]:
    return {
        "name": "image",
        "bands": list(_BANDS),
        "input": {
            "shape": [-1, 3, side, side],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [{"type": "min-max", "minimum": 0, "maximum": 255}] * 3,
        "resize_type": None,
    }


def _mlm_output(side: int) -> dict[str, Any]:
    return {
        "name": "crack_probability",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, 1, side, side],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [{"value": 1, "name": "crack", "description": "a crack"}],
    }


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"the package {error.name} is not installed", "pip install 'crackgeo[export]'"
        ) from error


def _write(portable: Portable, file: ModelFile, path: Path, weights_apart: bool) -> None:
    side = file.info.tile_px
    # two tiles: a batch of one would become a constant of the graph
    example = torch.zeros(2, 3, side, side)
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            portable,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["crack_probability"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{file.path}: torch could not export it", "update torch")
    program.model.metadata_props.update(_tags(file))
    program.save(path, external_data=weights_apart)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about its own insides, and about torchvision, which is not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tags(file: ModelFile) -> dict[str, str]:
    """Metadata in the file, under the names that the QGIS plugin Deepness reads."""
    info = file.info
    return {
        "model_type": json.dumps("Segmentor"),
        "class_names": json.dumps({0: "crack"}),
        "tiles_size": json.dumps(info.tile_px),
        "tiles_overlap": json.dumps(25),
        "seg_thresh": json.dumps(info.threshold),
        "crackgeo_name": info.name,
        "crackgeo_sha256": info.sha256,
    }


def _compare(portable: Portable, file: ModelFile, path: Path) -> float:
    """Largest difference of probabilities, on noise, with another batch than at export."""
    import onnxruntime

    side = file.info.tile_px
    images = np.random.default_rng(0).random((3, 3, side, side), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images})[0]
    with torch.inference_mode():
        expected = portable(torch.from_numpy(images)).numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{file.path}: onnxruntime's probabilities differ by {difference:.1e}",
            "update onnxruntime and torch",
        )
    return difference


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _size_bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())
