from dataclasses import replace

import numpy as np
import pytest
import torch
from crackgeo_training.finetuning import recipes
from crackgeo_training.finetuning.bases import Base, unfreeze
from crackgeo_training.finetuning.local_data import AUGMENT, BASE_SAYS, LocalData, LocalSamples
from crackgeo_training.finetuning.paper_data import PaperSamples, turned
from crackgeo_training.finetuning.recipes import COMPACT, PAPER, paper_loss, schedule
from crackgeo_training.pictures.data import to_tensor
from crackgeo_training.pictures.pairs import read_label, write_label, write_picture
from crackgeo_training.pictures.records import Record, read_manifest
from test_models_cracksam import TINY

from crackgeo.errors import UsageError
from crackgeo.models.compact import CompactNet
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.protocol import ModelInfo
from crackgeo.models.runtime import Scaling
from crackgeo.models.sam import build_cracksam


@pytest.fixture
def base():
    torch.manual_seed(2)
    return Base(CompactNet(), ModelInfo("tiny", "0" * 64), Scaling(1 / 127.5, -1.0))


def test_the_paper_loss_is_the_published_formula():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(2, 2, 4, 5))
    truth = rng.integers(0, 2, (2, 4, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    entropy = -np.log(np.where(truth == 1, p[:, 1], p[:, 0])).mean()
    dice = 0.0
    for kind in (0, 1):
        t = (truth == kind).astype(float)
        score = (2 * (p[:, kind] * t).sum() + 1e-5) / (
            (p[:, kind] ** 2).sum() + (t**2).sum() + 1e-5
        )
        dice += (1 - score) / 2
    found = paper_loss(
        torch.tensor(logits, dtype=torch.float32), torch.tensor(truth[:, None], dtype=torch.uint8)
    )
    assert float(found) == pytest.approx(0.2 * entropy + 0.8 * dice, rel=1e-5)


def test_the_paper_loss_leaves_open_ground_out():
    logits = torch.randn(1, 2, 6, 6)
    label = torch.randint(0, 2, (1, 1, 6, 6), dtype=torch.uint8)
    label[..., 3:, :] = 255
    other = logits.clone()
    other[..., 3:, :] = 9.0
    assert torch.equal(paper_loss(logits, label), paper_loss(other, label))


def test_the_paper_schedule():
    factor = schedule(PAPER, 1000)
    assert factor(0) == pytest.approx(1 / 300)
    assert factor(299) == 1.0
    assert factor(300) == 1.0
    assert factor(800) == pytest.approx(0.5**6)
    assert PAPER.lr == 4e-4


def test_a_cosine_ends_at_nothing():
    factor = schedule(COMPACT, 200)
    assert factor(COMPACT.warmup) > 0.97
    assert factor(199) < 1e-3


@pytest.mark.parametrize(
    ("parts", "learning"), [("all", ""), ("decoder", ("ups.", "final.")), ("head", "final.")]
)
def test_only_the_parts_asked_for_learn(base, parts, learning):
    unfreeze(base.network, parts)
    before = {k: v.clone() for k, v in base.network.state_dict().items()}
    steps = recipes.optimizer(base, COMPACT)
    loss = recipes.compact_loss(base, COMPACT)
    base.network.train()
    label = torch.randint(0, 2, (2, 1, 32, 32), dtype=torch.uint8)
    loss(torch.randn(2, 3, 32, 32), label).backward()
    steps.step()
    changed = {k for k, v in base.network.state_dict().items() if not torch.equal(v, before[k])}
    assert "final.head.weight" in changed
    assert all(name.startswith(learning) and "running" not in name for name in changed)
    assert any(name.startswith("ups.") for name in changed) == (parts != "head")
    assert any(name.startswith("encoder.") for name in changed) == (parts == "all")
    with pytest.raises(UsageError, match="--unfreeze tail"):
        unfreeze(base.network, "tail")


def test_replayed_samples_ask_for_what_the_base_said(base):
    loss = recipes.compact_loss(base, COMPACT)
    images = torch.randn(2, 3, 32, 32)
    label = torch.full((2, 1, 32, 32), BASE_SAYS, dtype=torch.uint8)
    with torch.no_grad():
        at_start = loss(images, label)
        base.network.final.head.bias.add_(1.0)
        moved = loss(images, label)
        both = loss(images, torch.cat([label[:1], 0 * label[1:]]))
    assert both > moved / 2  # half the batch by its mask, half by the base
    assert moved > at_start + 0.01


def test_sparing_memory_changes_no_gradient():
    def gradients(spare):
        torch.manual_seed(6)
        network = build_cracksam(TINY, DeltaSpec("qv", 2, adapter_dim=4)).train()
        if spare:
            recipes.save_memory(network)
        images, label = torch.rand(1, 3, 448, 448), torch.ones(1, 1, 448, 448, dtype=torch.uint8)
        paper_loss(network.class_logits(images), label).backward()
        return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}

    plain, spared = gradients(False), gradients(True)
    assert plain.keys() == spared.keys()
    assert all(torch.allclose(plain[name], spared[name], atol=1e-7) for name in plain)
    assert any(".lora_b" in name and plain[name].abs().max() > 0 for name in plain)


def test_weights_are_pulled_back_to_where_they_began(base):
    recipe = replace(COMPACT, anchor=10.0)
    steps = recipes.optimizer(base, recipe)
    head = base.network.final.head.bias
    start = head.detach().clone()
    pull = recipes.anchored(recipe, steps)
    with torch.no_grad():
        head.add_(1.0)
    pull(0.5)
    torch.testing.assert_close(head.detach(), start + 1.0 - 10.0 * recipe.lr * 0.5)


def test_samples_depend_on_their_number_alone(data):
    local, again = (tuple(read_manifest(data / "manifest.csv", s)) for s in ("train", "val"))
    whole = LocalData(local, again, replay=again)
    samples = LocalSamples(whole, 0.5, replace(AUGMENT, crop_px=32), seed=1)
    twice = [samples[i] for i in (3, 0, 3)]
    assert torch.equal(twice[0][0], twice[2][0])
    kinds = {int(samples[i][1].max()) for i in range(12)}
    assert BASE_SAYS in kinds
    assert kinds - {BASE_SAYS}
    alone = LocalSamples(LocalData(local, again), 0.5, replace(AUGMENT, crop_px=32), seed=1)
    assert all(int(alone[i][1].max()) != BASE_SAYS for i in range(12))


def test_paper_samples_come_once_a_pass(data):
    records = read_manifest(data / "manifest.csv", "train")
    samples = PaperSamples(records, seed=1)
    first = {round(float(samples[i][0].mean()), 3) for i in range(len(records))}
    assert len(first) > len(records) // 2
    image, label = samples[0]
    assert image.shape == (3, 448, 448)
    assert (label == 255).any()  # what was padded is not learned from
    assert torch.equal(samples[7][0], samples[7][0])


def test_paper_samples_show_all_of_a_larger_picture(tmp_path):
    """Every corner of it, image and label together, at another place each time it comes."""
    place = np.add.outer(np.arange(600) // 100 * 40, np.arange(900) // 100)  # a number a square
    image = np.repeat(place.astype(np.uint8)[..., None], 3, axis=2)
    label = (np.arange(900) % 50 < 5)[None].repeat(600, axis=0).astype(np.uint8)
    image[label == 1] = 255
    write_picture(tmp_path / "i.png", image)
    write_label(tmp_path / "m.png", label)
    samples = PaperSamples([Record("train", "own", tmp_path / "i.png", tmp_path / "m.png")], 1)
    seen = set()
    for i in range(12):
        pixels, marks = ((samples[i][0] + 1) * 127.5).round(), samples[i][1][0]
        assert pixels.shape == (3, 448, 448)
        assert (marks[pixels[0] == 255] == 1).float().mean() > 0.99
        values, counts = pixels.unique(return_counts=True)
        seen |= set(values[counts > 3000].int().tolist())  # more than tilting mixes
    assert {0, 8, 200, 208} <= seen  # the squares in the corners
    assert torch.equal(samples[3][0], samples[3][0])


def test_paper_samples_show_labelled_ground(tmp_path):
    """A crop without any would make the loss of a small batch no number."""
    label = np.full((1500, 1500), 255, np.uint8)
    label[1000:1020, 300:320] = 0
    write_picture(tmp_path / "i.png", np.full((1500, 1500, 3), 90, np.uint8))
    write_label(tmp_path / "m.png", label)
    samples = PaperSamples([Record("train", "own", tmp_path / "i.png", tmp_path / "m.png")], 1)
    assert all((samples[i][1] != 255).any() for i in range(8))


def test_papers_own_pictures_are_drawn_as_ever(tmp_path):
    """Whole: rows of the paper's tables go on from their checkpoints with these very samples."""
    rng = np.random.default_rng(5)
    records = []
    for i in range(3):
        write_picture(tmp_path / f"i{i}.png", rng.integers(0, 255, (448, 448, 3), np.uint8))
        write_label(tmp_path / f"m{i}.png", rng.integers(0, 2, (448, 448), np.uint8))
        records.append(Record("train", "own", tmp_path / f"i{i}.png", tmp_path / f"m{i}.png"))
    samples = PaperSamples(records, seed=7)
    for i in range(9):
        turn, place = divmod(i, 3)
        record = records[np.random.default_rng((7, turn)).permutation(3)[place]]
        expected = turned(*read_label(record), np.random.default_rng((7, turn, place)))
        for part, array in zip(
            samples[i], (to_tensor(expected[0]), expected[1][None]), strict=True
        ):
            np.testing.assert_array_equal(part, array)


def test_turning_moves_image_and_label_together():
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:20, 5:60] = 200
    label = (image[..., 0] > 100).astype(np.uint8)
    stayed = 0
    for seed in range(40):
        moved, marks = turned(image, label, np.random.default_rng(seed))
        bright = moved[..., 0] > 100
        known = marks != 255
        assert (bright & known).sum() > 0
        assert ((marks == 1) != bright)[known].mean() < 0.05
        stayed += np.array_equal(moved, image)
    assert 3 <= stayed <= 20


def test_the_base_keeps_the_word_on_the_outline():
    torch.manual_seed(2)
    base = Base(CompactNet(outline=True), ModelInfo("tiny", "0" * 64), Scaling(1 / 127.5, -1.0))
    loss = recipes.compact_loss(base, COMPACT)
    images = torch.randn(2, 3, 32, 32)
    label = torch.randint(0, 2, (2, 1, 32, 32), dtype=torch.uint8)
    head = base.network.final.outline.head
    at_rest = torch.autograd.grad(loss(images, label), head.bias)[0]
    assert abs(float(at_rest)) < 1e-3  # whatever the label, nothing pulls at the outline
    with torch.no_grad():
        head.bias += 1.0
    assert float(torch.autograd.grad(loss(images, label), head.bias)[0]) > 0.05
