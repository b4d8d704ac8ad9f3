"""A CrackSAM model on the command line, and models for other programs."""

import dataclasses
import json
import re

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from test_models_cracksam import TINY, tiny

from crackgeo.cli import run
from crackgeo.models.checkpoint import model_metadata
from crackgeo.models.compact import CompactNet
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.modelfile import open_model_file, save_model
from crackgeo.models.sam import VITS


@pytest.fixture(scope="module")
def cracksam_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    one_block = dataclasses.replace(TINY, depth=1, global_blocks=(0,))  # quick to export
    network = tiny(DeltaSpec("qv", 2, 4), one_block)
    save_model(path, network.state_dict(), {"name": "tiny", **model_metadata(network)})
    return path


@pytest.fixture(scope="module")
def compact_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "compact64.safetensors"
    torch.manual_seed(0)
    tensors = CompactNet().state_dict()
    metadata = {"architecture": "compact", "name": "c", "tile_px": "64", "temperature": "1.5"}
    save_model(path, tensors, metadata)
    return path


def test_map_with_a_cracksam_model(cracksam_file, tmp_path):
    """The same outputs and options as with `compact`; the run says which model it was."""
    survey, output, prob = (tmp_path / name for name in ("s.tif", "c.gpkg", "p.tif"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 460), np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 300, "width": 460}
    transform = Affine(0.002, 0, 500000, 0, -0.002, 5400000)
    with rasterio.open(survey, "w", crs="EPSG:32632", transform=transform, **profile) as dataset:
        dataset.write(pixels)
    options = ["--model", str(cracksam_file), "--device", "cpu", "--precision", "fp32", "-q"]
    files = [str(survey), "-o", str(output), "--prob", str(prob), "--batch-size", "1"]
    assert run(["map", *files, *options]) == 0
    with rasterio.open(prob) as dataset:
        tag = json.loads(dataset.tags()["CRACKGEO"])
        assert dataset.shape == (300, 460)
        assert np.ptp(dataset.read(1)) > 0
    assert tag["model"] == "tiny"
    assert tag["model_sha256"] == open_model_file(cracksam_file).info.sha256
    assert output.stat().st_size > 0


def test_the_metadata_names_the_vit():
    network = tiny()
    assert model_metadata(network)["vit"] == "vit 32 x 3"
    network.config = VITS["vit_l"]
    assert model_metadata(network)["vit"] == "vit_l"
    assert VITS["vit_l"] != TINY


@pytest.mark.parametrize("kind", ["compact", "cracksam"])
def test_onnx_gives_the_same_probabilities(kind, compact_file, cracksam_file, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from crackgeo.models.registry import load_model

    path = compact_file if kind == "compact" else cracksam_file
    output = tmp_path / "m.onnx"
    assert run(["models", "export", str(path), "-o", str(output), "-q"]) == 0
    model = load_model(path, "cpu", "fp32")
    side = model.info.tile_px
    tiles = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), np.uint8)
    session = runtime.InferenceSession(output, providers=["CPUExecutionProvider"])
    image = (tiles / 255).astype(np.float32).transpose(0, 3, 1, 2)
    found = session.run(["crack_probability"], {"image": image})[0]
    np.testing.assert_allclose(found[:, 0], model.predict(tiles), atol=1e-3)
    tags = session.get_modelmeta().custom_metadata_map
    assert (tags["model_type"], tags["tiles_size"]) == ('"Segmentor"', str(side))
    item = json.loads(output.with_suffix(".json").read_text())
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 3, side, side]
    assert item["assets"]["model"]["href"] == "./m.onnx"
    parameters = sum(p.numel() for p in model._replicas[0].parameters())
    assert item["properties"]["mlm:total_parameters"] == parameters
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.onnx"]
    assert {value.type for value in session.get_inputs() + session.get_outputs()} == {
        "tensor(float)"
    }


def test_a_model_above_protobufs_2_gb_keeps_its_weights_in_a_second_file(
    compact_file, tmp_path, monkeypatch, capsys
):
    """As that of a ViT-H; every file of it appears under its final name, which the model knows."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("crackgeo.models.export._ONE_FILE_MAX_BYTES", 1000)
    output = tmp_path / "large.onnx"
    assert run(["models", "export", str(compact_file), "-o", str(output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    names = ["large.json", "large.onnx", "large.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert said["weights"] == str(tmp_path / "large.onnx.data")
    assert output.stat().st_size < 500_000 < (tmp_path / "large.onnx.data").stat().st_size
    tensors = onnx.load(output, load_external_data=False).graph.initializer
    places = {entry.value for t in tensors for entry in t.external_data if entry.key == "location"}
    assert places == {"large.onnx.data"}
    session = runtime.InferenceSession(output, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})[0].shape == (
        1, 1, 64, 64
    )  # fmt: skip
    item = json.loads((tmp_path / "large.json").read_text())
    assert item["assets"]["weights"]["href"] == "./large.onnx.data"
    assert run(["models", "export", str(compact_file), "-o", str(output)]) == 2


def test_the_description_follows_the_rules_of_the_mlm_extension(compact_file, tmp_path):
    """Rules of its schema that are easily missed: bands are described, names are of few letters."""
    from crackgeo.models.export import _mlm_name, stac_item

    file = open_model_file(compact_file)
    item = stac_item(file, tmp_path / "m.onnx", None, 7)
    properties = item["properties"]
    assert item["stac_version"] == "1.1.0"
    assert [band["name"] for band in properties["bands"]] == properties["mlm:input"][0]["bands"]
    assert item["assets"]["model"]["bands"] == properties["bands"]
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:output"} <= properties.keys()
    assert [a for a in item["assets"].values() if a["roles"] == ["mlm:model"]]
    name = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]")
    for given in ("compact", "c", "", "2026 walls (wet)", "Brücke-7_", "ab", "Risse"):
        assert name.fullmatch(_mlm_name(given)), given
    assert _mlm_name("compact") == "compact"


def test_export_without_its_packages(compact_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    output = tmp_path / "m.onnx"
    assert run(["models", "export", str(compact_file), "-o", str(output)]) == 2
    assert "crackgeo[export]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
