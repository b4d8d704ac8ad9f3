"""Whether this installation works: versions, device, model, projections, file formats."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import CrackgeoError
from .version import __version__

PACKAGES = (
    "torch",
    "segment-anything",
    "rasterio",
    "geopandas",
    "pyogrio",
    "pyproj",
    "shapely",
    "numba",
    "numpy",
    "scipy",
    "scikit-image",
    "safetensors",
)


@dataclass(frozen=True)
class Check:
    """One thing tried: its name, whether it works, what was found, what to do if it does not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that was tried."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 if all works, 5 if the model does not, else 1."""
        broken = {check.name for check in self.checks if not check.ok}
        if not broken:
            return 0
        return 5 if "model compact" in broken else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.exit_code == 0, "checks": [asdict(check) for check in self.checks]}

    def summary(self) -> str:
        """Lines for a person."""
        lines = []
        for check in self.checks:
            lines.append(f"{'ok ' if check.ok else 'NO '} {check.name:<20} {check.found}")
            if not check.ok and check.remedy:
                lines.append(f"    {'':<20} remedy: {check.remedy}")
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    """Try everything the main job needs; an item that fails does not stop the others."""
    checks = [
        Check("crackgeo", True, __version__),
        Check("Python", True, f"{platform.python_version()}, {sys.executable}"),
        Check("system", True, f"{platform.platform()}, {os.cpu_count()} processors"),
        *_packages(),
    ]
    for name, attempt, remedy in (
        ("GDAL formats", _gdal, "reinstall rasterio and pyogrio from wheels"),
        ("projections", _projections, "unset PROJ_LIB and PROJ_DATA, or reinstall pyproj"),
        ("device", _device, "see the README on torch's CPU and CUDA builds"),
        ("main job", _main_job, "reinstall crackgeo: its parts are not of one version"),
        ("model compact", _model, "reinstall crackgeo: its model file is missing or damaged"),
        ("temporary files", _temporary, "set TMPDIR to a folder with space"),
    ):
        checks.append(_try(name, attempt, remedy))
    return Diagnosis(tuple(checks))


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, True, version(name))
        except PackageNotFoundError:
            yield Check(name, False, "not installed", f"pip install {name}")


def _try(name: str, attempt: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, attempt())
    except CrackgeoError as error:
        return Check(name, False, error.message, error.remedy or remedy)
    except Exception as error:  # whatever a broken installation throws is the finding
        return Check(name, False, f"{type(error).__name__}: {error}", remedy)


def _gdal() -> str:
    import pyogrio
    import rasterio

    with rasterio.Env() as env:
        missing = {"GTiff", "COG", "VRT"} - set(env.drivers())
    missing |= set() if "w" in pyogrio.list_drivers().get("GPKG", "") else {"GPKG"}
    if missing:
        raise RuntimeError(f"formats missing: {', '.join(sorted(missing))}")
    vector = ".".join(map(str, pyogrio.__gdal_version__))
    return f"GDAL {rasterio.__gdal_version__} (rasters), {vector} (vectors)"


def _projections() -> str:
    import pyproj

    to_utm = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    x, y = to_utm.transform(9.0, 48.0)
    if abs(x - 500000) > 1e-3 or abs(y - 5316300) > 1000:
        raise RuntimeError(f"9 E, 48 N lands at {x:.1f}, {y:.1f} in UTM 32N")
    return f"PROJ {pyproj.proj_version_str}"


def _device() -> str:
    import torch

    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    names = cards or (["Apple GPU (mps)"] if torch.backends.mps.is_available() else ["no GPU"])
    return f"{', '.join(names)}; {torch.get_num_threads()} CPU threads"


def _main_job() -> str:
    from .pipeline import map_cracks
    from .vectorize import vectorize

    return f"{map_cracks.__name__} and {vectorize.__name__} load"


def _model() -> str:
    import numpy as np

    from .models.registry import load_model

    model = load_model("compact", device="cpu")
    tile = np.full((1, model.info.tile_px, model.info.tile_px, 3), 128, np.uint8)
    probability = model.predict(tile)
    if not np.isfinite(probability).all():
        raise RuntimeError("the model gives numbers that are not finite")
    return f"sha256 {model.info.sha256[:16]}, runs"


def _temporary() -> str:
    import shutil

    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")
    return f"{folder}, {shutil.disk_usage(folder).free / 1e9:.1f} GB free"
