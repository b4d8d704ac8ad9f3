"""`compact` itself: masks, the outline beside them, and how one number says both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crackgeo.models.compact import (
    CompactNet,
    has_outline,
    load_compact,
    restore_compact,
    with_rim,
    without_outline,
)

logits = st.floats(-12, 12, width=32, allow_subnormal=False)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    return CompactNet(outline=True).eval()


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 3, 64, 64)


@given(logits, logits)
@settings(deadline=None)
def test_the_rim_changes_no_side_and_says_the_outline(mask, outline):
    p = with_rim(torch.tensor(mask), torch.tensor(outline)).double().sigmoid().item()
    inside = 1 / (1 + np.exp(-outline))
    expected = 0.5 + inside / 2 if mask > 0 else 1 / (1 + np.exp(-mask))
    assert p == pytest.approx(expected, abs=1e-5)
    assert (p > 0.5) == (mask > 1e-15) or abs(mask) < 1e-15


def test_masks_are_the_same_with_and_without_the_outline(network, image):
    weights = network.state_dict()
    alone = without_outline(weights)
    assert has_outline(weights)
    assert not has_outline(alone)
    plain = restore_compact(alone).eval()
    with torch.inference_mode():
        heads = network.heads(image)
        assert heads.shape == (1, 2, 64, 64)
        assert torch.equal(plain(image), heads[:, :1])
        assert torch.equal(network(image), with_rim(heads[:, :1], heads[:, 1:]))


def test_fusing_changes_nothing_but_the_last_digits(network, image):
    fused = load_compact({k: v.clone() for k, v in network.state_dict().items()})
    with torch.inference_mode():
        assert torch.allclose(fused(image), network(image), atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fused.modules())


def test_the_outline_is_looked_at_where_there_is_a_crack(network):
    network = load_compact({k: v.clone() for k, v in network.state_dict().items()})
    looks: list[int] = []
    network.final.outline.register_forward_hook(lambda *_: looks.append(1))
    images = torch.randn(2, 3, 160, 96)
    for bias, asked in ((-99.0, 0), (99.0, 1)):  # all at once where there is crack everywhere
        looks.clear()
        with torch.inference_mode():
            network.final.head.bias.fill_(bias)
            p = network(images).sigmoid()
        assert len(looks) == asked
        assert bool((p > 0.5).any()) == bool(asked)


def test_looks_at_parts_say_what_a_look_at_all_says(network):
    network = load_compact({k: v.clone() for k, v in network.state_dict().items()})
    images = torch.randn(2, 3, 416, 224)  # squares of 64 px and what is left of them
    with torch.inference_mode():
        mask, outline = network.heads(images).split(1, dim=1)
        level = mask.flatten().sort().values[-9:-7].mean()  # eight pixels of crack
        network.final.head.bias -= level
        looks: list[int] = []
        hook = network.final.outline.register_forward_hook(lambda *_: looks.append(1))
        found = network(images)
        hook.remove()
    assert 0 < len(looks) <= 8
    torch.testing.assert_close(found, with_rim(mask - level, outline), atol=1e-5, rtol=1e-5)


def test_the_outline_is_learned_from_whole_pictures(network, image):
    learning = restore_compact(network.state_dict())
    with torch.no_grad():
        learning.final.head.bias.fill_(99.0)
    learning(image).sum().backward()
    assert learning.final.outline.look.conv.weight.grad.abs().max() > 0


def test_the_outline_costs_little_and_a_tile_less_than_ten_gigaflop():
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        load_compact(CompactNet(outline=True).state_dict()).heads(torch.zeros(1, 3, 448, 448))
    assert flops.get_total_flops() < 10e9
