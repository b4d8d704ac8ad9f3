"""Fixtures of the training tests."""

import sys
from pathlib import Path

import cv2
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from pictures import write_folder

torch.set_num_threads(1)  # pictures are tiny: more threads only wait for each other
cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))
