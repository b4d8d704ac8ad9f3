"""Speed and memory of `vectorize`, as a Markdown table; all ratios from one run on one raster.

python benchmarks/vectorize.py --side 8192            # against scikit-image and skan
python benchmarks/vectorize.py --side 16384 --memory  # peak memory, from a file by windows
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw, ImageFilter

from crackgeo.blocks import ArraySource
from crackgeo.branches import place_branches
from crackgeo.pixelgraph import prune
from crackgeo.skeleton import low_code, skeletonize
from crackgeo.specs import PROB_SCALE, VectorSpec

FOREGROUND = 0.016  # as drawn: 2 % at the low threshold, after the blur
Image.MAX_IMAGE_PIXELS = None


def scene(side_px: int, seed: int = 0) -> np.ndarray:
    """Wandering cracks of 2 to 24 px with branches, 2 % of the raster, blurred by 1 px."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (side_px, side_px))
    pen = ImageDraw.Draw(image)
    area = 0.0
    while area < FOREGROUND * side_px**2:
        width = float(np.exp(rng.uniform(np.log(2), np.log(24))))
        start, turn = rng.uniform(0, side_px, 2), rng.uniform(0, 2 * np.pi)
        xy, turns = walk(start, turn, int(rng.uniform(150, 900)), rng)
        area += draw(pen, xy, width)
        for _ in range(rng.poisson(len(xy) / 150)):
            i = int(rng.integers(len(xy)))
            side = turns[i] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.4)
            branch, _ = walk(xy[i], side, int(rng.uniform(20, 250)), rng)
            area += draw(pen, branch, max(2.0, width * rng.uniform(0.3, 0.8)))
    codes = np.asarray(image.filter(ImageFilter.GaussianBlur(1)))
    return np.minimum(codes, 254)


def walk(start, turn, n, rng, step_px=3.0):
    turns = turn + np.cumsum(rng.normal(0, 0.06, n)) + rng.normal(0, 0.1, n)
    steps = step_px * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    return start + np.cumsum(steps, axis=0), turns


def draw(pen, xy, width) -> float:
    """Draw a crack; its area within the raster."""
    pen.line([tuple(p) for p in xy], fill=254, width=round(width), joint="curve")
    inside = ((xy >= 0) & (xy < pen.im.size)).all(axis=1)
    return inside.sum() * 3.0 * round(width)


def timed(function, *arguments):
    start, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return time.perf_counter() - start, time.process_time() - cpu, result


def compare(side_px: int) -> None:
    """Centre lines and lengths by others and by us, and the whole command, the best of three."""
    import skan
    from skimage.morphology import skeletonize as their_skeletonize

    from crackgeo.pipeline import vectorize_raster
    from crackgeo.vectorize import warm_up

    codes = scene(side_px)
    mask = codes >= low_code(VectorSpec())
    warm_up()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "prob.tif", Path(folder) / "cracks.gpkg"
        write_raster(path, codes)
        for _ in range(3):
            *thin, theirs = timed(their_skeletonize, mask)
            *graph, length = timed(lambda s: skan.Skeleton(s).path_lengths().sum(), theirs)
            *ours, own_length = timed(centre_line_length_px, codes)
            *whole, _ = timed(lambda: vectorize_raster(path, out, overwrite=True))
            rows.append((thin, graph, ours, whole))
    best = np.array(rows).min(axis=0) * 1e3 / (side_px**2 / 1e6)
    report(side_px, mask.mean(), best)
    print(f"Length by skan {length:.0f} px, ours on the same pixels {own_length:.0f} px.")


def centre_line_length_px(codes: np.ndarray) -> float:
    """What scikit-image and skan are asked for: skeleton, graph, lengths; no spur is cut."""
    skeleton = skeletonize(ArraySource(codes), VectorSpec())
    _, graph = prune(skeleton.keys, skeleton.radius_px, codes.shape[1], 0.0, 0.0)
    branches, *_ = place_branches(graph, skeleton.radius_px, codes.shape[1])
    return float(branches.lengths_px.sum())


def report(side_px: int, share: float, best: np.ndarray) -> None:
    head()
    print(f"Raster {side_px} x {side_px}, {100 * share:.1f} % foreground, two threads.\n")
    print("| stage | ms / Mpx, wall | ms / Mpx, CPU |\n|---|---|---|")
    names = (
        "scikit-image skeletonize",
        "skan graph and lengths",
        "ours: the same, in blocks",
        "ours: `crackgeo vectorize`, from reading to writing, with widths and polygons",
    )
    for name, (wall, cpu) in zip(names, best, strict=True):
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    ratio = (best[0] + best[1]) / best[2]
    print(f"\nTimes faster: {ratio[0]:.1f} by wall clock, {ratio[1]:.1f} by CPU time.")


def head() -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores,")
    print(f"load {os.getloadavg()[0]:.1f} at the end; `python {' '.join(sys.argv)}`\n")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


MEASURED = """
import sys, time
from pathlib import Path
from crackgeo import pipeline, vectorize
def peak():  # of this program alone; getrusage would start from its parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) * 1024 / 1e6
def polygons(*arguments):
    before.append(peak())
    return polygon_table(*arguments)
before, polygon_table, vectorize.polygon_table = [], vectorize.polygon_table, polygons
vectorize.warm_up()
start, before = time.perf_counter(), [peak()]
cpu = time.process_time()
cracks = pipeline.vectorize_raster(sys.argv[1], sys.argv[2]).cracks
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(f"| {cracks} | {before[0]:.0f} | {before[-1]:.0f} | {peak():.0f} |", end="")
print(f" {seconds:.1f} | {cpu:.1f} |")
"""


def memory(side_px: int) -> None:
    """Peak memory of `crackgeo vectorize`; the raster is made by another process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prob.tif"
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            share = pool.submit(write_scene, path, side_px).result()
        head()
        print(f"Raster {side_px} x {side_px}, {100 * share:.1f} % foreground.\n")
        print("| cracks | before, MB | lines, MB | all, MB | s, wall | s, CPU |")
        print("|---" * 6 + "|", flush=True)
        command = [sys.executable, "-c", MEASURED, path, Path(folder) / "cracks.gpkg"]
        subprocess.run(command, check=True)


def write_scene(path: Path, side_px: int) -> float:
    """Write a scene as a raster of probabilities; its share of foreground."""
    codes = scene(side_px)
    write_raster(path, codes)
    return float((codes >= low_code(VectorSpec())).mean())


def write_raster(path: Path, codes: np.ndarray) -> None:
    import rasterio

    height, width = codes.shape
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8",
        "nodata": 255, "crs": "EPSG:32632", "compress": "deflate", "tiled": True,
        "blockxsize": 512, "blockysize": 512,
        "transform": Affine(0.002, 0, 5e5, 0, -0.002, 5.3e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.scales = (PROB_SCALE,)
        file.write(codes, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        memory(options.side)
    else:
        compare(options.side)


if __name__ == "__main__":
    main()
