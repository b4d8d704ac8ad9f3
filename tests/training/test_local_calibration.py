import pytest
import torch
from crackgeo_training import local_calibration
from crackgeo_training.bases import Base
from crackgeo_training.data import read_manifest
from crackgeo_training.export import HEAD_BIAS
from crackgeo_training.local_calibration import recalibrated
from crackgeo_training.local_data import LocalData
from pictures import DarkModel

from crackgeo.errors import UsageError
from crackgeo.models.compact import CompactNet
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
    # the model says 0.95 on cracks and 0.02 elsewhere: the outline lies between their logits
    assert -2.95 < float(before - network.get_parameter(HEAD_BIAS).detach()) < 3.9
    assert not torch.equal(before, network.get_parameter(HEAD_BIAS).detach())
    assert float(said["temperature"]) == pytest.approx(found.scaling.temperature, rel=1e-3)
    assert {"threshold", "threshold_low", "min_length_px", "calibration"} <= set(said)
    assert "width_error_px" not in said  # local labels are no true outlines; the base's stays


def test_cracksam_keeps_its_own(local):
    with pytest.raises(UsageError, match="compact only"):
        recalibrated(base(torch.nn.Identity()), local, "cpu")
