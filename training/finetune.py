"""Fine-tune a model on local labels, and tell whether that helped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import torch

from crackgeo.errors import Cancelled, UsageError
from crackgeo.files import check_output, output_errors
from crackgeo.models.devices import resolve_devices
from crackgeo.models.protocol import Segmenter
from crackgeo.monitor import SILENT, Monitor
from crackgeo.version import __version__

from .bases import (
    Base,
    load_base,
    parse_delta,
    save_compact,
    save_delta,
    start_cracksam,
    unfreeze,
)
from .chips import SUMMARY, make_chips
from .evaluate import Evaluation, evaluate
from .finetune_report import write_finetune_report
from .fit import SCORE, FitSpec, Fitted, Job, fit
from .local_calibration import recalibrated
from .local_data import AUGMENT, LocalData, LocalSamples, load_data
from .paper_data import PaperSamples
from .recipes import (
    COMPACT,
    PAPER,
    Recipe,
    anchored,
    compact_loss,
    cracksam_loss,
    optimizer,
    save_memory,
    schedule,
)
from .sheets import write_sheet

RUN_MARK = "run.json"  # a folder with it is a run of ours, which --overwrite may remove
SHEET_PICTURES = 6
FORGET_COST = 3.0  # what is lost beyond that weighs more than what is gained
FORGIVEN = 0.01  # of the 2 px F1 on replayed pictures; more counts against the local gain


@dataclass(frozen=True)
class FinetuneSpec:
    """What a user decides about a fine-tuning.

    Parameters
    ----------
    iterations : at most
    batch, accumulate : samples in a pass, passes in a step
    lr : greatest learning rate; None takes the recipe's
    unfreeze : `all`, `decoder` or `head` of `compact`
    replay_share : share of samples that are replayed, where there is a folder to replay
    epoch, patience : see `fit.FitSpec`
    recalibrate : choose outline and object rule on the local validation part
    spare_memory : recompute the encoder's blocks in the backward pass, CrackSAM only
    seed : of all chance
    """

    iterations: int = 200
    batch: int = 8
    accumulate: int = 1
    lr: float | None = None
    unfreeze: str = "all"
    replay_share: float = 0.5
    epoch: int = 25
    patience: int = 4
    recalibrate: bool = False
    spare_memory: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.replay_share < 1:
            raise UsageError(f"--replay-share must lie in [0, 1), not {self.replay_share}")
        if self.lr is not None and not self.lr > 0:
            raise UsageError(f"--lr must be positive, not {self.lr}")


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning gave.

    Parameters
    ----------
    model : the file
    report : Markdown with curves and worst cases
    best : iteration the weights are of
    iterations : made
    before, after : metrics on the local validation part (and `replay_...`), stored file
    """

    model: Path
    report: Path
    best: int
    iterations: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "model": str(self.model), "report": str(self.report)}

    def summary(self) -> str:
        """For people."""
        lines = [f"model           {self.model}", f"report          {self.report}"]
        lines.append(f"weights         of iteration {self.best} of {self.iterations}")
        for name, label in (("f1_2px", "2 px F1"), ("iou", "IoU"), ("replay_f1_2px", "replay F1")):
            if name in self.before:
                lines.append(f"{label:<16}{self.before[name]:.3f} -> {self.after[name]:.3f}")
        return "\n".join(lines)


def finetune(
    source: Path,
    output: Path,
    base_name: str = "compact",
    spec: FinetuneSpec | None = None,
    replay: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
    delta: str | None = None,
    **chip_options: Any,
) -> Finetuned:
    """Fine-tune a model on a labelled raster, or on a folder of chips or pictures.

    Parameters
    ----------
    source : what `chips.make_chips` takes, or a folder it made
    output : model file (`compact`) or delta file (CrackSAM); its run lies in `NAME.run` beside it
    base_name : `compact`, a model's name or file
    spec : how
    replay : folder with manifest.csv of pictures that must not be forgotten
    device : see `models.registry.load_model`
    resume : go on with an interrupted run
    overwrite : replace model and run
    monitor : progress in iterations; may cancel, which leaves a checkpoint
    delta : fresh deltas on the SAM weights that `base_name` names, see `bases.parse_delta`
    chip_options : see `chips.make_chips`

    Raises
    ------
    CrackgeoError
        See `make_chips`, `load_data`, `load_base`, `fit`.
    """
    spec = spec or FinetuneSpec()
    check_output(output, overwrite)
    cv2.setNumThreads(1)
    torch.manual_seed(spec.seed)
    run = _run_folder(output, resume, overwrite)
    base = load_base(base_name) if delta is None else start_cracksam(base_name, parse_delta(delta))
    data = load_data(_chips(source, run, chip_options, monitor), replay, spec.seed)
    start = _judge(base.segmenter(device), data, monitor)
    job, fit_spec = _job(base, data, spec, device, start)
    try:
        fitted = fit(job, fit_spec, run, _fingerprint(base, data, spec), monitor)
    except Cancelled as stop:
        remedy = "give the same command with --resume to go on"
        raise Cancelled(f"stopped; the checkpoint lies in {run}", remedy) from stop
    return _finish(base, data, spec, fitted, output, run, device, overwrite, monitor)


def _run_folder(output: Path, resume: bool, overwrite: bool) -> Path:
    run = output.with_suffix(".run")
    ours = (run / RUN_MARK).is_file()
    if run.exists() and not ours:
        raise UsageError(f"{run}: is in the way, and no run of crackgeo", "choose another output")
    if ours and overwrite and not resume:
        shutil.rmtree(run)
    elif ours and not resume:
        raise UsageError(f"{run}: holds a run already", "add --resume to go on, or --overwrite")
    with output_errors(run):
        run.mkdir(exist_ok=True)
        (run / RUN_MARK).write_text(json.dumps({"output": output.name}) + "\n", encoding="utf-8")
    return run


def _chips(source: Path, run: Path, options: Mapping[str, Any], monitor: Monitor) -> Path:
    """The folder to learn from; cut or taken over into the run where the source is none."""
    if (source / "manifest.csv").is_file() and options.get("labels") is None:
        return source
    chips = run / "chips"
    if not (chips / SUMMARY).is_file():
        make_chips(source, chips, monitor=monitor, **options)
    return chips


def _job(
    base: Base, data: LocalData, spec: FinetuneSpec, device: str, start: _Judgement
) -> tuple[Job, FitSpec]:
    place = resolve_devices(device)[0]
    recipe = _recipe(base, spec)
    if base.is_compact:
        unfreeze(base.network, spec.unfreeze)  # type: ignore[arg-type]
        base.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        samples: Any = LocalSamples(data, spec.replay_share, AUGMENT, spec.seed)
    else:
        samples = PaperSamples(data.train, spec.seed)
        if spec.spare_memory:
            save_memory(base.network)
    base.network.to(place)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as the paper
    steps = optimizer(base, recipe)
    job = Job(
        network=base.network,
        optimizer=steps,
        rate=schedule(recipe, spec.iterations),
        loss=compact_loss(base, recipe) if base.is_compact else cracksam_loss(base),
        samples=samples,
        before=start.metrics(start),
        validate=lambda: _judge(base.segmenter(device), data).metrics(start),
        sheet=lambda path: _sheet(path, base.segmenter(device), data),
        after_step=anchored(base, recipe, steps),
        device=place,
    )
    half = place.type == "cuda" and not base.is_compact
    bookkeeping = FitSpec(
        spec.iterations,
        spec.batch,
        spec.accumulate,
        spec.epoch,
        spec.patience,
        0.98 if base.is_compact else 0.0,
        half,
    )
    return job, bookkeeping


def _recipe(base: Base, spec: FinetuneSpec) -> Recipe:
    recipe = COMPACT if base.is_compact else PAPER
    return recipe if spec.lr is None else replace(recipe, lr=spec.lr)


@dataclass(frozen=True)
class _Judgement:
    """Scores on the local validation pictures, and on the replayed ones if there are any."""

    local: Evaluation
    replay: Evaluation | None

    def metrics(self, start: _Judgement) -> dict[str, float]:
        """Numbers to log; the score is the local gain, less what is forgotten beyond a trifle."""
        told = {name: _value(self.local, name) for name in ("f1_2px", "iou", "cliou_4px")}
        score = told["f1_2px"]
        if self.replay is not None and start.replay is not None:
            told["replay_f1_2px"] = _value(self.replay, "f1_2px")
            lost = _value(start.replay, "f1_2px") - told["replay_f1_2px"]
            score -= FORGET_COST * max(0.0, lost - FORGIVEN)
        return {SCORE: score, **told}


def _value(evaluation: Evaluation, name: str) -> float:
    return evaluation.scores[-1].metrics[name].value  # the last one pools all sets


def _judge(segmenter: Segmenter, data: LocalData, monitor: Monitor = SILENT) -> _Judgement:
    replay = evaluate(segmenter, data.replay_val, monitor=monitor) if data.replay_val else None
    return _Judgement(evaluate(segmenter, data.val, monitor=monitor), replay)


def _sheet(path: Path, segmenter: Segmenter, data: LocalData) -> None:
    shown = data.val[:SHEET_PICTURES]
    write_sheet(path, segmenter, shown, [r.image.stem for r in shown], 0.5)


def _fingerprint(base: Base, data: LocalData, spec: FinetuneSpec) -> str:
    """Stands for all that decides about the weights, with file names but without their folders."""
    pictures = [
        [(r.set, r.image.name, r.image.stat().st_size, r.mask.stat().st_size) for r in part]
        for part in (data.train, data.val, data.replay, data.replay_val)
    ]
    story = [base.info.sha256, asdict(spec), asdict(_recipe(base, spec)), asdict(AUGMENT), pictures]
    return hashlib.sha256(json.dumps(story).encode()).hexdigest()


def _finish(
    base: Base,
    data: LocalData,
    spec: FinetuneSpec,
    fitted: Fitted,
    output: Path,
    run: Path,
    device: str,
    overwrite: bool,
    monitor: Monitor,
) -> Finetuned:
    """Write the model or delta file, judge it as it is stored, and write the report."""
    before = fitted.history[0]
    said = _story(base, fitted)
    if spec.recalibrate:
        base, more = recalibrated(base, data, device, monitor)
        said |= more
    write = save_compact if base.is_compact else save_delta
    write(output, base, said, overwrite)
    stored = load_base(str(output)) if base.is_compact else base
    info = replace(stored.info, name=output.stem)
    judged = _judge(stored.segmenter(device, info), data)
    after = judged.metrics(judged)
    report = write_finetune_report(
        run, fitted, data, stored.segmenter(device, info), judged.local, before, after
    )
    return Finetuned(output, report, fitted.best, fitted.iterations, _plain(before), _plain(after))


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if k not in ("iteration", "loss", SCORE)}


def _story(base: Base, fitted: Fitted) -> dict[str, str]:
    return {
        "finetuned_from": base.info.name,
        "finetuned_from_sha256": base.info.sha256,
        "finetune_iterations": str(fitted.best),
        "version": __version__,
        "created": datetime.now(UTC).date().isoformat(),
    }
