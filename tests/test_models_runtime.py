"""Model files, devices, precision, and the running of batches."""

import json
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from crackgeo.errors import InputError, ModelError, ResourceError, UsageError
from crackgeo.models import devices, registry
from crackgeo.models.compact import CompactNet
from crackgeo.models.modelfile import open_model_file, save_model
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.models.registry import load_model
from crackgeo.models.runtime import Scaling, TorchSegmenter, fitting_batch

PLAIN = Scaling(1 / 255, 0.0)


@pytest.fixture(scope="module")
def compact_network():
    torch.manual_seed(3)
    network = CompactNet()
    for module in network.modules():  # as after training: statistics that differ from the start
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture(scope="module")
def compact_file(compact_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    metadata = {
        "architecture": "compact",
        "name": "compact",
        "threshold": "0.6",
        "threshold_low": "0.2",
        "min_length_px": "17",
        "width_error_px": "0.4",
        "temperature": "2.0",
        "tile_px": "448",
        "licence": "GPL-2.0-or-later",
    }
    save_model(path, compact_network.state_dict(), metadata)
    return path


class Mean(nn.Module):
    """The mean of the channels as logit; refuses batches above `limit`."""

    def __init__(self, limit=10**9, error=torch.OutOfMemoryError):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.limit = limit
        self.error = error
        self.batches = []

    def forward(self, x):
        if len(x) > self.limit:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        self.batches.append(len(x))
        return self.gain * x.mean(1, keepdim=True)


def segmenter(network=None, scaling=PLAIN, tile_px=4, **options):
    info = ModelInfo("mean", "0" * 64, tile_px=tile_px)
    options = {"device": "cpu", "precision": "fp32", **options}
    return TorchSegmenter(network or Mean(), info, scaling, **options)


def tiles(n, side=4):
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), np.uint8)


def test_registry_is_imported_without_torch():
    code = "import sys, crackgeo.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_info_comes_from_the_file(compact_file):
    model = load_model(compact_file, device="cpu")
    assert isinstance(model, Segmenter)
    info = model.info
    assert (info.name, info.threshold, info.threshold_low) == ("compact", 0.6, 0.2)
    assert (info.min_length_px, info.width_error_px, info.tile_px) == (17.0, 0.4, 448)
    assert info.metadata["licence"] == "GPL-2.0-or-later"
    digest = subprocess.run(["sha256sum", compact_file], capture_output=True, text=True).stdout
    assert info.sha256 == digest.split()[0]


def test_compact_equals_the_network_before_fusing(compact_file, compact_network):
    image = tiles(2, 448)
    x = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected = compact_network(x)[:, 0].numpy()
    model = load_model(compact_file, device="cpu", precision="fp32")
    np.testing.assert_allclose(model.logits(image), expected, atol=1e-4)
    # the file's temperature is 2
    np.testing.assert_allclose(model.predict(image), 1 / (1 + np.exp(-expected / 2)), atol=1e-4)


def test_half_precision_storage_is_computed_in_fp32(compact_network, tmp_path):
    path = tmp_path / "half.safetensors"
    halves = {
        k: v.half() if v.is_floating_point() else v for k, v in compact_network.state_dict().items()
    }
    save_model(path, halves, {"architecture": "compact", "name": "half"})
    result = load_model(path, device="cpu", precision="fp32").predict(tiles(2, 448))
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_normalisation_and_temperature_by_hand():
    model = segmenter(scaling=Scaling(1 / 127.5, -1.0, temperature=4.0))
    image = np.full((1, 4, 4, 3), 255, np.uint8)
    np.testing.assert_allclose(model.logits(image), 1.0, rtol=1e-6)
    np.testing.assert_allclose(model.predict(image), 1 / (1 + np.exp(-0.25)), rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 5, 7])
def test_every_batch_size_gives_the_same(n):
    expected = tiles(n).mean(-1) / 255
    for batch in (1, 2, 3, 8):
        result = segmenter(batch_size=batch).logits(tiles(n))
        np.testing.assert_allclose(result, expected, rtol=1e-5)
        assert result.shape == (n, 4, 4)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_out_of_memory_halves_the_batch_and_goes_on(error):
    network = Mean(limit=3, error=error)
    model = segmenter(network, batch_size=16)
    np.testing.assert_allclose(model.logits(tiles(9)), tiles(9).mean(-1) / 255, rtol=1e-5)
    # 9 and 4 fail, 2 fits and stays
    assert network.batches == [2, 2, 2, 2, 1]
    assert model.batch_size == 2


def test_out_of_memory_with_one_tile_is_told():
    with pytest.raises(ResourceError, match="one tile at a time") as caught:
        segmenter(Mean(limit=0), batch_size=2).predict(tiles(2))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("text", ["CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory"])
def test_lack_of_memory_in_other_words(text):
    class Full(Mean):
        def forward(self, x):
            if len(x) > 1:
                raise RuntimeError(text)
            return super().forward(x)

    np.testing.assert_allclose(
        segmenter(Full(), batch_size=4).logits(tiles(3)), tiles(3).mean(-1) / 255, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("precision", "remedy"), [("fp32", "models verify"), ("bf16", "--precision fp32")]
)
def test_results_that_are_no_numbers_are_told(precision, remedy):
    class Overflow(Mean):
        def forward(self, x):
            return super().forward(x) * torch.inf * 0

    with pytest.raises(ModelError, match=f"in {precision} are no numbers") as caught:
        segmenter(Overflow(), precision=precision).predict(tiles(1))
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == 5


def test_pixels_are_scaled_before_they_are_rounded_to_low_precision():
    """In bf16 a sum of two roundings would be off by half a grey level and more."""
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 1, 16, 3).repeat(16, axis=1)
    network = nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, 0.0, 0.0])[None, :, None, None])
    model = segmenter(network, Scaling(1 / 127.5, -1.0), tile_px=16, precision="bf16")
    exact = torch.from_numpy(image[..., 0].astype(np.float32)) * (1 / 127.5) - 1
    assert np.array_equal(model.logits(image), exact.bfloat16().float().numpy())


def test_other_errors_are_not_taken_for_lack_of_memory():
    class Broken(Mean):
        def forward(self, x):
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        segmenter(Broken()).predict(tiles(1))


def test_several_devices_split_the_tiles(monkeypatch):
    two = (torch.device("cpu"), torch.device("cpu"))
    monkeypatch.setattr("crackgeo.models.runtime.resolve_devices", lambda name: two)
    model = segmenter(batch_size=2)
    assert model.batch_size == 4
    assert model._replicas[0] is not model._replicas[1]
    np.testing.assert_allclose(model.logits(tiles(7)), tiles(7).mean(-1) / 255, rtol=1e-5)
    assert [sum(r.batches) for r in model._replicas] == [4, 3]


def test_the_smallest_of_several_cards_sets_the_batch(monkeypatch):
    model = segmenter()
    model.devices = (torch.device("cuda", 0), torch.device("cuda", 1))
    monkeypatch.setattr(model, "_card_bytes_per_tile", lambda: 1000)
    free = {0: 100_000, 1: 20_000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index], 10**6))
    assert model._choose_chunk() == 8


def test_fp32_is_exact_on_all_devices_at_once(monkeypatch):
    """cuDNN's switch is the process's: a thread that is done must not turn TF32 on for others."""
    seen = []

    class Watching(Mean):
        def forward(self, x):
            seen.append(torch.backends.cudnn.allow_tf32)
            return super().forward(x)

    two = (torch.device("cpu"), torch.device("cpu"))
    monkeypatch.setattr("crackgeo.models.runtime.resolve_devices", lambda name: two)
    before = torch.backends.cudnn.allow_tf32
    model = segmenter(Watching(), batch_size=1)
    model.devices = (torch.device("cuda", 0), torch.device("cuda", 1))  # the networks stay here
    model.predict(tiles(8))
    assert seen == [False] * 8
    assert torch.backends.cudnn.allow_tf32 == before


def test_bf16_is_close_to_fp32(compact_file):
    image = tiles(2, 448)
    reference = load_model(compact_file, "cpu", "fp32").predict(image)
    lower = load_model(compact_file, "cpu", "bf16")
    assert (lower.precision, lower.device) == ("bf16", "cpu")
    assert np.abs(lower.predict(image) - reference).mean() < 0.01


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 5, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 4), np.uint8),
    ],
)
def test_wrong_tiles_are_refused(images):
    with pytest.raises(InputError, match=r"not uint8"):
        segmenter().predict(images)


@pytest.fixture
def threads():
    """Four threads of torch, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 3])
def test_several_batches_at_once_give_what_each_gives(threads, compact_network, size):
    model = segmenter(compact_network, tile_px=64, batch_size=size)
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (size, 64, 64, 3), np.uint8) for _ in range(11)]
    taken = []

    def give():
        for number, batch in enumerate(batches):
            taken.append(number)
            yield batch

    results = model.predict_each(give())
    first = next(results)
    assert len(taken) == threads + 1  # no more are asked for than can run, and one
    found = [first, *results]
    # another number of threads may sum in another order, but the same number never does
    np.testing.assert_allclose(found, [model.predict(b) for b in batches], atol=1e-6)
    np.testing.assert_array_equal(found, list(model.predict_each(batches)))
    assert torch.get_num_threads() == threads


def test_several_batches_at_once_run_in_threads_with_their_share_of_the_cores(threads):
    seen = []

    class Looking(Mean):
        def forward(self, x):
            seen.append((threading.current_thread().name, torch.get_num_threads()))
            return super().forward(x)

    list(segmenter(Looking(), batch_size=1).predict_each([tiles(1)] * 20))
    assert {name.rsplit("_", 1)[0] for name, _ in seen} == {"tiles"}
    assert {share for _, share in seen} == {1}


def test_a_large_network_gets_all_cores_for_one_batch(threads, monkeypatch):
    monkeypatch.setattr("crackgeo.models.runtime.STREAMED_PARAMETERS_MAX", 0)
    asked = []
    batches = (asked.append(i) or tiles(1) for i in range(3))
    results = segmenter(batch_size=1).predict_each(batches)
    next(results)
    assert asked == [0]


def test_a_card_has_the_next_batch_while_results_are_taken(threads):
    """Whoever takes a result finds the next batch asked for and being run, and only that one."""
    started = [threading.Event() for _ in range(4)]

    class Noting(Mean):
        def forward(self, x):
            started[len(self.batches)].set()
            return super().forward(x)

    model = segmenter(Noting(), batch_size=1)
    model.devices = (torch.device("cuda", 0),)  # the network stays here
    asked = []
    results = model.predict_each(asked.append(i) or tiles(1) for i in range(4))
    next(results)
    assert asked == [0, 1]
    assert started[1].wait(20)
    assert not started[2].is_set()
    assert len(list(results)) == 3


def test_several_batches_at_once_end_early(threads):
    model = segmenter(Mean(limit=0), batch_size=1)
    with pytest.raises(ResourceError, match="one tile at a time"):
        list(model.predict_each([tiles(1)] * 9))
    results = segmenter(batch_size=1).predict_each([tiles(1)] * 9)
    next(results)
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("tiles")]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("free", "each", "batch"),
    [(10_000, 1000, 4), (10_000, 10_000, 1), (1, 10, 1), (10**9, 1, 64), (27_000, 1000, 16)],
)
def test_a_batch_that_fits_the_card(free, each, batch):
    assert fitting_batch(free, each) == batch


def test_read_only_tiles_are_taken_as_they_are():
    images = tiles(2)
    images.flags.writeable = False
    np.testing.assert_allclose(segmenter().logits(images), images.mean(-1) / 255, rtol=1e-5)


def test_devices():
    assert devices.resolve_devices("cpu") == (torch.device("cpu"),)
    for name in ("gpu", "cuda:x", "cuda:-1", ""):
        with pytest.raises(UsageError, match="unknown"):
            devices.resolve_devices(name)


def test_devices_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    both = (torch.device("cuda", 0), torch.device("cuda", 1))
    assert devices.resolve_devices("auto") == both
    assert devices.resolve_devices("cuda") == both
    assert devices.resolve_devices("cuda:1") == both[1:]
    with pytest.raises(UsageError, match="there are 2"):
        devices.resolve_devices("cuda:2")


def test_no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.resolve_devices("auto") == (torch.device("cpu"),)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UsageError, match=name):
            devices.resolve_devices(name)


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((9, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)],
)
def test_precision_of_cards(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.resolve_precision("auto", torch.device("cuda", 0)) == dtype


def test_precision_of_unlike_cards_is_one_that_all_have(monkeypatch):
    capability = {0: (9, 0), 1: (7, 5), 2: (6, 1)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d: capability[d.index])
    cards = [torch.device("cuda", i) for i in range(3)]
    assert devices.resolve_precision("auto", *cards[:2]) == torch.float16
    assert devices.resolve_precision("auto", *cards) == torch.float32


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_precision_of_processors(monkeypatch, native, dtype):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: native)
    assert devices.resolve_precision("auto", torch.device("cpu")) == dtype


def test_precision_that_is_not_there():
    for name in ("fp16", "int8"):
        with pytest.raises(UsageError, match=name):
            devices.resolve_precision(name, torch.device("cpu"))


def test_unknown_names_and_missing_files(tmp_path):
    with pytest.raises(ModelError, match="unknown model") as caught:
        load_model("cracksam-vit-x")
    assert caught.value.exit_code == 5
    assert "models list" in caught.value.remedy
    for path in (tmp_path / "no.safetensors", "no.safetensors", "./no"):
        with pytest.raises(ModelError, match="no such model file"):
            load_model(path)
    with pytest.raises(ModelError, match="a folder, not a model file"):
        load_model(tmp_path)


def test_the_name_compact_is_the_embedded_file(monkeypatch, compact_file):
    monkeypatch.setattr(registry, "EMBEDDED", compact_file)
    assert load_model("compact", device="cpu").info.threshold == 0.6


def test_bad_options_come_before_reading(compact_file):
    for options in ({"batch_size": 0}, {"precision": "fp8"}, {"device": "tpu"}):
        with pytest.raises(UsageError):
            load_model(compact_file, **{"device": "cpu", **options})


@pytest.mark.parametrize("size", [0, 4, 60, 5000, -1])
def test_truncated_files(compact_file, tmp_path, size):
    whole = compact_file.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: len(whole) + size if size < 0 else size])
    with pytest.raises(ModelError, match=r"truncated or damaged|not a safetensors") as caught:
        load_model(path, device="cpu")
    assert caught.value.remedy


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "picture.safetensors"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(path, device="cpu")


def raw_safetensors(path, metadata):
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


GOOD = {"format": "crackgeo-model", "format_version": "1", "architecture": "compact", "name": "x"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pt"}, "not a crackgeo model"),
        ({"format_version": "2"}, "model format '2'"),
        ({"architecture": "unet"}, "unknown architecture 'unet'"),
        ({"threshold": "high"}, "threshold is 'high'"),
        ({"temperature": "0"}, "temperature 0.0 is not positive"),
        ({"temperature": "warm"}, "temperature is 'warm'"),
        ({"tile_px": "512"}, "is for tiles of 512 px, crackgeo cuts tiles of 448 px"),
        ({"tile_px": "nan"}, "is for tiles of nan px"),
        ({"normalisation": "imagenet"}, "unknown normalisation"),
        ({}, "do not make a compact network"),
    ],
)
def test_wrong_metadata_and_tensors(tmp_path, change, message):
    path = raw_safetensors(tmp_path / "m.safetensors", GOOD | change)
    with pytest.raises(ModelError, match=message):
        load_model(path, device="cpu")


def test_a_tensor_of_another_shape(compact_network, tmp_path):
    tensors = dict(compact_network.state_dict())
    tensors["final.head.weight"] = torch.zeros(2, 16, 1, 1)
    path = tmp_path / "m.safetensors"
    save_model(path, tensors, {"architecture": "compact", "name": "m"})
    with pytest.raises(ModelError, match=r"final\.head\.weight"):
        load_model(path, device="cpu")


def test_saving_refuses_what_would_not_load(tmp_path):
    path = tmp_path / "m.safetensors"
    for metadata in ({}, {"architecture": "unet", "name": "m"}, {"architecture": "compact"}):
        with pytest.raises(ModelError, match="architecture and a name"):
            save_model(path, {}, metadata)
    assert not path.exists()


def test_saving_keeps_an_existing_file(compact_file, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        save_model(path, {"a": torch.zeros(1)}, GOOD)
    assert path.read_bytes() == b"mine"
    save_model(path, {"a": torch.zeros(1)}, GOOD, overwrite=True)
    assert open_model_file(path).architecture == "compact"
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
