"""What each part of the training of `compact` brings, and how other networks do on the same data.

    OMP_NUM_THREADS=1 python benchmarks/ablations.py DATA -o WORK [--only NAME ...]

One thing is changed at a time. Every variant is trained from ImageNet on the same short schedule, a
small part of the shipped one, and scored on `val` and on masonry, in the arithmetic that
`crackgeo map` takes here, at the outline that the exporter would choose. Scores are lower than the
shipped model's: what they are good for is their differences, beside the spread of the seeds. The
folder of a variant that has scores is not trained again, so a run can be interrupted; the table is
of all variants that have scores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
import numpy as np
import torch
from crackgeo_training.config import Config, load_config
from crackgeo_training.learning.checkpoints import read_state
from crackgeo_training.learning.networks import KNOWN, build_network
from crackgeo_training.learning.networks import NAMES as NETWORKS
from crackgeo_training.learning.train import train
from crackgeo_training.learning.watch import segmenter_of
from crackgeo_training.pictures.data import training_records
from crackgeo_training.pictures.narrow import narrow
from crackgeo_training.pictures.records import IGNORE, read_manifest, read_pair
from crackgeo_training.scoring.calibrate import best_level, predicted_logits
from crackgeo_training.scoring.evaluate import find_records
from crackgeo_training.scoring.metrics import ObjectRule, centrelines, score, summarise
from torch.utils.flop_counter import FlopCounterMode
from yardstick import tuned

from crackgeo.models.protocol import Segmenter
from crackgeo.specs import TILE_PX

CONFIG = Path(__file__).parents[1] / "training/configs/compact_2.toml"
SHORT = {"iterations": 500, "warmup": 50, "look_every": 0}
LEVEL_SETS = ("deepcrack", "crack500", "cfd", "khanhha_conglomerate")  # of the second run's file
SEEDS = (1, 2, 3)
UAV = ("uav_crackx4", "uav_crackx8", "uav_crackx16")
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    **{f"unchanged, seed {n}": {"train": {"seed": n}} for n in SEEDS},
    "without centreline recall": {"train": {"skeleton_weight": 0.0}},
    "without Dice": {"train": {"dice_weight": 0.0}},
    "rims of fat labels learned": {"data": {"loose_px": {}}},
    "fat labels narrowed": {"data": {"narrow_sets": UAV}},
    "without colour changes": {"augment": {"hue": 0.0, "grey": 0.0}},
    "scale 0.9 to 1.1": {"augment": {"scale": (0.9, 1.1)}},
    "without blur, noise, JPEG": {"augment": {"blur": 0.0, "noise": 0.0, "jpeg": 0.0}},
    **{f"decoder {name}": {"train": {"network": name}} for name in KNOWN},
}
NOT_DRAWN = "without drawn pictures"
ALIKE = "every picture alike"
RIDGES = "ridge filter, see yardstick.py"
COLUMNS = {  # set or sets, metric
    "crack500 IoU": (("crack500",), "iou"),
    "deepcrack IoU": (("deepcrack",), "iou"),
    "cfd 2 px F1": (("cfd",), "f1_2px"),
    "uav_crackx clIoU@4": (UAV, "cliou_4px"),
    "uav_crackx line width, px": (UAV, "line_width_px"),
    "masonry 2 px F1": (("masonry",), "f1_2px"),
    "val IoU": (("all",), "iou"),
    "val 2 px F1": (("all",), "f1_2px"),
}


def configured(name: str, data: Path) -> Config:
    """The configuration of a variant."""
    base = load_config(CONFIG)
    base = replace(base, train=replace(base.train, seed=SEEDS[0], **SHORT))
    if name == NOT_DRAWN:
        return replace(base, data=replace(base.data, procedural_share=0.0, extra_manifests=()))
    if name == ALIKE:
        sets = [r.set for r in training_records(data, base.data)]
        alike = {s: float(sets.count(s)) for s in sorted(set(sets))}
        return replace(base, data=replace(base.data, set_weight=alike))
    changes = CHANGES[name]
    return replace(
        base,
        data=replace(base.data, **changes.get("data", {})),
        augment=replace(base.augment, **changes.get("augment", {})),
        train=replace(base.train, **changes.get("train", {})),
    )


def scores(checkpoint: Path, data: Path) -> dict[str, Any]:
    """Metrics of a checkpoint by set, the outline's level, and the network's size."""
    state = read_state(checkpoint)
    name = state["config"]["train"]["network"]
    parameters = sum(p.numel() for p in build_network(name).parameters())
    return {"parameters": parameters, **scores_of(segmenter_of(name, state["ema"]), data)}


def scores_of(segmenter: Segmenter, data: Path) -> dict[str, Any]:
    """Metrics by set, and the outline's level, of anything that segments."""
    records = [r for r in read_manifest(data / "manifest.csv") if r.split != "train"]
    pictures = list(predicted_logits(segmenter, records))
    level = best_level([p for p in pictures if p.set in LEVEL_SETS])
    rule = ObjectRule(mask_at=float(1 / (1 + np.exp(-level))))
    done = [score(p.probability(), p.truth, rule) for p in pictures]
    val = {r.set for r in records if r.split == "val"}
    own = {
        s: [d for d, r in zip(done, records, strict=True) if r.set == s] for s in val | {"masonry"}
    }
    own["all"] = [d for d, r in zip(done, records, strict=True) if r.split == "val"]
    sums = {s: {k: e.value for k, e in summarise(d).items()} for s, d in own.items()}
    for s in val:
        masks = [p.probability() >= rule.mask_at for p in pictures if p.set == s]
        sums[s]["line_width_px"] = sum(m.sum() for m in masks) / sum(
            centrelines(m).sum() for m in masks
        )
    return {"scores": sums, "level": level}


def run(name: str, data: Path, work: Path) -> None:
    """Train and score a variant, unless it has been."""
    folder = work / name.replace(" ", "_").replace(",", "")
    if (folder / "scores.json").exists():
        return
    click.echo(name)
    started = time.monotonic()
    if name == RIDGES:
        folder.mkdir(parents=True, exist_ok=True)
        found = {"parameters": 2, **scores_of(tuned(data), data)}
    else:
        checkpoint = train(configured(name, data), data, folder, report=lambda line: None)
        found = scores(checkpoint, data)
    found |= {"name": name, "seconds": time.monotonic() - started}
    (folder / "scores.json").write_text(json.dumps(found, indent=1))


def value(found: Mapping[str, Any], sets: Sequence[str], metric: str) -> float:
    """One number of the table."""
    return fmean(found["scores"][s][metric] for s in sets)


def table(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table in Markdown: the seeds' mean and deviation, then the differences to it."""
    yield f"| variant | {' | '.join(COLUMNS)} | million parameters |"
    yield "|---|" + "---|" * (len(COLUMNS) + 1)
    seeds = [r for n, r in results.items() if n.startswith("unchanged")]
    mean = {}
    cells = []
    for column, (sets, metric) in COLUMNS.items():
        values = [value(r, sets, metric) for r in seeds]
        mean[column] = fmean(values)
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{mean[column]:.3f}{spread}")
    yield f"| unchanged, {len(seeds)} seeds | {' | '.join(cells)} | {_millions(seeds[0])} |"
    for name, found in results.items():
        if not name.startswith("unchanged"):
            cells = [f"{value(found, *COLUMNS[c]) - mean[c]:+.3f}" for c in COLUMNS]
            yield f"| {name} | {' | '.join(cells)} | {_millions(found)} |"


def work() -> Iterator[str]:
    """What each network costs on a tile, a multiplication and an addition counted as two."""
    for name in NETWORKS:
        network = build_network(name).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, TILE_PX, TILE_PX))
        yield f"{name}: {counter.get_total_flops() / 1e9:.1f} GFLOP a tile"


def label_widths(data: Path) -> Iterator[str]:
    """How wide the labels of the drone sets are, and what `narrow` keeps of them."""
    for name in UAV:
        lines = whole = kept = 0
        for record in find_records(data, "val", [name]):
            image, mask = read_pair(record)
            lines += centrelines(mask > 0).sum()
            whole += mask.sum()
            kept += (narrow(image, mask, IGNORE) == 1).sum()
        yield f"{name}: labels are {whole / lines:.1f} px wide, narrowed {kept / lines:.1f} px"


def _millions(found: Mapping[str, Any]) -> str:
    return f"{found['parameters'] / 1e6:.1f}"


NAMES = (*CHANGES, NOT_DRAWN, ALIKE, RIDGES)


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="These variants, in order.")
def main(data: Path, folder: Path, only: tuple[str, ...]) -> None:
    """Train and score the variants, then print the table, the networks' work, the labels' width."""
    for name in only or NAMES:
        run(name, data, folder)
    known = {}
    for path in folder.glob("*/scores.json"):
        found = json.loads(path.read_text())
        known[found["name"]] = found
    if any(name.startswith("unchanged") for name in known):
        click.echo("\n".join(table({n: known[n] for n in NAMES if n in known})))
    else:
        click.echo(f"the table needs one of the variants that nothing is changed in: {NAMES[0]}")
    click.echo("\n".join((*work(), *label_widths(data))))


if __name__ == "__main__":
    main()
