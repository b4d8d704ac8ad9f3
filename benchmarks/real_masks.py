"""Real annotated masks through `vectorize`: numbers in a table, pictures to look at.

For every mask of a set: the length found against the mask's own skeleton (scikit-image,
its pixels chained with steps 1 and sqrt 2), and the mean width against area over the length found.

    python benchmarks/real_masks.py ../shared/data/cracks --sheets runs/sheets
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw
from skimage.morphology import skeletonize

from crackgeo.grid import Grid
from crackgeo.specs import VectorSpec
from crackgeo.vectorize import ArraySource, vectorize
from crackgeo.vectors import Vectors

SHEET_COLUMNS, SHEET_SIDE_PX = 3, 420


def chained_length_px(skeleton: np.ndarray) -> float:
    """Length of a skeleton as its steps: sides count 1, corners without a side way sqrt 2."""
    s = np.pad(skeleton.astype(bool), 1)
    sides = (s[:, 1:] & s[:, :-1]).sum() + (s[1:] & s[:-1]).sum()
    down = s[:-1, :-1] & s[1:, 1:] & ~s[1:, :-1] & ~s[:-1, 1:]
    up = s[1:, :-1] & s[:-1, 1:] & ~s[:-1, :-1] & ~s[1:, 1:]
    return float(sides + np.sqrt(2) * (down.sum() + up.sum()))


def vectors_of(mask: np.ndarray) -> Vectors:
    height, width = mask.shape
    grid = Grid(width, height, Affine(1, 0, 0, 0, 1, 0))
    return vectorize(ArraySource(np.where(mask, 254, 0).astype(np.uint8)), grid, VectorSpec())


def drawn(image: Image.Image, mask: np.ndarray, vectors: Vectors) -> Image.Image:
    """The picture with lines (a colour a crack), nodes, and mean widths in pixels."""
    zoom = max(1, round(SHEET_SIDE_PX / max(image.size)))
    shaded = np.asarray(image.convert("RGB")).astype(float)
    shaded[mask] = 0.6 * shaded[mask] + 0.4 * np.array([255, 255, 0])
    size = (image.width * zoom, image.height * zoom)
    picture = Image.fromarray(shaded.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(vectors.cracks.geometry):
        colour = ("red", "blue", "lime", "magenta", "cyan", "orange")[i % 6]
        points = [(x * zoom, y * zoom) for x, y in line.coords]
        pen.line(points, fill=colour, width=2)
        width = vectors.cracks.columns["width_mean_mm"][i]
        pen.text(
            points[len(points) // 2],
            f"{width:.1f}",
            fill="white",
            stroke_width=1,
            stroke_fill="black",
        )
    for point, kind in zip(
        vectors.crack_nodes.geometry, vectors.crack_nodes.columns["kind"], strict=True
    ):
        x, y = point.x * zoom, point.y * zoom
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill="white" if kind == "end" else "black")
    picture.thumbnail((SHEET_SIDE_PX, SHEET_SIDE_PX))
    return picture


def measure(mask: np.ndarray, vectors: Vectors) -> dict[str, float]:
    length = float(vectors.cracks.columns["length_m"].sum())
    width = vectors.cracks.columns["width_mean_mm"]
    known = np.isfinite(width)
    weight = vectors.cracks.columns["length_m"][known]
    return {
        "skeleton_px": chained_length_px(skeletonize(mask)),
        "length_px": length,
        "area_px": float(mask.sum()),
        "width_px": float(np.average(width[known], weights=weight)) if known.any() else np.nan,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--sets", default="deepcrack,cfd")
    options = parser.parse_args()
    with (options.data / "manifest.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "val"]
    print("| set | masks | length / skeleton, all | each: median (5-95 %) | width, the same |")
    print("|---|---|---|---|---|")
    for name in options.sets.split(","):
        found, pictures = [], []
        for row in (r for r in rows if r["set"] == name):
            mask = np.asarray(Image.open(options.data / row["mask"])) > 0
            vectors = vectors_of(mask)
            found.append(measure(mask, vectors))
            if options.sheets and len(pictures) < 18:
                pictures.append(drawn(Image.open(options.data / row["image"]), mask, vectors))
        report(name, found)
        if options.sheets:
            save_sheets(pictures, options.sheets, name)


def report(name: str, found: list[dict[str, float]]) -> None:
    column = {k: np.array([f[k] for f in found]) for k in found[0]}
    some = column["length_px"] > 0
    length, skeleton = column["length_px"][some], column["skeleton_px"][some]
    width = column["width_px"][some] * length / column["area_px"][some]
    cells = [name, str(len(found)), f"{length.sum() / skeleton.sum():.3f}"]
    for ratio in (length / skeleton, width):
        low, middle, high = np.percentile(ratio, [5, 50, 95])
        cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
    print("| " + " | ".join(cells) + " |")


def save_sheets(pictures: list[Image.Image], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(0, len(pictures), 9):
        sheet = Image.new("RGB", (SHEET_COLUMNS * SHEET_SIDE_PX,) * 2)
        for k, picture in enumerate(pictures[number : number + 9]):
            place = (k % SHEET_COLUMNS * SHEET_SIDE_PX, k // SHEET_COLUMNS * SHEET_SIDE_PX)
            sheet.paste(picture, place)
        sheet.save(folder / f"{name}_{number // 9}.png")


if __name__ == "__main__":
    main()
