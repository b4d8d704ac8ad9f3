"""Between what was and what was learned, on a network of one number and one counter."""

import pytest
import torch
from crackgeo_training.finetuning.blend import SHARES, between, keep_what_pays
from crackgeo_training.finetuning.fit import Fitted, Job
from torch import nn


class Number(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.register_buffer("seen", torch.tensor(7))


def judged(wanted, best, gain=4.0):
    """Blend 0 (start) and 4 (last); training saw `best`, the score falls with the distance."""
    network = Number(best)
    number = network.value

    def validate():
        return {"score": -abs(float(number.detach()) - wanted), "f1_2px": float(number.detach())}

    history = ({"score": -abs(best - wanted), "f1_2px": gain},)
    ends = [{"value": torch.tensor(v), "seen": torch.tensor(n)} for v, n in ((0.0, 1), (4.0, 9))]
    optimizer = torch.optim.SGD(network.parameters())
    job = Job(network, optimizer, lambda i: 1.0, None, None, history[0], validate)
    blend = keep_what_pays(job, ends[0], Fitted(1, 1, history, ends[1]), "f1_2px")
    return float(number.detach()), blend


def test_a_part_of_the_change_is_kept_where_it_validates_better():
    value, blend = judged(wanted=2.1, best=4.0)
    assert value == 2.0
    assert blend.share == 0.5
    assert {share: told["f1_2px"] for share, told in blend.tried.items()} == {
        share: pytest.approx(4 * share) for share in SHARES
    }


def test_the_best_weights_of_training_stay_where_no_part_is_better():
    value, blend = judged(wanted=3.7, best=3.6)
    assert value == pytest.approx(3.6)
    assert blend.share is None
    assert set(blend.tried) == set(SHARES)


def test_no_part_is_tried_where_the_best_gain_cost_nothing():
    value, blend = judged(wanted=2.1, best=4.0, gain=-1.9)
    assert value == 4.0
    assert blend.tried == {}


def test_counters_are_not_mixed():
    start = {"value": torch.tensor([0.0, 2.0]), "seen": torch.tensor(1)}
    end = {"value": torch.tensor([4.0, 2.0]), "seen": torch.tensor(9)}
    mixed = between(start, end, 0.25)
    assert mixed["value"].tolist() == [1.0, 2.0]
    assert int(mixed["seen"]) == 9
