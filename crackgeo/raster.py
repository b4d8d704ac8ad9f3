"""Images as the models take them: any raster, read by windows as RGB with a mask.

The analysis grid is the raster's own pixel grid, or one of another ground pixel size with the
same origin and orientation. A pixel is the same through whatever window it is read.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.io import DatasetReader

from .dataset import gdal_environment, header_errors, is_local, open_dataset
from .errors import InputError, OwnResult, UsageError
from .georeference import Georeference, grid_of
from .grid import Grid, Window
from .ground import has_ground_units, pixel_size_m, small_units
from .monitor import SILENT, Monitor
from .resample import Scale, resample, resampled_grid, taps
from .source import BandPlan, Source, look_for_marks, plan_bands
from .specs import RESULT_TAG, BandSpec, OnError
from .stretch import Stretch, apply_stretch, find_stretch

SQUARE_WITHIN = 1.2  # sides of a pixel that differ by less are as good as equal
_PART_PX = 2**20  # pixels converted at once; some 20 MB of intermediate arrays
_MIB = 2**20
_SAMPLES = 64  # pieces of a file, and blocks a side, that a checksum looks at
_PIECE_BYTES = 2**16

RGB = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class RasterInfo:
    """What `crackgeo info` tells about a raster.

    Parameters
    ----------
    path, driver, file_bytes : file size in bytes, None where it is no local file
    width, height : pixels of the analysis grid
    crs_name : None without a CRS
    georeference : "transform", "ground control points" or "none"
    gsd_mm : ground size of a pixel along its row and its column, millimetres; in local units
        without a CRS
    has_ground_units : whether `gsd_mm` is really in millimetres
    band_count, bands : how many there are, which are used
    dtype : of the bands used
    nodata : the raster's nodata value, None if it has none
    has_alpha, has_mask : other marks of missing data
    has_collar : nothing is marked, and solid black at the border is taken as missing
    grid : the analysis grid
    """

    path: Path
    driver: str
    file_bytes: int | None
    width: int
    height: int
    crs_name: str | None
    georeference: str
    gsd_mm: tuple[float, float]
    has_ground_units: bool
    band_count: int
    bands: tuple[int, ...]
    dtype: str
    nodata: float | None
    has_alpha: bool
    has_mask: bool
    has_collar: bool
    grid: Grid


class ImageRaster:
    """An open image; made by `open_image`.

    Parameters
    ----------
    source : the file
    grid : the analysis grid
    scale : from the file's pixels to those of the analysis grid
    stretch : values that become 0 and 255
    georeference : where the grid comes from
    """

    def __init__(
        self,
        source: Source,
        grid: Grid,
        scale: Scale,
        stretch: Stretch,
        georeference: Georeference,
    ) -> None:
        self.grid = grid
        self.scale = scale
        self.stretch = stretch
        self.georeference = georeference
        self.dataset = source.dataset
        self.plan = source.plan
        self._source = source

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.dataset.name)

    @property
    def name(self) -> str:
        """File name without folder."""
        return self.path.name

    @property
    def bands(self) -> tuple[int, ...]:
        """The bands used, counted from 1: one (grey) or red, green, blue."""
        return self.plan.bands

    @property
    def damaged(self) -> tuple[Window, ...]:
        """Blocks that could not be read so far and count as no data, on the analysis grid."""
        found = []
        for block in tuple(self._source.damaged):
            row, col = int(block.row / self.scale.row), int(block.col / self.scale.col)
            height = math.ceil(block.row_end / self.scale.row) - row
            width = math.ceil(block.col_end / self.scale.col) - col
            found.append(Window(row, col, height, width))
        return tuple(found)

    def __enter__(self) -> ImageRaster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def may_hold_data(self, row: int, col: int) -> bool:
        """Whether a pixel of the grid may hold data: what is stored counts without being read."""
        native = Window(int(row * self.scale.row), int(col * self.scale.col), 1, 1)
        return self._source.is_stored(native) or bool(self.read(Window(row, col, 1, 1))[1].any())

    def read(self, window: Window) -> RGB:
        """Pixels of a window of the analysis grid.

        Parameters
        ----------
        window : may reach beyond the raster

        Returns
        -------
        uint8 `[h, w, 3]`, RGB, and bool `[h, w]`
            Invalid pixels, those beyond the raster among them, are 0.

        Raises
        ------
        InputError
            The file is damaged there; names the block.
        """
        pixels = np.zeros((window.height, window.width, 3), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        inside = window.intersect(self.grid.window)
        for part in self._parts(inside) if inside is not None else ():
            if self.scale.is_native and self._source.is_empty(part):
                continue  # memory that nothing was written to costs nothing, too
            row, col = part.row - window.row, part.col - window.col
            here = np.s_[row : row + part.height, col : col + part.width]
            read = self._read_native if self.scale.is_native else self._read_resampled
            found, valid[here] = read(part)
            for channel in range(3):  # four times as fast as all at once
                pixels[(*here, channel)] = found[..., channel]
        return pixels, valid

    def _parts(self, window: Window) -> list[Window]:
        """Parts of a window of the analysis grid whose source pixels fit in memory."""
        if self.scale.is_native:
            return self._source.parts(window, _PART_PX)
        pixels = _PART_PX / (self.scale.col * self.scale.row)
        # along the file's blocks, so that those of a strip or a column of tiles stay cached
        if self._source.is_striped:
            height = max(1, int(pixels / window.width))
            width = max(1, int(pixels / height))
        else:
            width = max(1, int(pixels / window.height))
            height = max(1, int(pixels / width))
        return [
            part
            for row in range(window.row, window.row_end, height)
            for col in range(window.col, window.col_end, width)
            if (part := Window(row, col, height, width).intersect(window)) is not None
        ]

    def _read_native(self, window: Window) -> RGB:
        values, valid = self._source.read(window)
        if not valid.all():
            values = np.where(valid[..., None], values, np.zeros((), values.dtype))
        pixels = apply_stretch(values, self.stretch)
        pixels[~valid] = 0
        return np.broadcast_to(pixels, (*valid.shape, 3)), valid

    def _read_resampled(self, window: Window) -> RGB:
        whole = self._source.window
        rows = taps(window.row, window.height, self.scale.row, whole.height)
        cols = taps(window.col, window.width, self.scale.col, whole.width)
        needed = Window(rows.first, cols.first, rows.end - rows.first, cols.end - cols.first)
        pixels = np.zeros((needed.height, needed.width, 3), np.uint8)
        valid = np.zeros((needed.height, needed.width), np.bool_)
        for part in self._source.parts(needed, _PART_PX):
            if self._source.is_empty(part):
                continue
            row, col = part.row - needed.row, part.col - needed.col
            here = np.s_[row : row + part.height, col : col + part.width]
            pixels[here], valid[here] = self._read_native(part)
        return resample(pixels, valid, rows, cols)


def open_image(
    path: str | Path,
    bands: BandSpec | None = None,
    gsd_m: float | None = None,
    monitor: Monitor = SILENT,
    on_error: OnError = "fail",
) -> ImageRaster:
    """Open a raster as an image to analyse.

    Parameters
    ----------
    path : any raster that GDAL reads
    bands : which bands, how stretched, what counts as no data; `BandSpec()` by default
    gsd_m : ground pixel size of the analysis grid in metres (local units without a CRS);
        None keeps the raster's own pixels
    monitor : told of a missing CRS, a missing georeference, an affine fit through control
        points, a `gsd_m` finer than the raster, missing data that is not marked or seems not to be
    on_error : "skip" takes blocks that cannot be read as holding no data

    Raises
    ------
    InputError
        The file is missing, damaged, no raster, or its place makes no sense; `OwnResult` if it is
        a probability raster or a quicklook.
    UsageError
        Bands, nodata value or ground pixel size do not fit the raster.
    """
    spec = bands if bands is not None else BandSpec()
    dataset = open_dataset(path)
    try:
        if RESULT_TAG in dataset.tags():
            raise OwnResult(
                f"{path}: made by crackgeo, no imagery",
                "name the imagery; `crackgeo vectorize` takes probabilities",
            )
        with gdal_environment(), header_errors(path):
            marked = plan_bands(dataset, spec)
            native, georeference = grid_of(dataset, monitor)
            plan = look_for_marks(dataset, marked, spec)  # last: it may meet a damaged block
            source = Source(dataset, plan, on_error)
        if plan != marked:
            _tell_of_marks(path, plan, monitor)
        grid, scale = native, Scale()
        if gsd_m is not None:
            if georeference is Georeference.NONE:
                raise UsageError(
                    f"{path}: --gsd needs a ground pixel size, the raster has no georeference",
                    "leave --gsd out, or georeference the raster",
                )
            grid, scale = resampled_grid(native, gsd_m, str(path), monitor)
        _tell_of_pixels(path, grid, monitor)
        stretch = spec.stretch or _look_for_stretch(path, plan, on_error, monitor)
    except BaseException:
        dataset.close()
        raise
    return ImageRaster(source, grid, scale, stretch, georeference)


def _look_for_stretch(
    path: str | Path, plan: BandPlan, on_error: OnError, monitor: Monitor
) -> Stretch:
    """By a look of its own: GDAL may tell of damage once only, and reads black from then on.

    Damage is told where it is met, and may lie where nothing is asked for; but a server that does
    not answer is not asked again and again.
    """
    with closing(open_dataset(path)) as dataset:
        source = Source(dataset, plan, "skip" if is_local(path) else on_error)
        return find_stretch(source, monitor)


def _tell_of_pixels(path: str | Path, grid: Grid, monitor: Monitor) -> None:
    """Say that pixels are not square: the model sees cracks squeezed."""
    small, large = sorted(pixel_size_m(grid))
    if large > SQUARE_WITHIN * small:
        units = small_units(grid)
        monitor.warn(
            f"{path}: its pixels are not square on the ground ({small * units:.4g} x "
            f"{large * units:.4g}{' mm' if has_ground_units(grid) else ''}), which distorts cracks "
            f"for the model; --gsd {small:.4g} makes them so"
        )


def _tell_of_marks(path: str | Path, plan: BandPlan, monitor: Monitor) -> None:
    """Say what is taken as no data though the raster does not mark it."""
    if plan.has_collar:
        monitor.warn(
            f"{path} marks no missing data but has a black border: solid black is taken as no "
            "data; --nodata VALUE says what is"
        )
    else:
        bands = ",".join(map(str, plan.bands))
        monitor.warn(
            f"{path}: band {plan.alpha} says nothing but no and yes, so it is taken as the mask "
            f"of what has data; --bands {bands} leaves it out"
        )


def describe(
    path: str | Path,
    bands: BandSpec | None = None,
    gsd_m: float | None = None,
    monitor: Monitor = SILENT,
) -> RasterInfo:
    """What a raster is, without reading its pixels; parameters and errors as `open_image`."""
    spec = bands if bands is not None else BandSpec()
    # any stretch will do where no pixel is read; it spares looking for the percentiles
    spec = replace(spec, stretch=spec.stretch or (0.0, 1.0))
    with gdal_environment(), open_image(path, spec, gsd_m, monitor) as image:
        dataset, plan, grid = image.dataset, image.plan, image.grid
        size_x, size_y = pixel_size_m(grid)
        small = small_units(grid)
        return RasterInfo(
            path=Path(path),
            driver=dataset.driver,
            file_bytes=Path(path).stat().st_size if is_local(path) else None,
            width=grid.width,
            height=grid.height,
            crs_name=_crs_name(grid.crs_wkt),
            georeference=str(image.georeference),
            gsd_mm=(size_x * small, size_y * small),
            has_ground_units=has_ground_units(grid),
            band_count=dataset.count,
            bands=plan.bands,
            dtype=dataset.dtypes[plan.bands[0] - 1],
            nodata=dataset.nodatavals[plan.bands[0] - 1],
            has_alpha=plan.alpha is not None,
            has_mask=bool(plan.masks),
            has_collar=plan.has_collar,
            grid=grid,
        )


def _crs_name(crs_wkt: str | None) -> str | None:
    if crs_wkt is None:
        return None
    crs = CRS.from_wkt(crs_wkt)
    authority = crs.to_authority()
    return f"{crs.name} ({':'.join(authority)})" if authority else crs.name


def header_checksum(path: str | Path) -> str:
    """SHA-256 that tells whether a raster is the one a result was made from.

    Over driver, size in pixels, band types, transform and CRS as GDAL reads them, the places of
    blocks of a GeoTIFF in its file, and size and pieces of a local file: all of it up to 6 MiB,
    else both ends and 64 pieces between. So it takes no time on a terabyte. A change that
    leaves compressed blocks as long as they were and meets no piece goes unnoticed.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    with gdal_environment(), header_errors(path), open_dataset(path) as dataset:
        crs = dataset.crs.to_wkt() if dataset.crs else ""
        header = (
            f"{dataset.driver}|{dataset.width}|{dataset.height}|{dataset.dtypes}|"
            f"{tuple(dataset.transform)}|{crs}|{_block_places(dataset)}"
        )
    digest = hashlib.sha256(header.encode())
    if is_local(path):
        _add_pieces(digest, Path(path))
    return digest.hexdigest()


def _block_places(dataset: DatasetReader) -> list[str | None]:
    """Where blocks spread over a GeoTIFF lie in its file, which moves with what is before them."""
    if dataset.driver != "GTiff":
        return []
    height, width = dataset.block_shapes[0]
    rows, cols = -(-dataset.height // height), -(-dataset.width // width)
    return [
        dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1)
        for row in range(0, rows, -(-rows // _SAMPLES))
        for col in range(0, cols, -(-cols // _SAMPLES))
    ]


def _add_pieces(digest: hashlib._Hash, path: Path) -> None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(str(size).encode())
            step = max(_PIECE_BYTES, (size - 2 * _MIB) // _SAMPLES)
            pieces = range(_MIB, max(_MIB, size - _MIB), step)
            for start, length in [
                (0, _MIB),
                *((start, _PIECE_BYTES) for start in pieces),
                (max(0, size - _MIB), _MIB),
            ]:
                file.seek(start)
                digest.update(file.read(length))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the file") from error
