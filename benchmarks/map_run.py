"""What the main job costs beside the model, and how much memory it takes.

    python benchmarks/map_run.py overhead [--side 4000]    whole run over the model alone
    python benchmarks/map_run.py memory [--side 20000] [--rows N] [--every N]     its peak memory

Both draw a raster of noise with crack-like lines into a temporary folder. `overhead` runs in one
process and alternates the two, so that a busy machine hits both; the first round warms up and
is not counted. `memory` runs the main job in a process of its own and reads the kernel's peak
resident memory for it. Two ways to shorten that: with --rows only so many rows hold data, the rest
is nodata (strips, buffers and files keep their size, the vectors have fewer cracks); with --every N
the model looks at every Nth tile only and for the others darkness stands for a crack (all buffers
and the vectors keep their size, and the model takes what it takes).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

import crackgeo
from crackgeo.grid import Window
from crackgeo.raster import open_image
from crackgeo.specs import TileSpec
from crackgeo.tiling import TilePlan

BAND = 1024
Process = get_context("spawn").Process  # nothing of the drawing in its memory


def main() -> None:
    """Run one of the two and print a line of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "memory"])
    parser.add_argument("--side", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors,", end=" ")
    print(f"{datetime.date.today()}, `{' '.join(sys.argv)}`")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "overhead":
            overhead(Path(folder), arguments.side or 4000, arguments.rounds)
        else:
            side = arguments.side or 20000
            memory(Path(folder), side, arguments.rows or side, arguments.every)


def overhead(folder: Path, side: int, rounds: int) -> None:
    """Alternate the whole run and the model alone on one raster."""
    path = draw(folder / "survey.tif", side)
    model = crackgeo.load_model("compact")
    whole, alone = [], []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        result = crackgeo.map_cracks(path, folder / "o.gpkg", model=model, overwrite=True)
        whole.append(time.perf_counter() - started)
        alone.append(model_alone(path, model))
    ratios = [w / a for w, a in zip(whole[1:], alone[1:], strict=True)]
    print(f"{side} x {side}, {result.prediction.tiles_run} tiles, {rounds} rounds")
    print(f"whole run {statistics.median(whole[1:]):.1f} s", end=", ")
    print(f"model alone {statistics.median(alone[1:]):.1f} s", end=", ")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def model_alone(path: Path, model: crackgeo.models.protocol.Segmenter) -> float:
    """Seconds of the model on all tiles of a raster, without reading them."""
    seconds = 0.0
    with open_image(path) as image:
        plan = TilePlan(image.grid.shape, image.grid.window, TileSpec())
        tiles = [plan.tile(i, j) for i in plan.rows for j in plan.cols]
        for start in range(0, len(tiles), model.batch_size):
            batch = tiles[start : start + model.batch_size]
            batch += [batch[-1]] * (model.batch_size - len(batch))
            pixels = np.stack([image.read(tile)[0] for tile in batch])
            started = time.perf_counter()
            model.predict(pixels)
            seconds += time.perf_counter() - started
    return seconds


class Sometimes:
    """A model that looks at every Nth tile; on the others what is dark is a crack."""

    def __init__(self, model: crackgeo.models.protocol.Segmenter, every: int) -> None:
        self.info, self.batch_size = model.info, model.batch_size
        self._model, self._every, self._calls = model, every, 0

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, see `crackgeo.models.protocol.Segmenter`."""
        self._calls += 1
        if self._calls % self._every == 0:
            return self._model.predict(images)
        return np.clip((120 - images[..., 0].astype(np.float32)) / 80, 0, 1)


def memory(folder: Path, side: int, rows: int, every: int) -> None:
    """Peak memory of the main job on one raster."""
    path = draw(folder / "survey.tif", side, rows)
    work = Process(target=map_sometimes, args=(path, folder / "o.gpkg", every))
    started = time.perf_counter()
    work.start()
    work.join()
    assert work.exitcode == 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    seconds = time.perf_counter() - started
    print(f"{side} x {side}, {rows} rows with data, model on 1 of {every} tiles:", end=" ")
    print(f"peak {peak:.0f} MiB, {seconds:.0f} s")


def map_sometimes(path: Path, output: Path, every: int) -> None:
    """The main job, as the command line does it."""
    model = crackgeo.load_model("compact")
    print(crackgeo.map_cracks(path, output, model=Sometimes(model, every)).summary())


def draw(path: Path, side: int, rows_with_data: int | None = None) -> Path:
    """A grey raster with wavy dark lines every 500 rows, written band by band."""
    rng = np.random.default_rng(0)
    cols = np.arange(side)
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8",
               "crs": "EPSG:32632", "transform": Affine(0.002, 0, 5e5, 0, -0.002, 5.4e6),
               "tiled": True, "compress": "deflate", "zlevel": 1, "nodata": 0}  # fmt: skip
    with rasterio.open(path, "w", **profile) as raster:
        for row in range(0, rows_with_data or side, BAND):
            height = min(BAND, side - row)
            grey = rng.normal(140, 8, (height, side))
            for line in range(250, side, 500):
                rows = (line + 30 * np.sin(cols / 90 + line)).astype(int) - row
                for width in range(5):
                    inside = (rows + width >= 0) & (rows + width < height)
                    grey[rows[inside] + width, cols[inside]] = 40
            band = np.clip(grey, 1, 255).astype(np.uint8)
            window = Window(row, 0, height, side)
            place = rasterio.windows.Window(window.col, window.row, window.width, window.height)
            raster.write(np.repeat(band[None], 3, 0), window=place)
    return path


if __name__ == "__main__":
    main()
