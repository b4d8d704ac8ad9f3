"""What makes a processor faster leaves the result as it is."""

import copy
import ctypes
import platform

import pytest
import torch
from torch import nn

from crackgeo.models import processor
from crackgeo.models.processor import keep_memory, prefer_onednn


@pytest.fixture
def network():
    torch.manual_seed(2)
    layers = (nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 6, 1, bias=False), nn.Conv2d(6, 4, (1, 3)))
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


@pytest.fixture
def on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dilations(network):
    return [layer.dilation[0] for layer in network]


@pytest.mark.usefixtures("on_one_thread")
def test_convolutions_of_one_pixel_say_the_same(network, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    other = copy.deepcopy(network)
    prefer_onednn(other)
    assert dilations(other) == [1, 2, 1]
    image = torch.rand(2, 3, 37, 50)
    with torch.no_grad():
        torch.testing.assert_close(other(image), network(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("machine", "has_onednn"), [("arm64", True), ("x86_64", False)])
def test_where_it_would_be_slower_it_is_left(network, monkeypatch, machine, has_onednn):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: has_onednn)
    prefer_onednn(network)
    assert dilations(network) == [1, 1, 1]


def test_glibc_is_asked_to_keep_memory(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, parameter, size):
            asked.append((parameter, size >> 20))

    monkeypatch.setattr(processor.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    keep_memory()
    assert asked == [(-3, 32), (-1, 64)]


def test_another_c_library_is_left_alone(monkeypatch):
    tried = []

    def missing(name):
        tried.append(processor.sys.platform)
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    for system in ("linux", "darwin"):
        monkeypatch.setattr(processor.sys, "platform", system)
        keep_memory()
    assert tried == ["linux"]
