"""Fine-tuning from labels to a model file, on pictures of a few pixels."""

import csv
import json
import shutil
import stat
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from crackgeo_training.finetuning import finetune as module
from crackgeo_training.finetuning import finetune_report, jobs, local_calibration
from crackgeo_training.finetuning.bases import (
    Base,
    load_base,
    parse_delta,
    save_delta,
    start_cracksam,
)
from crackgeo_training.finetuning.finetune import FinetuneSpec, finetune
from crackgeo_training.finetuning.fit import trained_state
from crackgeo_training.finetuning.jobs import training_dtype
from crackgeo_training.finetuning.local_data import load_data
from crackgeo_training.labelling.blocks import ChipSpec
from crackgeo_training.pictures.pairs import write_picture
from crackgeo_training.pictures.records import read_manifest
from crackgeo_training.scoring.evaluate import evaluate
from pictures import DarkModel, write_folder
from safetensors.torch import save_file
from survey import grid_of_lines, write_lines, write_polygons, write_raster
from test_models_cracksam import TINY

from crackgeo import cli
from crackgeo.errors import Cancelled, InputError, ModelError, UsageError
from crackgeo.models import devices
from crackgeo.models.checkpoint import model_metadata
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.importing import import_model
from crackgeo.models.modelfile import read_metadata, read_tensors, save_model
from crackgeo.models.protocol import ModelInfo
from crackgeo.models.registry import load_model
from crackgeo.models.runtime import Scaling
from crackgeo.models.sam import build_cracksam
from crackgeo.models.weights import verify
from crackgeo.monitor import Monitor
from crackgeo.specs import BandSpec

SPEC = FinetuneSpec(iterations=2, batch=2, epoch=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two pictures to learn from and two to validate on."""
    return write_folder(tmp_path_factory.mktemp("data"), per_set=1)


@pytest.fixture
def small(monkeypatch):
    """Crops of a few pixels, and samples without a process of their own."""
    monkeypatch.setattr(jobs, "AUGMENT", replace(jobs.AUGMENT, crop_px=64))
    monkeypatch.setattr(jobs, "FitSpec", partial(jobs.FitSpec, workers=0))


@pytest.fixture
def quick(small, monkeypatch):
    """Judged by a model that takes no time, each time a little better; without sheets."""
    score = count(1)
    judge = jobs.Judgement.metrics

    def rising(self, start, chosen_by="f1_2px"):
        return judge(self, start, chosen_by) | {"score": float(next(score))}

    monkeypatch.setattr(Base, "segmenter", lambda *_: DarkModel())
    monkeypatch.setattr(jobs.Judgement, "metrics", rising)
    monkeypatch.setattr(jobs, "write_sheet", lambda *_: None)
    monkeypatch.setattr(finetune_report, "write_extremes", lambda *_: [])


def stop_at(iteration):
    done = []
    return Monitor(
        lambda stage, *_: done.append(1) if stage == "finetune" else None,
        is_cancelled=lambda: len(done) >= iteration,
    )


def test_the_command_makes_a_model_that_loads(small, data, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    arguments = ["finetune", "--data", str(data), "-o", str(out), "--replay", str(data)]
    code = cli.run([*arguments, "--iterations", "1", "--epoch", "1", "--batch", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert set(told["before"]) == {"f1_2px", "iou", "cliou_4px", "replay_f1_2px"}
    assert told["iterations"] == 1
    said = read_metadata(out)
    base = load_base("compact")
    assert said["finetuned_from_sha256"] == base.info.sha256
    assert said["threshold"] == base.info.metadata["threshold"]
    assert said["name"] == "mine"
    assert "scores" not in said
    assert said["finetune_share"] == f"{told['share'] or 1:g}"
    assert load_model(out).info.min_length_px == base.info.min_length_px
    run = tmp_path / "mine.run"
    report = (run / "report.md").read_text()
    assert "2 px F1, local" in report
    with (run / "log.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    best = {name: max(float(row[name]) for row in rows) for name in ("score", "f1_2px")}
    gave_up = best["f1_2px"] > best["score"]
    assert ("| 0.25 |" in report) == gave_up  # then a quarter of the change was tried
    assert {"curves.png", "log.csv", "checkpoint.pt", "thin_worst.png"} <= {
        p.name for p in run.iterdir()
    }
    assert len(list((run / "sheets").iterdir())) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_interrupted_run_goes_on_to_the_same_file(quick, data, tmp_path, precision):
    whole = tmp_path / "whole.safetensors"
    spec = replace(SPEC, precision=precision)
    finetune(data, whole, spec=spec)
    parts = tmp_path / "parts.safetensors"
    with pytest.raises(Cancelled, match="checkpoint lies in") as caught:
        finetune(data, parts, spec=spec, monitor=stop_at(1))
    assert "--resume" in caught.value.remedy
    assert not parts.exists()
    with pytest.raises(UsageError, match="holds a run already"):
        finetune(data, parts, spec=spec)
    other = replace(spec, precision={"fp32": "bf16", "bf16": "fp32"}[precision])
    with pytest.raises(UsageError, match="other data or options"):
        finetune(data, parts, spec=other, resume=True)
    finetune(data, parts, spec=spec, resume=True)
    one, two = read_tensors(whole), read_tensors(parts)
    assert all(torch.equal(one[name], two[name]) for name in one)
    ends = [torch.load(tmp_path / f"{n}.run" / "checkpoint.pt") for n in ("whole", "parts")]
    for name, value in ends[0]["trained"].items():
        assert torch.equal(value, ends[1]["trained"][name])


def test_a_run_stops_within_a_judgement_and_goes_on(quick, data, tmp_path):
    out = tmp_path / "m.safetensors"
    spec = replace(SPEC, iterations=1, epoch=1)
    asked = []  # thrice at the first judgement, once at the step, then at the second judgement
    stop = Monitor(is_cancelled=lambda: asked.append(1) or len(asked) > 5)
    with pytest.raises(Cancelled, match="checkpoint lies in"):
        finetune(data, out, spec=spec, monitor=stop)
    assert torch.load(tmp_path / "m.run" / "checkpoint.pt")["iteration"] == 1
    finetune(data, out, spec=spec, resume=True)
    whole = tmp_path / "whole.safetensors"
    finetune(data, whole, spec=spec)
    one, two = read_tensors(out), read_tensors(whole)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_data_without_cracks_is_refused(tmp_path, data):
    with (data / "manifest.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "train"]
    with (tmp_path / "manifest.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, ["split", "set", "image", "mask"])
        table.writeheader()
        for row in rows:
            table.writerow(row | {k: str(data / row[k]) for k in ("image", "mask")})
    with pytest.raises(InputError, match="no crack in any picture of val"):
        finetune(tmp_path, tmp_path / "m.safetensors", spec=SPEC)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("role", ["data", "replay", "base", "labels", "area"])
def test_what_is_read_is_not_written_over(quick, data, tmp_path, role):
    out = tmp_path / "own.safetensors"
    finetune(data, out, spec=SPEC)
    inside = tmp_path / "own.run" / role
    if role in ("data", "replay"):
        shutil.copytree(data, inside)
    elif role == "base":
        inside = out
    else:
        inside.write_text("a vector file")
    before = contents(tmp_path)
    arguments = ["finetune", "--data", str(data), "-o", str(out), "--overwrite"]
    assert cli.run([*arguments, f"--{role}", str(inside)]) == 2
    assert contents(tmp_path) == before


def test_an_old_run_stays_until_what_is_read_is_good(quick, data, tmp_path):
    out = tmp_path / "own.safetensors"
    finetune(data, out, spec=SPEC)
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    again = partial(finetune, output=out, spec=SPEC, overwrite=True)
    with pytest.raises(ModelError):
        again(data, base_name="moon")
    with pytest.raises(InputError, match="no folder of images"):
        again(tmp_path / "empty")
    with pytest.raises(InputError, match="no such manifest"):
        again(data, replay=tmp_path / "empty")
    assert contents(tmp_path) == before
    again(data)


def test_after_a_run_that_never_began_the_command_is_given_again(quick, data, tmp_path):
    out = tmp_path / "own.safetensors"
    (tmp_path / "in" / "images").mkdir(parents=True)
    (tmp_path / "in" / "masks").mkdir()
    with pytest.raises(InputError):
        finetune(tmp_path / "in", out, spec=SPEC)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    for record in read_manifest(data / "manifest.csv"):
        shutil.copy(record.image, tmp_path / "in" / "images" / record.image.name)
        shutil.copy(record.mask, tmp_path / "in" / "masks" / record.image.name)
    with pytest.raises(UsageError, match="--device abacus"):
        finetune(tmp_path / "in", out, spec=SPEC, device="abacus")
    finetune(tmp_path / "in", out, spec=SPEC)
    assert out.exists()


def test_a_folder_without_a_crack_to_judge_on_is_called_by_its_name(data, tmp_path):
    record = read_manifest(data / "manifest.csv")[0]
    for kind, path in (("images", record.image), ("masks", record.mask)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        shutil.copy(path, tmp_path / "in" / kind / "a.png")
    with pytest.raises(InputError, match="in: no crack in any picture of val") as caught:
        finetune(tmp_path / "in", tmp_path / "own.safetensors", spec=SPEC)
    assert "part-" not in caught.value.message
    assert "--chip-px" not in caught.value.remedy


def test_a_run_does_not_go_on_with_other_labels(quick, tmp_path):
    lines = grid_of_lines()
    survey = write_raster(tmp_path / "survey.tif", lines)
    widths = {"width_mm": [10.0] * len(lines)}
    labels = write_lines(tmp_path / "labels.gpkg", lines, **widths)
    other = write_lines(tmp_path / "other.gpkg", lines[1:], width_mm=[10.0] * (len(lines) - 1))
    whole = write_polygons(tmp_path / "whole.gpkg", [[(0, 0), (900, 0), (900, 700), (0, 700)]])
    half = write_polygons(tmp_path / "half.gpkg", [[(0, 0), (900, 0), (900, 400), (0, 400)]])
    spec = ChipSpec(size_px=112, gap_px=24)
    given = {"output": tmp_path / "m.safetensors", "spec": SPEC, "chip_spec": spec}
    with pytest.raises(Cancelled):
        finetune(survey, monitor=stop_at(1), labels=labels, area=whole, **given)
    chips = contents(tmp_path / "m.run" / "chips")
    go_on = partial(finetune, survey, resume=True, **given)
    for change in (
        {"labels": other, "area": whole},
        {"labels": labels, "area": half},
        {"labels": labels, "area": whole, "bands": BandSpec((1,))},
    ):
        with pytest.raises(UsageError, match="other labels or pictures") as caught:
            go_on(**change)
        assert "--overwrite" in caught.value.remedy
    assert contents(tmp_path / "m.run" / "chips") == chips
    same = labels.rename(tmp_path / "exported_4711.gpkg")  # as QGIS hands a filtered layer over
    go_on(labels=same, area=whole)


def test_a_run_does_not_go_on_with_more_pictures(quick, tmp_path, data):
    records = read_manifest(data / "manifest.csv")
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)

    def add(record):
        shutil.copy(record.image, tmp_path / "in" / "images" / record.image.name)
        shutil.copy(record.mask, tmp_path / "in" / "masks" / record.image.name)

    for record in records[1:]:
        add(record)
    out = tmp_path / "m.safetensors"
    with pytest.raises(Cancelled):
        finetune(tmp_path / "in", out, spec=SPEC, monitor=stop_at(1))
    mask = tmp_path / "in" / "masks" / records[1].image.name
    before = mask.read_bytes()
    mask.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # as long as it was
    with pytest.raises(UsageError, match="other labels or pictures"):
        finetune(tmp_path / "in", out, spec=SPEC, resume=True)
    mask.write_bytes(before)
    add(records[0])
    with pytest.raises(UsageError, match="other labels or pictures"):
        finetune(tmp_path / "in", out, spec=SPEC, resume=True)
    shutil.rmtree(tmp_path / "m.run" / "chips")
    with pytest.raises(InputError, match=r"chips\.json: cannot be read"):
        finetune(tmp_path / "in", out, spec=SPEC, resume=True)


def test_a_finished_run_may_be_calibrated_later(quick, data, tmp_path, monkeypatch):
    monkeypatch.setattr(local_calibration, "DRAWN", 1)
    out = tmp_path / "m.safetensors"
    finetune(data, out, spec=SPEC)
    assert "calibration" not in read_metadata(out)
    again = replace(SPEC, recalibrate=True)
    made = finetune(data, out, spec=again, resume=True, overwrite=True)
    assert made.iterations == SPEC.iterations
    assert "calibration" in read_metadata(out)


def test_a_judgement_keeps_its_cracks(tmp_path):
    """Three cracks among two hundred pictures would mostly be cut off with the rest."""
    image = np.full((8, 8, 3), 170, np.uint8)
    write_picture(tmp_path / "i.png", image)
    for name, crack in (("crack", 255), ("none", 0)):
        write_picture(tmp_path / f"{name}.png", np.full((8, 8), crack, np.uint8))

    def judged(masks):
        rows = [("train", "crack"), *(("val", mask) for mask in masks)]
        lines = [f"{split},own,i.png,{mask}.png" for split, mask in rows]
        (tmp_path / "manifest.csv").write_text("\n".join(["split,set,image,mask", *lines]))
        return [r.mask.stem for r in load_data(tmp_path).val]

    found = judged(["crack"] * 3 + ["none"] * 200)
    assert (found.count("crack"), found.count("none")) == (3, 37)
    found = judged(["crack"] * 150 + ["none"] * 50)
    assert (found.count("crack"), found.count("none")) == (30, 10)  # as it is among all
    found = judged(["crack"] * 100 + ["none"] * 200)
    assert (found.count("crack"), found.count("none")) == (20, 20)
    assert judged(["crack", "none"]) == ["crack", "none"]


def test_sources_and_outputs_that_make_no_sense(tmp_path, data, capsys):
    out = str(tmp_path / "m.safetensors")
    assert cli.run(["finetune", "-o", out]) == 2
    assert cli.run(["finetune", "a.tif", "--data", str(data), "-o", out]) == 2
    (tmp_path / "m.run").mkdir()
    assert cli.run(["finetune", "--data", str(data), "-o", out]) == 2
    assert "no run of crackgeo" in capsys.readouterr().err
    missing = str(tmp_path / "no" / "m.safetensors")
    assert cli.run(["finetune", "--data", str(data), "-o", missing]) == 4
    assert cli.run(["finetune", "--data", str(data), "-o", out, "--base", "moon"]) == 2


def tiny_base(delta):
    torch.manual_seed(8)
    network = build_cracksam(TINY, delta)
    return Base(network, ModelInfo("tiny", "0" * 64), Scaling(1 / 255, 0.0))


def use(monkeypatch, base):
    """Let every base be this one."""
    monkeypatch.setattr(module, "load_base", lambda name: base)


@pytest.mark.parametrize(
    "option", [{"unfreeze": "head"}, {"replay_share": 0.2}, {"recalibrate": True}, {"replay": True}]
)
def test_what_works_on_compact_only_is_refused_at_once(data, tmp_path, monkeypatch, option):
    use(monkeypatch, tiny_base(DeltaSpec("qv", 2)))
    [name] = option
    replay = data if option.pop("replay", False) else None
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: works on compact only"):
        finetune(data, tmp_path / "d.safetensors", spec=replace(SPEC, **option), replay=replay)
    assert list(tmp_path.iterdir()) == []


def test_what_works_on_cracksam_only_is_refused_at_once(data, tmp_path):
    with pytest.raises(UsageError, match="--spare-memory: works on CrackSAM only, not on compact"):
        finetune(data, tmp_path / "m.safetensors", spec=replace(SPEC, spare_memory=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spare_memory", [False, True])
def test_cracksam_learns_its_delta_and_head_alone(quick, data, tmp_path, monkeypatch, spare_memory):
    base = tiny_base(DeltaSpec("qv", 2, adapter_dim=4, adapter_scale=0.3))
    frozen = {n: p.clone() for n, p in base.network.named_parameters() if not p.requires_grad}
    learning = {k: v.clone() for k, v in trained_state(base.network).items()}
    out = tmp_path / "delta.safetensors"
    spec = replace(SPEC, lr=0.05, iterations=4, epoch=4, spare_memory=spare_memory)
    use(monkeypatch, base)
    finetune(data, out, spec=spec)
    now = dict(base.network.named_parameters())
    assert all(torch.equal(now[name], before) for name, before in frozen.items())
    last = torch.load(tmp_path / "delta.run" / "checkpoint.pt")["trained"]
    assert set(last) == set(learning)
    moved = {name for name in learning if not torch.equal(last[name], learning[name])}
    assert {n for n in learning if ".lora_b" in n or ".adapter.up" in n} <= moved
    assert "mask_decoder.mask_tokens.weight" in moved
    assert set(read_tensors(out)).isdisjoint(frozen)


def test_a_delta_loads_back_through_import(quick, data, tmp_path, monkeypatch):
    base = tiny_base(DeltaSpec("qv", 2, adapter_dim=4, adapter_scale=0.3))
    state = base.network.state_dict()
    learned = {n for n, p in base.network.named_parameters() if p.requires_grad}
    save_file({n: t for n, t in state.items() if n not in learned}, tmp_path / "sam.safetensors")
    out = tmp_path / "delta.safetensors"
    use(monkeypatch, base)
    finetune(data, out, spec=SPEC)
    whole = tmp_path / "whole.safetensors"
    import_model(tmp_path / "sam.safetensors", out, whole)
    assert out.stat().st_mode & stat.S_IRGRP  # others of the office may use it, too
    assert read_metadata(whole)["adapter_scale"] == "0.3"
    again = load_base(str(whole))
    images = torch.rand(1, 3, 448, 448)
    base.network.eval(), again.network.eval()
    with torch.no_grad():
        torch.testing.assert_close(again.network(images), base.network(images))
    assert {n for n, p in again.network.named_parameters() if p.requires_grad} == learned


def test_a_delta_is_used_as_its_base_was_and_as_it_was_judged(small, data, tmp_path):
    """From model file to model file, judged by the networks themselves."""
    base = tiny_base(DeltaSpec("qv", 2))
    used = {"temperature": "1.7", "threshold": "0.6", "threshold_low": "0.3"}
    used |= {"min_length_px": "33", "width_error_px": "0.4", "width_error_share": "0.05"}
    state = base.network.state_dict()
    told = {**model_metadata(base.network), "name": "tiny", **used, "scores": "of the base"}
    save_model(tmp_path / "base.safetensors", state, told)
    delta, name = tmp_path / "delta.safetensors", str(tmp_path / "base.safetensors")
    made = finetune(data, delta, name, replace(SPEC, iterations=1, epoch=1, lr=0.01), device="cpu")
    learned = {n for n, p in base.network.named_parameters() if p.requires_grad}
    save_file({n: t for n, t in state.items() if n not in learned}, tmp_path / "sam.safetensors")
    whole = tmp_path / "whole.safetensors"
    said = import_model(tmp_path / "sam.safetensors", delta, whole)
    assert used.items() <= said.items()
    assert "scores" not in said
    assert (load_base(str(whole)).scaling.temperature, load_model(whole).info.threshold) == (
        1.7,
        0.6,
    )
    model = load_model(whole, device="cpu", precision="fp32")
    scores = evaluate(model, load_data(data).val).scores[-1].metrics
    assert {name: scores[name].value for name in made.after} == pytest.approx(made.after, abs=1e-6)


def test_a_delta_says_which_sam_it_needs_and_on_which_terms(quick, data, tmp_path, monkeypatch):
    base = tiny_base(DeltaSpec("qv", 2))
    origin = {"sam_file": "road.pth", "sam_sha256": "0" * 64, "licence": "for tests only"}
    origin |= {"delta_file": "first.pth", "delta_sha256": "1" * 64}
    told = origin | {"scores": "of the base"}
    use(monkeypatch, replace(base, info=replace(base.info, metadata=told)))
    out = tmp_path / "delta.safetensors"
    finetune(data, out, spec=replace(SPEC, iterations=1, epoch=1))
    said = read_metadata(out)
    assert origin.items() <= said.items()
    assert said["vit"] == model_metadata(base.network)["vit"]
    assert "scores" not in said
    assert verify(out).kind == "delta"


def test_fresh_deltas_say_which_sam_they_need(tmp_path):
    save_file(build_cracksam(TINY).state_dict(), tmp_path / "sam.safetensors")
    base = start_cracksam(str(tmp_path / "sam.safetensors"), DeltaSpec("q", 2))
    save_delta(tmp_path / "delta.safetensors", base, {}, overwrite=False)
    warned = []
    monitor = Monitor(on_warning=warned.append)
    files = tmp_path / "sam.safetensors", tmp_path / "delta.safetensors"
    import_model(*files, tmp_path / "one.safetensors", monitor=monitor)
    assert warned == []
    save_file(build_cracksam(TINY).state_dict(), tmp_path / "sam.safetensors")
    import_model(*files, tmp_path / "two.safetensors", monitor=monitor)
    assert len(warned) == 1
    assert "was trained on other weights of SAM" in warned[0]


def test_the_loss_of_cracksam_falls(quick, data, tmp_path, monkeypatch):
    base = tiny_base(DeltaSpec("qv", 2))
    spec = FinetuneSpec(iterations=12, batch=2, epoch=6, lr=0.01)
    monkeypatch.setattr(jobs, "PAPER", replace(jobs.PAPER, warmup=1))
    use(monkeypatch, base)
    finetune(data, tmp_path / "d.safetensors", spec=spec)
    with (tmp_path / "d.run" / "log.csv").open(newline="") as lines:
        losses = [float(row["loss"]) for row in csv.DictReader(lines)]
    assert losses[2] < 0.95 * losses[1]


def test_fresh_deltas_begin_on_sams_own_weights(quick, data, tmp_path):
    sam = build_cracksam(TINY)
    save_file(sam.state_dict(), tmp_path / "sam.safetensors")
    out = tmp_path / "delta.safetensors"
    name = str(tmp_path / "sam.safetensors")
    finetune(data, out, name, replace(SPEC, iterations=1, epoch=1), delta="lora=qk:2,adapter=3")
    stored = read_tensors(out)
    lora = {n.rsplit(".", 1)[1] for n in stored if ".lora_a." in n}
    assert lora == {"q", "k"}
    assert read_metadata(out)["adapter_dim"] == "3"
    with pytest.raises(ModelError, match="not a crackgeo model"):
        load_model(out)


def test_a_run_does_not_go_on_with_another_delta(quick, data, tmp_path):
    save_file(build_cracksam(TINY).state_dict(), tmp_path / "sam.safetensors")
    out, name = tmp_path / "delta.safetensors", str(tmp_path / "sam.safetensors")
    with pytest.raises(Cancelled):
        finetune(data, out, name, SPEC, monitor=stop_at(1), delta="lora=qv:2")
    with pytest.raises(UsageError, match="other data or options"):
        finetune(data, out, name, SPEC, resume=True, delta="lora=qk:2")


def test_precision_follows_base_and_device(monkeypatch):
    cpu, card = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    assert training_dtype("auto", cpu, True) is torch.bfloat16
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    assert training_dtype("auto", cpu, True) is torch.float32
    assert training_dtype("bf16", cpu, True) is torch.bfloat16
    assert training_dtype("auto", card, False) is torch.float16  # as in the paper
    assert training_dtype("auto", card, True) is torch.float32
    with pytest.raises(UsageError, match="fp16"):
        training_dtype("fp16", cpu, False)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("head", DeltaSpec()),
        ("lora=qv:4", DeltaSpec("qv", 4)),
        ("adapter=32,scale=0.1", DeltaSpec(adapter_dim=32, adapter_scale=0.1)),
        ("lora=qkvo:8,adapter=16", DeltaSpec("qkvo", 8, 16)),
    ],
)
def test_deltas_are_said_in_words(text, spec):
    assert parse_delta(text) == spec


@pytest.mark.parametrize("text", ["lora", "lora=qv", "adapter=wide", "magic=3", "lora=xy:2"])
def test_deltas_that_mean_nothing(text):
    with pytest.raises(UsageError):
        parse_delta(text)
