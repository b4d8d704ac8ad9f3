"""Names that disks do not take, and files that may not be read: told, not reported as a bug."""

import errno
import os
from pathlib import Path

import pytest
import torch

from crackgeo.cli import run
from crackgeo.errors import ModelError, ResourceError
from crackgeo.files import AtomicOutput, atomic_output, check_output, remove_leftovers
from crackgeo.models import weights
from crackgeo.models.catalogue import PUBLISHED
from crackgeo.models.registry import find_model, load_model

LONG = "n" * 300


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("letter", ["n", "ü"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_may_have_the_longest_name_that_the_disk_takes(tmp_path, letter, overwrite):
    longest = tmp_path / (letter * (243 // len(letter.encode())) + ".safetensors")
    with atomic_output(longest, overwrite) as part:
        part.write_text("done")
        part.with_name(f"{part.name}-journal").touch()  # as libraries put beside it
    assert names(tmp_path) == [longest.name]


def test_a_longer_name_is_told(tmp_path):
    with pytest.raises(ResourceError, match="the name is too long") as caught:
        check_output(tmp_path / ("n" * 244 + ".safetensors"))
    assert caught.value.remedy == "choose a shorter one"


def test_what_was_left_of_a_long_name_is_that_names_alone(tmp_path):
    one, other = (tmp_path / f"{'n' * 240}{end}.gpkg" for end in "12")
    begun = AtomicOutput(one).path, AtomicOutput(other).path
    for path in begun:
        path.touch()
    remove_leftovers(one)
    assert names(tmp_path) == [begun[1].name]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["models", "verify", LONG], 5),
        (["models", "verify", f"{LONG}.pth"], 5),
        (["models", "import", "--sam", LONG, "--delta", LONG, "-o", "m.safetensors"], 5),
        (["models", "import", "--sam", "a", "--delta", "a", "-o", f"{LONG}.safetensors"], 4),
        (["models", "export", "compact", "-o", f"{LONG}.onnx"], 4),
        (["models", "fetch", LONG], 5),
    ],
)
def test_names_too_long_are_no_internal_error(tmp_path, monkeypatch, capsys, command, code):
    monkeypatch.chdir(tmp_path)
    assert run(command) == code
    assert "internal error" not in capsys.readouterr().err
    assert names(tmp_path) == []


def test_a_model_with_a_name_too_long_is_told():
    with pytest.raises(ModelError, match="File name too long"):
        load_model(LONG)


@pytest.fixture
def forbidden(tmp_path, monkeypatch):
    """A folder without permission, also for who may read all."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.pth").write_bytes(b"PK\x03\x04")
    (folder / "a.safetensors").write_bytes(b"a")
    monkeypatch.setenv("CRACKGEO_HOME", str(tmp_path))
    real = {name: getattr(Path, name) for name in ("open", "stat", "iterdir")}

    def refuse(name):
        def call(path, *arguments, **options):
            inside = path.parent == folder or (name == "iterdir" and path == folder)
            if inside and refused in (name, "all"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real[name](path, *arguments, **options)

        return call

    refused = "all"
    for name in real:
        monkeypatch.setattr(Path, name, refuse(name))

    def only(name):
        nonlocal refused
        refused = name
        return folder

    return only


@pytest.mark.parametrize("what", ["open", "all"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_that_may_not_be_read_is_told(forbidden, what, name, tmp_path):
    path = forbidden(what) / name
    for use in (weights.verify, weights.read_weights):
        with pytest.raises(ModelError, match=rf"{name}: .*(Permission denied|safetensors file)"):
            use(path)
    out = str(tmp_path / "m.safetensors")
    assert run(["models", "import", "--sam", str(path), "--delta", str(path), "-o", out]) == 5


def test_a_home_that_may_not_be_read_is_told(forbidden, capsys):
    forbidden("all")
    assert run(["models", "list"]) == 5
    assert "models: cannot be read (Permission denied)" in capsys.readouterr().err
    with pytest.raises(ModelError, match="Permission denied"):
        find_model("mine")


def test_a_home_folder_of_nobody_is_told(monkeypatch, capsys):
    monkeypatch.setenv("CRACKGEO_HOME", "~nobody-of-this-name/x")
    for command in (["models", "list"], ["models", "verify", "mine"]):
        assert run(command) == 2
        assert "CRACKGEO_HOME=~nobody-of-this-name/x" in capsys.readouterr().err


@pytest.mark.parametrize("item", PUBLISHED, ids=lambda item: item.name)
def test_what_is_listed_but_no_model_says_how_it_becomes_one(item, tmp_path, monkeypatch):
    monkeypatch.setenv("CRACKGEO_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="not yet a model") as caught:
        load_model(item.name)
    assert f"models import --{item.kind} {item.name}" in caught.value.remedy.replace(
        "--sam NAME ", ""
    )


def test_a_pickle_with_a_name_of_bytes_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.pth")
    torch.save({"a": torch.zeros(1)}, path)
    assert weights.verify(path).kind == "weights"
