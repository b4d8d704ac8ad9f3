"""Fine-tune a model on local labels, and tell whether that helped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import torch

from crackgeo.errors import Cancelled, UsageError
from crackgeo.files import MODEL, check_names, check_output, output_errors
from crackgeo.models.sam import CrackSam
from crackgeo.models.weights import resolve
from crackgeo.monitor import SILENT, Monitor
from crackgeo.version import __version__

from ..labelling.chips import check_chips, make_chips
from ..labelling.folders import check_apart, filled_folder
from .bases import Base, load_base, parse_delta, save_compact, save_delta, start_cracksam
from .blend import Blend, keep_what_pays
from .finetune_report import write_finetune_report
from .fit import CHECKPOINT, SCORE, Fitted, copied, fit, trained_state
from .jobs import FinetuneSpec, fingerprint, judge, training_job
from .local_calibration import recalibrated
from .local_data import LocalData, load_data

RUN_MARK = "run.json"  # a folder with it is a run of ours, which --overwrite may remove
CHIPS = "chips"  # folder of a run; made where the source holds none
COMPACT_ONLY = ("unfreeze", "replay_share", "recalibrate")  # of what a user decides


@dataclass(frozen=True)
class _Run:
    """Where a fine-tuning is written, and where it is computed."""

    output: Path
    device: str
    overwrite: bool
    monitor: Monitor

    @property
    def folder(self) -> Path:
        """Of chips, checkpoint and report."""
        return self.output.with_suffix(".run")


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning gave.

    Parameters
    ----------
    model : the file
    report : Markdown with curves and worst cases
    best : iteration the weights are of
    iterations : made
    share : of the change after all iterations, where a part was better than any whole; else None
    before, after : metrics on the local validation part (and `replay_...`), stored file
    """

    model: Path
    report: Path
    best: int
    iterations: int
    share: float | None
    before: Mapping[str, float]
    after: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "model": str(self.model), "report": str(self.report)}

    def summary(self) -> str:
        """For people."""
        lines = [f"model           {self.model}", f"report          {self.report}"]
        if self.share is None:
            lines.append(f"weights         of iteration {self.best} of {self.iterations}")
        else:
            lines.append(
                f"weights         {self.share:.0%} of the change after {self.iterations} iterations"
            )
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
    source : what `labelling.chips.make_chips` takes, or a folder it made
    output : model file (`compact`) or delta file (CrackSAM); its run lies in `NAME.run` beside it
    base_name : `compact`, a model's name or file
    spec : how
    replay : folder with manifest.csv of pictures that must not be forgotten
    device : see `models.registry.load_model`
    resume : go on with an interrupted run
    overwrite : replace model and run; the old ones stay until all that is read has been found good
    monitor : progress in iterations; may cancel, which leaves a checkpoint
    delta : fresh deltas on the SAM weights that `base_name` names, see `bases.parse_delta`
    chip_options : see `labelling.chips.make_chips`

    Raises
    ------
    CrackgeoError
        See `make_chips`, `load_data`, `load_base`, `fit`.
    UsageError
        An input lies where the run or the model is to be written; a run lies there already; an
        option works on `compact` only.
    """
    spec = spec or FinetuneSpec()
    run = _Run(output, device, overwrite, monitor)
    check_names([(output, MODEL)], [])
    check_output(output, overwrite)
    goes_on = _goes_on(run, resume)
    vectors = [chip_options.get(name) for name in ("labels", "area")]
    check_apart([output, run.folder], [source, replay, resolve(base_name), *vectors])
    cv2.setNumThreads(1)
    torch.manual_seed(spec.seed)
    base = load_base(base_name) if delta is None else start_cracksam(base_name, parse_delta(delta))
    _check_options(base, spec, replay)
    data = _local_data(run, goes_on, source, replay, spec.seed, chip_options)
    job, fit_spec = training_job(base, data, spec, device, monitor)
    mark = fingerprint(base, data, spec, fit_spec.dtype)
    start = copied(trained_state(base.network))
    try:
        fitted = fit(job, fit_spec, run.folder, mark, monitor)
        blend = keep_what_pays(job, start, fitted, spec.chosen_by)
    except Cancelled as stop:
        remedy = "give the same command with --resume to go on"
        raise Cancelled(f"stopped; the checkpoint lies in {run.folder}", remedy) from stop
    return _finish(run, base, data, spec, fitted, blend)


def _goes_on(run: _Run, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from; what a run without one left is not kept."""
    folder = run.folder
    if folder.exists() and not (folder / RUN_MARK).is_file():
        raise UsageError(
            f"{folder}: is in the way, and no run of crackgeo", "choose another output"
        )
    begun = (folder / CHECKPOINT).is_file()
    if begun and not resume and not run.overwrite:
        raise UsageError(f"{folder}: holds a run already", "add --resume to go on, or --overwrite")
    return begun and resume


def _check_options(base: Base, spec: FinetuneSpec, replay: Path | None) -> None:
    """Refuse what would be left undone on this base."""
    if spec.spare_memory and not isinstance(base.network, CrackSam):
        raise UsageError(
            f"--spare-memory: works on CrackSAM only, not on {base.info.name}", "leave it out"
        )
    asked = [name for name in COMPACT_ONLY if getattr(spec, name) != getattr(FinetuneSpec, name)]
    asked += [] if replay is None else ["replay"]
    if asked and not base.is_compact:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise UsageError(f"{names}: works on compact only, not on {base.info.name}", "leave it out")


def _local_data(
    run: _Run,
    goes_on: bool,
    source: Path,
    replay: Path | None,
    seed: int,
    options: Mapping[str, Any],
) -> LocalData:
    """What to learn from: the source, or the chips that the run has made of it."""
    cut = options.get("labels") is not None or not (source / "manifest.csv").is_file()
    chips = run.folder / CHIPS if cut else source
    if not goes_on:
        _begin(run, source, replay, seed, options if cut else None)
    elif cut:
        check_chips(chips, source, **options)
    return load_data(chips, replay, seed)


def _begin(
    run: _Run, source: Path, replay: Path | None, seed: int, cutting: Mapping[str, Any] | None
) -> None:
    """Make the folder of the run, with chips of its own where `cutting` says how.

    Nothing is left of it, and an older one stays, unless there is something to learn from.
    """
    with filled_folder(run.folder) as part:
        if cutting is not None:
            make_chips(source, part / CHIPS, monitor=run.monitor, **cutting)
        load_data(source if cutting is None else part / CHIPS, replay, seed, called=source)
        with output_errors(run.folder):
            mark = json.dumps({"output": run.output.name})
            (part / RUN_MARK).write_text(mark + "\n", encoding="utf-8")


def _finish(
    run: _Run, base: Base, data: LocalData, spec: FinetuneSpec, fitted: Fitted, blend: Blend
) -> Finetuned:
    """Write the model or delta file, judge it as it is stored, and write the report."""
    before = fitted.history[0]
    said = _story(base, fitted, blend)
    if spec.recalibrate:
        base, more = recalibrated(base, data, run.device, run.monitor)
        said |= more
    write = save_compact if base.is_compact else save_delta
    write(run.output, base, said, run.overwrite)
    stored = load_base(str(run.output)) if base.is_compact else base
    segmenter = stored.segmenter(run.device, replace(stored.info, name=run.output.stem))
    judged = judge(segmenter, data)
    after = judged.metrics(judged)
    report = write_finetune_report(
        run.folder, fitted, blend, data, segmenter, judged.local, before, after
    )
    scores = _plain(before), _plain(after)
    return Finetuned(run.output, report, fitted.best, fitted.iterations, blend.share, *scores)


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if k not in ("iteration", "loss", SCORE)}


def _story(base: Base, fitted: Fitted, blend: Blend) -> dict[str, str]:
    iterations = fitted.best if blend.share is None else fitted.iterations
    return {
        "finetuned_from": base.info.name,
        "finetuned_from_sha256": base.info.sha256,
        "finetune_iterations": str(iterations),
        "finetune_share": f"{blend.share or 1.0:g}",
        "version": __version__,
        "created": datetime.now(UTC).date().isoformat(),
    }
