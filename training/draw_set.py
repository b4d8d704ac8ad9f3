"""Draw pavements with known cracks, paint, joints, sealed cracks and shadows as training data.

    python -m crackgeo_training.draw_set -o DIR/drawn --count 40

writes images, masks and a manifest.csv that a configuration names in `extra_manifests`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from .pavement import draw_pavement

SET = "drawn_pavement"
LICENCE = "drawn by crackgeo, no rights reserved"
CELL_PX = 600
LEAST_DATA = 0.98  # cells with more emptiness are left out


@click.command("draw_set")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--count", default=40, show_default=True, help="Pavements to draw, 12 cells each.")
@click.option("--seed", default=1, show_default=True, help="Of the first pavement.")
def main(output: Path, count: int, seed: int) -> None:
    """Draw pavements and write them as labelled pictures."""
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)
    with (output / "manifest.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(["split", "set", "image", "mask", "licence"])
        for number in range(seed, seed + count):
            for row in write_cells(output, number):
                table.writerow(["train", SET, *row, LICENCE])


def write_cells(output: Path, seed: int, shape: tuple[int, int] = (1800, 2400)) -> list[list[str]]:
    """Draw one pavement and write its cells; gives the paths of each image and mask."""
    pavement = draw_pavement(seed, shape)
    rows = []
    for top in range(0, shape[0] - CELL_PX + 1, CELL_PX):
        for left in range(0, shape[1] - CELL_PX + 1, CELL_PX):
            cell = np.s_[top : top + CELL_PX, left : left + CELL_PX]
            if (pavement.alpha[cell] > 0).mean() < LEAST_DATA:
                continue
            name = f"{seed:04d}_{top}_{left}.png"
            rgb: NDArray[np.uint8] = pavement.rgb[cell]
            mask = np.where(pavement.cover[cell] >= 0.5, 255, 0).astype(np.uint8)
            cv2.imwrite(str(output / "images" / name), np.ascontiguousarray(rgb[..., ::-1]))
            cv2.imwrite(str(output / "masks" / name), mask)
            rows.append([f"images/{name}", f"masks/{name}"])
    return rows


if __name__ == "__main__":
    main()
