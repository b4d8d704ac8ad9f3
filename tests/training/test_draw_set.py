"""The drawn pictures that training adds, and the free photographs beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from crackgeo_training.draw_set import (
    CELL_PX,
    PHOTOGRAPH_SET,
    PHOTOGRAPHS,
    WALL_SET,
    full_cells,
    main,
)
from crackgeo_training.pictures.records import read_licences, read_manifest, read_pair


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


def test_several_processes_draw_the_same(drawn: Path, tmp_path: Path) -> None:
    asked = ["-o", str(tmp_path), "--pavements", "0", "--walls", "2", "--workers", "2"]
    assert CliRunner().invoke(main, asked, catch_exceptions=False).exit_code == 0
    wall = "images/wall_00001.png"
    assert (tmp_path / wall).read_bytes() == (drawn / wall).read_bytes()
    assert (tmp_path / "images/wall_00002.png").exists()


def test_cells_fit_into_a_ragged_border_and_hardly_overlap() -> None:
    data = np.zeros((1800, 2400), np.bool_)
    data[70:1740, 130:2310] = True
    data[70:200, 130:600] = False

    corners = full_cells(data)

    taken = np.zeros(data.shape, np.uint8)
    for row, col in corners:
        taken[row : row + CELL_PX, col : col + CELL_PX] += 1
    assert (taken > 1).sum() <= 0.02 * taken.sum()
    assert data[taken > 0].mean() > 0.98
    assert len(corners) >= 11  # 13 would fit with no room lost


def test_no_cell_where_there_is_too_little_data() -> None:
    assert full_cells(np.zeros((1800, 2400), np.bool_)) == []
    assert full_cells(np.ones((CELL_PX - 1, 2400), np.bool_)) == []
