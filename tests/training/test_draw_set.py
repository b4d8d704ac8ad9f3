"""The drawn pictures that training adds, and the free photographs beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from crackgeo_training.data import read_licences, read_manifest, read_pair
from crackgeo_training.draw_set import PHOTOGRAPH_SET, PHOTOGRAPHS, WALL_SET, main


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    asked = ["-o", str(folder), "--pavements", "0", "--walls", "1"]
    outcome = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert outcome.exit_code == 0
    return folder


def test_manifest_lists_each_picture_with_its_licence(drawn: Path) -> None:
    listed = read_licences(drawn / "manifest.csv", "train")

    assert {name: entry["images"] for name, entry in listed.items()} == {
        WALL_SET: 1,
        PHOTOGRAPH_SET: len(PHOTOGRAPHS),
    }
    assert "public domain" in str(listed[PHOTOGRAPH_SET]["licence"])


def test_photographs_are_colour_pictures_without_a_crack(drawn: Path) -> None:
    for record in read_manifest(drawn / "manifest.csv"):
        if record.set == PHOTOGRAPH_SET:
            image, mask = read_pair(record)
            assert image.dtype == np.uint8
            assert image.shape == (*mask.shape, 3)
            assert image.std() > 10  # a picture, not a blank sheet
            assert not mask.any()
