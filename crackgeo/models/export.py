"""Models as ONNX, for other programs, with a description in the terms of STAC's MLM extension."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from ..files import atomic_output, check_output
from .modelfile import ModelFile, open_model_file
from .registry import build_network
from .weights import resolve

TOLERANCE = 1e-3  # of probabilities; a larger difference is refused
_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


@dataclass(frozen=True)
class Exported:
    """What was written, and how far onnxruntime's probabilities are from torch's."""

    output: Path
    description: Path
    difference: float


class Portable(nn.Module):
    """A crack network with its normalisation, temperature and sigmoid inside.

    Input: float `[N, 3, 448, 448]`, RGB from 0 to 1. Output: float crack probabilities
    `[N, 1, 448, 448]`.
    """

    def __init__(self, file: ModelFile) -> None:
        super().__init__()
        self.network = build_network(file).eval()
        factor, self.offset = file.normalisation
        self.factor = factor * 255
        self.temperature = file.temperature

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image * self.factor + self.offset)
        return torch.sigmoid(logits / self.temperature)


def export_onnx(model: str | Path, output: Path, overwrite: bool = False) -> Exported:
    """Write a model as ONNX (fp32, any number of tiles) and check it with onnxruntime.

    Parameters
    ----------
    model : name or file of a model
    output : the .onnx file; the description goes beside it as .json

    Raises
    ------
    UsageError
        The packages for it are not installed, or an output exists.
    ModelError
        onnxruntime's probabilities differ by more than 0.001.
    """
    description = output.with_suffix(".json")
    for path in (output, description):
        check_output(path, overwrite)
    _check_packages()
    file = open_model_file(resolve(model))
    portable = Portable(file)
    with atomic_output(output, overwrite) as part:
        _write(portable, file, part)
        difference = _compare(portable, file, part)
    with atomic_output(description, overwrite) as part:
        content = json.dumps(stac_item(file, output, _count(portable)), indent=2)
        part.write_text(content + "\n", encoding="utf-8")
    return Exported(output, description, difference)


def stac_item(file: ModelFile, output: Path, parameters: int) -> dict[str, Any]:
    """A STAC item that describes the exported model (MLM extension 1.4)."""
    info = file.info
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    properties = {
        "description": f"Crack probabilities of RGB imagery ({info.name})",
        "datetime": now,
        "mlm:name": info.name,
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
        "stac_version": "1.0.0",
        "stac_extensions": [_MLM, _CLASSIFICATION],
        "id": output.stem,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": f"./{output.name}",
                "type": "application/octet-stream; framework=onnx",
                "title": f"{info.name} as ONNX",
                "roles": ["mlm:model"],
                "mlm:artifact_type": "onnx",
            }
        },
    }


def _mlm_input(side: int) -> dict[str, Any]:
    return {
        "name": "image",
        "bands": ["red", "green", "blue"],
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


def _write(portable: Portable, file: ModelFile, path: Path) -> None:
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
    program.save(path)


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
