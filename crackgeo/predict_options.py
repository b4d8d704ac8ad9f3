"""What a user decides about a prediction: which raster pixels, which model, computed where."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, get_args

from .aoi import Area, BBox, resolve_area
from .errors import UsageError
from .grid import Grid
from .inputs import StrPath
from .models.protocol import Segmenter
from .models.registry import load_model
from .monitor import Monitor
from .raster import ImageRaster, open_image
from .specs import BandSpec, OnError, TileSpec, number, numbers, option_of

_NUMBER: dict[str, type[int] | type[float]] = {
    "batch_size": int,
    "overlap_px": int,
    "nodata": float,
    "gsd_m": float,
    "workers": int,
}
_NUMBERS: dict[str, tuple[type[int] | type[float], tuple[int, ...]]] = {
    "bands": (int, (1, 3)),
    "stretch": (float, (2,)),
    "bbox": (float, (4,)),
}


class PredictKeywords(TypedDict, total=False):
    """The fields of `PredictOptions`, as keywords of the main jobs."""

    model: StrPath | Segmenter
    device: str
    precision: str
    batch_size: int | None
    overlap_px: int
    bands: tuple[int, ...] | None
    stretch: tuple[float, float] | None
    nodata: float | None
    gsd_m: float | None
    crs: str | None
    bbox: BBox | None
    aoi: StrPath | None
    on_error: OnError
    workers: int | None
    scheduler: str | None


@dataclass(frozen=True)
class PredictOptions:
    """What shapes the probabilities of a run, and where it computes them.

    Parameters
    ----------
    model : name or file of a model, or a loaded one
    device, precision, batch_size : see `load_model`
    overlap_px : overlap of neighbouring tiles
    bands, stretch, nodata : see `BandSpec`
    gsd_m : resample to this ground pixel size in metres first
    crs : coordinate reference system of the result; None takes that of the first raster
    bbox : only this part, (xmin, ymin, xmax, ymax) in the coordinates of the result
    aoi : only inside the polygons of this vector file
    on_error : "skip" leaves out rasters, and blocks inside them, that cannot be read, and rasters
        that do not say where they lie among the others
    workers : run tiles in so many processes of this machine
    scheduler : run tiles on the workers of this Dask scheduler

    Raises
    ------
    UsageError
        A value is of the wrong type or out of its range, or two exclude each other.
    """

    model: StrPath | Segmenter = "compact"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    overlap_px: int = TileSpec().overlap_px
    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | None = None
    gsd_m: float | None = None
    crs: str | None = None
    bbox: BBox | None = None
    aoi: StrPath | None = None
    on_error: OnError = "fail"
    workers: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.scheduler is not None:
            raise UsageError("--workers and --scheduler exclude each other", "give one of them")
        for name, kind in _NUMBER.items():
            self._settle(name, partial(number, kind=kind))
        for name, (kind, counts) in _NUMBERS.items():
            self._settle(name, partial(numbers, kind=kind, counts=counts))
        self._check()

    def _settle(self, name: str, plain: Callable[..., Any]) -> None:
        """Make the numbers of a field Python's own, wherever they come from."""
        value = getattr(self, name)
        if value is not None or getattr(type(self), name) is not None:
            object.__setattr__(self, name, plain(value, option=option_of(name)))

    def _check(self) -> None:
        """Find what no raster and no model could make right."""
        for name in ("workers", "batch_size"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UsageError(f"{option_of(name)} must be 1 or more, not {count}")
        if self.gsd_m is not None and not 0 < self.gsd_m < math.inf:
            raise UsageError(f"--gsd must be a positive number of metres, not {self.gsd_m:g}")
        if self.on_error not in get_args(OnError):
            known = " or ".join(get_args(OnError))
            raise UsageError(f"--on-error must be {known}, not {self.on_error!r}")
        if not isinstance(self.model, str | os.PathLike | Segmenter):
            raise UsageError(
                f"{self.model!r} is no model",
                "give its name, its file, or an object with info, batch_size and predict",
            )
        if isinstance(self.model, Segmenter) and not self.model.batch_size >= 1:
            raise UsageError(
                f"the model's batch_size must be 1 or more, not {self.model.batch_size}"
            )
        _ = self.tiles, self.band_spec  # which check themselves

    @property
    def is_distributed(self) -> bool:
        """Whether tiles are run by other processes."""
        return self.workers is not None or self.scheduler is not None

    @property
    def tiles(self) -> TileSpec:
        """How rasters are cut into tiles."""
        return TileSpec(overlap_px=self.overlap_px)

    @property
    def band_spec(self) -> BandSpec:
        """Which bands, how stretched."""
        return BandSpec(self.bands, self.stretch, self.nodata)

    def open(self, path: Path, monitor: Monitor) -> ImageRaster:
        """Open one raster, on a grid of its own."""
        return open_image(path, self.band_spec, self.gsd_m, monitor, self.on_error)

    @property
    def files(self) -> list[Path]:
        """Files that a run reads beside the rasters, as far as they are some."""
        model = self.model if isinstance(self.model, str | os.PathLike) else None
        return [Path(path) for path in (self.aoi, model) if path is not None]

    def area(self, grid: Grid) -> Area:
        """The part asked for."""
        return resolve_area(grid, self.bbox, Path(self.aoi) if self.aoi else None)

    def load(self) -> Segmenter:
        """The model."""
        if isinstance(self.model, str | os.PathLike):
            return load_model(
                self.model,
                device=self.device,
                precision=self.precision,
                batch_size=self.batch_size,
            )
        return self.model
