"""From what a raster file says about its place to a `Grid`: transform, control points, nothing."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader

from .errors import InputError
from .grid import Floats, Grid
from .monitor import Monitor

# A picture without georeference lies where a GIS shows it: a pixel is a unit, its first corner at
# (0, 0) and rows going down, so that y is below 0.
PIXEL_TRANSFORM = Affine(1, 0, 0, 0, -1, 0)

# Beyond this a straight fit says nothing about single pixels any more; 5 % of the diagonal is
# what a camera tilted by a few degrees gives.
MAX_GCP_RMS_SHARE = 0.05


class Georeference(StrEnum):
    """How a raster says where it lies."""

    TRANSFORM = "transform"
    GCPS = "ground control points"
    NONE = "none"


def grid_of(dataset: DatasetReader, monitor: Monitor) -> tuple[Grid, Georeference]:
    """The pixel grid of a raster and where it comes from.

    Warns about a missing CRS, a missing georeference and the residuals of control points.

    Raises
    ------
    InputError
        A transform that is no map, control points that do not fit, or rational polynomial
        coefficients (RPC) alone, which need a height model.
    """
    size = (dataset.width, dataset.height)
    gcps, gcp_crs = dataset.gcps
    if dataset.transform != Affine.identity():
        _check_transform(dataset.transform, dataset.name)
        crs = dataset.crs or _crs_beside(dataset.name)
        grid, kind = Grid(*size, dataset.transform, _wkt(crs)), Georeference.TRANSFORM
    elif gcps:
        transform = _fit(dataset, monitor)
        grid, kind = Grid(*size, transform, _wkt(gcp_crs or dataset.crs)), Georeference.GCPS
    elif dataset.rpcs is not None:
        raise InputError(
            f"{dataset.name}: placed by rational polynomial coefficients (RPC) only",
            "orthorectify it first, e.g. gdalwarp -rpc -to RPC_DEM=dem.tif",
        )
    else:
        monitor.warn(f"{dataset.name} has no georeference: lengths are in pixels, not metres")
        return Grid(*size, PIXEL_TRANSFORM, None), Georeference.NONE
    if grid.crs_wkt is None:
        monitor.warn(
            f"{dataset.name} names no CRS: lengths are in its local units, not known to be metres"
        )
    return grid, kind


def _crs_beside(name: str) -> CRS | None:
    """The CRS of a .prj file of the same name, as stands beside a world file; GDAL reads none.

    Raises
    ------
    InputError
        There is one that cannot be read: lengths would silently be in unknown units.
    """
    for suffix in (".prj", ".PRJ"):
        path = os.path.splitext(name)[0] + suffix
        if os.path.isfile(path):
            try:
                text = Path(path).read_text(encoding="utf-8", errors="replace")
                return CRS.from_wkt(text, morph_from_esri_dialect=True)
            except (OSError, CRSError) as error:
                raise InputError(
                    f"{path}: names no CRS that can be read ({error})",
                    "put the WKT of its CRS there, or take it away for lengths in local units",
                ) from error
    return None


def _wkt(crs: object) -> str | None:
    if not crs:
        return None
    try:
        return str(crs.to_wkt(version="WKT2_2019"))  # type: ignore[attr-defined]
    except CRSError:
        return str(crs.to_wkt())  # type: ignore[attr-defined]


def _check_transform(transform: Affine, name: str) -> None:
    values = np.array(transform[:6], dtype=np.float64)
    if not np.isfinite(values).all() or transform.determinant == 0:
        raise InputError(
            f"{name}: its transform is no map ({values.tolist()})",
            "georeference the raster again",
        )


def _fit(dataset: DatasetReader, monitor: Monitor) -> Affine:
    points = np.array([(g.col, g.row, g.x, g.y) for g in dataset.gcps[0]], dtype=np.float64)
    try:
        transform, residuals_px = fit_affine(points[:, :2], points[:, 2:])
    except ValueError as error:
        raise InputError(f"{dataset.name}: {error}", "georeference the raster again") from error
    rms_px = float(np.sqrt((residuals_px**2).mean()))
    limit_px = MAX_GCP_RMS_SHARE * float(np.hypot(dataset.width, dataset.height))
    text = f"{len(points)} ground control points fit to {rms_px:.2f} px (rms)"
    if rms_px > limit_px:
        raise InputError(
            f"{dataset.name}: its {text}, too badly to measure lengths",
            "warp it to a map projection first, e.g. gdalwarp -tps",
        )
    if len(points) == 3:
        text = "3 ground control points fit exactly, as any three do"
    monitor.warn(f"{dataset.name} is placed by an affine transform; its {text}")
    return transform


def fit_affine(pixels: Floats, points: Floats) -> tuple[Affine, NDArray[np.float64]]:
    """Least-squares affine transform through control points.

    Parameters
    ----------
    pixels : `[n, 2]`, (col, row)
    points : `[n, 2]`, (x, y) in the CRS

    Returns
    -------
    Affine and float64 `[n]`
        The transform, and how far each point lies from it, in pixels.

    Raises
    ------
    ValueError
        Fewer than three points, or points on one line.
    """
    if len(pixels) < 3:
        raise ValueError(f"{len(pixels)} ground control points, an affine fit needs three")
    # Centred, as coordinates of 5e6 m beside pixels of 1e-3 m would cost half the digits.
    middle, centre = pixels.mean(axis=0), points.mean(axis=0)
    matrix, _, rank, _ = np.linalg.lstsq(pixels - middle, points - centre, rcond=1e-9)
    if rank < 2 or abs(np.linalg.det(matrix)) == 0:
        raise ValueError("the ground control points lie on one line")
    residuals = (pixels - middle) @ matrix - (points - centre)
    origin = centre - middle @ matrix
    (a, d), (b, e) = matrix
    in_pixels = residuals @ np.linalg.inv(matrix)
    return Affine(a, b, origin[0], d, e, origin[1]), np.hypot(*in_pixels.T)
