import json

import pytest
import torch
from crackgeo_training.finetuning import local_calibration
from crackgeo_training.finetuning.bases import Base
from crackgeo_training.finetuning.local_calibration import recalibrated
from crackgeo_training.finetuning.local_data import LocalData
from crackgeo_training.pictures.records import read_manifest
from pictures import DarkModel

from crackgeo.models.compact import HEAD_BIAS, CompactNet
from crackgeo.models.protocol import ModelInfo
from crackgeo.models.runtime import Scaling


@pytest.fixture
def local(data, monkeypatch):
    monkeypatch.setattr(Base, "segmenter", lambda *_: DarkModel())
    monkeypatch.setattr(local_calibration, "DRAWN", 1)
    return LocalData((), tuple(read_manifest(data / "manifest.csv", "val"))[:2])


def base(network):
    return Base(network, ModelInfo("any", "0" * 64), Scaling(1 / 127.5, -1.0, 1.3))


def test_outline_and_rule_are_chosen_on_local_pictures(local):
    network = CompactNet()
    before = network.get_parameter(HEAD_BIAS).detach().clone()
    found, said = recalibrated(base(network), local, "cpu")
    fit = json.loads(said["calibration"])
    # the model says 0.95 on cracks and 0.02 elsewhere: the outline lies between their logits
    assert -2.95 < -fit["offset"] < 3.9
    now = found.network.get_parameter(HEAD_BIAS)
    assert torch.allclose(now, (before + fit["offset"]) / fit["temperature"])
    assert found.scaling.temperature == float(said["temperature"]) == 1
    assert {"threshold", "threshold_low", "min_length_px", "calibration"} <= set(said)
    assert "width_error_px" not in said  # local labels are no true outlines; the base's stays
