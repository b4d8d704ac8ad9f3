import json

import numpy as np
import pytest
import torch
from crackgeo_training import export as export_module
from crackgeo_training.export import (
    calibration_metadata,
    compact_scores,
    export,
    fitted,
    read_checkpoints,
)
from crackgeo_training.pictures.records import read_licences
from crackgeo_training.scoring.calibrate import Calibration, MaskFit, Reliability
from crackgeo_training.scoring.card import BEGIN, END, fill_card
from crackgeo_training.scoring.evaluate import evaluate, find_records
from crackgeo_training.scoring.widths import WidthErrors
from pictures import DarkModel

from crackgeo.errors import InputError, ModelError
from crackgeo.models.compact import HEAD_BIAS, CompactNet
from crackgeo.models.modelfile import open_model_file
from crackgeo.models.registry import load_model

CURVE = Reliability((0.1, 0.9), (0.2, float("nan")), (0.75, 0.25))
FIT = MaskFit(1.5, -0.7, CURVE)
WIDTHS = WidthErrors(1.2, 0.1, 0.9, 0.05)
FAIR = Calibration(1.5, -0.7, 0.55, 0.3, 40.0, CURVE, CURVE, 0.95, 0.8, 60, WIDTHS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    torch.save({"ema": CompactNet().state_dict(), "iteration": 7}, path)
    return path


def test_an_exported_model_loads_with_all_it_was_given(data, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "fit_masks", lambda *_: FIT)
    monkeypatch.setattr(export_module, "calibrate", lambda *_, **__: FAIR)
    monkeypatch.setattr(export_module, "find_records", lambda *_: find_records(data, "val")[:2])
    path = tmp_path / "m.safetensors"
    _, evaluation = export([checkpoint], data, path, command="as typed", noise=False)
    file = open_model_file(path)
    said = file.info.metadata
    assert (file.temperature, file.info.threshold, file.info.threshold_low) == (1.0, 0.55, 0.3)
    assert (file.info.min_length_px, file.info.width_error_px) == (40.0, 0.9)
    assert file.info.width_error_share == 0.05
    assert evaluation.model_sha256 == file.info.sha256
    assert said["command"] == "as typed"
    assert json.loads(said["datasets"]) == read_licences(data / "manifest.csv", "train")
    assert json.loads(said["scores"]) == compact_scores(evaluation)
    assert json.loads(said["calibration"])["ece"] == pytest.approx(FAIR.reliability.error)
    assert path.stat().st_size < 8_000_000  # half precision


def test_temperature_and_offset_act_as_calibrated(checkpoint, tmp_path):
    from crackgeo.models.modelfile import save_model

    image = np.random.default_rng(0).integers(0, 255, (1, 448, 448, 3)).astype(np.uint8)
    weights = read_checkpoints([checkpoint])
    head = {"architecture": "compact", "name": "m"}
    save_model(tmp_path / "raw.safetensors", weights, head)
    changed = {**head, **calibration_metadata(FAIR)}
    save_model(tmp_path / "fair.safetensors", fitted(weights, FIT), changed)
    raw = load_model(tmp_path / "raw.safetensors", "cpu", "fp32").predict(image)
    fair = load_model(tmp_path / "fair.safetensors", "cpu", "fp32").predict(image)
    logit = np.log(raw / (1 - raw))
    expected = 1 / (1 + np.exp(-(logit + FAIR.offset) / FAIR.temperature))
    assert np.allclose(fair, expected, atol=1e-4)


def test_only_kernels_are_halved(checkpoint):
    weights = read_checkpoints([checkpoint])
    halved = {k for k, v in weights.items() if v.dtype == torch.float16}
    assert halved == {k for k, v in weights.items() if v.dim() == 4}
    moved = fitted(weights, MaskFit(1.0, 0.0001, CURVE))
    assert moved[HEAD_BIAS].item() == pytest.approx(weights[HEAD_BIAS].item() + 0.0001, abs=1e-7)


def test_an_unknown_set_leaves_no_file(data, checkpoint, tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="val has no set moon"):
        export([checkpoint], data, path, level_sets=["moon"])
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_and_a_broken_one(tmp_path, checkpoint):
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    for name in ("none.pt", "text.pt", "other.pt"):
        with pytest.raises(ModelError, match=name):
            read_checkpoints([checkpoint, tmp_path / name])
    state = torch.load(checkpoint)
    state["ema"][HEAD_BIAS][0] = float("nan")
    torch.save(state, tmp_path / "sick.pt")
    with pytest.raises(ModelError, match=f"{HEAD_BIAS} is not finite"):
        read_checkpoints([tmp_path / "sick.pt"])


def test_several_checkpoints_are_averaged(tmp_path):
    states = [CompactNet().state_dict() for _ in range(2)]
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, state in zip(paths, states, strict=True):
        torch.save({"ema": state, "iteration": 7}, path)

    weights = read_checkpoints(paths)

    assert weights.keys() == states[0].keys()
    for name, value in weights.items():
        if value.dtype.is_floating_point:
            mean = (states[0][name] + states[1][name]) / 2
            assert torch.allclose(value.float(), mean, atol=1e-3)

    twice = read_checkpoints([paths[0], paths[0], paths[1]])
    leaning = (2 * states[0][HEAD_BIAS] + states[1][HEAD_BIAS]) / 3
    assert torch.allclose(twice[HEAD_BIAS], leaning, atol=1e-6)


def test_checkpoints_of_different_networks_are_not_averaged(checkpoint, tmp_path):
    torch.save({"ema": {HEAD_BIAS: torch.zeros(1)}, "iteration": 1}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt: not of the network"):
        read_checkpoints([checkpoint, tmp_path / "other.pt"])


def test_expected_calibration_error_leaves_empty_bins_out():
    assert FAIR.reliability.error == pytest.approx(0.75 * 0.1)


def test_the_card_is_filled_between_its_markers(data, tmp_path):
    evaluation = evaluate(DarkModel(), find_records(data, "val"))
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"x" * 1000)
    card = tmp_path / "card.md"
    card.write_text(f"# Mine\n{BEGIN}\nold\n{END}\nlast\n")
    licences = {"thin": {"images": 3, "licence": "CC0"}}
    for _ in range(2):  # filling again replaces
        fill_card(card, model, FAIR, evaluation, licences)
    text = card.read_text()
    assert text.startswith("# Mine\n")
    assert text.endswith("\nlast\n")
    assert "old" not in text
    assert text.count("| thin | 3 | CC0 |") == 1
    assert "95.0%" in text
    assert "| thin | 3 | 1.000 |" in text
    card.write_text("no markers")
    with pytest.raises(InputError, match="not a model card"):
        fill_card(card, model, FAIR, evaluation, licences)


def test_scores_in_the_file_are_those_of_the_evaluation(data):
    evaluation = evaluate(DarkModel(), find_records(data, "val"))
    scores = compact_scores(evaluation)["clean"]
    assert set(scores) == {"thin", "wide", "all"}
    assert scores["all"]["iou"] == 1
    assert "clean" not in scores["all"]  # no crack-free picture: not defined


def test_a_model_with_an_outline_says_where_it_lies(data, tmp_path, monkeypatch):
    torch.manual_seed(0)
    torch.save({"ema": CompactNet(True).state_dict(), "iteration": 7}, tmp_path / "c.pt")
    masks = []

    def note(segmenter, *_):
        masks.append(segmenter)
        return FIT

    monkeypatch.setattr(export_module, "fit_masks", note)
    rims = []
    monkeypatch.setattr(
        export_module, "calibrate", lambda model, *_: rims.append(model.info.outline) or FAIR
    )
    monkeypatch.setattr(export_module, "find_records", lambda *_: find_records(data, "val")[:1])
    path = tmp_path / "m.safetensors"
    export([tmp_path / "c.pt"], data, path, noise=False)
    assert rims == [0.75]
    assert masks[0].info.outline == 0
    assert open_model_file(path).info.outline == 0.75
    image = np.random.default_rng(0).integers(0, 255, (1, 448, 448, 3)).astype(np.uint8)
    raw, p = masks[0].logits(image), load_model(path, "cpu", "fp32").predict(image)
    sure = np.abs(raw + FIT.offset) > 1e-3
    assert ((p > 0.5) == (raw + FIT.offset > 0))[sure].all()
