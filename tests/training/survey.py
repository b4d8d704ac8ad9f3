"""A tiny labelled survey: a grey raster with dark cracks, and the same cracks as vector lines."""

from __future__ import annotations

import cv2
import numpy as np
import pyogrio.raw
import shapely
from rasters import TRANSFORM, UTM, write

from crackgeo.grid import Grid


def to_map(points):
    """Map coordinates `[n, 2]` of pixel coordinates."""
    cols, rows = np.array(points, np.float64).T
    return np.stack(Grid(1, 1, TRANSFORM).xy(cols, rows), axis=1)


def write_raster(path, lines_px, size=(700, 900), width_px=5, seed=3):
    rng = np.random.default_rng(seed)
    image = rng.integers(150, 190, (*size, 3)).astype(np.uint8)
    for line in lines_px:
        cv2.polylines(image, [np.array(line, np.int32)], False, (30, 30, 30), width_px)
    return write(path, np.moveaxis(image, -1, 0))


def write_lines(path, lines_px, crs=UTM, layer="cracks", offset=(0, 0), **fields):
    shapes = [shapely.LineString(to_map(np.add(line, offset))) for line in lines_px]
    return write_shapes(path, shapes, "LineString", crs, layer, **fields)


def write_polygons(path, rings_px, crs=UTM, layer="area"):
    shapes = [shapely.Polygon(to_map(ring)) for ring in rings_px]
    return write_shapes(path, shapes, "Polygon", crs, layer)


def write_shapes(path, shapes, kind, crs, layer, **fields):
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        [np.array(values) for values in fields.values()],
        list(fields),
        layer=layer,
        geometry_type=kind,
        crs=crs,
        append=path.exists(),
    )
    return path


def grid_of_lines(rows=4, cols=4, pitch=220):
    """Short cracks spread over the raster, in pixels."""
    return [
        [(100 + pitch * c, 60 + 160 * r), (150 + pitch * c, 90 + 160 * r)]
        for r in range(rows)
        for c in range(cols)
    ]
