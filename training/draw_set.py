"""Draw pavements and walls with known cracks, and all that looks like one, as training data.

    python -m crackgeo_training.draw_set -o DIR/drawn --pavements 24 --walls 160

writes images, masks and a manifest.csv that a configuration names in `extra_manifests`. Beside
them stand the free photographs that scikit-image ships (grass, gravel, bricks, fur, vessels of
an eye): fine dark lines, none of them a crack.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray
from skimage import data

from .drawing.pavement import draw_pavement
from .drawing.walls import draw_wall
from .pictures.pairs import write_picture

Rows = TypeVar("Rows")

PAVEMENT_SET, WALL_SET, PHOTOGRAPH_SET = "drawn_pavement", "drawn_wall", "photographs"
PHOTOGRAPHS = (  # the files within the package, so nothing is fetched
    *("brick", "camera", "cat", "coffee", "coins", "grass", "gravel"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)
FREE = "public domain or CC0 (shipped with scikit-image)"
LICENCE = "drawn by crackgeo, no rights reserved"
WALL_PX = 600
PAVEMENT_SHAPE = 1800, 2400
CELL_PX = 500  # of a pavement
STEP_PX = 50  # between the places that are tried for a cell
LEAST_DATA = 0.98  # cells with more emptiness are left out


@click.command("draw_set")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--pavements", default=24, show_default=True, help="Each gives some eleven pictures.")
@click.option("--walls", default=160, show_default=True, help="Each gives one picture.")
@click.option("--seed", default=1, show_default=True, help="Of the first pavement and wall.")
@click.option("--workers", default=1, show_default=True, help="Processes that draw side by side.")
def main(output: Path, pavements: int, walls: int, seed: int, workers: int) -> None:
    """Draw pavements and walls, add free photographs, write all as labelled pictures."""
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)
    with (output / "manifest.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(["split", "set", "image", "mask", "licence"])
        drawn = _each(partial(write_cells, output), range(seed, seed + pavements), workers)
        for row in chain.from_iterable(drawn):
            table.writerow(["train", PAVEMENT_SET, *row, LICENCE])
        for row in _each(partial(write_wall, output), range(seed, seed + walls), workers):
            table.writerow(["train", WALL_SET, *row, LICENCE])
        for name in PHOTOGRAPHS:
            row = write_photograph(output, name)
            table.writerow(["train", PHOTOGRAPH_SET, *row, FREE])


def _each(draw: Callable[[int], Rows], seeds: range, workers: int) -> Iterator[Rows]:
    if workers == 1:
        yield from map(draw, seeds)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:  # threads do not bear a fork
        yield from pool.map(draw, seeds)


def write_wall(output: Path, seed: int) -> list[str]:
    """Draw one wall; gives the paths of its image and mask."""
    wall = draw_wall(seed, WALL_PX)
    return _write(output, f"wall_{seed:05d}.png", wall.rgb, wall.cover)


def write_cells(output: Path, seed: int) -> list[list[str]]:
    """Draw one pavement and write its cells; gives the paths of each image and mask."""
    pavement = draw_pavement(seed, PAVEMENT_SHAPE)
    rows = []
    for top, left in full_cells(pavement.alpha > 0):
        cell = np.s_[top : top + CELL_PX, left : left + CELL_PX]
        name = f"{seed:04d}_{top}_{left}.png"
        rows.append(_write(output, name, pavement.rgb[cell], pavement.cover[cell]))
    return rows


def full_cells(data: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Corners (row, col) of cells that hold data nearly everywhere and hardly overlap.

    They are not on a fixed grid: along a ragged border whole strips of the road would be left out.
    """
    free = data.copy()
    corners = []
    for top in range(0, data.shape[0] - CELL_PX + 1, STEP_PX):
        for left in range(0, data.shape[1] - CELL_PX + 1, STEP_PX):
            cell = np.s_[top : top + CELL_PX, left : left + CELL_PX]
            if free[cell].mean() >= LEAST_DATA:
                free[cell] = False
                corners.append((top, left))
    return corners


def write_photograph(output: Path, name: str) -> list[str]:
    """Write a free photograph as a picture without a crack; gives the paths of image and mask."""
    photograph = np.asarray(getattr(data, name)(), np.uint8)
    if photograph.ndim == 2:
        photograph = np.repeat(photograph[..., None], 3, axis=2)
    return _write(output, f"photograph_{name}.png", photograph, np.zeros(photograph.shape[:2]))


def _write(
    output: Path, name: str, rgb: NDArray[np.uint8], cover: NDArray[np.floating[Any]]
) -> list[str]:
    mask = np.where(cover >= 0.5, 255, 0).astype(np.uint8)
    write_picture(output / "images" / name, rgb)
    write_picture(output / "masks" / name, mask)
    return [f"images/{name}", f"masks/{name}"]


if __name__ == "__main__":
    main()
