"""The twelve networks of the paper's Table 7.

Whole on torch's meta device, which knows shapes and no numbers; trained and scored with fewer
channels and layers, on tiles of 128 px, by the code that runs the table.
"""

from functools import partial

import pytest
import torch
from crackgeo_training import paper
from crackgeo_training.finetuning import jobs, paper_data
from crackgeo_training.finetuning.bases import start_peer
from crackgeo_training.learning.peers import IMAGENET_MEAN, PEERS, build_peer
from crackgeo_training.paper_tables import Row, Table, load_paper
from crackgeo_training.scoring import evaluate, sheets
from crackgeo_training.scoring.predict_images import predict_images
from pictures import write_folder
from torch import nn

from crackgeo.errors import Cancelled, UsageError
from crackgeo.monitor import SILENT, Monitor
from crackgeo.specs import TileSpec

TILE = TileSpec(128, 32)
PUBLISHED_MILLIONS = {"mobilenet-v3": 3.3, "segformer-b5": 82, "hrnet-w18": 9.6}
_SWIN = {"channels": 8, "img_size": 128, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
_SWIN["drop_path_rate"] = 0.0  # nothing of so small a network stays out by chance
SMALL = {
    "vgg-unet": {"encoder": "vgg11", "decoder_channels": (8, 8, 8, 8, 8)},
    "swin-t-upernet": {**_SWIN, "embed_dim": 16},
    "swin-b-upernet": {**_SWIN, "embed_dim": 24},
    "mobilenet-v3": {},
    "unet-fcn": {"widths": (4, 8, 8, 8, 16)},
    "unet-pspnet": {"widths": (16, 8, 8, 8, 16)},
    "deeplabv3plus-r50": {"encoder": "resnet18", "channels": 8},
    "deeplabv3plus-r101": {"encoder": "resnet34", "channels": 8},
    "pspnet-r101": {"encoder": "resnet18", "channels": 8},
    "vit-upernet": {"encoder": "vit_tiny_patch16_224", "channels": 8, "img_size": 128},
    "segformer-b5": {"encoder": "mit_b0", "channels": 8},
    "hrnet-w18": {"encoder": "hrnet_w18_small"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return write_folder(folder, per_set=1, splits=("train", "val", "test"))


@pytest.mark.parametrize("name", PEERS)
def test_the_whole_network_gives_a_logit_for_each_pixel(name):
    with torch.device("cpu" if name == "segformer-b5" else "meta"):  # its build reads a number
        network = build_peer(name).to("meta")
    images = torch.empty(2, 3, 448, 448, device="meta")
    assert network.class_logits(images).shape == (2, 2, 448, 448)
    assert network(images).shape == (2, 1, 448, 448)
    if name in PUBLISHED_MILLIONS:
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        assert millions == pytest.approx(PUBLISHED_MILLIONS[name], rel=0.03)


@pytest.fixture
def small(monkeypatch):
    """Tiles of 128 px, networks of `SMALL`, and samples without a process of their own."""
    monkeypatch.setattr(paper_data, "TILE_PX", TILE.size_px)
    for module in (evaluate, sheets):
        monkeypatch.setattr(module, "predict_images", partial(predict_images, spec=TILE))

    def base(row, pretrained):
        return start_peer(row.peer, pretrained, TILE.size_px, **SMALL[row.peer])

    monkeypatch.setattr(paper, "row_base", base)
    monkeypatch.setattr(jobs, "FitSpec", partial(jobs.FitSpec, workers=0))


def run(name, data, folder, iterations=1, monitor=SILENT):
    row = Row(name, peer=name)
    spec = paper.row_spec(load_paper(), row, 6, iterations=iterations, batch=2, precision="fp32")
    sources = paper.read_sources(data)
    table = Table("Model", (row,))
    return paper.run_row(row, table, sources, spec, folder, "cpu", monitor=monitor)


@pytest.mark.parametrize("name", PEERS)
def test_it_learns_a_step_and_is_scored(name, small, data, tmp_path):
    result = run(name, data, tmp_path)
    assert 0 <= result.scores["test"]["iou"] <= 1
    assert result.parameters == result.tunable > 1000
    trained = torch.load(tmp_path / "checkpoint.pt")["trained"]
    torch.manual_seed(1)
    fresh = start_peer(name, False, TILE.size_px, **SMALL[name]).network
    still = [n for n, p in fresh.named_parameters() if torch.equal(trained[n], p)]
    assert not still  # every parameter has a part in the loss


def test_chance_within_a_network_goes_on_as_it_would_have(small, data, tmp_path):
    name = "segformer-b5"  # leaves out whole blocks by chance
    run(name, data, tmp_path / "whole", iterations=2)
    steps = []
    stop = Monitor(
        lambda stage, *_: steps.append(1) if stage == "finetune" else None,
        is_cancelled=lambda: len(steps) >= 1,
    )
    with pytest.raises(Cancelled):
        run(name, data, tmp_path / "parts", iterations=2, monitor=stop)
    run(name, data, tmp_path / "parts", iterations=2)
    whole, parts = (torch.load(tmp_path / n / "checkpoint.pt") for n in ("whole", "parts"))
    assert whole["iteration"] == parts["iteration"] == 2
    assert all(torch.equal(t, parts["trained"][n]) for n, t in whole["trained"].items())


def test_pixels_are_scaled_as_imagenet_was():
    class Body(nn.Module):
        def forward(self, x):
            self.seen = x
            return torch.stack([x[:, 0], 3 + x[:, 0]], dim=1)[..., ::2, ::2]

    network = build_peer("mobilenet-v3")
    network.body = Body()
    images = torch.tensor(IMAGENET_MEAN)[None, :, None, None].expand(1, 3, 8, 8)
    logits = network(images)
    assert network.body.seen.abs().max() < 1e-6
    assert logits.shape == (1, 1, 8, 8)
    torch.testing.assert_close(logits, torch.full_like(logits, 3.0))


def test_names_that_mean_nothing():
    with pytest.raises(UsageError, match="segformer-b5"):
        build_peer("segformer-b9")
    with pytest.raises(UsageError, match="no ImageNet weights"):
        build_peer("unet-fcn", pretrained=True)
