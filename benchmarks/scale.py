"""Surveys beyond one raster: empty ground, workers, stages, storage, the time promised.

    python benchmarks/scale.py sparse [--height 100000]    peak memory and time, nearly empty raster
    python benchmarks/scale.py workers [--side 3000]    one process and 1, 2 workers, a thread each
    python benchmarks/scale.py stages [--sides 1500 3000]    tiles a second, where the time goes
    python benchmarks/scale.py estimate [--side 4000]    the time promised, and what it took

Each draws rasters of noise with crack-like lines into a temporary folder and runs the command line
in processes of its own, one thread each where it says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from map_run import draw

PATCH_PX = 500
COMMAND = [sys.executable, "-c", "from crackgeo.cli import main; main()"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Run one of them and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["sparse", "workers", "stages", "estimate"])
    parser.add_argument("--side", type=int)
    parser.add_argument("--height", type=int)
    parser.add_argument("--sides", type=int, nargs="+", default=[1500, 3000])
    parser.add_argument("--share", type=float, default=0.001, help="of the raster that has data")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors,", end=" ")
    print(f"{datetime.date.today()}, `{' '.join(sys.argv)}`", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what == "sparse":
            side = arguments.side or 100_000
            sparse(folder, side, arguments.height or side, arguments.share)
        elif arguments.what == "workers":
            workers(folder, arguments.side or 3000, arguments.rounds)
        elif arguments.what == "stages":
            stages(folder, arguments.sides)
        else:
            estimate(folder, arguments.side or 4000)


def sparse(folder: Path, width: int, height: int, share: float) -> None:
    """Peak memory and time of the main job on a virtual raster with data in a few places."""
    path = scattered(folder, width, height, round(width * width * share / PATCH_PX**2))
    report = run(folder, "map", path)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    seconds, tiles = report["result"]["seconds"], report["result"]["tiles_run"]
    print(f"{width} x {height}, data in {share:.1%} of {width} x {width}: {tiles} tiles run of")
    print(f"{report['result']['tiles']}, peak {peak:.0f} MiB, {seconds:.0f} s: {spent(report)}")


def scattered(folder: Path, width: int, height: int, patches: int) -> Path:
    """A virtual raster of small rasters at random places, and nothing between them."""
    patch = draw(folder / "patch.tif", PATCH_PX)
    with rasterio.open(patch) as dataset:
        crs, t = dataset.crs.to_wkt(), dataset.transform.to_gdal()
    rng = np.random.default_rng(0)
    size = f'xSize="{PATCH_PX}" ySize="{PATCH_PX}"'
    places = zip(
        rng.integers(0, width - PATCH_PX, patches),
        rng.integers(0, height - PATCH_PX, patches),
        strict=True,
    )
    rectangles = [f'<DstRect xOff="{x}" yOff="{y}" {size}/>' for x, y in places]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{patch.name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" {size}/>{there}'
            "</SimpleSource>"
            for there in rectangles
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path = folder / "scattered.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, t))}</GeoTransform>{bands}</VRTDataset>"
    )
    return path


def workers(folder: Path, side: int, rounds: int) -> None:
    """One process, one worker and two, one thread each, in turn.

    Tiles a second from the first result to the last: workers take some seconds to start.
    """
    path = draw(folder / "survey.tif", side)
    ways: dict[str, list[str]] = {
        "one process": [], "1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"],
    }  # fmt: skip
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for way in [*ways] * rounds:
        told = events(folder, path, *ways[way], threads=1)
        (first, a), (last, b) = next(one for one in told if one[1]["done"] > 0), told[-1]
        rates[way].append((b["done"] - a["done"]) / (last - first))
        print(f"{way}: {b['done']} tiles, {rates[way][-1]:.2f} a second", end=", ")
        print(f"first result after {first - told[0][0]:.1f} s", flush=True)
    best = {way: max(found) for way, found in rates.items()}
    for way in ("one process", "1 worker"):
        print(f"2 workers / {way}: {best['2 workers'] / best[way]:.2f}")


def stages(folder: Path, sides: list[int]) -> None:
    """Tiles a second of whole runs, and the share of each stage, by size, workers, storage."""
    print("| raster | storage | processes | tiles | tiles/s | share of the time |")
    print("|---|---|---|---|---|---|")
    for side in sides:
        plain = draw(folder / f"{side}.tif", side)
        rasterio.shutil.copy(plain, folder / f"{side}.cog.tif", driver="COG", compress="deflate")
    with served(folder) as address:
        for side, storage, count in product(sides, ("local", "HTTP"), (None, 1, 2)):
            name = f"{side}.cog.tif"
            path = folder / name if storage == "local" else f"{address}/{name}"
            options = [] if count is None else ["--workers", str(count)]
            report = run(folder, "map", path, *options, threads=1)
            result = report["result"]
            rate = result["tiles_run"] / result["seconds"]
            ways = "1" if count is None else f"1 + {count} workers"
            print(f"| {side} x {side} | {storage} | {ways} | {result['tiles_run']}", end=" | ")
            print(f"{rate:.2f} | {spent(report)} |", flush=True)


def estimate(folder: Path, side: int) -> None:
    """What the program said is left, at 5 % of the tiles and later, against what it took."""
    told, worst = events(folder, draw(folder / "survey.tif", side)), 0.0
    end = told[-1][0]
    print(f"{side} x {side}, {told[-1][1]['total']} tiles in {end - told[0][0]:.0f} s")
    for share in (0.05, 0.1, 0.25, 0.5, 0.75):
        now, event = next(one for one in told if one[1]["done"] >= share * one[1]["total"])
        error = event["remaining_s"] / (end - now) - 1
        print(f"after {share:.0%}: {event['remaining_s']:.0f} s promised, {end - now:.0f} s taken")
        worst = max(worst, abs(error))
    print(f"largest error {worst:.0%}")


def events(folder: Path, path: Path, *options: str, threads: int = 0) -> list[tuple[float, dict]]:
    """Progress of a prediction, each event with the time when it came."""
    command = [*COMMAND, "predict", str(path), "-o", str(folder / "p.tif"), *options]
    environment = {**os.environ, **(ONE_THREAD if threads == 1 else {})}
    told = []
    with subprocess.Popen(
        [*command, "--progress", "json", "--overwrite"],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["stage"] == "predict":
                told.append((time.monotonic(), event))
    return told


def run(folder: Path, command: str, path: Path | str, *options: str, threads: int = 0) -> dict:
    """One command in a process of its own; gives its report."""
    output, report = folder / ("o.gpkg" if command == "map" else "o.tif"), folder / "report.json"
    whole = [*COMMAND, command, str(path), "-o", str(output), "--report", str(report), "-q"]
    environment = {**os.environ, **(ONE_THREAD if threads == 1 else {})}
    subprocess.run([*whole, "--overwrite", *options], check=True, env=environment)
    return dict(json.loads(report.read_text()))


def spent(report: dict) -> str:
    """Share of each stage in the time of all, the small ones together."""
    seconds = report["run"]["stages"]
    total = sum(seconds.values())
    large = {stage: s for stage, s in seconds.items() if s >= 0.02 * total}
    shares = [f"{stage} {s / total:.0%}" for stage, s in large.items()]
    return ", ".join([*shares, f"rest {1 - sum(large.values()) / total:.0%}"])


class Handler(SimpleHTTPRequestHandler):
    """Serves files with ranges, which the standard library's does not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A part of a file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        size = path.stat().st_size
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        first, last = int(asked[0]), min(int(asked[1] or size), size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            self.wfile.write(file.read(last + 1 - first))
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server for a folder on this machine."""
    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
