"""`compact` taught by a model that calls dark pixels cracks."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from crackgeo_training.config import load_config
from crackgeo_training.learning import distil
from crackgeo_training.learning.distil import UnlabelledDataset, load_teacher, taught_loss, teach
from crackgeo_training.learning.networks import load_network
from crackgeo_training.learning.train import train
from crackgeo_training.pictures.data import CrackDataset, scaled
from crackgeo_training.pictures.records import read_manifest
from pictures import DarkModel
from survey import write_raster
from test_models_cracksam import TINY

from crackgeo import cli
from crackgeo.errors import InputError, ModelError, UsageError
from crackgeo.models.checkpoint import model_metadata
from crackgeo.models.compact import CompactNet, without_outline
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.modelfile import save_model
from crackgeo.models.registry import load_model
from crackgeo.models.sam import build_cracksam

CPU = torch.device("cpu")
CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(distil, "load_model", lambda name: DarkModel())
    full = load_config(CONFIG)
    return replace(
        full,
        data=replace(
            full.data,
            set_weight={"thin": 1.0},
            loose_px={},
            procedural_share=0.0,
            extra_manifests=(),
        ),
        augment=replace(full.augment, crop_px=448),
        train=replace(
            full.train,
            iterations=1,
            batch=1,
            warmup=1,
            checkpoint_every=1,
            look_every=0,
            teacher="dark",
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


def test_a_cracksam_teaches(config, unlabelled, tmp_path, monkeypatch):
    torch.manual_seed(9)
    network = build_cracksam(TINY, DeltaSpec("qv", 2))
    path = tmp_path / "teacher.safetensors"
    save_model(path, network.state_dict(), {"name": "teacher", **model_metadata(network)})
    monkeypatch.setattr(distil, "load_model", load_model)
    taught = replace(config, train=replace(config.train, teacher=str(path)))
    train(taught, unlabelled, tmp_path / "run", lambda _: None)
    state = torch.load(tmp_path / "run" / "checkpoint.pt")
    assert state["iteration"] == 1
    records = read_manifest(unlabelled / "manifest.csv")
    image, _ = UnlabelledDataset(records, config)[0]
    image = scaled(image)
    said = load_teacher(str(path), 448, CPU)(image[None])
    with torch.no_grad():
        network.eval()
        pixels = ((image + 1) * 127.5).round() / 255
        torch.testing.assert_close(
            said, network(pixels[None]).sigmoid(), atol=0.02, rtol=0
        )  # in bf16 where the processor has it


def test_the_teacher_sees_the_pictures_the_pupil_sees(config, unlabelled):
    records = read_manifest(unlabelled / "manifest.csv")
    image, label = UnlabelledDataset(records, config)[0]
    assert not label.any()
    image = scaled(image)
    said = teach(DarkModel(), image[None])
    dark = image.mean(dim=0) * 127.5 + 127.5 < 90
    assert ((said[0, 0] > 0.5) == dark).float().mean() > 0.999
    with pytest.raises(InputError, match="cannot be read"):
        UnlabelledDataset(records, config).read(replace(records[0], image=Path("none.png")))


def test_a_survey_becomes_pictures_to_teach_on(config, tmp_path, capsys):
    survey = write_raster(tmp_path / "survey.tif", [[(20, 30), (300, 200)]], size=(700, 1010))
    out = tmp_path / "pictures"
    assert cli.run(["chips", str(survey), "--unlabelled", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 6
    records = read_manifest(out / "manifest.csv", "train")
    shapes = {cv2.imread(str(r.image)).shape[:2] for r in records}
    assert shapes == {(448, 448), (448, 114), (252, 448), (252, 114)}
    sets = replace(config, data=replace(config.data, set_weight={"survey": 1.0}))
    train(sets, out, tmp_path / "run", lambda _: None)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    again = ["chips", str(survey), "--unlabelled", "-o", str(out)]
    assert cli.run(again) == 2
    assert cli.run([*again, "--labels", "x.gpkg"]) == 2
    assert cli.run(["chips", str(out), "--unlabelled", "-o", str(tmp_path / "o")]) == 2
    assert "--unlabelled cuts a raster" in capsys.readouterr().err


def test_the_loss_is_least_where_pupil_and_teacher_agree():
    said = torch.tensor([0.95, 0.02, 0.5, 0.02]).reshape(1, 1, 2, 2)
    logits = torch.logit(said).requires_grad_()
    loss = taught_loss(logits, said, 1.0)
    loss.backward()
    assert logits.grad.abs().max() < 0.02
    assert taught_loss(torch.logit(1 - said), said, 1.0) > loss + 0.5


def test_crops_must_be_of_the_teachers_size(config):
    with pytest.raises(UsageError, match="sees 448 px, crops have 224"):
        load_teacher("dark", 224, CPU)


def test_a_teacher_beside_labels(config, data, tmp_path, unlabelled):
    beside = replace(config, train=replace(config.train, taught_share=0.25))
    with pytest.raises(InputError, match="names no mask"):  # now masks are wanted
        train(beside, unlabelled, tmp_path / "none", lambda _: None)

    nobody = replace(beside, train=replace(beside.train, teacher=None))
    with pytest.raises(UsageError, match="wants a teacher") as told:
        train(nobody, data, tmp_path / "none", lambda _: None)
    assert "--teacher" in told.value.remedy

    losses = {}
    for name, share in (("labels", None), ("teacher", 1.0), ("both", 0.25)):
        told = replace(
            beside.train, teacher=share and "dark", taught_share=share or 1.0, skeleton_weight=0.0
        )
        folder = tmp_path / name
        train(replace(beside, train=told), data, folder, lambda _: None)
        losses[name] = float((folder / "log.csv").read_text().split(",")[1])
    mixed = 0.75 * losses["labels"] + 0.25 * losses["teacher"]
    assert losses["both"] == pytest.approx(mixed, abs=2e-3)
    assert abs(losses["labels"] - losses["teacher"]) > 0.05
    with pytest.raises(UsageError, match="taught_share"):
        replace(config.train, taught_share=0.0)


def test_a_checkpoint_teaches(data, config, tmp_path):
    own = replace(config, train=replace(config.train, teacher=None))
    path = train(own, data, tmp_path / "teacher", lambda _: None)
    teacher = load_teacher(str(path), 448, CPU)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        said = load_network("compact", torch.load(path)["ema"])(image).sigmoid()
    torch.testing.assert_close(teacher(image), said, atol=0.02, rtol=0)  # it computes in bf16
    taught = replace(config, train=replace(config.train, teacher=str(path)))
    train(taught, data, tmp_path / "pupil", lambda _: None)

    bare = tmp_path / "bare.pt"
    torch.save({"ema": torch.load(path)["ema"], "iteration": 1}, bare)
    with pytest.raises(ModelError, match="does not say which network"):
        load_teacher(str(bare), 448, CPU)
    assert (tmp_path / "pupil" / "checkpoint.pt").exists()


def test_a_teacher_says_masks_not_outlines(config, data, tmp_path, monkeypatch):
    torch.manual_seed(4)
    ema = CompactNet(outline=True).state_dict()
    saved = {"ema": ema, "iteration": 1, "config": {"train": {"network": "compact"}}}
    torch.save(saved, tmp_path / "outline.pt")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        mask = load_network("compact", without_outline(ema))(image).sigmoid()
    said = load_teacher(str(tmp_path / "outline.pt"), 448, CPU)(image)
    torch.testing.assert_close(said, mask, atol=0.02, rtol=0)
    monkeypatch.setattr(distil, "load_model", load_model)
    with pytest.raises(UsageError, match="where outlines lie"):
        load_teacher("compact", 448, CPU)


def test_a_teacher_may_see_in_better_light(config, data, tmp_path, monkeypatch):
    changed = dict.fromkeys(("shadow", "paint", "gamma", "hue", "blur", "noise", "jpeg"), 0.0)
    dim = replace(config.augment, tone=1.0, grey=0.0, plain=0.0, **changed)
    told = replace(config.train, taught_share=0.5, taught_clear=True)
    config = replace(config, augment=dim, train=told)
    records = read_manifest(data / "manifest.csv", "train")

    image, label, clear = CrackDataset(records, config)[0]
    still = replace(config, augment=replace(dim, tone=0.0))
    unchanged, its_label, same = CrackDataset(records, still)[0]
    assert not torch.equal(image, clear)
    assert torch.equal(clear, unchanged)
    assert torch.equal(clear, same)
    assert torch.equal(label, its_label)

    seen = []

    class Watched(DarkModel):
        def predict(self, pixels):
            seen.append(pixels)
            return super().predict(pixels)

    monkeypatch.setattr(distil, "load_model", lambda name: Watched())
    train(config, data, tmp_path / "run", lambda _: None)
    assert (seen[0][0] == clear.permute(1, 2, 0).numpy()).all()


def test_several_teachers_take_turns(config, data, tmp_path, monkeypatch):
    asked = []

    class Named(DarkModel):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def predict(self, pixels):
            asked.append(self.name)
            return super().predict(pixels)

    monkeypatch.setattr(distil, "load_model", Named)
    told = replace(config.train, teacher=("first", "second"), iterations=3)
    train(replace(config, train=told), data, tmp_path / "run", lambda _: None)
    assert asked == ["first", "second", "first"]
    assert replace(told, teacher="one").teachers == ("one",)
    assert replace(told, teacher=None).teachers == ()
