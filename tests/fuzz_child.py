"""The process that reads the files of a fuzz run: `python fuzz_child.py KIND FOLDER`.

Takes names of files, one a line, and answers each with one line of JSON: `code`, the exit code
that the command line would give (0 if it was read), `message`, and `peak_mib`, by how much the
memory grew. What is no `CrackgeoError` is a failure and answers with its traceback as `failure`.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fakes import IdentityModel
from rasterio.crs import CRS
from rasters import TRANSFORM, UTM

from crackgeo.aoi import resolve_area
from crackgeo.errors import Cancelled, CrackgeoError
from crackgeo.grid import Grid
from crackgeo.monitor import Monitor
from crackgeo.pipeline import predict_raster, vectorize_raster
from crackgeo.raster import header_checksum

PATIENCE_S = 1.0  # a file that claims to be large may be read for so long, then we stop it
LIMIT_MIB = 3000  # an allocation beyond it fails, so that a hostile file cannot take the machine
GRID = Grid(120, 90, TRANSFORM, CRS.from_string(UTM).to_wkt())


def impatient() -> Monitor:
    """A user who asks to stop after a while."""
    end = time.monotonic() + PATIENCE_S
    return Monitor(is_cancelled=lambda: time.monotonic() > end)


def read_image(path: Path, folder: Path) -> None:
    header_checksum(path)
    model = IdentityModel(1)
    predict_raster(path, folder / "out.tif", model=model, overwrite=True, monitor=impatient())


def read_probability(path: Path, folder: Path) -> None:
    vectorize_raster(path, folder / "out.gpkg", overwrite=True, monitor=impatient())


def read_area(path: Path, folder: Path) -> None:
    area = resolve_area(GRID, aoi_path=path)
    assert area.mask(GRID.window).shape == GRID.shape


def read_model(path: Path, folder: Path) -> None:
    from crackgeo.models.registry import load_model

    model = load_model(path, "cpu", "fp32")
    side = model.info.tile_px
    probability = model.predict(np.full((1, side, side, 3), 128, np.uint8))
    assert probability.shape == (1, side, side)


READERS: dict[str, Callable[[Path, Path], None]] = {
    "image": read_image,
    "probability": read_probability,
    "area": read_area,
    "model": read_model,
}


def read(kind: str, path: Path, folder: Path) -> dict[str, object]:
    """One file's outcome."""
    before = memory_mib("VmRSS")
    forget_peak()
    outcome: dict[str, object] = {"code": 0, "message": ""}
    try:
        READERS[kind](path, folder)
    except Cancelled:
        pass
    except CrackgeoError as error:
        outcome = {"code": error.exit_code, "message": str(error)}
    except BaseException:
        outcome["failure"] = traceback.format_exc()
    return outcome | {"peak_mib": memory_mib("VmHWM") - before}


def memory_mib(name: str) -> float:
    """A line of the kernel's account of this process; 0 where there is none."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def forget_peak() -> None:
    """Let the kernel count the peak from now on."""
    if (references := Path("/proc/self/clear_refs")).exists():
        references.write_text("5")


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_MIB << 20, LIMIT_MIB << 20))
    if kind == "model":
        import crackgeo.models.checkpoint
        import crackgeo.models.runtime  # noqa: F401 - torch, which no file should pay for
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(read(kind, Path(line.rstrip("\n")), folder)), flush=True)


if __name__ == "__main__":
    main()
