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


def test_without_a_crack_the_look_at_the_outline_is_spared(network, image):
    network = load_compact({k: v.clone() for k, v in network.state_dict().items()})
    network.final.outline.register_forward_hook(lambda *_: looks.append(1))
    looks: list[int] = []
    for bias, asked in ((-99.0, 0), (99.0, 1)):
        with torch.inference_mode():
            network.final.head.bias.fill_(bias)
            p = network(image).sigmoid()
        assert len(looks) == asked
        assert bool((p > 0.5).any()) == bool(asked)


def test_the_outline_costs_little_and_a_tile_less_than_ten_gigaflop():
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        load_compact(CompactNet(outline=True).state_dict()).heads(torch.zeros(1, 3, 448, 448))
    assert flops.get_total_flops() < 10e9
