"""Run the main job on real drone imagery and compare with what is labelled.

    python benchmarks/real_imagery.py --data DIR [--out runs/real] [--doc docs/real-imagery.md]

DIR holds cracks/manifest.csv and rasters/*.tif. Whole nadir frames are put together from the
cells of the UAV-CrackX sets (4 x 4 cells of 672 x 378 px; missing cells stay transparent), with
an invented ground pixel size of 2 mm, so lengths are in proportion only. Of each raster the
script keeps the layer, a quicklook and the frame's labels in red over the image, and prints a
Markdown table: length found, share of the labelled centre line found within 8 px, share of the
length found that lies on a label. Labels of these sets skip some hairlines, so what is not
'correct' counts those too. Where cables hang over a frame it says how much of them was taken for
cracks. --doc puts the table and what was left out into a document, between two
comments; what the pictures show is for a person to write.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize
from scipy import ndimage
from shapely import LineString
from skimage.morphology import skeletonize

import crackgeo
from crackgeo.results import MapResult

CELL_W, CELL_H = 672, 378
GSD_M = 0.002  # invented: the sets do not say how high the drone flew
TOLERANCE_PX = 8
CELL_NAME = re.compile(r"(?:\d+_)?(.+)_Z_(\d+)_z$")
FRAMES_PER_SET = 2
TRANSFORM = Affine(GSD_M, 0, 400000, 0, -GSD_M, 3500000)
CABLE_REACH_PX = 10
CABLES_PX = {  # ends (col, row), read off the frame by hand; the cables are straight
    "uav_crackx8_DJI_20231015155835_0077": (
        ((0, 264), (1344, 170)),
        ((0, 584), (2680, 378)),
        ((0, 886), (2680, 678)),
    )
}
BEGIN, END = "<!-- numbers -->", "<!-- end of numbers -->"


@dataclass(frozen=True)
class Score:
    """One raster's line of the table."""

    name: str
    kind: str
    result: MapResult
    said: tuple[str, ...] = ()
    found: float | None = None
    correct: float | None = None
    cables: str | None = None

    def row(self) -> str:
        """As a row of Markdown."""
        v, p = self.result.vectors, self.result.prediction
        shares = [("-" if s is None else f"{s:.2f}") for s in (self.found, self.correct)]
        width = "-" if v.width_mean_mm is None else f"{v.width_mean_mm:.1f}"
        return (
            f"| {self.name} | {self.kind} | {v.surveyed_m2:.2f} | {v.cracks} | {v.length_m:.2f} | "
            f"{width} | {' | '.join(shares)} | {p.tiles_run} | {self.result.seconds:.0f} |"
        )


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--model", default="compact")
    parser.add_argument("--doc", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scores = [
        *map_frames(arguments.data / "cracks", arguments.out, arguments.model),
        *map_rasters(arguments.data / "rasters", arguments.out, arguments.model),
    ]
    text = report(scores)
    print(text)
    if arguments.doc is not None:
        before, _, rest = arguments.doc.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.doc.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def report(scores: list[Score]) -> str:
    """The table as Markdown, with what it was made with and what the runs warned of."""
    first = scores[0].result.prediction
    processor = next(
        (line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")),
        platform.machine(),
    )
    said = [f"- {score.name}: {text}" for score in scores for text in score.said]
    cables = [f"Cables in {score.name}: {score.cables}." for score in scores if score.cables]
    return "\n".join(
        [
            f"`python benchmarks/real_imagery.py`, {datetime.date.today()}; {first.model} (SHA-256 "
            f"{first.model_sha256[:8]}...) on {first.device} in {first.precision}; {processor}, "
            f"{os.cpu_count()} processors",
            "",
            "| raster | what | area, m2 | cracks | length, m | mean width, mm | found | correct "
            "| tiles | s |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(score.row() for score in scores),
            "",
            *([*cables, ""] if cables else []),
            *(["Warnings of these runs:", "", *said] if said else []),
        ]
    ).rstrip()


def cpu_lines() -> list[str]:
    """What Linux knows of the processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def map_frames(data: Path, out: Path, model: str) -> list[Score]:
    """The frames of the validation split with the most cells, of each zoom."""
    scores = []
    for name, cells in validation_frames(data / "manifest.csv"):
        path = out / f"{name}.tif"
        truth = assemble(data, cells, path)
        result, said = run(path, out, model)
        draw_labels(path, truth, out / f"{name}_labels.png")
        lines = gpd.read_file(out / f"{name}.gpkg", layer="cracks")
        found, correct = compare(lines, truth)
        cables = on_cables(lines, name)
        scores.append(Score(name, "drone frame", result, said, found, correct, cables))
    return scores


def map_rasters(data: Path, out: Path, model: str) -> list[Score]:
    """The geo-referenced rasters as they are."""
    scores = []
    for path in sorted(data.glob("*.tif")):
        kind = "quay wall" if "MAX" in path.name else "no crack in it"
        scores.append(Score(path.stem, kind, *run(path, out, model)))
    return scores


def run(path: Path, out: Path, model: str) -> tuple[MapResult, tuple[str, ...]]:
    """The main job, as the command line does it, and its warnings."""
    said: list[str] = []
    result = crackgeo.map_cracks(
        path,
        out / f"{path.stem}.gpkg",
        probability=out / f"{path.stem}_prob.tif",
        quicklook=out / f"{path.stem}.png",
        model=model,
        overwrite=True,
        monitor=crackgeo.Monitor(
            on_warning=lambda text: said.append(text.replace(str(path), "it"))
        ),
    )
    return result, tuple(said)


def draw_labels(path: Path, truth: NDArray[np.bool_], picture: Path) -> None:
    """The labels in red over a frame, as large as its quicklook, to look at side by side."""
    with rasterio.open(path) as raster:
        rgb = np.moveaxis(raster.read((1, 2, 3)), 0, -1)
    rgb[ndimage.binary_dilation(truth, iterations=2)] = (255, 0, 0)
    shrink = -(-max(truth.shape) // 1600)
    Image.fromarray(rgb).reduce(shrink).save(picture)


def validation_frames(manifest: Path) -> list[tuple[str, dict[int, dict[str, str]]]]:
    """For each set the frames with the most validation cells: name and cell rows by number."""
    frames: dict[tuple[str, str], dict[int, dict[str, str]]] = defaultdict(dict)
    with manifest.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["set"].startswith("uav_crackx") and row["split"] == "val":
                match = CELL_NAME.match(Path(row["image"]).stem)
                assert match, row["image"]
                frames[row["set"], match[1]][int(match[2])] = row
    chosen = []
    for name in sorted({s for s, _ in frames}):
        ranked = sorted((k for k in frames if k[0] == name), key=lambda k: (-len(frames[k]), k))
        chosen += [(f"{k[0]}_{k[1]}", frames[k]) for k in ranked[:FRAMES_PER_SET]]
    return chosen


def assemble(data: Path, cells: dict[int, dict[str, str]], path: Path) -> NDArray[np.bool_]:
    """Write a frame as a geo-referenced RGBA raster and return its labels, bool `[H, W]`."""
    image = np.zeros((4, 4 * CELL_H, 4 * CELL_W), np.uint8)
    truth = np.zeros(image.shape[1:], np.bool_)
    for number, row in cells.items():
        top, left = number // 4 * CELL_H, number % 4 * CELL_W
        place = np.s_[top : top + CELL_H, left : left + CELL_W]
        rgb = np.asarray(Image.open(data / row["image"]).convert("RGB"))
        image[(slice(0, 3), *place)] = rgb.transpose(2, 0, 1)
        image[(3, *place)] = 255
        truth[place] = np.asarray(Image.open(data / row["mask"]).convert("L")) > 127
    with rasterio.open(
        path, "w", driver="GTiff", width=image.shape[2], height=image.shape[1], count=4,
        dtype="uint8", crs="EPSG:32650", transform=TRANSFORM,
        photometric="RGB", alpha="yes", tiled=True, compress="deflate",
    ) as raster:  # fmt: skip
        raster.write(image)
    return truth


def compare(lines: gpd.GeoDataFrame, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the labelled centre line found, and of the found length on a label."""
    found = np.zeros_like(truth)
    if len(lines):
        found = rasterize(lines.geometry, truth.shape, transform=TRANSFORM).astype(bool)
    centre = skeletonize(truth)
    near_found = ndimage.distance_transform_edt(~found) <= TOLERANCE_PX
    near_truth = ndimage.distance_transform_edt(~truth) <= TOLERANCE_PX
    return (
        float(near_found[centre].mean()) if centre.any() else float("nan"),
        float(near_truth[found].mean()) if found.any() else float("nan"),
    )


def on_cables(lines: gpd.GeoDataFrame, name: str) -> str | None:
    """How much of the known cables of a frame is taken for cracks, cracks that cross included."""
    cables = [LineString([TRANSFORM * end for end in ends]) for ends in CABLES_PX.get(name, ())]
    if not cables:
        return None
    beside = [cable.buffer(CABLE_REACH_PX * GSD_M, cap_style="flat") for cable in cables]
    taken_m = sum(lines.intersection(strip).length.sum() for strip in beside)
    return (
        f"{taken_m:.2f} m of crack within {CABLE_REACH_PX} px of their "
        f"{sum(cable.length for cable in cables):.2f} m"
    )


if __name__ == "__main__":
    main()
