"""The loop on a network of two numbers: what it learns is the slope 3."""

from dataclasses import replace

import pytest
import torch
from crackgeo_training.finetuning.fit import FitSpec, Job, fit, trained_state
from torch import nn

from crackgeo.errors import Cancelled, ModelError, ResourceError, UsageError
from crackgeo.monitor import Monitor

SPEC = FitSpec(iterations=9, batch=2, epoch=3, workers=0)


class Lines(torch.utils.data.Dataset):
    """Points on y = 3 x."""

    def __getitem__(self, index):
        x = torch.randn(1, generator=torch.Generator().manual_seed(index))
        return x, 3 * x


class Slope(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Linear(1, 1, bias=False)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)
        nn.init.zeros_(self.slope.weight)

    def forward(self, x):
        return self.slope(x) + 0 * self.frozen(x)


def job(loss=None, validate=None, lr=0.05):
    torch.manual_seed(4)
    network = Slope()
    slope = network.slope.weight
    optimizer = torch.optim.Adam([{"params": [slope], "lr": lr, "base_lr": lr}])

    def score():
        return {"score": -abs(float(slope.detach()) - 3)}

    return Job(
        network=network,
        optimizer=optimizer,
        rate=lambda i: 1 - i / 100,
        loss=loss or (lambda x, y: (network(x) - y).square().mean()),
        samples=Lines(),
        before=score(),
        validate=validate or score,
        sheet=lambda path: path.write_bytes(b"sheet"),
    )


def stop_at(iteration):
    done = []
    return Monitor(lambda *_: done.append(1), is_cancelled=lambda: len(done) >= iteration)


def test_an_interrupted_run_ends_with_the_same_weights_bit_for_bit(tmp_path):
    whole = job()
    straight = fit(whole, SPEC, tmp_path / "a", "x")
    for stop in (2, 3):  # within an epoch, and later at its end
        with pytest.raises(Cancelled):
            fit(job(), SPEC, tmp_path / "b", "x", stop_at(stop))
    rest = job()
    resumed = fit(rest, SPEC, tmp_path / "b", "x")
    assert torch.equal(whole.network.slope.weight, rest.network.slope.weight)
    assert straight.best == resumed.best == 9
    ends = [torch.load(tmp_path / f / "checkpoint.pt") for f in "ab"]
    assert torch.equal(ends[0]["trained"]["slope.weight"], ends[1]["trained"]["slope.weight"])
    assert [r["iteration"] for r in resumed.history] == [0, 3, 6, 9]


@pytest.mark.parametrize("epoch", [3, 40])  # at the end of an epoch, and of the run within one
def test_a_run_interrupted_while_it_is_judged_is_judged_again(tmp_path, epoch):
    def interrupted():
        raise KeyboardInterrupt

    spec = replace(SPEC, epoch=epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(job(validate=interrupted), spec, tmp_path / "a", "x")
    resumed = fit(job(), spec, tmp_path / "a", "x")
    straight = fit(job(), spec, tmp_path / "b", "x")
    assert [r["score"] for r in resumed.history] == [r["score"] for r in straight.history]


def moved(device):
    """The job on another device."""
    there = replace(job(), device=torch.device(device))
    there.network.to(there.device)
    return there


@pytest.mark.filterwarnings("ignore:for slope.weight. copying from a non-meta")
def test_what_was_averaged_goes_on_where_the_network_is(tmp_path):
    fit(job(), SPEC, tmp_path, "x")
    resumed = fit(moved("meta"), SPEC, tmp_path, "x")
    assert {value.device.type for value in resumed.last.values()} == {"meta"}


@pytest.mark.gpu
def test_a_run_on_a_card_goes_on(tmp_path):
    with pytest.raises(Cancelled):
        fit(moved("cuda"), SPEC, tmp_path / "parts", "x", stop_at(5))
    resumed = fit(moved("cuda"), SPEC, tmp_path / "parts", "x")
    straight = fit(moved("cuda"), SPEC, tmp_path / "whole", "x")
    torch.testing.assert_close(resumed.last, straight.last)


def test_only_what_learns_is_in_the_checkpoint(tmp_path):
    learning = job()
    frozen = learning.network.frozen.weight.clone()
    fit(learning, SPEC, tmp_path, "x")
    assert torch.equal(learning.network.frozen.weight, frozen)
    assert set(trained_state(learning.network)) == {"slope.weight"}
    assert set(torch.load(tmp_path / "checkpoint.pt")["trained"]) == {"slope.weight"}
    assert len(list((tmp_path / "sheets").iterdir())) == 4
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "iteration,loss,score"
    assert len(rows) == 5
    [board] = (tmp_path / "tensorboard").iterdir()
    assert board.read_bytes().count(b"score") == 4


def test_the_best_weights_win_and_training_ends_when_nothing_gets_better(tmp_path):
    told = iter([0.5, 0.9, 0.7, 0.6, 0.5])
    learning = job(validate=lambda: {"score": next(told)})
    learning.before = {"score": 0.1}
    result = fit(learning, replace(SPEC, iterations=60, patience=2), tmp_path, "x")
    assert (result.best, result.iterations) == (6, 12)
    kept = torch.load(tmp_path / "checkpoint.pt")["best_state"]["slope.weight"]
    assert torch.equal(learning.network.slope.weight, kept)


def test_weights_that_never_get_better_stay_as_they_were(tmp_path):
    learning = job(validate=lambda: {"score": -9.0})
    result = fit(learning, SPEC, tmp_path, "x")
    assert result.best == 0
    assert float(learning.network.slope.weight.detach()) == 0


def test_passes_add_up_to_a_step(tmp_path):
    one, two = job(), job()
    fit(one, replace(SPEC, batch=4), tmp_path / "a", "x")
    fit(two, replace(SPEC, batch=2, accumulate=2), tmp_path / "b", "x")
    torch.testing.assert_close(one.network.slope.weight, two.network.slope.weight)


def test_a_loss_that_is_no_number_loses_nothing(tmp_path):
    calls = []
    learning = job()

    def sick(x, y):
        calls.append(1)
        loss = (learning.network(x) - y).square().mean()
        return loss * float("nan") if len(calls) == 5 else loss

    learning.loss = sick
    with pytest.raises(ModelError, match="loss is nan at iteration 4"):
        fit(learning, SPEC, tmp_path, "x")
    state = torch.load(tmp_path / "checkpoint.pt")
    assert state["iteration"] == 4
    assert state["trained"]["slope.weight"].isfinite().all()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_memory_that_does_not_suffice_loses_nothing(tmp_path, error):
    calls = []
    learning = job()

    def large(x, y):
        calls.append(1)
        if len(calls) == 5:
            raise error("CUDA out of memory")
        return (learning.network(x) - y).square().mean()

    learning.loss = large
    with pytest.raises(ResourceError, match="out of memory while training") as failed:
        fit(learning, SPEC, tmp_path, "x")
    assert "--accumulate" in failed.value.remedy
    assert torch.load(tmp_path / "checkpoint.pt")["iteration"] == 4


def test_other_errors_of_torch_are_not_taken_for_memory(tmp_path):
    learning = job()
    learning.loss = lambda x, y: x @ torch.zeros(99, 99)
    with pytest.raises(RuntimeError, match="shapes"):
        fit(learning, SPEC, tmp_path, "x")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(Cancelled):
        fit(job(), SPEC, tmp_path, "x", stop_at(2))
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half a file")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ResourceError, match=r"checkpoint\.pt"):
        fit(job(), SPEC, tmp_path, "x")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    with pytest.raises(Cancelled):
        fit(job(), SPEC, tmp_path, "x", stop_at(2))
    with pytest.raises(UsageError, match="begun with other data or options"):
        fit(job(), SPEC, tmp_path, "y")
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="not a checkpoint"):
        fit(job(), SPEC, tmp_path, "x")
