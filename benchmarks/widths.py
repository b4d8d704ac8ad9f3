"""Widths of cracks by `compact`: by its mask alone, and by the crack's own outline.

    python -m crackgeo_training.draw_set -o DRAWN --pavements 4 --walls 40 --seed 9999
    python benchmarks/widths.py DATA --drawn DRAWN [--every 4] [--model compact]

Pictures of `val`, of masonry (never trained on) and drawn pavements and walls that no run saw are
vectorized as `crackgeo map` does it. Where masks are true outlines, widths are compared with those
of the masks every 5 px; on the drone sets, whose labels are lines of constant width, with the mean
width of what is dark in the label (`narrow`), a rule and no measured truth. --every takes each
so-manieth picture of masonry and of the drawn ones. Two more tables say how many cracks' mean
widths are within the uncertainty given for them (`width_unc_mm`), and how the error on deepcrack
grows with the width measured and how much of it is a few pictures'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from crackgeo_training.pictures.narrow import narrow
from crackgeo_training.pictures.records import IGNORE, Record, read_manifest, read_pair
from crackgeo_training.scoring.evaluate import predicted
from crackgeo_training.scoring.metrics import centrelines
from crackgeo_training.scoring.widths import crack_errors, stations, width_errors, width_pairs
from numpy.typing import NDArray

from crackgeo.models.compact import load_compact, without_outline
from crackgeo.models.modelfile import open_model_file
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.models.registry import find_model, load_model
from crackgeo.models.runtime import Scaling, TorchSegmenter
from crackgeo.specs import VectorSpec

OUTLINED = ("deepcrack", "cfd", "masonry", "drawn_pavement", "drawn_wall")
CLASSES_PX = (0, 2, 3, 4, 6, 9, 13, 20, np.inf)
WORST = 3  # pictures
CONSTANT = ("uav_crackx4", "uav_crackx8", "uav_crackx16")


def load(name: str) -> tuple[Segmenter, Segmenter]:
    """The model without its outline, and as it is."""
    file = open_model_file(find_model(name))
    masks = load_compact(without_outline(file.tensors()))
    info = replace(file.info, outline=0.0)
    scaling = Scaling(*file.normalisation, file.temperature)
    mask = TorchSegmenter(masks, info, scaling, "cpu", "fp32")
    return mask, load_model(name, device="cpu", precision="fp32")


def spec_of(info: ModelInfo) -> VectorSpec:
    """The rules of the model."""
    return VectorSpec(
        threshold=info.threshold,
        threshold_low=info.threshold_low,
        min_length_px=info.min_length_px,
        outline=info.outline,
    )


def errors(model: Segmenter, records: Sequence[Record]) -> str:
    """Bias, mean and median absolute error on true outlines, as cells of a row."""
    found = width_errors(predicted(model, records), spec_of(model.info))
    if not len(found):
        return "- | - | -"
    off = np.abs(found)
    return f"{found.mean():+.2f} | {off.mean():.2f} | {np.median(off):.2f}"


def true_width_px(records: Sequence[Record]) -> float:
    """Mean width of the masks, measured as widths of cracks are."""
    spec = VectorSpec()
    found = [stations((read_pair(r)[1] > 0).astype(np.float32), spec)[1] for r in records]
    return float(np.concatenate(found).mean())


def mean_width_px(model: Segmenter, records: Sequence[Record]) -> float:
    """Mean width of what the model finds."""
    found = [stations(p, spec_of(model.info))[1] for p, _ in predicted(model, records)]
    return float(np.concatenate(found).mean())


def dark_width_px(records: Sequence[Record]) -> tuple[float, float]:
    """Area over length of the labels, and of what is dark in them."""
    label = dark = length = 0.0
    for record in records:
        rgb, mask = read_pair(record)
        label += mask.sum()
        dark += (narrow(rgb, mask, IGNORE, whole=True) == 1).sum()
        length += centrelines(mask > 0).sum()
    return label / length, dark / length


def within(model: Segmenter, records: Sequence[Record]) -> str:
    """Share of the cracks whose mean width is off by one and two uncertainties at most."""
    info = model.info
    said = info.width_error_px, info.width_error_share
    found = crack_errors(predicted(model, records), spec_of(info), *said)
    if not len(found):
        return "0 | - | - | - | -"
    off, unsure = np.abs(found[:, 0]), found[:, 1]
    shares = f"{(off <= unsure).mean():.0%} | {(off <= 2 * unsure).mean():.0%}"
    return f"{len(found)} | {off.mean():.2f} | {unsure.mean():.2f} | {shares}"


def print_by_width(model: Segmenter, records: Sequence[Record]) -> None:
    """The error by the width measured, beside what the model file says of it, and by picture."""
    of_pictures = [width_pairs([found], spec_of(model.info)) for found in predicted(model, records)]
    measured, true = np.concatenate(of_pictures).T
    off, info = np.abs(measured - true), model.info
    print("\n| width measured, px | stations | bias | mean abs. | as the file says |")
    print("|---|---|---|---|---|")
    for low, high in pairwise(CLASSES_PX):
        at = (measured >= low) & (measured < high)
        if at.any():
            said = info.width_error_px + info.width_error_share * measured[at].mean()
            bias = (measured - true)[at].mean()
            row = f"{at.sum()} | {bias:+.2f} | {off[at].mean():.2f} | {said:.2f}"
            wide = f"{low} to {high}" if np.isfinite(high) else f"{low} and more"
            print(f"| {wide} | {row} |")
    worst = sorted(of_pictures, key=_total_error)[-WORST:]
    rest = len(off) - len(worst[-1])
    share = sum(map(_total_error, worst)) / off.sum()
    alone = (off.sum() - _total_error(worst[-1])) / rest
    print(f"\nThe {WORST} worst of {len(records)} pictures have {share:.0%} of the error;", end=" ")
    print(f"without the worst the mean absolute error is {alone:.2f} px.")


def _total_error(pairs: NDArray[np.float64]) -> float:
    return float(np.abs(pairs[:, 0] - pairs[:, 1]).sum())


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--drawn", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="compact", help="Name or file of a `compact`.")
@click.option("--every", default=4, help="Take each so-manieth picture of the large sets.")
def main(data: Path, drawn: Path | None, model: str, every: int) -> None:
    """Print four tables."""
    mask, whole = load(model)
    records = [r for r in read_manifest(data / "manifest.csv") if r.split == "val"]
    large = [r for r in read_manifest(data / "manifest.csv") if r.set == "masonry"]
    large += read_manifest(drawn / "manifest.csv") if drawn else []
    sets = {name: [r for r in records if r.set == name] for name in OUTLINED}
    sets = {name: own + [r for r in large if r.set == name][::every] for name, own in sets.items()}
    sets = {name: own for name, own in sets.items() if own}
    print("| set | true, px | mask: bias | mean abs. | median abs. |", end=" ")
    print("outline: bias | mean abs. | median abs. |\n|---|---|---|---|---|---|---|---|")
    for name, own in sets.items():
        row = f"{true_width_px(own):.2f} | {errors(mask, own)} | {errors(whole, own)}"
        print(f"| {name} | {row} |", flush=True)
    print("\n| set | cracks | mean abs. error, px | uncertainty given | within it | within twice |")
    print("|---|---|---|---|---|---|")
    for name, own in sets.items():
        print(f"| {name} | {within(whole, own)} |", flush=True)
    print("\n| set | label, px | dark in it | mask | outline |\n|---|---|---|---|---|")
    for name in CONSTANT:
        own = [r for r in records if r.set == name]
        row = " | ".join(f"{v:.1f}" for v in dark_width_px(own))
        found = f"{mean_width_px(mask, own):.1f} | {mean_width_px(whole, own):.1f}"
        print(f"| {name} | {row} | {found} |", flush=True)
    print_by_width(whole, [r for r in records if r.set == OUTLINED[0]])


if __name__ == "__main__":
    main()
