"""Time and memory of reading a large raster by strips and writing its probability raster.

Run: python benchmarks/reading.py [--side 20000] [--gsd-factor 3] [--layout tiled|striped]

Reading is strip by strip as `crackgeo map` does it; what is written is the grey value, so the
output compresses far worse than real probabilities.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from crackgeo.bands import RowBands
from crackgeo.grid import Window
from crackgeo.probability import publish_probability
from crackgeo.raster import open_image

STRIP_PX = 448
GSD_M = 0.002


def make_raster(path: Path, side: int, layout: str) -> None:
    """Noise on slopes, RGB, deflate, as an orthomosaic compresses."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 32, (3, 512, side)).astype(np.uint8)
    profile = {"tiled": True, "blockxsize": 512, "blockysize": 512} if layout == "tiled" else {}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=3,
        dtype="uint8",
        crs="EPSG:32632",
        transform=Affine(GSD_M, 0, 5e5, 0, -GSD_M, 5.4e6),
        compress="deflate",
        zlevel=1,
        num_threads="all_cpus",
        photometric="rgb",
        **profile,
    ) as dataset:
        for row in range(0, side, 512):
            height = min(512, side - row)
            window = rasterio.windows.Window(0, row, side, height)
            dataset.write(noise[:, :height] + np.uint8(row // 512 % 200), window=window)


def peak_mb() -> float:
    """Largest memory that this process has had, MB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Stopwatch:
    """Wall and CPU seconds (of all threads) spent in `with` blocks."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self.wall_s -= time.perf_counter()
        self.cpu_s -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter()
        self.cpu_s += time.process_time()

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s (CPU {self.cpu_s:.1f} s)"


def run(path: Path, output: Path, gsd_m: float | None) -> None:
    before = peak_mb()
    read, write, commit = Stopwatch(), Stopwatch(), Stopwatch()
    with (
        open_image(path, gsd_m=gsd_m) as image,
        tempfile.TemporaryDirectory(dir=output.parent) as folder,
    ):
        grid = image.grid
        bands = RowBands(Path(folder), grid)
        for row in range(0, grid.height, STRIP_PX):
            height = min(STRIP_PX, grid.height - row)
            with read:
                pixels, _ = image.read(Window(row, 0, height, grid.width))
            with write:
                bands.add(row, np.minimum(pixels[..., 0], 254), {})
        with commit:
            publish_probability(bands.write_index({}), output)
    print(
        f"gsd {gsd_m or GSD_M:g} m, {grid.width * grid.height / 1e6:.0f} Mpx: read {read}, "
        f"write {write}, commit {commit}, "
        f"peak memory {peak_mb():.0f} MB ({before:.0f} MB before)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--gsd-factor", type=float, default=3.0)
    parser.add_argument("--layout", choices=("tiled", "striped"), default="tiled")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {args.side} px a side, {args.layout}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tif"
        pid = os.fork()  # so that making the raster does not count
        if pid == 0:
            make_raster(path, args.side, args.layout)
            os._exit(0)
        os.waitpid(pid, 0)
        run(path, Path(folder) / "native.tif", None)
        run(path, Path(folder) / "coarse.tif", GSD_M * args.gsd_factor)


if __name__ == "__main__":
    main()
