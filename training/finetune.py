"""Fine-tune a model on local labels, and tell whether that helped."""

from __future__ import annotations

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
from crackgeo.monitor import SILENT, Monitor
from crackgeo.version import __version__

from .bases import Base, load_base, parse_delta, save_compact, save_delta, start_cracksam
from .blend import Blend, keep_what_pays
from .chips import SUMMARY, make_chips
from .finetune_report import write_finetune_report
from .fit import SCORE, Fitted, copied, fit, trained_state
from .jobs import FinetuneSpec, fingerprint, judge, training_job
from .local_calibration import recalibrated
from .local_data import LocalData, load_data

RUN_MARK = "run.json"  # a folder with it is a run of ours, which --overwrite may remove


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
    job, fit_spec = training_job(base, data, spec, device, monitor)
    mark = fingerprint(base, data, spec, fit_spec.dtype)
    start = copied(trained_state(base.network))
    try:
        fitted = fit(job, fit_spec, run, mark, monitor)
        blend = keep_what_pays(job, start, fitted) if data.replay_val else Blend()
    except Cancelled as stop:
        remedy = "give the same command with --resume to go on"
        raise Cancelled(f"stopped; the checkpoint lies in {run}", remedy) from stop
    return _finish(base, data, spec, fitted, blend, output, run, device, overwrite, monitor)


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


def _finish(
    base: Base,
    data: LocalData,
    spec: FinetuneSpec,
    fitted: Fitted,
    blend: Blend,
    output: Path,
    run: Path,
    device: str,
    overwrite: bool,
    monitor: Monitor,
) -> Finetuned:
    """Write the model or delta file, judge it as it is stored, and write the report."""
    before = fitted.history[0]
    said = _story(base, fitted, blend)
    if spec.recalibrate:
        base, more = recalibrated(base, data, device, monitor)
        said |= more
    write = save_compact if base.is_compact else save_delta
    write(output, base, said, overwrite)
    stored = load_base(str(output)) if base.is_compact else base
    info = replace(stored.info, name=output.stem)
    judged = judge(stored.segmenter(device, info), data)
    after = judged.metrics(judged)
    report = write_finetune_report(
        run, fitted, blend, data, stored.segmenter(device, info), judged.local, before, after
    )
    scores = _plain(before), _plain(after)
    return Finetuned(output, report, fitted.best, fitted.iterations, blend.share, *scores)


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
