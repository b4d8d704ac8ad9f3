import json
import os
import subprocess
from dataclasses import fields
from pathlib import Path

import click
import crackgeo_training.learning.train
import pytest
from crackgeo_training.config import load_config
from crackgeo_training.finetuning.jobs import FinetuneSpec
from crackgeo_training.labelling.blocks import ChipSpec
from pictures import DarkModel

from crackgeo import cli
from crackgeo.models import registry

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "compact.toml"


@pytest.fixture
def dark(monkeypatch):
    asked = {}

    def load(name, **options):
        asked.update(name=name, **options)
        return DarkModel()

    monkeypatch.setattr(registry, "load_model", load)
    return asked


def test_evaluate_prints_tables(data, dark, capsys):
    assert cli.run(["evaluate", "--data", str(data), "--model", "m.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "| thin | 3 | 1.000 |" in out
    assert dark == {
        "name": "m.safetensors",
        "device": "auto",
        "precision": "auto",
        "batch_size": None,
    }


def test_evaluate_gives_json_and_files(data, dark, capsys, tmp_path):
    arguments = ["--data", str(data), "--set", "wide", "--noise", "--json", "-o", str(tmp_path)]
    assert cli.run(["evaluate", *arguments, "--sheets", "1", "--threshold", "0.3"]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert {s["variant"] for s in stored["scores"]} == {"clean", "noise1", "noise2"}
    assert stored["rule"]["mask_at"] == 0.3
    names = {p.name for p in tmp_path.iterdir()}
    tables = {"scores.md", "scores.csv", "scores.json"}
    assert names == tables | {"thresholds.png", "wide_best.png", "wide_worst.png"}


def test_a_report_replaces_an_older_one_and_nothing_else(data, dark, capsys, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    arguments = ["evaluate", "--data", str(data), "--sheets", "0"]
    assert cli.run([*arguments, "-o", str(out)]) == 0
    before = (out / "scores.json").read_bytes()
    assert cli.run([*arguments, "--set", "wide", "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (out / "scores.json").read_bytes() == before
    assert cli.run([*arguments, "--set", "wide", "-o", str(out), "--overwrite"]) == 0
    assert (out / "scores.json").read_bytes() != before
    other.mkdir()
    (other / "photo.jpg").touch()
    assert cli.run([*arguments, "-o", str(other), "--overwrite"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert cli.run([*arguments, "-o", str(data.parent), "--overwrite"]) == 2
    assert "is read by this run" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]


def test_the_blur_sweep_is_plotted(data, dark, capsys, tmp_path):
    arguments = ["--data", str(data), "--set", "wide", "--blur-sweep", "-o", str(tmp_path)]
    assert cli.run(["evaluate", *arguments, "--sheets", "0", "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)["scores"]
    assert [s["variant"] for s in stored] == ["clean", *(f"blur{n}" for n in range(5, 30, 4))]
    assert {"thresholds.png", "blur.png"} <= {p.name for p in tmp_path.iterdir()}


def test_evaluate_says_what_is_wrong(data, dark, capsys, tmp_path):
    assert cli.run(["evaluate", "--data", str(tmp_path)]) == 3
    assert "manifest.csv" in capsys.readouterr().err
    assert cli.run(["evaluate", "--data", str(data), "--set", "moon"]) == 3
    assert "there are: thin, wide" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "spec", "names"),
    [
        ("finetune", FinetuneSpec, {f.name: f.name for f in fields(FinetuneSpec)}),
        ("chips", ChipSpec, {"chip_px": "size_px", "val_share": "val_share"}),
    ],
)
def test_the_commands_have_the_defaults_of_what_they_call(command, spec, names):
    found = cli.cli.get_command(click.Context(cli.cli), command)
    options = {p.name: p.default for p in found.params}
    defaults = {f.name: f.default for f in fields(spec)}
    compared = [option for option, name in names.items() if option in options and defaults[name]]
    assert len(compared) >= 2
    for option in compared:
        assert options[option] == defaults[names[option]], option


def test_without_the_training_extra(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "crackgeo_training.scoring.evaluate", None)
    monkeypatch.setitem(__import__("sys").modules, "crackgeo_training.config", None)
    for command in (["evaluate", "--data", "d"], ["train", "c", "--data", "d", "-o", "o"]):
        assert cli.run(command) == 2
        assert "crackgeo[train]" in capsys.readouterr().err


def test_train_hands_over_and_reports(monkeypatch, capsys, tmp_path):
    seen = []

    def train(config, data, out, report, monitor, start, device):
        report("iteration 1")
        monitor.step("train", 1, 2)
        seen.append((config.train.seed, data, out, device))
        return out / "checkpoint.pt"

    monkeypatch.setattr(crackgeo_training.learning.train, "train", train)
    asked = ["train", str(CONFIG), "--data", str(tmp_path), "-o", str(tmp_path / "o"), "--json"]
    assert cli.run(asked) == 0
    assert json.loads(capsys.readouterr().out) == {"checkpoint": str(tmp_path / "o/checkpoint.pt")}
    assert cli.run([*asked, "--seed", "5"]) == 0
    seeds = (load_config(CONFIG).train.seed, 5)
    assert seen == [(seed, tmp_path, tmp_path / "o", "auto") for seed in seeds]


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_the_script_of_the_shipped_model_starts_runs_from_earlier_ones(tmp_path):
    said = tmp_path / "said"
    (tmp_path / "bin").mkdir()
    for name in ("crackgeo", "python"):
        program = tmp_path / "bin" / name
        program.write_text(
            f'#!/bin/sh\necho {name} "$@" >> "{said}"\n[ "$3" != -o ] || mkdir -p "$4"\n'
        )
        program.chmod(0o755)
    script = Path(__file__).parents[2] / "training/make_compact.sh"
    found = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    subprocess.run(["sh", script, tmp_path / "data", tmp_path / "work"], env=found, check=True)

    known = set()
    for line in said.read_text().splitlines():
        words = line.split()
        if "train" in words:
            assert Path(words[2]).is_file()
            assert {
                words[i + 1] for i, word in enumerate(words) if word in ("--start", "--teacher")
            } <= known
            known.add(words[words.index("-o") + 1] + "/checkpoint.pt")
    assert {word for word in words if word.endswith("checkpoint.pt")} <= known
    configs = {path.stem for path in (script.parent / "configs").glob("*.toml")}
    assert len(known) == len(configs - {"paper"})
