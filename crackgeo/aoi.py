"""The part of a raster that was asked for: a rectangle or the polygons of a vector file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from .errors import InputError, UsageError
from .grid import Floats, Grid, Window
from .reproject import is_same, transformer

BBox = tuple[float, float, float, float]
Transform = Callable[[Floats], Floats]

# A corner this close to a pixel's border lies on it; 9e6 m are known to 2e-6 px of 1 mm.
_SNAP_PX = 1e-4
_CHORD_PX = 0.1  # how far a reprojected edge may bend away from its straight piece
_MAX_SPLITS = 24
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, eq=False)
class Area:
    """A part of a raster.

    Parameters
    ----------
    window : its bounding window, inside the raster
    edges : float64 `[n, 2, 2]`, border pieces from (col, row) to (col, row) in pixels, any
        order; None if the area is the whole window
    """

    window: Window
    edges: Floats | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 of its place and border: what of a file of polygons a run depends on."""
        place = np.array(astuple(self.window), np.int64).tobytes()
        border = b"" if self.edges is None else self.edges.tobytes()
        return hashlib.sha256(place + border).hexdigest()

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of any window whose centre is inside the area, bool `[h, w]`."""
        mask = np.zeros((window.height, window.width), np.bool_)
        inside = window.intersect(self.window)
        if inside is not None:
            row, col = inside.row - window.row, inside.col - window.col
            here = np.s_[row : row + inside.height, col : col + inside.width]
            mask[here] = True if self.edges is None else _fill(self.edges, inside)
        return mask

    def seen_from(self, other: Window, part: Window) -> Area:
        """A part of it, counted from the first pixel of a raster that lies at `other`."""
        edges = None if self.edges is None else self.edges - (other.col, other.row)
        return Area(part.seen_from(other), edges)


@dataclass(frozen=True)
class _Placing:
    """From the coordinates of a vector file to pixels, and back where it is no straight map."""

    to_pixels: Transform
    to_coordinates: Transform | None = None


def resolve_area(
    grid: Grid, bbox: BBox | None = None, aoi_path: Path | None = None, option: str = "--aoi"
) -> Area:
    """The part of a raster named by `--bbox` or `--aoi`; the whole raster without either.

    Parameters
    ----------
    grid : the analysis grid
    bbox : (xmin, ymin, xmax, ymax) in the raster's coordinates; takes every pixel it touches
        on a grid without rotation, else those with their centre inside
    aoi_path : a vector file; takes the pixels with their centre inside its polygons
    option : what names that file, for messages

    Raises
    ------
    UsageError
        Both are given, or the rectangle is reversed or outside the raster.
    InputError
        The vector file is missing, unreadable, has no polygons or no CRS, or lies outside.
    """
    if bbox is not None and aoi_path is not None:
        raise UsageError("--bbox and --aoi exclude each other", "give one of them")
    if bbox is not None:
        return _box_area(grid, bbox)
    if aoi_path is not None:
        return _polygon_area(grid, Path(aoi_path), option)
    return Area(grid.window)


def _box_area(grid: Grid, bbox: BBox) -> Area:
    xmin, ymin, xmax, ymax = bbox
    if not np.isfinite(bbox).all() or xmin >= xmax or ymin >= ymax:
        raise UsageError(
            f"--bbox {','.join(f'{v:.15g}' for v in bbox)} encloses nothing",
            "give it as xmin,ymin,xmax,ymax with xmin < xmax and ymin < ymax",
        )
    corners = np.array([(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)], np.float64)
    pixels = _to_pixels(grid)(corners)
    window = _snap(pixels, grid)
    if window is None:
        raise UsageError("--bbox lies outside the raster", _extent(grid))
    # Rows and columns along the axes of the CRS: the rectangle is one in pixels too.
    straight = np.count_nonzero(grid.matrix) == 2
    return Area(window, None if straight else _edges_of([pixels]))


def _polygon_area(grid: Grid, path: Path, option: str) -> Area:
    polygons, crs = read_polygons(path, option)
    placing = _place(crs, grid, path)
    near = _clip(polygons, grid, placing)
    rings = [_densify(ring, placing, path) for ring in _rings(near)]
    window = _snap(np.concatenate(rings), grid) if rings else None
    if window is None:
        raise InputError(f"{path}: its polygons lie outside the raster", _extent(grid))
    return Area(window, _edges_of(rings))


def pixel_transform(crs: CRS | None, grid: Grid, path: Path) -> Transform:
    """From points `[n, 2]` of a vector file to pixel coordinates (col, row) of a raster.

    Raises
    ------
    InputError
        One of the two has a CRS, the other has none.
    """
    return _place(crs, grid, path).to_pixels


def _extent(grid: Grid) -> str:
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * (grid.width, grid.height)
    x, y = grid.xy(corners[:, 0].astype(np.float64), corners[:, 1].astype(np.float64))
    return f"the raster reaches from {x.min():.9g},{y.min():.9g} to {x.max():.9g},{y.max():.9g}"


def _to_pixels(grid: Grid) -> Transform:
    return lambda points: np.stack(grid.pixel(points[:, 0], points[:, 1]), axis=1)


def _snap(pixels: Floats, grid: Grid) -> Window | None:
    """The smallest window of the raster around points in pixels."""
    first = np.floor(pixels.min(axis=0) + _SNAP_PX)
    last = np.ceil(pixels.max(axis=0) - _SNAP_PX)
    size = np.array([grid.width, grid.height])
    (col, row), (col_end, row_end) = np.clip([first, last], 0, size).astype(int).tolist()
    return Window(row, col, row_end - row, col_end - col).intersect(grid.window)


def crs_named(text: str | None) -> CRS | None:
    """The CRS that a vector file names; a GeoPackage says of none that it is undefined."""
    crs = CRS.from_user_input(text) if text else None
    return None if crs is None or crs.name.startswith("Undefined ") else crs


def read_polygons(path: Path, option: str = "--aoi") -> tuple[shapely.Geometry, CRS | None]:
    """All polygons of a vector file as one valid geometry, and its CRS.

    Parameters
    ----------
    path : any vector file
    option : what names it

    Raises
    ------
    InputError
        It is missing or cannot be read, or has no polygons.
    """
    import pyogrio  # loads geopandas if it is installed, 1 s
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.exists():
        raise InputError(f"{path}: no such file", f"check the path given to {option}")
    try:
        layer = _polygon_layer(path, pyogrio.list_layers(path))
        meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True)
        shapes = shapely.from_wkb(wkb)
        crs = crs_named(meta["crs"])
    except (DataSourceError, DataLayerError, CRSError, shapely.GEOSException) as error:
        raise InputError(
            f"{path}: not a vector file that can be read ({error})",
            f"give {option} a GeoPackage, Shapefile or GeoJSON with polygons",
        ) from error
    polygons = shapes[np.isin(shapely.get_type_id(shapes), _POLYGONS)]
    area = shapely.union_all(shapely.make_valid(polygons))
    if area.area == 0:
        raise InputError(
            f"{path}: has no polygons with an area", "draw the area to survey as polygons"
        )
    return area, crs


def _polygon_layer(path: Path, found: NDArray[np.object_]) -> str:
    """The layer to take; several are fine as long as one only can hold polygons.

    `found` is `[n, 2]` of name and geometry type.
    """
    layers = [(str(name), kind) for name, kind in found if kind is not None]
    names = [name for name, kind in layers if "Polygon" in kind or kind == "Unknown"]
    if len(names) != 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in layers) or "none"
        remedy = "export the one to use into a file of its own" if names else "draw polygons"
        what = f"{len(names) or 'no'} layers could hold the polygons (layers: {listed})"
        raise InputError(f"{path}: {what}", remedy)
    return names[0]


def _place(crs: CRS | None, grid: Grid, path: Path) -> _Placing:
    to_pixels = _to_pixels(grid)
    if grid.crs_wkt is None and crs is None:
        return _Placing(to_pixels)
    if grid.crs_wkt is None or crs is None:
        raise InputError(
            f"{path}: {'has a CRS, the raster names none' if crs else 'names no CRS'}",
            "give both a CRS (a Shapefile needs its .prj), or use --bbox",
        )
    target = CRS.from_wkt(grid.crs_wkt)
    if is_same(crs, target):
        return _Placing(to_pixels)
    try:
        forward, backward = transformer(crs, target).transform, transformer(target, crs).transform
    except InputError as error:
        raise InputError(f"{path}: {error.message}", "give the area in the raster's CRS") from error

    def project(points: Floats) -> Floats:
        return to_pixels(np.stack(forward(points[:, 0], points[:, 1]), axis=1))

    def unproject(pixels: Floats) -> Floats:
        return np.stack(backward(*grid.xy(pixels[:, 0], pixels[:, 1])), axis=1)

    return _Placing(project, unproject)


def _clip(polygons: shapely.Geometry, grid: Grid, placing: _Placing) -> shapely.Geometry:
    """What of the polygons may touch the raster: projections break down far away.

    Cut into pieces short against the raster, as the middle of a long edge can lie on the
    straight line though its quarters do not.
    """
    if placing.to_coordinates is None:
        return polygons
    around = placing.to_coordinates(np.stack(grid.border(), axis=1))
    if not np.isfinite(around).all():
        return polygons
    low, high = around.min(axis=0), around.max(axis=0)
    margin = 0.1 * (high - low)
    near = shapely.intersection(polygons, shapely.box(*(low - margin), *(high + margin)))
    return shapely.segmentize(near, float((high - low).max()) / 16)


def _rings(area: shapely.Geometry) -> list[Floats]:
    """Outer and inner rings, each float64 `[n, 2]`, first point repeated at the end."""
    parts = shapely.get_parts(shapely.get_parts(area))  # twice for nested collections
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygons)]


def _densify(ring: Floats, placing: _Placing, path: Path) -> Floats:
    """A ring in pixels, its pieces split until none bends by more than `_CHORD_PX`."""
    pixels = placing.to_pixels(ring)
    for _ in range(_MAX_SPLITS if placing.to_coordinates else 0):
        middles = (ring[1:] + ring[:-1]) / 2
        bend = placing.to_pixels(middles) - (pixels[1:] + pixels[:-1]) / 2
        split = np.flatnonzero(np.hypot(*bend.T) > _CHORD_PX) + 1
        if len(split) == 0:
            break
        ring = np.insert(ring, split, middles[split - 1], axis=0)
        pixels = placing.to_pixels(ring)
    if not np.isfinite(pixels).all():
        raise InputError(
            f"{path}: reaches beyond what the raster's CRS can show", "make the polygons smaller"
        )
    return pixels


def _edges_of(rings: list[Floats]) -> Floats:
    closed = [np.concatenate([ring, ring[:1]]) for ring in rings]
    return np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in closed])


def _fill(edges: Floats, window: Window) -> NDArray[np.bool_]:
    """Even-odd fill: pixels whose centre is inside, bool `[h, w]`.

    All in pixel coordinates of the whole raster, so that no window changes a crossing. A
    centre exactly on a left or upper edge is inside, on a right or lower one outside.
    """
    down = np.where((edges[:, 0, 1] <= edges[:, 1, 1])[:, None, None], edges, edges[:, ::-1])
    (col0, row0), (col1, row1) = down[:, 0].T, down[:, 1].T
    first = np.clip(np.ceil(row0 - 0.5), window.row, window.row_end).astype(np.int64)
    end = np.clip(np.ceil(row1 - 0.5), window.row, window.row_end).astype(np.int64)
    count = end - first
    edge = np.repeat(np.arange(len(down)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (col1 - col0)[edge] / (row1 - row0)[edge]
    crossing = col0[edge] + (row + 0.5 - row0[edge]) * slope
    col = np.clip(np.ceil(crossing - 0.5) - window.col, 0, window.width).astype(np.int64)
    toggles = np.zeros((window.height, window.width + 1), np.uint8)
    np.add.at(toggles, (row - window.row, col), 1)  # wraps at 256, which keeps it odd or even
    return np.asarray(np.bitwise_xor.accumulate(toggles & 1, axis=1)[:, :-1] == 1)
