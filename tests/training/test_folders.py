"""Folders of results appear complete, and the older one stays until then."""

import os
from pathlib import Path

import pytest
from crackgeo_training.labelling.folders import filled_folder, folder_output

from crackgeo.errors import ResourceError, UsageError


def fill(target, text):
    with filled_folder(target) as part:
        (part / "a.txt").write_text(text)


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    target = tmp_path / "out"
    for text in ("old", "new"):
        fill(target, text)
        assert (target / "a.txt").read_text() == text
        assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_older_folder_stays_if_the_new_one_fails(tmp_path):
    target = tmp_path / "out"
    fill(target, "old")
    with pytest.raises(FileNotFoundError), filled_folder(target) as part:
        (part / "nonesuch.txt").read_text()
    assert (target / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_older_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "out"
    fill(target, "old")
    real = os.replace

    def replace(source, there):
        if os.fspath(there) == os.fspath(target) and not os.fspath(source).endswith("-older"):
            raise PermissionError(13, "a viewer has a file of it open", os.fspath(there))
        real(source, there)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(ResourceError):
        fill(target, "new")
    assert (target / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_only_a_folder_with_the_mark_is_replaced(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    with folder_output(target, overwrite=False, mark="a.txt") as part:
        (part / "a.txt").touch()
    with pytest.raises(UsageError, match="exists already"), folder_output(target, False, "a.txt"):
        pass
    with (
        pytest.raises(UsageError, match=r"holds no b\.txt"),
        folder_output(target, overwrite=True, mark="b.txt"),
    ):
        pass
    with folder_output(target, overwrite=True, mark="a.txt") as part:
        (part / "c.txt").touch()
    assert [p.name for p in target.iterdir()] == ["c.txt"]


def test_of_a_link_what_it_leads_to_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    fill(tmp_path / "out", "old")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "out"]
    monkeypatch.chdir(tmp_path / "out")
    fill(Path(), "here")
    assert (tmp_path / "out" / "a.txt").read_text() == "here"
