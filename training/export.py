"""From a checkpoint to the model file that crackgeo ships: calibrated, scored, documented.

python -m crackgeo_training.export CHECKPOINT... --data DIR -o compact.safetensors --card CARD.md

The weights of several checkpoints are averaged (Wortsman et al., ICML 2022): runs that began with
the same weights and saw other samples stay close enough for it, and the average costs no more.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from torch import Tensor

from crackgeo.cli.console import Console
from crackgeo.errors import CrackgeoError, InputError, ModelError
from crackgeo.files import check_output
from crackgeo.models.compact import OUTLINE_AT, has_outline, without_outline
from crackgeo.models.modelfile import save_model
from crackgeo.models.registry import load_model
from crackgeo.monitor import SILENT, Monitor
from crackgeo.version import __version__

from .learning.averaging import mean_weights
from .learning.checkpoints import StateDict, read_state
from .pictures.data import crack_free
from .pictures.records import read_licences, read_manifest
from .scoring.calibrate import Calibration, MaskFit, calibrate, fit_masks
from .scoring.card import fill_card
from .scoring.evaluate import Evaluation, evaluate, find_records
from .scoring.noise import VARIANTS
from .scoring.report import to_dict
from .scoring.stored import calibration_metadata, fitted

NORMALISATION = "minus-one-to-one"
NEGATIVE_SETS = ("brazil_negatives", "khanhha_conglomerate")
NOTICE = (
    "The training pictures come from the data sets named in `datasets`, several of which are for "
    "non-commercial research only; others state no licence. Clear the rights before commercial use."
)


def export(
    checkpoints: Sequence[Path],
    data: Path,
    output: Path,
    *,
    command: str = "",
    noise: bool = True,
    level_sets: Sequence[str] = (),
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> tuple[Calibration, Evaluation]:
    """Make a model file of a checkpoint: calibrate on val, score on val and devtest.

    Parameters
    ----------
    checkpoints : of `train`; the mean of their averaged weights (`ema`) is taken
    data : folder with manifest.csv
    output : the .safetensors file; appears when it is complete
    command : stored, so that the file says how it was made
    noise : also score disturbed pictures
    level_sets : sets that decide where p = 0.5 lies; none given means all of val
    monitor : progress; may cancel

    Raises
    ------
    ModelError
        A checkpoint is none, or its weights are not finite; they are of different networks.
    InputError
        The data is not as the manifest says.
    """
    check_output(output, overwrite)
    weights = read_checkpoints(checkpoints)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "compact.safetensors"
        said = {**describe(data), "command": command}
        save_model(part, without_outline(weights), said)
        fit = _fit_masks(part, data, level_sets, monitor)
        weights = fitted(weights, fit)
        if has_outline(weights):
            said["outline"] = str(OUTLINE_AT)
        save_model(part, weights, said, overwrite=True)
        calibration = _calibrate(part, data, fit, monitor)
        said |= calibration_metadata(calibration)
        save_model(part, weights, said, overwrite=True)
        evaluation = _evaluate(part, data, noise, monitor)
        said["scores"] = json.dumps(compact_scores(evaluation))
        save_model(part, weights, said, overwrite=True)
        load_model(part, device="cpu")  # what is shipped can be loaded
        save_model(output, weights, said, overwrite=overwrite)
    return calibration, replace(evaluation, model_sha256=load_model(output).info.sha256)


def read_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the averaged weights of checkpoints.

    The kernels in half precision, which halves the file; biases and the statistics of the norms,
    whose range half precision does not hold, as they are.
    """
    weights = mean_weights(paths, [_read_finite(path) for path in paths])
    return {k: v.half() if v.dim() > 1 else v for k, v in weights.items()}


def _read_finite(path: Path) -> StateDict:
    weights: StateDict = read_state(path)["ema"]
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} is not finite", "go back to an earlier checkpoint")
    return weights


def describe(data: Path) -> dict[str, str]:
    """Metadata that does not depend on calibration."""
    return {
        "architecture": "compact",
        "name": "compact",
        "version": __version__,
        "created": datetime.now(UTC).date().isoformat(),
        "normalisation": NORMALISATION,
        "datasets": json.dumps(read_licences(data / "manifest.csv", "train")),
        "licence": NOTICE,
    }


def compact_scores(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    """Variant, set, metric: the value alone, without undefined ones."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for item in evaluation.scores:
        values = {k: round(e.value, 4) for k, e in item.metrics.items() if math.isfinite(e.value)}
        scores.setdefault(item.variant, {})[item.set] = values
    return scores


def _fit_masks(model: Path, data: Path, level_sets: Sequence[str], monitor: Monitor) -> MaskFit:
    val = find_records(data, "val")
    if missing := set(level_sets) - {r.set for r in val}:
        raise InputError(f"{data}: val has no set {', '.join(sorted(missing))}")
    return fit_masks(load_model(model, precision="fp32"), val, level_sets, monitor)


def _calibrate(model: Path, data: Path, fit: MaskFit, monitor: Monitor) -> Calibration:
    records = read_manifest(data / "manifest.csv", "train")
    negatives = crack_free([r for r in records if r.set in NEGATIVE_SETS])
    return calibrate(
        load_model(model, precision="fp32"),
        find_records(data, "val"),
        negatives,
        fit,
        monitor,
    )


def _evaluate(model: Path, data: Path, noise: bool, monitor: Monitor) -> Evaluation:
    """Validation with disturbances; the sets never trained on, and crack-free ones, as they are."""
    segmenter = load_model(model, precision="fp32")
    everything = read_manifest(data / "manifest.csv")
    apart = [r for r in everything if r.split == "devtest"]
    apart += crack_free([r for r in everything if r.split == "train" and r.set in NEGATIVE_SETS])
    val = find_records(data, "val")
    main = evaluate(segmenter, val, variants=VARIANTS if noise else VARIANTS[:1], monitor=monitor)
    if not apart:
        return main
    rest = evaluate(segmenter, apart, monitor=monitor)
    scores = [replace(s, set=f"{s.set} (not val)") for s in rest.scores if s.set != "all"]
    return replace(main, scores=(*main.scores, *scores), pictures=main.pictures + rest.pictures)


@click.command("export")
@click.argument(
    "checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)
@click.option("--data", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="Model card to fill.")
@click.option("--scores", type=click.Path(path_type=Path, dir_okay=False), help="Scores as JSON.")
@click.option("--level-set", "level_sets", multiple=True, help="Set that decides where 0.5 lies.")
@click.option("--no-noise", is_flag=True, help="Leave out noise 1 and noise 2.")
@click.option("--overwrite", is_flag=True)
def main(
    checkpoints: tuple[Path, ...],
    data: Path,
    output: Path,
    card: Path | None,
    scores: Path | None,
    level_sets: tuple[str, ...],
    no_noise: bool,
    overwrite: bool,
) -> None:
    """Calibrate, score and write the model file of CHECKPOINTS, and fill the model card."""
    console = Console()
    names = " ".join(f"{path.parent.name}/{path.name}" for path in checkpoints)
    command = f"python -m crackgeo_training.export {names} --data DIR -o {output.name}"
    command += "".join(f" --level-set {name}" for name in level_sets)
    try:
        with console.monitor() as monitor:
            calibration, evaluation = export(
                checkpoints,
                data,
                output,
                command=command,
                noise=not no_noise,
                level_sets=level_sets,
                overwrite=overwrite,
                monitor=monitor,
            )
    except CrackgeoError as error:
        console.error(error, error.exit_code)
        raise SystemExit(error.exit_code) from error
    if scores is not None:
        scores.write_text(json.dumps(to_dict(evaluation), indent=1) + "\n", encoding="utf-8")
    licences = read_licences(data / "manifest.csv", "train")
    print(fill_card(card, output, calibration, evaluation, licences))


if __name__ == "__main__":
    main()
