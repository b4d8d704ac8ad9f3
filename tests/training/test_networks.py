from pathlib import Path

import pytest
import torch
from crackgeo_training.config import load_config
from crackgeo_training.learning.networks import (
    KNOWN,
    NAMES,
    build_network,
    load_network,
    load_pretrained,
)

from crackgeo.errors import UsageError


@pytest.mark.parametrize("name", NAMES)
def test_networks_give_a_logit_for_each_pixel_and_come_back_from_their_weights(name):
    torch.manual_seed(3)
    network = build_network(name)
    images = torch.rand(1, 3, 64, 96) * 2 - 1
    again = load_network(name, network.state_dict())
    with torch.no_grad():
        logits = network.eval()(images)
        assert logits.shape == (1, 1, 64, 96)
        assert torch.allclose(again(images), logits, atol=1e-4)


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks_start_from_the_weights_that_compact_starts_from(name):
    compact, known = build_network("compact"), build_network(name)
    load_pretrained(compact)
    load_pretrained(known)
    first = list(compact.encoder.parameters())
    other = list(known.encoder.parameters())
    assert len(first) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_depthwise_convolutions_stay_out_of_bf16():
    network = build_network("fpn").train()
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(2, 3, 64, 64)).float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.encoder.parameters())


def test_known_networks_run_in_bf16():
    network = load_network("fpn", build_network("fpn").state_dict()).bfloat16()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16))
    assert torch.isfinite(logits).all()


def test_an_unknown_network_is_refused():
    with pytest.raises(UsageError, match="resnet"):
        build_network("resnet")


def test_a_configuration_may_name_a_network(tmp_path):
    source = Path("training/configs/compact.toml").read_text()
    path = tmp_path / "fpn.toml"
    path.write_text(source.replace("[train]\n", '[train]\nnetwork = "fpn"\n'))
    assert load_config(path).train.network == "fpn"
