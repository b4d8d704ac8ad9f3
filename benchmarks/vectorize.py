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
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw, ImageFilter

from crackgeo.grid import Grid
from crackgeo.specs import VectorSpec

FOREGROUND = 0.02
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
    """Draw a crack of uneven width; its area."""
    pen.line([tuple(p) for p in xy], fill=254, width=round(width), joint="curve")
    return len(xy) * 3.0 * width


def timed(function, *arguments):
    start, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return time.perf_counter() - start, time.process_time() - cpu, result


def compare(side_px: int, workers: int) -> None:
    import skan
    from skimage.morphology import skeletonize as their_skeletonize

    from crackgeo.measure import place_branches
    from crackgeo.pixelgraph import prune
    from crackgeo.skeleton import low_code, skeletonize
    from crackgeo.vectorize import ArraySource, vectorize, warm_up

    spec = VectorSpec()
    codes = scene(side_px)
    mask = codes >= low_code(spec)
    grid = Grid(side_px, side_px, Affine(0.002, 0, 5e5, 0, -0.002, 5.3e6), utm())
    warm_up()
    source = ArraySource(codes)
    rows = []
    for _ in range(3):
        thin = timed(their_skeletonize, mask)
        graph = timed(lambda s: skan.Skeleton(s).path_lengths().sum(), thin[2])

        def ours() -> float:
            skeleton = skeletonize(source, spec, workers=workers)
            _, pixels = prune(skeleton.keys, skeleton.radius_px, side_px, 0.0, 0.0)
            return float(place_branches(pixels, skeleton.radius_px, side_px)[0].lengths_px.sum())

        rows.append((thin[:2], graph[:2], timed(ours)[:2]))
        lengths = graph[2], ours()
    best = np.array(rows).min(axis=0) * 1e3 / (side_px**2 / 1e6)
    whole = min(
        timed(lambda: write(vectorize(source, grid, spec, workers=workers), grid))[:2]
        for _ in range(3)
    )
    report(side_px, workers, mask.mean(), best, np.array(whole) * 1e3 / (side_px**2 / 1e6), lengths)


def utm() -> str:
    from pyproj import CRS

    return CRS(32632).to_wkt()


def write(vectors, grid) -> int:
    """Write the layers to a GeoPackage as the command does; its size."""
    import pyogrio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.gpkg"
        for name in ("cracks", "crack_polygons", "crack_nodes"):
            table = getattr(vectors, name)
            pyogrio.raw.write(
                path,
                geometry=to_wkb(table.geometry),
                field_data=list(table.columns.values()),
                fields=list(table.columns),
                layer=name,
                driver="GPKG",
                geometry_type="Unknown",
                crs=grid.crs_wkt,
                append=path.exists(),
            )
        return path.stat().st_size


def to_wkb(geometry):
    import shapely

    return shapely.to_wkb(geometry)


def report(side_px, workers, share, best, whole, lengths) -> None:
    head()
    print(f"Raster {side_px} x {side_px}, {100 * share:.1f} % foreground, {workers} workers.\n")
    print("| stage | ms / Mpx, wall | ms / Mpx, CPU |\n|---|---|---|")
    names = ("scikit-image skeletonize", "skan graph and lengths", "ours: the same, in blocks")
    for name, (wall, cpu) in zip(names, best, strict=True):
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    print(f"| ours: whole vectorize, widths, polygons, writing | {whole[0]:.1f} | {whole[1]:.1f} |")
    ratio = (best[0] + best[1]) / best[2]
    print(f"\nTimes faster: {ratio[0]:.1f} by wall clock, {ratio[1]:.1f} by CPU time.")
    print(f"Length by skan {lengths[0]:.0f} px, ours on the same pixels {lengths[1]:.0f} px.")


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
import resource, sys, time
from crackgeo.probability import open_probability
from crackgeo.vectorize import vectorize, warm_up
warm_up()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.perf_counter()
with open_probability(sys.argv[1]) as source:
    vectors = vectorize(source, source.grid, workers=2)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"| {len(vectors.cracks)} | {base:.0f} | {peak:.0f} | {seconds:.1f} |")
"""


def memory(side_px: int) -> None:
    import rasterio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prob.tif"
        profile = {
            "driver": "GTiff", "width": side_px, "height": side_px, "count": 1, "dtype": "uint8",
            "nodata": 255, "crs": "EPSG:32632", "compress": "deflate", "tiled": True,
            "blockxsize": 512, "blockysize": 512,
            "transform": Affine(0.002, 0, 5e5, 0, -0.002, 5.3e6),
        }  # fmt: skip
        codes = scene(side_px)
        with rasterio.open(path, "w", **profile) as file:
            file.write(codes, 1)
        head()
        print(f"Raster {side_px} x {side_px}, {100 * (codes >= 64).mean():.1f} % foreground.\n")
        del codes
        print("| cracks | before, MB | peak, MB | seconds |\n|---|---|---|---|", flush=True)
        environment = {**os.environ, "GDAL_CACHEMAX": "32"}
        subprocess.run([sys.executable, "-c", MEASURED, str(path)], check=True, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        memory(options.side)
    else:
        compare(options.side, options.workers)


if __name__ == "__main__":
    main()
