"""The loop on a real but tiny run: three steps of two small crops."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from crackgeo_training.config import load_config
from crackgeo_training.learning import watch
from crackgeo_training.learning.averaging import mean_weights
from crackgeo_training.learning.checkpoints import read_state
from crackgeo_training.learning.losses import crack_loss
from crackgeo_training.learning.networks import build_network
from crackgeo_training.learning.train import rate_factor, train

from crackgeo.errors import Cancelled, ModelError, ResourceError, UsageError
from crackgeo.models.compact import CompactNet, without_outline
from crackgeo.models.modelfile import read_tensors
from crackgeo.models.registry import find_model
from crackgeo.monitor import Monitor

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"


@pytest.fixture(scope="module")
def config():
    full = load_config(CONFIG)
    return replace(
        full,
        data=replace(
            full.data,
            set_weight={"thin": 1.0, "wide": 1.0},
            loose_px={"wide": 1.0},
            procedural_share=0.0,
            extra_manifests=(),
            hold_out_sets=(),
        ),
        augment=replace(full.augment, crop_px=32),
        train=replace(
            full.train,
            iterations=3,
            batch=2,
            warmup=2,
            checkpoint_every=2,
            look_every=0,
            precision="fp32",
        ),
    )


def stop_at(iteration):
    """A monitor that asks to stop as soon as an iteration is reached."""
    done = []
    return Monitor(
        lambda stage, i, total: done.append(i), is_cancelled=lambda: len(done) >= iteration
    )


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_gives_the_same_weights_bit_for_bit(data, config, tmp_path):
    whole = torch.load(train(config, data, tmp_path / "whole", lambda _: None))
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "parts", lambda _: None, stop_at(2))
    part = torch.load(tmp_path / "parts" / "checkpoint.pt")
    assert part["iteration"] == 2
    assert not same(part["net"], whole["net"])
    resumed = torch.load(train(config, data, tmp_path / "parts", lambda _: None))
    assert resumed["iteration"] == whole["iteration"] == 3
    assert same(resumed["net"], whole["net"])
    assert same(resumed["ema"], whole["ema"])
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows] == [2]
    CompactNet().load_state_dict(whole["ema"])


def test_a_network_with_chance_of_its_own_goes_on_bit_for_bit(data, config, tmp_path):
    looked = replace(config.train, network="fpn", look_every=1, look_pictures=1)
    known = replace(config, train=looked)
    unseen = replace(config, train=replace(looked, look_every=0))
    whole = torch.load(train(unseen, data, tmp_path / "whole", lambda _: None))
    for _ in range(2):
        with pytest.raises(Cancelled):
            train(known, data, tmp_path / "parts", lambda _: None, stop_at(1))
    resumed = torch.load(train(known, data, tmp_path / "parts", lambda _: None))
    assert same(resumed["net"], whole["net"])


def test_a_checkpoint_without_the_state_of_chance_goes_on(data, config, tmp_path):
    whole = torch.load(train(config, data, tmp_path / "whole", lambda _: None))
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "parts", lambda _: None, stop_at(2))
    path = tmp_path / "parts" / "checkpoint.pt"
    torch.save({k: v for k, v in torch.load(path).items() if k != "random"}, path)
    resumed = torch.load(train(config, data, tmp_path / "parts", lambda _: None))
    assert same(resumed["net"], whole["net"])


def test_rates_of_the_configuration_count_when_a_run_goes_on(data, config, tmp_path):
    with pytest.raises(Cancelled):
        train(config, data, tmp_path, lambda _: None, stop_at(2))
    before = torch.load(tmp_path / "checkpoint.pt")["net"]
    still = replace(config.train, encoder_lr=0.0, decoder_lr=0.0, weight_decay=0.0)
    end = torch.load(train(replace(config, train=still), data, tmp_path, lambda _: None))
    assert end["iteration"] == 3
    learning = [name for name, _ in CompactNet().named_parameters()]
    assert all(torch.equal(end["net"][name], before[name]) for name in learning)


def test_a_run_does_not_go_on_as_another_network(data, config, tmp_path):
    train(config, data, tmp_path, lambda _: None)
    other = replace(config, train=replace(config.train, learn="outline"))
    with pytest.raises(UsageError, match="begun with another network") as told:
        train(other, data, tmp_path, lambda _: None)
    assert "another folder" in told.value.remedy


def test_a_run_does_not_go_on_with_the_samples_of_another_seed(data, config, tmp_path):
    train(config, data, tmp_path, lambda _: None)
    other = replace(config, train=replace(config.train, seed=config.train.seed + 1))
    with pytest.raises(UsageError, match=f"begun with seed {config.train.seed}, not") as told:
        train(other, data, tmp_path, lambda _: None)
    assert f"--seed {config.train.seed}" in str(told.value.remedy)


def test_low_precision_trains_nearly_the_same_network(data, config, tmp_path):
    short = replace(config, train=replace(config.train, iterations=1, warmup=1))
    half = replace(short, train=replace(short.train, precision="bf16"))
    exact = torch.load(train(short, data, tmp_path / "exact", lambda _: None))["net"]
    near = torch.load(train(half, data, tmp_path / "near", lambda _: None))["net"]
    assert not same(near, exact)
    assert all(v.dtype == exact[name].dtype for name, v in near.items())
    head = "final.head.weight"
    assert torch.allclose(near[head], exact[head], atol=2 * config.train.decoder_lr)


def test_rates_warm_up_stay_level_and_fall_to_nothing(config):
    whole = replace(config.train, iterations=1000, warmup=10, decay_share=0.3)
    assert rate_factor(whole, 0) == pytest.approx(0.1)
    assert rate_factor(whole, 10) == rate_factor(whole, 699) == 1.0
    assert rate_factor(whole, 850) == pytest.approx(0.5)
    assert rate_factor(whole, 1000) == 0.0
    longer = replace(whole, iterations=2000)
    assert all(rate_factor(longer, i) == rate_factor(whole, i) for i in range(700))
    cosine = replace(whole, decay_share=None)
    assert rate_factor(cosine, 500) == pytest.approx(0.5)


def test_a_run_is_looked_at_with_scores_curves_and_a_sheet(data, config, tmp_path):
    looked = replace(
        config,
        train=replace(config.train, checkpoint_every=1, look_every=2, look_pictures=1),
    )
    said = []
    state = torch.load(train(looked, data, tmp_path, said.append))
    assert sum("clIoU@4" in line for line in said) == 1
    rows = (tmp_path / "val.csv").read_text().splitlines()
    assert rows[0] == "iteration,set,iou,f1_2px,cliou_4px"
    assert {row.split(",")[0] for row in rows[1:]} == {"2"}
    assert cv2.imread(str(tmp_path / "sheets" / "000002.png")).shape[1] > 1000
    assert cv2.imread(str(tmp_path / "curves.png")) is not None
    unseen = torch.load(train(config, data, tmp_path / "unseen", lambda _: None))
    assert same(state["net"], unseen["net"])  # to look changes nothing


@pytest.mark.parametrize("sets", [("thin",), ("thin", "wide", "all")])
def test_curves_are_of_all_pictures_together(tmp_path, monkeypatch, sets):
    drawn = []
    plain = watch._curve

    def curve(axes, rows, place, label):
        drawn.append([(row[0], row[place]) for row in rows])
        plain(axes, rows, place, label)

    monkeypatch.setattr(watch, "_curve", curve)
    (tmp_path / "log.csv").write_text("2,0.5,9\n4,0.4,9\n")
    rows = ["iteration,set,iou,f1_2px,cliou_4px"]
    for iteration in (2, 4):
        rows += [f"{iteration},{name},0.{i},0.{i},0.{i}" for i, name in enumerate(sets, 1)]
    (tmp_path / "val.csv").write_text("\n".join(rows))
    watch.write_curves(tmp_path)
    assert drawn == [[("2", f"0.{len(sets)}"), ("4", f"0.{len(sets)}")]] * 3


def test_memory_that_does_not_suffice_is_said(data, config, tmp_path, monkeypatch):
    def large(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("crackgeo_training.learning.train.crack_loss", large)
    with pytest.raises(ResourceError, match="out of memory while training") as failed:
        train(config, data, tmp_path, lambda _: None)
    assert "smaller batch" in failed.value.remedy
    assert torch.load(tmp_path / "checkpoint.pt")["iteration"] == 0


def test_a_loss_that_is_no_number_stops_and_keeps_the_weights(data, config, tmp_path, monkeypatch):
    calls = []

    def sick(logits, label, *rest):
        calls.append(1)
        loss = crack_loss(logits, label, *rest)
        return loss * float("nan") if len(calls) == 2 else loss

    monkeypatch.setattr("crackgeo_training.learning.train.crack_loss", sick)
    with pytest.raises(ModelError, match="loss is nan at iteration 1"):
        train(config, data, tmp_path, lambda _: None)
    state = torch.load(tmp_path / "checkpoint.pt")
    assert state["iteration"] == 1
    assert all(v.isfinite().all() for v in state["ema"].values())


def test_a_folder_that_cannot_be_made_is_a_resource_error(data, config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="run: cannot be written"):
        train(config, data, tmp_path / "file" / "run", lambda _: None)


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_leaves_the_last_checkpoint(data, config, tmp_path):
    import resource

    with pytest.raises(Cancelled):
        train(config, data, tmp_path, lambda _: None, stop_at(2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, usual[1]))
    try:
        with pytest.raises(ResourceError, match=r"checkpoint\.pt: could not be written"):
            train(config, data, tmp_path, lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "log.csv"}


def test_loss_is_small_when_right_and_ignores_what_is_not_learned_from():
    label = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    label[..., 3, :] = 1
    right = torch.where(label == 1, 12.0, -12.0)
    assert crack_loss(right, label, 1.0) < 1e-3 < 1 < crack_loss(-right, label, 1.0)
    wrong = right.clone()
    wrong[..., 5, :] = 12.0
    assert crack_loss(wrong, label, 1.0) > 0.3
    label[..., 5, :] = 255
    assert crack_loss(wrong, label, 1.0) < 1e-3


def test_the_iou_of_each_crop_counts_alike():
    label = torch.zeros(3, 1, 16, 16, dtype=torch.uint8)
    label[0, :, 4:12] = 1  # a wide crack
    label[1, :, 4] = 1  # a hairline
    right = torch.where(label == 1, 20.0, -20.0)
    logits = right.clone()
    logits[1] = -20.0

    def jaccard(logits, label, empty_iou_px=0.0):
        loss = crack_loss(logits, label, 0.0, 0.0, 1.0, empty_iou_px)
        return float(loss - crack_loss(logits, label, 0.0))

    assert jaccard(right, label) == pytest.approx(0, abs=1e-5)
    # of two crops with a crack one is missed: (1 + 0) of its 16 + 1 px, the sum being smoothed by 1
    assert jaccard(logits, label) == pytest.approx((1 - 1 / 17) / 2, abs=1e-4)
    assert jaccard(logits[2:], label[2:]) == 0  # no crack, nothing to cover
    invented = logits[2:].clone()
    invented[..., 0, :] = 20.0
    assert jaccard(invented, label[2:]) == pytest.approx(0, abs=1e-5)
    # with 16 px above and below, 16 invented ones leave a half, and the first crop stays whole
    assert jaccard(invented, label[2:], 16.0) == pytest.approx(1 / 2, abs=1e-4)
    assert jaccard(right, label, 16.0) == pytest.approx(0, abs=1e-5)
    assert jaccard(logits, label, 16.0) == pytest.approx((1 - 16 / 32) / 3, abs=1e-4)
    label[1, :, 4] = 255
    assert jaccard(logits, label) == pytest.approx(0, abs=1e-5)


def test_norms_are_kept_where_that_is_asked_for(data, config, tmp_path):
    start = train(config, data, tmp_path / "start", lambda _: None)
    kept = replace(config, train=replace(config.train, keep_norms=True))
    before, after = (
        torch.load(train(c, data, tmp_path / name, lambda _: None, start=[start]))["net"]
        for c, name in ((replace(kept, train=replace(kept.train, iterations=1)), "a"), (kept, "b"))
    )
    statistics = [name for name in after if "running" in name]
    assert statistics
    assert same({n: before[n] for n in statistics}, {n: after[n] for n in statistics})
    begun = torch.load(start)["ema"]
    assert same({n: begun[n] for n in statistics}, {n: after[n] for n in statistics})
    assert not same(before, after)


def test_centreline_recall_asks_for_hairlines():
    label = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    label[..., 2, :] = 2  # a hairline, all of it centreline
    label[..., 6:14, :] = 1  # a wide crack
    label[..., 10, :] = 2
    logits = torch.where(label > 0, 12.0, -12.0)
    logits[..., 2, :] = -12.0  # the hairline is missed
    assert crack_loss(logits, label, 1.0, 0.0) < crack_loss(logits, label, 1.0, 1.0) - 0.4
    found = torch.where(label > 0, 12.0, -12.0)
    assert crack_loss(found, label, 1.0, 1.0) < 1e-3


def test_a_run_may_start_from_another_checkpoint(data, config, tmp_path):
    torch.manual_seed(5)
    given = CompactNet().state_dict()
    torch.save({"ema": given, "iteration": 9}, tmp_path / "given.pt")
    now = Monitor(is_cancelled=lambda: True)
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "run", lambda _: None, now, [tmp_path / "given.pt"])
    state = torch.load(tmp_path / "run" / "checkpoint.pt")
    assert state["iteration"] == 0
    assert same(state["net"], given)


def test_a_start_that_is_not_there_is_said_in_a_resumed_run_too(data, config, tmp_path):
    now, nothing = Monitor(is_cancelled=lambda: True), [tmp_path / "none.pt"]
    with pytest.raises(ModelError, match=r"none\.pt: not a checkpoint") as caught:
        train(config, data, tmp_path / "run", lambda _: None, now, nothing)
    assert "--start" in caught.value.remedy
    assert not (tmp_path / "run").exists()
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "run", lambda _: None, now)
    with pytest.raises(UsageError, match=r"none\.pt: no such file"):
        train(config, data, tmp_path / "run", lambda _: None, now, nothing)


def test_what_torch_advises_is_not_handed_on(tmp_path):
    torch.save({"ema": print, "iteration": 1}, tmp_path / "odd.pt")
    with pytest.raises(ModelError) as caught:
        read_state(tmp_path / "odd.pt")
    assert "weights_only" not in str(caught.value)


def test_a_run_may_start_from_the_shipped_model(data, config, tmp_path):
    shipped = find_model("compact")
    now = Monitor(is_cancelled=lambda: True)
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "run", lambda _: None, now, [shipped])
    state = torch.load(tmp_path / "run" / "checkpoint.pt")
    given = read_tensors(shipped)
    assert all(
        torch.equal(state["net"][name], given[name].to(v.dtype)) for name, v in state["net"].items()
    )


def test_an_outline_is_learned_beside_masks_that_stay_as_they_are(data, config, tmp_path):
    torch.manual_seed(5)
    given = CompactNet().state_dict()
    torch.save({"ema": given, "iteration": 9}, tmp_path / "given.pt")
    outline = replace(config, train=replace(config.train, learn="outline", dice_weight=0.0))
    begin = [tmp_path / "given.pt"]
    path = train(outline, data, tmp_path / "run", lambda _: None, start=begin)
    state = torch.load(path)
    assert state["iteration"] == 3
    for weights in (state["net"], state["ema"]):
        assert same(without_outline(weights), given)
    fresh = torch.load(_stopped(outline, data, tmp_path / "fresh", begin))
    learned = {k for k, v in state["net"].items() if not torch.equal(v, fresh["net"][k])}
    assert "final.outline.head.weight" in learned
    assert all(name.startswith("final.outline.") for name in learned)

    # a run that changes the masks leaves the outline out, which belongs to others
    whole = torch.load(_stopped(config, data, tmp_path / "whole", [path]))
    assert same(whole["net"], given)


def test_an_outline_comes_from_the_starts_that_know_one(data, config, tmp_path):
    torch.manual_seed(5)
    first, second = CompactNet(outline=True).state_dict(), CompactNet().state_dict()
    paths = [tmp_path / "first.pt", tmp_path / "second.pt"]
    for weights, path in zip((first, second), paths, strict=True):
        torch.save({"ema": weights, "iteration": 9}, path)
    outline = replace(config, train=replace(config.train, learn="outline", dice_weight=0.0))

    begun = torch.load(_stopped(outline, data, tmp_path / "run", paths))["net"]

    masks = mean_weights(paths, [without_outline(first), second])
    assert same(without_outline(begun), masks)
    assert all(torch.equal(begun[k], first[k]) for k in begun.keys() - masks.keys())


def _stopped(config, data, folder, start):
    """The checkpoint of a run that was stopped before its first step."""
    now = Monitor(is_cancelled=lambda: True)
    with pytest.raises(Cancelled):
        train(config, data, folder, lambda _: None, now, start)
    return folder / "checkpoint.pt"


def test_only_compact_has_an_outline_and_no_teacher(config):
    with pytest.raises(UsageError, match="'rim', not 'all' or 'outline'"):
        replace(config.train, learn="rim")
    with pytest.raises(UsageError, match="a teacher has no outline"):
        replace(config.train, learn="outline", teacher="compact")
    with pytest.raises(UsageError, match="'fpn' has no outline") as told:
        build_network("fpn", outline=True)
    assert 'learn = "all"' in told.value.remedy


@pytest.mark.gpu
def test_a_card_learns_what_the_processor_learns(data, config, tmp_path):
    here = torch.load(train(config, data, tmp_path / "cpu", lambda _: None))
    there = train(config, data, tmp_path / "cuda", lambda _: None, device="cuda")
    there = torch.load(there, map_location="cpu")
    head = "final.head.weight"
    torch.testing.assert_close(there["ema"][head], here["ema"][head], atol=1e-2, rtol=0)


def test_a_device_that_is_not_there_is_named(data, config, tmp_path):
    with pytest.raises(UsageError, match="--device gpu: unknown"):
        train(config, data, tmp_path, lambda _: None, device="gpu")


def test_several_workers_prepare_the_same_samples(data, config, tmp_path):
    alone = torch.load(train(config, data, tmp_path / "alone", lambda _: None))
    several = replace(config, train=replace(config.train, workers=2))
    assert same(
        torch.load(train(several, data, tmp_path / "2", lambda _: None))["net"], alone["net"]
    )


def test_a_run_begins_with_the_mean_of_several(data, config, tmp_path):
    short = replace(config, train=replace(config.train, stop_after=1))
    paths = []
    for seed in (1, 2):
        other = replace(short, train=replace(short.train, seed=seed, encoder_lr=0.05))
        paths.append(train(other, data, tmp_path / str(seed), lambda _: None))
    first, second = (torch.load(path)["ema"] for path in paths)
    still = replace(short, train=replace(short.train, encoder_lr=0.0, decoder_lr=0.0))

    begun = torch.load(train(still, data, tmp_path / "mean", lambda _: None, start=paths))["net"]

    kernels = [name for name, value in begun.items() if value.dim() > 1]
    assert any((first[name] != second[name]).any() for name in kernels)
    for name in kernels:
        assert torch.allclose(begun[name], (first[name] + second[name]) / 2, atol=1e-7)


def test_a_start_of_another_network_is_named(data, config, tmp_path):
    fpn = replace(config, train=replace(config.train, network="fpn"))
    with pytest.raises(ModelError, match="not of the network"):
        train(fpn, data, tmp_path / "run", lambda _: None, start=[find_model("compact")])


def test_a_broken_checkpoint_is_named(data, config, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"checkpoint\.pt: not a checkpoint"):
        train(config, data, tmp_path, lambda _: None)
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"not a checkpoint"


def test_a_stage_may_end_early_in_its_schedule(data, config, tmp_path):
    short = replace(config, train=replace(config.train, stop_after=2))
    first = torch.load(train(short, data, tmp_path / "short", lambda _: None))
    assert first["iteration"] == 2
    with pytest.raises(Cancelled):
        train(config, data, tmp_path / "whole", lambda _: None, stop_at(2))
    assert same(first["net"], torch.load(tmp_path / "whole" / "checkpoint.pt")["net"])
