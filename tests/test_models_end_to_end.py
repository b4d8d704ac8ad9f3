"""A CrackSAM model on the command line, and models for other programs."""

import dataclasses
import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from safetensors.torch import save_file
from test_models_cracksam import TINY, hugging_face, own_delta, tiny

from crackgeo.cli import run
from crackgeo.errors import ModelError, UsageError
from crackgeo.models.checkpoint import model_metadata
from crackgeo.models.compact import CompactNet
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.export import export_onnx
from crackgeo.models.modelfile import open_model_file, read_metadata, read_tensors, save_model
from crackgeo.models.registry import load_model
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
    path = tmp_path_factory.mktemp("model") / "compact.safetensors"
    torch.manual_seed(0)
    tensors = CompactNet().state_dict()
    metadata = {"architecture": "compact", "name": "c", "tile_px": "448", "temperature": "1.5"}
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


def imported(tmp_path, delta_spec, told=None, options=(), sam_names=str):
    """The exit code and the model of `models import` from safetensors files of a tiny network."""
    network = tiny(delta_spec)
    sam = {sam_names(k): v for k, v in network.state_dict().items() if is_sams(k)}
    save_file(sam, tmp_path / "sam.safetensors", {"format": "pt"})
    save_file(own_delta(network), tmp_path / "delta.safetensors", told)
    files = ["--sam", str(tmp_path / "sam.safetensors")]
    files += ["--delta", str(tmp_path / "delta.safetensors"), "-o", str(tmp_path / "m.safetensors")]
    return network, run(["models", "import", *files, *options])


def is_sams(name):
    return ".lora_" not in name and ".adapter." not in name


@pytest.mark.parametrize("spec", [DeltaSpec("qk", 2, 3, 0.7), DeltaSpec("o", 1), DeltaSpec()])
def test_import_from_hugging_faces_file(spec, tmp_path):
    """Its names, a delta of crackgeo's own; the model computes what the network computes."""
    told = {"adapter_scale": repr(spec.adapter_scale)}
    network, code = imported(tmp_path, spec, told, ["-q"], hugging_face)
    assert code == 0
    image = np.random.default_rng(3).integers(0, 256, (1, 448, 448, 3), np.uint8)
    found = load_model(tmp_path / "m.safetensors", "cpu", "fp32").logits(image)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image).permute(0, 3, 1, 2) / 255)[:, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_fine_tuned_delta_keeps_its_calibration_and_scale(tmp_path):
    told = {"adapter_scale": "0.7", "temperature": "1.5", "threshold": "0.4", "name": "other"}
    told |= {"finetuned_from": "cracksam", "architecture": "compact", "tile_px": "64"}
    _, code = imported(tmp_path, DeltaSpec(adapter_dim=3), told, ["-q"])
    assert code == 0
    file = open_model_file(tmp_path / "m.safetensors")
    assert (file.info.threshold, file.temperature, file.info.name) == (0.4, 1.5, "m")
    assert (file.architecture, file.info.tile_px) == ("cracksam", 448)
    assert file.info.metadata["adapter_scale"] == "0.7"
    assert file.info.metadata["finetuned_from"] == "cracksam"


def test_a_scale_that_nobody_says_is_the_papers_and_warned_about(tmp_path, capsys):
    _, code = imported(tmp_path, DeltaSpec(adapter_dim=3))
    assert code == 0
    assert "0.2 is taken" in capsys.readouterr().err
    assert open_model_file(tmp_path / "m.safetensors").info.metadata["adapter_scale"] == "0.2"


def test_a_delta_that_tells_nonsense_is_one_clear_error(tmp_path, capsys):
    told = {"adapter_scale": "a fifth"}
    _, code = imported(tmp_path, DeltaSpec(adapter_dim=3), told, ["-q"])
    assert code == 5
    assert "adapter_scale is 'a fifth'" in capsys.readouterr().err
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["delta.safetensors", "sam.safetensors"]
    _, code = imported(tmp_path, DeltaSpec(adapter_dim=3), told, ["-q", "--scale", "0.5"])
    assert code == 0


def test_an_import_that_fails_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    _, code = imported(tmp_path, DeltaSpec("q", 1), options=["-q"])
    assert code == 4
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["delta.safetensors", "sam.safetensors"]


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
    [found] = session.run(None, {"image": np.zeros((1, 3, 448, 448), np.float32)})
    assert found.shape == (1, 1, 448, 448)
    item = json.loads((tmp_path / "large.json").read_text())
    assert item["assets"]["weights"]["href"] == "./large.onnx.data"
    assert run(["models", "export", str(compact_file), "-o", str(output)]) == 2


def test_an_export_writes_over_no_input(compact_file, tmp_path):
    """A model may be called like the description or the weights that go beside the ONNX file."""
    for name in ("foo.json", "foo.onnx", "foo.onnx.data"):
        model = tmp_path / name
        model.write_bytes(compact_file.read_bytes())
        with pytest.raises(UsageError, match="is an input of this run"):
            export_onnx(model, tmp_path / "foo.onnx", overwrite=True)
        assert model.read_bytes() == compact_file.read_bytes()
        model.unlink()


def test_what_a_killed_export_left_is_removed(compact_file, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    (tmp_path / ".ex.part-abcdefgh").mkdir()
    (tmp_path / ".ex.part-abcdefgh" / "ex.onnx").write_bytes(b"half")
    for left in (".ex.part-01234567.onnx", ".ex.part-01234567.json", ".other.part-1.onnx"):
        (tmp_path / left).touch()
    monkeypatch.setattr("crackgeo.models.export._write", no_number)
    with pytest.raises(ModelError):
        export_onnx(compact_file, tmp_path / "ex.onnx")
    assert [path.name for path in tmp_path.iterdir()] == [".other.part-1.onnx"]


def no_number(*arguments):
    raise ModelError("not written")


@pytest.mark.parametrize("told", [{"temperature": "nan"}, {"normalisation": "foo"}])
def test_a_model_that_cannot_be_used_is_not_exported(compact_file, tmp_path, told):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.safetensors"
    save_file(read_tensors(compact_file), path, read_metadata(compact_file) | told)
    with pytest.raises(ModelError, match=next(iter(told))):
        export_onnx(path, tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


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
