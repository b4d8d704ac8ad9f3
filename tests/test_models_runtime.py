"""Loading and running models, on files made here and on the embedded one."""

import numpy as np
import pytest
import torch
from torch import nn

import crackgeo
from crackgeo.errors import ModelError, ResourceError, UsageError
from crackgeo.models.compact import CompactNet
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.models.registry import load_model
from crackgeo.models.runtime import TorchSegmenter, choose_devices, choose_precision
from crackgeo.models.store import open_model, save_model

INFO = ModelInfo("test", "0" * 64)


class Redness(nn.Module):
    """Logit = red channel of the scaled input; counts what it is given."""

    def __init__(self, most=None):
        super().__init__()
        self.most = most
        self.sizes = []

    def forward(self, x):
        if self.most is not None and len(x) > self.most:
            raise torch.OutOfMemoryError
        self.sizes.append(len(x))
        return x[:, :1]


def segmenter(net, **options):
    return TorchSegmenter(net, INFO, device="cpu", **{"batch_size": 4, **options})


def tiles(count, side=8):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def compact_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "mine.safetensors"
    said = {"architecture": "compact", "name": "mine", "threshold": "0.4", "temperature": "2.0"}
    save_model(path, CompactNet().state_dict(), said)
    return path


@pytest.mark.parametrize(
    ("scaling", "expected"), [("unit", lambda v: v / 255), ("symmetric", lambda v: v / 127.5 - 1)]
)
def test_bytes_are_scaled_and_logits_become_probabilities(scaling, expected):
    images = tiles(3)
    out = segmenter(Redness(), scaling=scaling, temperature=0.5).predict(images)
    np.testing.assert_allclose(out, sigmoid(2 * expected(images[..., 0].astype(float))), atol=1e-6)
    assert out.dtype == np.float32


def test_more_tiles_than_the_batch_run_in_parts():
    net = Redness()
    model = segmenter(net)
    assert model.predict(tiles(10)).shape == (10, 8, 8)
    assert net.sizes == [4, 4, 2]
    assert model.predict(tiles(0)).shape == (0, 8, 8)


def test_out_of_memory_halves_the_batch_and_goes_on():
    images = tiles(10)
    net = Redness(most=1)
    out = segmenter(net).predict(images)
    np.testing.assert_array_equal(out, segmenter(Redness()).predict(images))
    assert net.sizes == [1] * 10


def test_out_of_memory_with_one_tile_is_an_error():
    with pytest.raises(ResourceError, match="single tile"):
        segmenter(Redness(most=0)).predict(tiles(2))


def test_devices_and_precisions_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="toaster"):
        choose_devices("toaster")
    with pytest.raises(ModelError, match="cuda:99"):
        choose_devices("cuda:99")
    with pytest.raises(UsageError, match="fp8"):
        choose_precision("fp8", torch.device("cpu"))
    with pytest.raises(UsageError, match="graphics card"):
        choose_precision("fp16", torch.device("cpu"))
    assert choose_precision("auto", torch.device("cpu")) == "fp32"


def test_a_model_file_says_how_it_wants_to_be_used(compact_file):
    model = load_model(compact_file, device="cpu", batch_size=1)
    assert isinstance(model, Segmenter)
    assert (model.info.name, model.info.threshold, model.info.threshold_low) == ("mine", 0.4, 0.25)
    assert model.info.sha256 == open_model(compact_file).sha256
    assert (model.device, model.precision, model.batch_size) == ("cpu", "fp32", 1)


def test_the_fused_network_gives_what_the_trained_one_gives(compact_file):
    images = tiles(1, side=64)
    torch.manual_seed(0)
    net = CompactNet().eval()
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 127.5 - 1
    with torch.inference_mode():
        expected = (net(x) / 2).sigmoid()[:, 0].numpy()
    out = load_model(compact_file, device="cpu").predict(images)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_the_embedded_model_finds_a_drawn_crack_and_no_plain_ground():
    rng = np.random.default_rng(5)
    ground = np.clip(rng.normal(140, 7, (2, 448, 448, 1)), 0, 255).repeat(3, 3)
    for x in range(60, 400):
        y = int(220 + 30 * np.sin(x / 40) + rng.normal(0, 0.7))
        ground[1, y : y + 5, x] = rng.normal(40, 5)
    plain, crack = crackgeo.load_model("compact", device="cpu").predict(ground.astype(np.uint8))
    assert plain.max() < 0.5
    on_line = [crack[int(220 + 30 * np.sin(x / 40)) + 2, x] for x in range(80, 380)]
    assert np.mean(np.array(on_line) > 0.5) > 0.9


@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "foreign", "unknown", "misfit"])
def test_a_model_that_is_none_is_one_clear_error(compact_file, tmp_path, damage):
    path = tmp_path / "bad.safetensors"
    if damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        path.write_bytes(compact_file.read_bytes()[:-1000])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"w": torch.zeros(1)}, path)
    elif damage == "unknown":
        save_model(path, {"w": torch.zeros(1)}, {"architecture": "nonesuch", "name": "x"})
    elif damage == "misfit":
        save_model(path, {"w": torch.zeros(1)}, {"architecture": "compact", "name": "x"})
    with pytest.raises(ModelError, match="bad.safetensors"):
        load_model(path, device="cpu")


def test_saving_refuses_to_replace_unless_asked(compact_file, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_text("precious")
    with pytest.raises(UsageError):
        save_model(path, {"w": torch.zeros(1)}, {})
    assert path.read_text() == "precious"
