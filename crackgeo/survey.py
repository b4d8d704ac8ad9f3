"""What a raster is, and what running on it would take, before anything is run."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .aoi import Area, resolve_area
from .ground import coarse_pixels
from .models.registry import load_model
from .monitor import SILENT, Monitor
from .raster import ImageRaster, RasterInfo, describe, open_image
from .space import spread
from .specs import BandSpec, TileSpec
from .tiling import TilePlan

SAMPLE_SIDE = 8  # rows and columns of tiles looked at to find out how many hold data


@dataclass(frozen=True)
class RasterReport:
    """Everything `crackgeo info` says.

    Parameters
    ----------
    raster : what the file is
    tiles : tiles of the part asked for
    tiles_to_run : those that hold data; an estimate from a sample unless `tiles_counted`
    tiles_counted : whether every tile was looked at
    seconds : estimated time of the model on this machine, None if not asked for
    hints : what a user should know before running
    """

    raster: RasterInfo
    tiles: int
    tiles_to_run: int
    tiles_counted: bool
    seconds: float | None
    hints: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        r = self.raster
        values = asdict(r)
        del values["grid"]
        values["path"] = str(r.path)
        values["transform"] = list(r.grid.transform)[:6]
        for name in ("tiles", "tiles_to_run", "tiles_counted", "seconds", "hints"):
            values[name] = getattr(self, name)
        return values

    def summary(self) -> str:
        """Lines for a person."""
        r = self.raster
        milli = "mm" if r.has_ground_units else "units"
        marks = [f"value {r.nodata}"] if r.nodata is not None else []
        marks += ["alpha band"] if r.has_alpha else []
        marks += ["mask"] if r.has_mask else []
        marks += ["solid black, as nothing is marked"] if r.has_collar else []
        about = "" if self.tiles_counted else "about "
        lines = [
            f"raster          {r.path} ({r.driver})",
            f"size            {r.width} x {r.height} px",
            f"CRS             {r.crs_name or 'none: lengths are in local units'}",
            f"georeference    {r.georeference}",
            f"ground pixel    {r.gsd_mm[0]:.3f} x {r.gsd_mm[1]:.3f} {milli}",
            f"bands           {', '.join(map(str, r.bands))} of {r.band_count}, {r.dtype}",
            f"no data         {', '.join(marks) or 'not marked'}",
            f"tiles to run    {about}{self.tiles_to_run} of {self.tiles}",
        ]
        if self.seconds is not None:
            lines.append(f"estimated time  {_duration(self.seconds)}")
        return "\n".join([*lines, *(f"hint            {hint}" for hint in self.hints)])


def inspect_raster(
    input: Path,
    *,
    no_timing: bool = False,
    model: str = "compact",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    overlap_px: int = TileSpec().overlap_px,
    bands: tuple[int, ...] | None = None,
    stretch: tuple[float, float] | None = None,
    nodata: float | None = None,
    gsd_m: float | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    aoi: Path | None = None,
    monitor: Monitor = SILENT,
) -> RasterReport:
    """Describe a raster and estimate what `map_cracks` with the same options would take.

    Parameters
    ----------
    input : any raster that GDAL reads
    no_timing : estimate no time, which runs the model on one batch
    model, device, precision, batch_size : see `models.registry.load_model`
    overlap_px : overlap of neighbouring tiles
    bands, stretch, nodata : see `BandSpec`
    gsd_m : resample to this ground pixel size in metres first
    bbox, aoi : see `aoi.resolve_area`
    monitor : told of what is odd about the raster

    Returns
    -------
    RasterReport
        What the raster is, how many tiles hold data (counted, or estimated from a sample), seconds.

    Raises
    ------
    CrackgeoError
        As `map_cracks` would.
    """
    spec = BandSpec(bands, stretch, nodata)
    raster = describe(input, spec, gsd_m)
    with open_image(input, spec, gsd_m, monitor) as image:
        area = resolve_area(image.grid, bbox, aoi)
        plan = TilePlan(image.grid.shape, area.window, TileSpec(overlap_px=overlap_px))
        share, counted = _share_with_data(image, area, plan)
        own_mm = raster.gsd_mm[0] / image.scale.col, raster.gsd_mm[1] / image.scale.row
    tiles_to_run = round(share * len(plan))
    hint = coarse_pixels(max(min(raster.gsd_mm), min(own_mm)))
    hints = (hint,) if hint and raster.has_ground_units else ()
    seconds = None
    if not no_timing:
        per_batch, size = _time_batch(model, device, precision, batch_size)
        seconds = math.ceil(tiles_to_run / size) * per_batch
    return RasterReport(raster, len(plan), tiles_to_run, counted, seconds, hints)


def _share_with_data(image: ImageRaster, area: Area, plan: TilePlan) -> tuple[float, bool]:
    """Share of the tiles that hold data of the area, from a lattice of them."""
    rows, cols = (spread(0, len(axis), SAMPLE_SIDE) for axis in (plan.rows, plan.cols))
    filled = 0
    for i, j in product(rows, cols):
        window = plan.tile(plan.rows[i], plan.cols[j]).intersect(area.window)
        if window is not None:
            filled += bool((image.read(window)[1] & area.mask(window)).any())
    count = len(rows) * len(cols)
    return filled / count, count == len(plan)


def _time_batch(
    model: str, device: str, precision: str, batch_size: int | None
) -> tuple[float, int]:
    """Seconds of one batch, after a first one that warms up, and its size."""
    segmenter = load_model(model, device=device, precision=precision, batch_size=batch_size)
    side = segmenter.info.tile_px
    tiles = np.random.default_rng(0).integers(0, 255, (segmenter.batch_size, side, side, 3))
    segmenter.predict(tiles.astype(np.uint8))
    started = time.perf_counter()
    segmenter.predict(tiles.astype(np.uint8))
    return time.perf_counter() - started, segmenter.batch_size


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
