"""`compact` taught by a model that calls dark pixels cracks."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from crackgeo_training import distil
from crackgeo_training.config import load_config
from crackgeo_training.data import read_manifest
from crackgeo_training.distil import UnlabelledDataset, load_teacher, taught_loss, teach
from crackgeo_training.train import train
from pictures import DarkModel

from crackgeo.errors import InputError, UsageError

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(distil, "load_model", lambda name: DarkModel())
    full = load_config(CONFIG)
    return replace(
        full,
        data=replace(full.data, set_weight={"thin": 1.0}, loose_px={}, procedural_share=0.0),
        augment=replace(full.augment, crop_px=448),
        train=replace(
            full.train, iterations=1, batch=1, warmup=1, checkpoint_every=1, teacher="dark"
        ),
    )


@pytest.fixture
def unlabelled(data, tmp_path):
    """The same pictures in a manifest that names no masks."""
    records = read_manifest(data / "manifest.csv", "train")
    with (tmp_path / "manifest.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["split", "set", "image", "mask"])
        table.writerows([["train", r.set, r.image, ""] for r in records])
    return tmp_path


def test_a_run_without_any_mask(config, unlabelled, tmp_path):
    train(config, unlabelled, tmp_path / "run", lambda _: None)
    state = torch.load(tmp_path / "run" / "checkpoint.pt")
    assert state["iteration"] == 1
    assert all(v.isfinite().all() for v in state["ema"].values())


def test_the_teacher_sees_the_pictures_the_pupil_sees(config, unlabelled):
    records = read_manifest(unlabelled / "manifest.csv")
    image, label = UnlabelledDataset(records, config)[0]
    assert not label.any()
    said = teach(DarkModel(), image[None])
    dark = image.mean(dim=0) * 127.5 + 127.5 < 90
    assert ((said[0, 0] > 0.5) == dark).float().mean() > 0.999
    with pytest.raises(InputError, match="not an image"):
        UnlabelledDataset(records, config).read(replace(records[0], image=Path("none.png")))


def test_the_loss_is_least_where_pupil_and_teacher_agree():
    said = torch.tensor([0.95, 0.02, 0.5, 0.02]).reshape(1, 1, 2, 2)
    logits = torch.logit(said).requires_grad_()
    loss = taught_loss(logits, said, 1.0)
    loss.backward()
    assert logits.grad.abs().max() < 0.02
    assert taught_loss(torch.logit(1 - said), said, 1.0) > loss + 0.5


def test_crops_must_be_of_the_teachers_size(config):
    with pytest.raises(UsageError, match="sees 448 px, crops have 224"):
        load_teacher("dark", 224)
