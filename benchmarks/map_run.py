"""What the main job costs beside the model, and how much memory it takes.

    python benchmarks/map_run.py overhead [--side 4000]    whole run over the model alone
    python benchmarks/map_run.py memory [--side 20000] [--rows N] [--every N]     its peak memory

Both draw a raster of noise with crack-like lines into a temporary folder. `overhead` runs in one
process and alternates the two, so that a busy machine hits both; the first round warms up and is
not counted. The model alone gets its tiles from memory, one a batch, several at once as in a run.
Other programs hit the whole run harder, as it waits for disks; so the ratio of the processor time
of all threads is told beside that of the clock. `memory` runs the main job in a process of its own
and reads the kernel's peak resident memory for it. Two ways to shorten that: with --rows only so
many rows hold data, the rest is nodata (strips, buffers and files keep their size, the vectors have
fewer cracks); with --every N the model looks at one Nth of the tiles and on the others darkness
stands for a crack (all buffers and the vectors keep their size, and the model takes what it takes).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count, groupby
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import rasterio
from affine import Affine

import crackgeo
from crackgeo.grid import Window
from crackgeo.raster import open_image
from crackgeo.specs import TileSpec
from crackgeo.tiling import TilePlan

BAND = 1024
T = TypeVar("T")
TOGETHER = 8  # tiles that the model sees in a row where it does not see all
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
    model = crackgeo.load_model("compact", batch_size=1)
    tiles = read_tiles(path)
    whole, alone = [], []
    for _ in range(rounds + 1):
        result, spent = clocked(
            lambda: crackgeo.map_cracks(path, folder / "o.gpkg", model=model, overwrite=True)
        )
        whole.append(spent)
        alone.append(clocked(lambda: list(model.predict_each(tile[None] for tile in tiles)))[1])
    print(f"{side} x {side}, {result.prediction.tiles_run} tiles, {rounds} rounds")
    times = np.array([whole[1:], alone[1:]])  # [whole or alone, round, clock or processor]
    for name, (mine, bare) in zip(("clock", "processor"), np.moveaxis(times, 2, 0), strict=True):
        ratios = mine / bare
        print(
            f"{name}: whole run {np.median(mine):.1f} s, model alone {np.median(bare):.1f} s,",
            end=" ",
        )
        print(f"ratio {np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})")


def clocked(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """What a job gives, and its seconds by the clock and of all threads on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - clock, time.process_time() - processor)


def read_tiles(path: Path) -> list[np.ndarray]:
    """All tiles of a raster, uint8 `[448, 448, 3]` each."""
    with open_image(path) as image:
        plan = TilePlan(image.grid.shape, image.grid.window, TileSpec())
        return [image.read(plan.tile(i, j))[0] for i in plan.rows for j in plan.cols]


class Sometimes:
    """A model that looks at some tiles only; on the others what is dark is a crack."""

    def __init__(self, model: crackgeo.models.protocol.StreamSegmenter, every: int) -> None:
        self.info, self.batch_size = model.info, model.batch_size
        self._model, self._every = model, every

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Dark is a crack."""
        return np.clip((120 - images[..., 0].astype(np.float32)) / 80, 0, 1)

    def predict_each(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The model on a few batches together, which it runs at once, then the stand-in."""
        number = count()
        for turn, group in groupby(batches, lambda _: next(number) // TOGETHER % self._every):
            if turn == 0:
                yield from self._model.predict_each(group)
            else:
                yield from map(self.predict, group)


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
