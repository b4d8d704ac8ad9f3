"""Several rasters as one survey: a common pixel grid, and where each of them lies on it.

Rasters that share CRS, pixel size and orientation keep their pixels and move by less than half a
pixel; any other is interpolated on the grid. docs/design/0004-many-inputs.md has
the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from .aoi import Area
from .errors import CrackgeoError, InputError, UsageError
from .georeference import Georeference
from .grid import Floats, Grid, Window
from .ground import pixel_size_m
from .inputs import names_of
from .monitor import SILENT, Monitor
from .raster import RGB, RasterInfo, describe, open_image
from .reproject import folded, is_same, read_crs, transformer
from .resample import MAX_SIDE_PX
from .specs import BandSpec, OnError
from .warp import Image, WarpedImage

_DRIFT_PX = 0.1  # two grids are parallel if they part by less than this across a raster
NAMED = 5  # rasters that a message lists
_AVERAGED_FROM = 1.2  # times as large pixels: with less, interpolating leaves next to nothing out
_EXAMPLE = "e.g. --crs EPSG:25832"


@dataclass(frozen=True)
class Member:
    """One raster of a survey.

    Parameters
    ----------
    path : the file
    window : where it lies on the survey's grid
    grid : that part of the survey's grid
    gsd_m : ground pixel size to resample it to on its own grid first
    is_warped : whether its pixels do not fit the grid as they are
    """

    path: Path
    window: Window
    grid: Grid
    gsd_m: float | None = None
    is_warped: bool = False

    def open(
        self,
        spec: BandSpec,
        monitor: Monitor = SILENT,
        on_error: OnError = "fail",
    ) -> Image:
        """Open it on the survey's grid; parameters and errors as `open_image`."""
        image = open_image(self.path, spec, self.gsd_m, monitor, on_error)
        if self.is_warped:
            return WarpedImage(image, self.grid)
        image.grid = self.grid
        return image


@dataclass(frozen=True)
class Survey:
    """The rasters of a survey on their common grid.

    Parameters
    ----------
    grid : around all of them
    members : those that can be placed, in the order of their priority
    names : what results call each raster that was named, also one left out
    """

    grid: Grid
    members: tuple[Member, ...]
    names: Mapping[Path, str]


def place_rasters(
    paths: Sequence[Path],
    spec: BandSpec,
    crs: str | None = None,
    gsd_m: float | None = None,
) -> tuple[Survey, dict[Path, CrackgeoError]]:
    """Find a common grid for several rasters; one alone keeps its own.

    Parameters
    ----------
    paths : the rasters; the first that can be opened decides on CRS and orientation
    spec : their bands
    crs : another CRS, anything that PROJ understands
    gsd_m : ground pixel size of the grid in metres; None takes the finest of the rasters

    Returns
    -------
    Survey and dict
        The rasters that can be placed, and the errors of the others: they cannot be opened, are
        results of crackgeo (`OwnResult`), or do not say where they lie among those that do, or
        have a CRS from which nothing leads to that of the survey.

    Raises
    ------
    InputError
        None can be opened, or none of several has a georeference.
    UsageError
        The CRS is unknown or the rasters have none to come from, or the survey is too large for
        one grid.
    """
    if len(paths) == 1 and crs is None:
        grid = describe(paths[0], spec, gsd_m).grid
        member = Member(paths[0], grid.window, grid, gsd_m)
        return Survey(grid, (member,), names_of(paths)), {}
    found: dict[Path, RasterInfo] = {}
    errors: dict[Path, CrackgeoError] = {}
    for path in paths:
        try:
            found[path] = describe(path, spec)
        except CrackgeoError as error:
            errors[path] = error
    if not found:
        raise next(iter(errors.values()))
    misplaced = _misplaced(found)
    errors |= misplaced
    found = {path: info for path, info in found.items() if path not in misplaced}
    grids = {path: info.grid for path, info in found.items()}
    wkt = _survey_crs(next(iter(grids.values())), crs)
    errors |= _unreachable(grids, wkt)
    grids = {path: grid for path, grid in grids.items() if path not in errors}
    if not grids:
        raise next(iter(errors.values()))
    pattern = _pattern(list(grids.values()), wkt, crs is None, gsd_m)
    windows = {path: _window_on(pattern, grid) for path, grid in grids.items()}
    whole = _around(list(windows.values()))
    survey = pattern.part(whole)
    members = (
        _member(path, grids[path], survey, window.seen_from(whole))
        for path, window in windows.items()
    )
    return Survey(survey, tuple(members), names_of(paths)), errors


def _member(path: Path, native: Grid, survey: Grid, window: Window) -> Member:
    """A raster at its place in the survey; one of finer pixels is averaged before it is turned."""
    grid = survey.part(window)
    if _is_parallel(native, grid):
        return Member(path, window, grid)
    gsd = max(pixel_size_m(grid))
    ratio = gsd / min(pixel_size_m(native))
    averaged = ratio > _AVERAGED_FROM and min(native.shape) > ratio  # a sliver has no such pixel
    return Member(path, window, grid, gsd if averaged else None, is_warped=True)


def _misplaced(found: dict[Path, RasterInfo]) -> dict[Path, CrackgeoError]:
    """Errors of rasters of which nobody knows where they lie among the others.

    Those without georeference would lie on each other, each hiding the next.
    """
    lost = [path for path, info in found.items() if info.georeference == Georeference.NONE]
    if lost and 1 < len(found) == len(lost):
        more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
        raise InputError(
            f"{', '.join(map(str, lost[:NAMED]))}{more}: no georeference, so nothing says where "
            "they lie beside each other",
            "map them one at a time, or georeference them first",
        )
    errors: dict[Path, CrackgeoError] = {}
    for path in lost if len(found) > 1 else ():
        errors[path] = InputError(
            f"{path}: no georeference, so nothing says where it lies among the other rasters",
            "map it by itself, georeference it first, or leave it out with --on-error skip",
        )
    placed = {path: info.grid for path, info in found.items() if path not in errors}
    without = [path for path, grid in placed.items() if grid.crs_wkt is None]
    for path in without if len(without) < len(placed) else ():
        errors[path] = InputError(
            f"{path}: names no CRS, other rasters of the survey do",
            "give it one (gdal_edit.py -a_srs EPSG:25832), or leave it out with --on-error skip",
        )
    return errors


def _survey_crs(first: Grid, crs: str | None) -> str | None:
    """WKT of the CRS of a survey: the one asked for, else that of its first raster."""
    if crs is None:
        return first.crs_wkt
    if first.crs_wkt is None:
        raise UsageError(
            f"--crs {crs}: names the CRS of the result, but the rasters name none to come from",
            "say theirs first, with gdal_edit.py -a_srs EPSG:25832 or a .prj file beside each",
        )
    return _map_crs(crs)


def _unreachable(grids: dict[Path, Grid], wkt: str | None) -> dict[Path, CrackgeoError]:
    """Errors of rasters that cannot be brought to a CRS."""
    errors: dict[Path, CrackgeoError] = {}
    for path, grid in grids.items():
        try:
            _corners_in(grid, wkt)
        except InputError as error:
            errors[path] = InputError(f"{path}: {error.message}", error.remedy)
    return errors


def _pattern(grids: list[Grid], wkt: str | None, may_stay: bool, gsd_m: float | None) -> Grid:
    """A grid of one pixel whose lattice all rasters are brought to.

    Rasters that are parallel may stay as they are; else pixels are square on the ground.
    """
    first = grids[0]
    if may_stay and gsd_m is None and all(_is_parallel(grid, first) for grid in grids):
        return first.part(Window(0, 0, 1, 1))
    gsd = min(min(pixel_size_m(grid)) for grid in grids) if gsd_m is None else gsd_m
    around = _corners_in(first, wkt)
    x, y = around.mean(axis=0)
    step = 1e-6  # small in metres and in degrees
    unit_x, unit_y = pixel_size_m(Grid(1, 1, Affine(step, 0, x, 0, -step, y), wkt))
    x, y = around[0]  # a corner of the first raster, which then stays where it is if it is parallel
    return Grid(1, 1, Affine(gsd * step / unit_x, 0, x, 0, -gsd * step / unit_y, y), wkt)


def _map_crs(crs: str) -> str:
    """WKT of a CRS for maps.

    Raises
    ------
    UsageError
        It is none, or one of heights or of the earth's centre.
    """
    try:
        found = CRS.from_user_input(crs)
        wkt = str(found.to_wkt())
    except Exception as error:  # PROJ's and pyproj's errors have no common base
        raise UsageError(f"--crs {crs}: not a CRS ({error})", _EXAMPLE) from error
    if not (found.is_projected or found.is_geographic or found.is_engineering):
        raise UsageError(f"--crs {crs}: {found.type_name}, not one of maps", _EXAMPLE)
    return wkt


def _is_parallel(grid: Grid, other: Grid) -> bool:
    """Whether two grids have the same CRS, pixel size and orientation."""
    here, there = grid.crs_wkt, other.crs_wkt
    if (here is None) != (there is None):
        return False
    if here and there and here != there and not is_same(read_crs(here), read_crs(there)):
        return False
    ratio = np.linalg.solve(other.matrix, grid.matrix) - np.eye(2)
    return bool(np.abs(ratio).max() * max(grid.width, grid.height) < _DRIFT_PX)


def _corners_in(grid: Grid, wkt: str | None, near_x: float | None = None) -> Floats:
    """Points around a raster in another CRS, float64 `[n, 2]`, its first corner first.

    Longitudes lie within half a turn of `near_x`, by default of the first.
    """
    x, y = grid.xy(*grid.border())
    if wkt is not None and wkt != grid.crs_wkt:
        assert grid.crs_wkt is not None  # checked before
        here, there = read_crs(grid.crs_wkt), read_crs(wkt)
        if not is_same(here, there):
            x, y = transformer(here, there).transform(x, y)
    if wkt is not None:
        x = folded(x, float(x[0]) if near_x is None else near_x, read_crs(wkt))
    around = np.stack([x, y], axis=1)
    if not np.isfinite(around).all():
        raise InputError("a raster lies outside what --crs can show", "choose another --crs")
    return around


def _window_on(pattern: Grid, grid: Grid) -> Window:
    """Where a raster lies on the lattice of the pattern."""
    around = _corners_in(grid, pattern.crs_wkt, pattern.transform.c)
    cols, rows = pattern.pixel(around[:, 0], around[:, 1])
    if _is_parallel(grid, pattern):
        return Window(round(float(rows.min())), round(float(cols.min())), grid.height, grid.width)
    row, col = int(np.floor(rows.min())), int(np.floor(cols.min()))
    return Window(row, col, int(np.ceil(rows.max())) - row, int(np.ceil(cols.max())) - col)


def _around(windows: list[Window]) -> Window:
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    height = max(w.row_end for w in windows) - row
    width = max(w.col_end for w in windows) - col
    if max(height, width) > MAX_SIDE_PX:
        raise UsageError(
            f"the rasters lie so far apart that one grid would have {width} x {height} pixels",
            f"map them in groups of at most {MAX_SIDE_PX} pixels a side, or check their CRS",
        )
    return Window(row, col, height, width)


class SurveyImage:
    """The imagery of a survey: where rasters overlap, that of the first."""

    def __init__(self, survey: Survey, spec: BandSpec) -> None:
        self.survey = survey
        self._spec = spec
        self._specs: dict[Path, BandSpec] = {}  # with the stretch that was found at first sight

    def read(self, window: Window) -> RGB:
        """RGB uint8 `[h, w, 3]` and validity bool `[h, w]` of a window of the survey's grid."""
        pixels = np.zeros((window.height, window.width, 3), np.uint8)
        valid: NDArray[np.bool_] = np.zeros((window.height, window.width), np.bool_)
        for member in self.survey.members:
            if window.intersect(member.window) is None:
                continue
            spec = self._specs.get(member.path, self._spec)
            with member.open(spec, on_error="skip") as image:
                self._specs[member.path] = replace(spec, stretch=image.stretch)
                here, known = image.read(window.seen_from(member.window))
            new = known & ~valid
            pixels[new] = here[new]
            valid |= known
        return pixels, valid


@dataclass(frozen=True)
class Unclaimed:
    """The part of a raster that is asked for and that no earlier raster has data of.

    Parameters
    ----------
    area : the part asked for
    earlier : where earlier rasters that overlap lie, seen from this one, and what tells where in a
        window of theirs they have data
    """

    area: Area
    earlier: Sequence[tuple[Window, Callable[[Window], NDArray[np.bool_]]]]

    @property
    def window(self) -> Window:
        """Bounding window in the raster."""
        return self.area.window

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window belong to it, bool `[h, w]`."""
        mask = self.area.mask(window)
        for place, has_data in self.earlier:
            both = window.intersect(place)
            if both is not None and mask.any():
                here = both.seen_from(window)
                cut = np.s_[here.row : here.row_end, here.col : here.col_end]
                mask[cut] &= ~has_data(both.seen_from(place))
        return mask
