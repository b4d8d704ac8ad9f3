"""Crack labels as they lie around: lines or polygons in a vector file -> label pixels.

What a feature teaches follows from its field `status`, where there is one:

| status | teaches |
|---|---|
| accepted, edited | crack |
| rejected | background: something that looked like a crack and is none |
| empty | nothing: nobody has looked, so its pixels and a margin are left out |

Features of a file without that field are cracks. Known ground is the inside of the area file.
Without one it is the strip beside reviewed features where there is a `status`, else the whole
raster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from crackgeo.aoi import crs_named, pixel_transform, resolve_area
from crackgeo.errors import InputError, UsageError
from crackgeo.grid import Grid, Window
from crackgeo.ground import pixel_size_m, small_units
from crackgeo.monitor import SILENT, Monitor
from crackgeo.specs import VectorSpec

from ..pictures.records import IGNORE

Shapes = NDArray[np.object_]

STATUS = "status"
CRACK, REJECTED, OPEN = "crack", "rejected", "open"
VERDICTS = {"accepted": CRACK, "edited": CRACK, "rejected": REJECTED, "": OPEN}
WIDTH_FIELDS = ("width_mm", "width_mean_mm")  # taken if there is one, in this order
LEAST_WIDTH_PX = 1.5  # a thinner band would break into dots
MAX_WIDTH_PX = 64.0
OPEN_MARGIN_PX = 4.0  # around a crack that nobody has judged: its own width is a guess
STRIP_PX = 64.0  # known ground beside a reviewed crack: what a reviewer sees of it on a screen
_LINES = (shapely.GeometryType.LINESTRING, shapely.GeometryType.MULTILINESTRING)
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class LabelSpec:
    """How a vector file is read.

    Parameters
    ----------
    layer : its layer; None takes `cracks`, or the only one with lines or polygons
    width_mm : of lines whose width no field tells
    width_field : field with widths in millimetres; None takes one of `WIDTH_FIELDS` if there
    """

    layer: str | None = None
    width_mm: float | None = None
    width_field: str | None = None

    def __post_init__(self) -> None:
        if self.width_mm is not None and not self.width_mm > 0:
            raise UsageError(f"--label-width-mm must be positive, not {self.width_mm}")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels on the pixel grid of a raster.

    Parameters
    ----------
    cracks, rejected, open : polygons in pixel coordinates (col, row), object arrays
    known : mask of the labelled ground of a window
    extent : window around all known ground
    """

    cracks: Shapes
    rejected: Shapes
    open: Shapes
    known: Callable[[Window], NDArray[np.bool_]]
    extent: Window

    def draw(self, window: Window) -> NDArray[np.uint8]:
        """The label of a window, uint8 `[h, w]`: 0, 1 or 255 (not learned from)."""
        label = np.where(self.known(window), 0, IGNORE).astype(np.uint8)
        label[burn(self.open, window)] = IGNORE
        label[burn(self.rejected, window)] = 0
        label[burn(self.cracks, window)] = 1
        return label


@dataclass(frozen=True)
class Features:
    """The useful part of a layer of lines or polygons.

    Parameters
    ----------
    shapes : in the coordinates of the file
    verdict : `CRACK`, `REJECTED` or `OPEN` of each
    width_mm : NaN where no field tells
    crs : None if the file names none
    reviewed : whether there is a field `status`
    """

    shapes: Shapes
    verdict: NDArray[np.str_]
    width_mm: NDArray[np.float64]
    crs: CRS | None
    reviewed: bool


def read_labels(
    path: Path,
    grid: Grid,
    spec: LabelSpec | None = None,
    area: Path | None = None,
    monitor: Monitor = SILENT,
) -> Labels:
    """Read crack lines or polygons onto the grid of a raster.

    Parameters
    ----------
    path : GeoPackage, Shapefile or GeoJSON, in any CRS
    grid : of the raster
    spec : which layer and field
    area : polygons of the labelled ground
    monitor : told of missing and absurd widths, of features outside, of unlabelled ground

    Raises
    ------
    InputError
        No such file, layer or field; a status that means nothing; no CRS; nothing inside the
        raster; lines of unknown width.
    """
    spec = spec or LabelSpec()
    found = read_features(path, spec, monitor)
    shapes = _to_pixels(found, grid, path)
    inside = shapely.intersects(shapes, shapely.box(0, 0, grid.width, grid.height))
    if not inside.any():
        raise InputError(f"{path}: all labels lie outside the raster", _whereabouts(found, grid))
    if not inside.all():
        monitor.warn(f"{path}: {(~inside).sum()} of {len(inside)} labels lie outside the raster")
    bands = _bands(shapes, _widths_px(found, grid, spec, path, monitor))
    chosen = {v: bands[inside & (found.verdict == v)] for v in (CRACK, REJECTED, OPEN)}
    known, extent = _known(grid, area, chosen, found.reviewed)
    if area is None and not found.reviewed:
        _warn_of_unlabelled(bands[inside], grid, path, monitor)
    unsure = shapely.buffer(chosen[OPEN], OPEN_MARGIN_PX)
    return Labels(chosen[CRACK], chosen[REJECTED], unsure, known, extent)


def burn(shapes: Shapes, window: Window) -> NDArray[np.bool_]:
    """Pixels of a window whose centre lies in one of the polygons, bool `[h, w]`."""
    from rasterio.features import rasterize

    box = shapely.box(window.col, window.row, window.col_end, window.row_end)
    near = shapes[shapely.intersects(shapes, box)]
    if not len(near):
        return np.zeros((window.height, window.width), np.bool_)
    move = Affine.translation(window.col, window.row)
    drawn = rasterize(near, (window.height, window.width), transform=move, dtype="uint8")
    return np.asarray(drawn > 0)


def read_features(
    path: Path,
    spec: LabelSpec,
    monitor: Monitor,
    option: str = "--labels",
    may_be_empty: bool = False,
) -> Features:
    """Read a layer; parameters and errors as `read_labels`.

    `option` is what names the file; `may_be_empty` accepts a layer without features.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise InputError(f"{path}: no such file", f"check the path given to {option}")
    try:
        layer = spec.layer or _only_layer(path, pyogrio.list_layers(path))
        fields = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
        status = _field(path, fields, STATUS)
        width = _width_field(path, fields, spec.width_field)
        columns = [name for name in (status, width) if name]
        meta, _, wkb, values = pyogrio.raw.read(path, layer=layer, columns=columns, force_2d=True)
        crs = crs_named(meta["crs"])
    except (DataSourceError, DataLayerError, CRSError, ValueError) as error:
        raise InputError(
            f"{path}: not a vector layer that can be read ({error})",
            f"give {option} a GeoPackage, Shapefile or GeoJSON with lines or polygons",
        ) from error
    table = dict(zip(map(str, meta["fields"]), values, strict=True))
    shapes = shapely.from_wkb(wkb)
    usable = np.isin(shapely.get_type_id(shapes), _LINES + _POLYGONS) & ~shapely.is_empty(shapes)
    if not usable.any() and not (may_be_empty and len(shapes) == 0):
        raise InputError(
            f"{path}: layer {layer} holds no line or polygon",
            f"give {option} a layer with some",
        )
    if not usable.all():
        monitor.warn(f"{path}: {(~usable).sum()} features without line or polygon are left out")
    verdict = _verdicts(path, table.get(status or ""), len(shapes))
    width_mm = _numbers(path, width, table.get(width or ""), len(shapes))
    return Features(shapes[usable], verdict[usable], width_mm[usable], crs, status is not None)


def _only_layer(path: Path, found: NDArray[np.object_]) -> str:
    names = [str(n) for n, kind in found if kind is not None and "Point" not in kind]
    if "cracks" in names:
        return "cracks"
    if not names:
        raise InputError(f"{path}: has no layer of lines or polygons", "draw the cracks as lines")
    if len(names) != 1:
        raise InputError(
            f"{path}: which layer? It has: {', '.join(names)}",
            "name it with --layer where there is that option, or export it into a file of its own",
        )
    return names[0]


def _width_field(path: Path, fields: list[str], asked: str | None) -> str | None:
    if asked is None:
        return next(filter(None, (_field(path, fields, name) for name in WIDTH_FIELDS)), None)
    found = _field(path, fields, asked)
    if found is None:
        raise InputError(f"{path}: no field {asked}", f"--width-field: one of {', '.join(fields)}")
    return found


def _field(path: Path, fields: list[str], name: str) -> str | None:
    """The field of a name as the file spells it: Shapefiles and databases have their own cases."""
    alike = [field for field in fields if field.lower() == name.lower()]
    if name in alike or len(alike) < 2:
        return name if name in alike else next(iter(alike), None)
    raise InputError(
        f"{path}: which field is meant by {name}? It has: {', '.join(alike)}",
        f"rename the one that counts to {name}",
    )


def _verdicts(path: Path, status: NDArray[Any] | None, n: int) -> NDArray[np.str_]:
    if status is None:
        return np.full(n, CRACK)
    said = ["" if s is None or s != s else str(s).strip().lower() for s in status]
    if unknown := sorted(set(said) - VERDICTS.keys()):
        known = ", ".join(name for name in VERDICTS if name)
        raise InputError(f"{path}: status {unknown[0]!r} means nothing", f"use {known}, or empty")
    return np.array([VERDICTS[s] for s in said])


def _numbers(
    path: Path, name: str | None, values: NDArray[Any] | None, n: int
) -> NDArray[np.float64]:
    if values is None:
        return np.full(n, np.nan)
    try:
        return np.array([np.nan if v is None else v for v in values], np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: field {name} holds no numbers ({error})") from error


def _to_pixels(found: Features, grid: Grid, path: Path) -> Shapes:
    try:
        place = pixel_transform(found.crs, grid, path)
    except InputError as error:
        raise InputError(error.message, "give labels and raster the same kind of CRS") from error
    shapes: Shapes = shapely.transform(found.shapes, place)
    finite = [bool(np.isfinite(shapely.get_coordinates(s)).all()) for s in shapes]
    return np.where(finite, shapes, shapely.Point())


def _whereabouts(found: Features, grid: Grid) -> str:
    def name(crs: CRS | None) -> str:
        return crs.name if crs is not None else "no CRS"

    raster = CRS.from_wkt(grid.crs_wkt) if grid.crs_wkt else None
    x, y = grid.xy(np.array([0.0, grid.width]), np.array([0.0, grid.height]))
    box = ", ".join(f"{v:.9g}" for v in shapely.total_bounds(found.shapes))
    return (
        f"labels: {name(found.crs)}, {box}; raster: {name(raster)}, {min(x):.9g}, {min(y):.9g}, "
        f"{max(x):.9g}, {max(y):.9g}; is one of the two CRS wrong?"
    )


def _widths_px(
    found: Features, grid: Grid, spec: LabelSpec, path: Path, monitor: Monitor
) -> NDArray[np.float64]:
    """Widths of lines in pixels; those not told take the option's, else the median of the told."""
    pixel_mm = float(np.mean(pixel_size_m(grid))) * small_units(grid)
    is_line = np.isin(shapely.get_type_id(found.shapes), _LINES)
    width_mm = np.where(found.width_mm > 0, found.width_mm, np.nan)
    told = is_line & np.isfinite(width_mm)
    untold = is_line & ~np.isfinite(width_mm)
    fill = spec.width_mm
    if fill is None and untold.any():
        if not told.any():
            raise InputError(
                f"{path}: its lines have no width",
                "say it with --label-width-mm, or name the field with --width-field",
            )
        fill = float(np.median(width_mm[told]))
        monitor.warn(
            f"{path}: {untold.sum()} of {is_line.sum()} lines have no width; the median of the "
            f"others, {fill:.3g} mm, is taken"
        )
    width_px = np.where(untold, fill or np.nan, width_mm) / pixel_mm
    _warn_of_widths(width_px[is_line], pixel_mm, path, monitor)
    return np.asarray(np.where(is_line, width_px, 0.0), np.float64)


def _warn_of_widths(
    width_px: NDArray[np.float64], pixel_mm: float, path: Path, monitor: Monitor
) -> None:
    widest_px = min(MAX_WIDTH_PX, max(VectorSpec().max_width_mm / pixel_mm, 2.0))
    for wrong, what in (
        (width_px < 0.5, "are narrower than half a pixel: nothing of them can be seen"),
        (width_px > widest_px, f"are wider than {widest_px * pixel_mm:.3g} mm: are they cracks?"),
    ):
        if wrong.any():
            monitor.warn(f"{path}: {wrong.sum()} of {len(width_px)} labels {what}")


def _bands(shapes: Shapes, width_px: NDArray[np.float64]) -> Shapes:
    """Lines widened to their width; polygons stay."""
    half = np.maximum(width_px, LEAST_WIDTH_PX) / 2
    bands: Shapes = np.where(
        np.isin(shapely.get_type_id(shapes), _LINES),
        shapely.buffer(shapes, half),
        shapely.make_valid(shapes),
    )
    return bands


def _known(
    grid: Grid, area: Path | None, chosen: dict[str, Shapes], reviewed: bool
) -> tuple[Callable[[Window], NDArray[np.bool_]], Window]:
    if area is not None:
        inside = resolve_area(grid, aoi_path=area, option="--area")
        return inside.mask, inside.window
    if not reviewed:
        whole = resolve_area(grid)
        return whole.mask, whole.window
    judged = np.concatenate([chosen[CRACK], chosen[REJECTED]])
    if not len(judged):
        raise InputError(
            "no label has a status yet: nobody has looked at them",
            "set status to accepted, rejected or edited in QGIS, or give --area",
        )
    strips = shapely.buffer(judged, STRIP_PX)
    left, top, right, bottom = shapely.total_bounds(strips)
    box = Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)
    extent = box.intersect(grid.window)
    assert extent is not None  # every label left touches the raster
    return lambda window: burn(strips, window), extent


def _warn_of_unlabelled(bands: Shapes, grid: Grid, path: Path, monitor: Monitor) -> None:
    """All ground counts as labelled without an area; say so where labels fill a corner only."""
    left, top, right, bottom = shapely.total_bounds(bands)
    share = (right - left) * (bottom - top) / (grid.width * grid.height)
    if share < 0.5:
        monitor.warn(
            f"{path}: labels fill {share:.0%} of the raster; cracks nobody marked elsewhere are "
            "learned as background, unless --area says where the labels are complete"
        )
