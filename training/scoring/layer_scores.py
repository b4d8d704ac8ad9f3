"""How well a crack layer agrees with a surveyed one: lengths and widths on the ground.

Completeness and correctness of lines by buffers, as road extraction is judged (Heipke, Mayer,
Wiedemann and Jamet 1997): a piece of line is matched if it lies within the tolerance of the other
layer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from crackgeo.aoi import read_polygons
from crackgeo.errors import InputError, UsageError
from crackgeo.files import output_errors
from crackgeo.monitor import SILENT, Monitor

from ..labelling.labels import REJECTED, Features, LabelSpec, Shapes, read_features

SCORES = "layers.json"  # a folder with it is a report, which --overwrite may replace
TOLERANCES_M = (0.005, 0.01, 0.02, 0.05)
STATION_M = 0.02  # widths are compared this often along the true lines
TOLERANCES_UNITS, STATION_UNITS = (1.0, 2.0, 5.0, 10.0), 2.0  # the same without a CRS: pixels


@dataclass(frozen=True)
class Agreement:
    """Lengths at one tolerance, metres (local units without a CRS).

    Parameters
    ----------
    tolerance_m : how far apart two lines may lie and be the same
    matched_m, missed_m : of the true lines
    right_m, invented_m : of the lines found
    """

    tolerance_m: float
    matched_m: float
    missed_m: float
    right_m: float
    invented_m: float

    @property
    def completeness(self) -> float:
        """Share of the true length that was found; NaN if there is none."""
        return _share(self.matched_m, self.missed_m)

    @property
    def correctness(self) -> float:
        """Share of the length found that is true; NaN if nothing was found."""
        return _share(self.right_m, self.invented_m)


@dataclass(frozen=True)
class LayerScores:
    """Agreement of a crack layer with the truth.

    Parameters
    ----------
    found, truth : names of the files
    agreements : by tolerance
    width_mae_mm, width_bias_mm : mean absolute and mean error of the width where lines match at
        the largest tolerance, each length alike; None where one of the two has no widths
    width_stations : places compared
    has_ground_units : False without a CRS: all numbers are in the layers' own units then
    """

    found: str
    truth: str
    agreements: tuple[Agreement, ...]
    width_mae_mm: float | None
    width_bias_mm: float | None
    width_stations: int
    has_ground_units: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; undefined shares are null."""
        rows = [
            {
                **asdict(a),
                "completeness": _known(a.completeness),
                "correctness": _known(a.correctness),
            }
            for a in self.agreements
        ]
        return {**asdict(self), "agreements": rows}

    def to_markdown(self) -> str:
        """One table, and one line on widths."""
        large, small, per = ("m", "mm", 1000) if self.has_ground_units else ("units", "units", 1)
        lines = [
            "| tolerance | matched | missed | completeness | invented | correctness |",
            "|---|---|---|---|---|---|",
            *(
                f"| {per * a.tolerance_m:g} {small} | {a.matched_m:.2f} {large} | "
                f"{a.missed_m:.2f} {large} | "
                f"{_percent(a.completeness)} | {a.invented_m:.2f} {large} | "
                f"{_percent(a.correctness)} |"
                for a in self.agreements
            ),
            "",
        ]
        if self.width_mae_mm is not None and self.width_bias_mm is not None:
            lines.append(
                f"Width at {self.width_stations} places: mean absolute error "
                f"{self.width_mae_mm:.2f} {small}, bias {self.width_bias_mm:+.2f} {small}."
            )
        return "\n".join(lines) + "\n"


def score_layers(
    found: Path,
    truth: Path,
    area: Path | None = None,
    tolerances_m: Sequence[float] | None = None,
    monitor: Monitor = SILENT,
) -> LayerScores:
    """Compare a crack layer with a true one.

    Parameters
    ----------
    found, truth : vector files with crack lines in any CRS; rejected features do not count; that
        of the lines found may have none
    area : polygons to compare in, where the truth is not complete elsewhere
    tolerances_m : metres; in the layers' own units where they have no CRS. None takes
        `TOLERANCES_M`, without a CRS `TOLERANCES_UNITS`
    monitor : warnings of features that are no lines, and of layers that lie apart

    Raises
    ------
    InputError
        A file is missing or unreadable, holds features but no line, or one has a CRS and another
        none; nothing lies in the area.
    UsageError
        No tolerance, or one that is not positive.
    """
    if tolerances_m is not None and not (tolerances_m and all(0 < t < inf for t in tolerances_m)):
        raise UsageError("a tolerance must be positive", "e.g. --tolerance 0.01,0.02")
    layers = [
        read_features(found, LabelSpec(), monitor, "FOUND.gpkg", may_be_empty=True),
        read_features(truth, LabelSpec(), monitor, "--truth"),
    ]
    plane = _plane(layers[1], truth)
    on_ground = layers[1].crs is not None
    if tolerances_m is None:
        tolerances_m = TOLERANCES_M if on_ground else TOLERANCES_UNITS
    station = STATION_M if on_ground else STATION_UNITS
    lines = [_lines(f, plane, p) for f, p in zip(layers, (found, truth), strict=True)]
    if area is not None:
        inside = _placed(*read_polygons(area, "--area"), plane, area)
        lines = [(shapely.intersection(shapes, inside), widths) for shapes, widths in lines]
    (seen, seen_mm), (real, real_mm) = lines
    if not shapely.length(seen).sum() + shapely.length(real).sum():
        raise InputError(
            f"{area or truth}: no crack line lies there, so there is nothing to compare",
            "choose an --area with cracks in it, or check its CRS",
        )
    _tell_of_distance(seen, real, found, truth, monitor)
    agreements = tuple(_agreement(seen, real, t) for t in sorted(tolerances_m))
    errors = _width_errors(seen, seen_mm, real, real_mm, max(tolerances_m), station)
    return LayerScores(
        found.name,
        truth.name,
        agreements,
        float(np.abs(errors).mean()) if len(errors) else None,
        float(errors.mean()) if len(errors) else None,
        len(errors),
        on_ground,
    )


def _tell_of_distance(
    seen: Shapes, real: Shapes, found: Path, truth: Path, monitor: Monitor
) -> None:
    """Warn where two layers lie apart as a whole: they are likely not of the same ground."""
    if not len(seen) or not len(real):
        return
    one, other = (shapely.box(*shapely.total_bounds(shapes)) for shapes in (seen, real))
    if (apart_m := shapely.distance(one, other)) > 0:
        monitor.warn(
            f"{found.name} and {truth.name} lie {apart_m:.3g} m apart as a whole: "
            "are they of the same ground, and are their CRS right?"
        )


def write_layer_scores(scores: LayerScores, folder: Path) -> None:
    """Write layers.md and layers.json into a folder."""
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "layers.md").write_text(scores.to_markdown(), encoding="utf-8")
        text = json.dumps(scores.to_dict(), indent=1) + "\n"
        (folder / SCORES).write_text(text, encoding="utf-8")


def _plane(features: Features, path: Path) -> CRS | None:
    """A plane with true metres around the features: azimuthal equidistant at the first of them.

    An engineering CRS is one already, but for its unit; without a CRS there is none.
    """
    if features.crs is None or features.crs.is_engineering:
        return features.crs
    to_degrees = Transformer.from_crs(features.crs, "EPSG:4326", always_xy=True)
    # not at the middle of all, which is on the other side of the earth at the antimeridian
    lon, lat = to_degrees.transform(*shapely.get_coordinates(features.shapes[:1])[0])
    if not np.isfinite([lon, lat]).all():
        raise InputError(f"{path}: lies outside what its CRS can describe", "check its CRS")
    return CRS.from_proj4(f"+proj=aeqd +lat_0={lat:.9f} +lon_0={lon:.9f} +datum=WGS84 +units=m")


def _placed(shapes: Any, crs: CRS | None, plane: CRS | None, path: Path) -> Any:
    """One geometry or an array of them, in the plane, metres (without one as they are).

    What has no CRS counts in the unit of an engineering plane.
    """
    is_local = crs is None or crs.is_engineering
    if is_local != (plane is None or plane.is_engineering):
        raise InputError(
            f"{path}: {'has no CRS' if is_local else 'has a CRS'}, unlike the truth",
            "give all files a CRS, or none",
        )
    if plane is None:
        return shapes
    if plane.is_engineering:
        unit_m = (crs or plane).axis_info[0].unit_conversion_factor
        return shapely.transform(shapes, lambda points: points * unit_m)
    step = Transformer.from_crs(crs, plane, always_xy=True).transform

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(step(points[:, 0], points[:, 1]), axis=1)

    return shapely.transform(shapes, project)


def _lines(features: Features, plane: CRS | None, path: Path) -> tuple[Shapes, NDArray[np.float64]]:
    shapes: Shapes = _placed(features.shapes, features.crs, plane, path)
    is_line = shapely.get_dimensions(shapes) == 1
    if len(shapes) and not is_line.any():
        raise InputError(f"{path}: holds no crack line", "only lines can be compared")
    kept = is_line & (features.verdict != REJECTED)
    return shapes[kept], features.width_mm[kept]


def _agreement(seen: Shapes, real: Shapes, tolerance_m: float) -> Agreement:
    def near(lines: Shapes, others: Shapes) -> tuple[float, float]:
        reach = shapely.union_all(shapely.buffer(others, tolerance_m))
        shapely.prepare(reach)
        inside = float(shapely.length(shapely.intersection(lines, reach)).sum())
        return inside, max(float(shapely.length(lines).sum()) - inside, 0.0)

    return Agreement(tolerance_m, *near(real, seen), *near(seen, real))


def _width_errors(
    seen: Shapes,
    seen_mm: NDArray[np.float64],
    real: Shapes,
    real_mm: NDArray[np.float64],
    reach_m: float,
    station_m: float,
) -> NDArray[np.float64]:
    """Found minus true width at equal steps along the true lines that have a found one near."""
    places, owner = _stations(real, station_m)
    tree = shapely.STRtree(seen)
    station, nearest = tree.query_nearest(places, max_distance=reach_m, all_matches=False)
    errors = seen_mm[nearest] - real_mm[owner[station]]
    return np.asarray(errors[np.isfinite(errors)], np.float64)


def _stations(lines: Shapes, station_m: float) -> tuple[Shapes, NDArray[np.int64]]:
    parts, line = shapely.get_parts(lines, return_index=True)
    length = shapely.length(parts)
    count = np.maximum(1, (length / station_m).astype(np.int64))
    part = np.repeat(np.arange(len(parts)), count)
    step = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
    along = (step + 0.5) * (length / count)[part]
    return shapely.line_interpolate_point(parts[part], along), line[part]


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else float("nan")


def _percent(share: float) -> str:
    return "-" if _known(share) is None else f"{share:.1%}"


def _known(share: float) -> float | None:
    return None if share != share else share
