"""Lines that are no cracks: what a model makes of cables and thin shadows over real pictures.

    python benchmarks/cables.py DATA [--every 4] [--model compact] [--model OTHER.safetensors]

Each picture of `val` is taken as it is, with drawn cables over it, and with drawn shadows of poles
and trunks on it (`crackgeo_training.drawing.overhead`, the same for every model, from seeds that no
training used). Printed are the mean IoU, without the pixels that a cable hides; the length in
pixels of what is found farther than 8 px from any labelled crack, a picture; and the share of the
cables' area, away from cracks, that is taken for a crack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import tee
from pathlib import Path

import click
import cv2
import numpy as np
from crackgeo_training.drawing.overhead import HIDES_FROM, hang_cables, lay_shadows
from crackgeo_training.pictures.records import Record, read_manifest, read_pair
from crackgeo_training.scoring.metrics import centrelines
from crackgeo_training.scoring.predict_images import predict_images
from numpy.typing import NDArray

from crackgeo.models.protocol import Segmenter
from crackgeo.models.registry import load_model

NEAR_PX = 8
SEED = 77
DRAWN = {"as they are": None, "cables": hang_cables, "shadows": lay_shadows}

Scene = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]


def scenes(records: Sequence[Record], kind: str) -> Iterator[Scene]:
    """Picture, cracks and what is hidden: uint8 `[H, W, 3]` and two bool `[H, W]`."""
    for index, record in enumerate(records):
        image, label = read_pair(record)
        hidden = np.zeros(label.shape, np.bool_)
        draw = DRAWN[kind]
        if draw is not None:
            crop = image.astype(np.float32)
            hidden = draw(crop, np.random.default_rng((SEED, index))) > HIDES_FROM
            image = np.clip(crop, 0, 255).astype(np.uint8)
        yield image, label > 0, hidden


def row(model: Segmenter, records: Sequence[Record], kind: str) -> str:
    """The scores of one model over one kind of lines, as cells of a table."""
    iou, false_px, marked, covered = [], 0, 0, 0
    seen_by_model, drawn = tee(scenes(records, kind))
    found = predict_images(model, (image for image, _, _ in seen_by_model))
    for probability, (_, truth, hidden) in zip(found, drawn, strict=True):
        mask = probability >= 0.5
        seen = ~hidden
        iou.append((mask & truth & seen).sum() / max(1, ((mask | truth) & seen).sum()))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR_PX + 1,) * 2)
        away = cv2.dilate(truth.astype(np.uint8), disc) == 0
        false_px += int((centrelines(mask) & away).sum())
        marked += int((mask & hidden & away).sum())
        covered += int((hidden & away).sum())
    share = f"{marked / covered:.1%}" if covered else "-"
    return f"{np.mean(iou):.3f} | {false_px / len(records):.0f} | {share}"


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--every", default=4, show_default=True, help="Each so-manieth picture of val.")
@click.option("--model", "names", multiple=True, default=("compact",), show_default=True)
def main(data: Path, every: int, names: tuple[str, ...]) -> None:
    """Print what cables and thin shadows cost."""
    records = read_manifest(data / "manifest.csv", "val")[::every]
    print("| model | lines | IoU | away from cracks, px | cables taken for cracks |")
    print("|---|---|---|---|---|")
    for name in names:
        model = load_model(name, device="cpu")
        for kind in DRAWN:
            print(f"| {Path(name).stem} | {kind} | {row(model, records, kind)} |", flush=True)


if __name__ == "__main__":
    main()
