"""Make the sample survey: a drawn drone orthomosaic of a road with known cracks.

Writes survey.tif (RGBA, deflate, tiled, UTM zone 32N, 2 mm ground pixel) and truth.gpkg with the
layers `cracks` (centre-lines with width) and `distractors` (what looks like a crack and is none).
The place is made up; the same seed gives the same pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from crackgeo_training.drawing.pavement import Pavement, draw_pavement
from numpy.typing import NDArray
from rasterio.transform import Affine

from crackgeo.files import atomic_output

GSD_M = 0.002
ORIGIN_M = (691_204.0, 5_335_061.0)
CRS = "EPSG:32632"
SIMPLIFY_PX = 0.1


def write_survey(path: Path, pavement: Pavement) -> None:
    """Write the picture as a geo-referenced RGBA GeoTIFF."""
    height, width = pavement.alpha.shape
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": 4, "dtype": "uint8",
        "crs": CRS, "transform": Affine(GSD_M, 0, ORIGIN_M[0], 0, -GSD_M, ORIGIN_M[1]),
        "compress": "deflate", "predictor": 2, "zlevel": 9, "tiled": True, "blockxsize": 512,
        "blockysize": 512, "photometric": "RGB", "alpha": "non-premultiplied",
    }  # fmt: skip
    bands = np.dstack([pavement.rgb, pavement.alpha])
    with atomic_output(path, overwrite=True) as part, rasterio.open(part, "w", **profile) as raster:
        raster.write(np.moveaxis(bands, -1, 0))


def write_truth(path: Path, pavement: Pavement) -> None:
    """Write the true centre-lines with their widths, and the distractors."""
    cracks = pavement.cracks
    columns: dict[str, NDArray[Any]] = {
        "kind": np.array([c.kind for c in cracks], np.object_),
        "width_mm": np.array([c.width_px * GSD_M * 1000 for c in cracks], np.float64),
        "length_m": np.array([c.length_px * GSD_M for c in cracks], np.float64),
    }
    kinds = np.array([kind for kind, _ in pavement.distractors], np.object_)
    with atomic_output(path, overwrite=True) as part:
        _write_lines(part, "cracks", [c.points for c in cracks], columns)
        _write_lines(part, "distractors", [p for _, p in pavement.distractors], {"kind": kinds})


def _write_lines(
    path: Path, layer: str, lines: Sequence[NDArray[np.float64]], columns: dict[str, NDArray[Any]]
) -> None:
    x0, y0 = ORIGIN_M
    drawn = np.array([shapely.LineString(p) for p in lines], np.object_)
    ground = shapely.transform(
        shapely.simplify(drawn, SIMPLIFY_PX), lambda p: (p * (1, -1)) * GSD_M + (x0, y0)
    )
    pyogrio.raw.write(
        path, shapely.to_wkb(ground), list(columns.values()), list(columns),
        layer=layer, driver="GPKG", geometry_type="LineString", crs=CRS,
        dataset_options=None if path.exists() else {"VERSION": "1.2"},
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(2400, 1800), metavar=("WIDTH", "HEIGHT")
    )
    options = parser.parse_args(arguments)
    width, height = options.size
    if min(width, height) < 128:
        parser.error("--size: at least 128 pixels each way")
    options.out.mkdir(parents=True, exist_ok=True)
    pavement = draw_pavement(options.seed, (height, width))
    write_survey(options.out / "survey.tif", pavement)
    write_truth(options.out / "truth.gpkg", pavement)
    length_m = sum(crack.length_px for crack in pavement.cracks) * GSD_M
    print(f"{options.out / 'survey.tif'}: {len(pavement.cracks)} cracks, {length_m:.2f} m")


if __name__ == "__main__":
    main()
