"""Small rasters of every kind that turns up in a GIS, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from crackgeo.dataset import accept_no_georeference
from crackgeo.grid import Grid

UTM = "EPSG:32632"
TRANSFORM = Affine(0.002, 0, 500000, 0, -0.002, 5400000)
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def picture(height: int = 90, width: int = 120, bands: int = 3, seed: int = 1) -> NDArray[np.uint8]:
    """Noise that never is 0, uint8 `[bands, h, w]`."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (bands, height, width)).astype(np.uint8)


def write(
    path: Path,
    pixels: NDArray[Any],
    *,
    interps: tuple[ColorInterp, ...] | None = None,
    mask: NDArray[np.bool_] | None = None,
    palette: dict[int, tuple[int, int, int, int]] | None = None,
    scale: float | None = None,
    gcps: list[GroundControlPoint] | None = None,
    sidecar_mask: bool = False,
    **profile: Any,
) -> Path:
    """Write `[bands, h, w]` (or `[h, w]`); GeoTIFF, UTM and `TRANSFORM` unless told otherwise."""
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = pixels.shape
    options: dict[str, Any] = {"driver": "GTiff", "crs": UTM, "transform": TRANSFORM}
    if gcps is not None:
        options = {"driver": "GTiff", "crs": UTM, "gcps": gcps}
    options |= {"dtype": pixels.dtype.name, "count": count, "height": height, "width": width}
    options |= profile
    config = {"GDAL_TIFF_INTERNAL_MASK": not sidecar_mask}
    with (
        accept_no_georeference(),
        rasterio.Env(**config),
        rasterio.open(path, "w", **options) as dataset,
    ):
        if interps is not None:
            dataset.colorinterp = interps
        if palette is not None:
            dataset.write_colormap(1, palette)
        dataset.write(pixels)
        if scale is not None:
            dataset.scales = (scale,) * count
        if mask is not None:
            dataset.write_mask(mask)
    return path


def convert(source: Path, target: Path, driver: str, **options: Any) -> Path:
    """Copy a raster into another format."""
    with accept_no_georeference():
        rasterio.shutil.copy(source, target, driver=driver, **options)
    return target


def control_points(
    transform: Affine, height: int, width: int, noise_px: float = 0.0
) -> list[GroundControlPoint]:
    """A lattice of 3 x 3 control points on a transform, moved by noise."""
    rng, grid = np.random.default_rng(5), Grid(width, height, transform)
    points = []
    for row in (0, height / 2, height):
        for col in (0, width / 2, width):
            dcol, drow = rng.normal(0, noise_px, 2) if noise_px else (0.0, 0.0)
            x, y = grid.xy(np.array(col + dcol), np.array(row + drow))
            points.append(GroundControlPoint(row=row, col=col, x=x, y=y))
    return points
