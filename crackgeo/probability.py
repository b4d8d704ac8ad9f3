"""The probability raster, the seam between prediction and vectorization: writing and reading.

Codes are uint8: round(254 p), 255 where there is no data (`specs.PROB_SCALE`, `PROB_NODATA`).
On disk a cloud-optimised GeoTIFF that says so itself, by band scale and nodata value.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter

from .dataset import accept_no_georeference, gdal_environment, gdal_window, open_dataset
from .errors import InputError, ResourceError
from .files import AtomicOutput, output_errors
from .georeference import grid_of
from .grid import Grid, Window
from .monitor import SILENT, Monitor
from .scaling import Codes, Scaling, find_scaling
from .source import Source, plan_bands
from .specs import PROB_NODATA, PROB_SCALE, BandSpec

_BLOCK_PX = 512
_PART_PX = 2**20

_ROWS_OPTIONS: dict[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint8",
    "count": 1,
    "nodata": PROB_NODATA,
    "tiled": True,
    "blockxsize": _BLOCK_PX,
    "blockysize": _BLOCK_PX,
    "compress": "deflate",
    "zlevel": 1,  # it is read once and removed
    "bigtiff": "yes",
}
# RMS keeps a crack of one pixel visible in overviews where the mean would fade it to nothing;
# both leave nodata out.
_COG_OPTIONS: dict[str, Any] = {
    "compress": "deflate",
    "blocksize": _BLOCK_PX,
    "overview_resampling": "rms",
    "overviews": "ignore_existing",
    "bigtiff": "if_safer",
    "num_threads": "all_cpus",
}


class ProbabilityWriter:
    """Write probabilities in row bands from the top; they appear on `commit`, complete.

    Memory is bounded by a few rows of blocks. What is on the disk is read back and compared
    before it appears, as GDAL does not tell of everything that goes wrong while it closes.

    Parameters
    ----------
    path : target
    grid : place of the raster
    tags : strings to keep in the file
    overwrite : replace an existing file

    Raises
    ------
    UsageError, ResourceError
        On entering: the target exists or cannot be written.
    """

    def __init__(
        self, path: Path, grid: Grid, tags: Mapping[str, str], overwrite: bool = False
    ) -> None:
        self.grid = grid
        self.tags = dict(tags)
        self._output = AtomicOutput(Path(path), overwrite)
        self._dataset: DatasetWriter | None = None
        self._pending = np.empty((min(_BLOCK_PX, grid.height), grid.width), np.uint8)
        self._pending_rows = 0
        self._rows_done = 0
        self._checksum = 0

    def __enter__(self) -> ProbabilityWriter:
        self._output.__enter__()
        try:
            with self._writing():
                self._dataset = self._create()
        except BaseException:
            self._output.discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ResourceError):  # of a file that is thrown away
            self._close()
        self._output.discard()

    def write(self, row: int, block: Codes) -> None:
        """Add rows.

        Parameters
        ----------
        row : first row of the block; blocks come without gaps from row 0
        block : uint8 `[h, width]` of codes

        Raises
        ------
        ResourceError
            The disk is full or fails.
        ValueError
            The block does not continue the last one, or has another width or type.
        """
        expected = self._rows_done + self._pending_rows
        height, width = block.shape
        if row != expected or width != self.grid.width or row + height > self.grid.height:
            raise ValueError(f"block {block.shape} at row {row} does not continue row {expected}")
        if block.dtype != np.uint8:
            raise ValueError(f"probability codes are uint8, not {block.dtype}")
        self._checksum = zlib.crc32(np.ascontiguousarray(block).data, self._checksum)
        while len(block):
            block = self._collect(block)

    def commit(self, tags: Mapping[str, str] | None = None) -> None:
        """Make the file cloud-optimised with overviews, check it, and let it appear.

        Parameters
        ----------
        tags : more strings to keep in the file, known only now

        Raises
        ------
        ResourceError
            The disk is full or fails.
        ValueError
            Rows are missing.
        """
        self._flush()
        if self._rows_done != self.grid.height:
            raise ValueError(f"{self._rows_done} of {self.grid.height} rows were written")
        if tags and self._dataset is not None:
            self._dataset.update_tags(**tags)
        self._close()
        with self._writing():
            rasterio.shutil.copy(self._scratch, self._output.path, driver="COG", **_COG_OPTIONS)
            self._scratch.unlink()
        self._check()
        self._output.commit()
        # statistics that a GIS kept of the file that was there before
        self._output.target.with_name(f"{self._output.target.name}.aux.xml").unlink(True)

    @property
    def _scratch(self) -> Path:
        return self._output.scratch("rows")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """GDAL's settings, and what goes wrong as an error that names the target."""
        # CPLE_BaseError comes out of rasterio.shutil unwrapped; InputError out of reading back
        failures = (RasterioError, CPLE_BaseError, InputError)
        with output_errors(self._output.target, *failures), gdal_environment():
            yield

    def _create(self) -> DatasetWriter:
        grid = self.grid
        crs = CRS.from_wkt(grid.crs_wkt) if grid.crs_wkt else None
        place = {"width": grid.width, "height": grid.height, "transform": grid.transform}
        with accept_no_georeference():
            dataset = rasterio.open(self._scratch, "w", crs=crs, **place, **_ROWS_OPTIONS)
        dataset.scales = (PROB_SCALE,)
        dataset.set_band_description(1, "crack probability")
        dataset.update_tags(**self.tags)
        return dataset

    def _collect(self, rows: Codes) -> Codes:
        """Take rows until a row of blocks is full, write it; gives the rows not taken.

        So no compressed block is written twice.
        """
        taken = rows[: len(self._pending) - self._pending_rows]
        end = self._pending_rows + len(taken)
        self._pending[self._pending_rows : end] = taken
        self._pending_rows = end
        if end == len(self._pending):
            self._flush()
        return rows[len(taken) :]

    def _flush(self) -> None:
        if self._pending_rows == 0:
            return
        window = Window(self._rows_done, 0, self._pending_rows, self.grid.width)
        with self._writing():
            assert self._dataset is not None  # made on entering
            self._dataset.write(self._pending[: self._pending_rows], 1, window=gdal_window(window))
        self._rows_done += self._pending_rows
        self._pending_rows = 0

    def _close(self) -> None:
        dataset, self._dataset = self._dataset, None
        if dataset is not None:
            with self._writing():
                dataset.close()

    def _check(self) -> None:
        checksum = 0
        with self._writing(), open_dataset(self._output.path) as dataset:
            for row in range(0, self.grid.height, _BLOCK_PX):
                height = min(_BLOCK_PX, self.grid.height - row)
                window = gdal_window(Window(row, 0, height, self.grid.width))
                checksum = zlib.crc32(dataset.read(1, window=window), checksum)
        if checksum != self._checksum:
            raise ResourceError(
                f"{self._output.target}: what the disk holds is not what was written",
                "make room on the disk, check it, or write to another one",
            )


class ProbabilityRaster:
    """An open probability raster, readable from several threads; made by `open_probability`.

    Parameters
    ----------
    path : where it is
    source : the file, for the thread that opened it
    grid : its place
    scaling : from stored values to codes
    tags : strings kept in the file
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        grid: Grid,
        scaling: Scaling,
        tags: Mapping[str, str],
    ) -> None:
        self.path = path
        self.grid = grid
        self.scaling = scaling
        self.tags = dict(tags)
        self._plan = source.plan
        self._mine = threading.local()  # a GDAL handle serves one thread at a time
        self._mine.source = source
        self._sources = [source]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.grid.shape

    def __enter__(self) -> ProbabilityRaster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handles of all threads."""
        for source in self._sources:
            source.close()

    def read(self, window: Window) -> Codes:
        """Codes of a window that may reach beyond the raster, where there is no data.

        Returns
        -------
        uint8 `[h, w]`
            round(254 p), 255 for no data.

        Raises
        ------
        InputError
            The file is damaged there, or holds values that are no probabilities.
        """
        codes = np.full((window.height, window.width), PROB_NODATA, np.uint8)
        inside = window.intersect(self.grid.window)
        source = self._source()
        for part in source.parts(inside, _PART_PX) if inside is not None else ():
            row, col = part.row - window.row, part.col - window.col
            values, valid = source.read(part)
            codes[row : row + part.height, col : col + part.width] = self.scaling.codes(
                values[..., 0], valid, str(self.path)
            )
        return codes

    def _source(self) -> Source:
        source: Source | None = getattr(self._mine, "source", None)
        if source is None:
            source = self._mine.source = Source(open_dataset(self.path), self._plan)
            self._sources.append(source)
        return source


def open_probability(path: str | Path, monitor: Monitor = SILENT) -> ProbabilityRaster:
    """Open a raster of crack probabilities, crackgeo's own or another program's.

    Taken as probabilities: values with a band scale; floats from 0 to 1; uint8 from 0 to 255;
    masks of 0 and 1 in any integer type.

    Parameters
    ----------
    path : any raster that GDAL reads, with one band (and perhaps alpha)
    monitor : told how the values of another program's raster are taken

    Raises
    ------
    InputError
        The file is missing, damaged, no raster, or holds no probabilities.
    """
    dataset = open_dataset(path)
    try:
        with gdal_environment():
            _check_one_band(dataset)
            # a colour table is for looking at; the values are what counts
            plan = replace(plan_bands(dataset, BandSpec(bands=(1,))), palette=None)
            source = Source(dataset, plan)
            grid, _ = grid_of(dataset, monitor)
            tags = {k: v for k, v in dataset.tags().items() if k != "AREA_OR_POINT"}
        scaling = find_scaling(source, monitor)
    except BaseException:
        dataset.close()
        raise
    return ProbabilityRaster(Path(path), source, grid, scaling, tags)


def _check_one_band(dataset: DatasetReader) -> None:
    count = sum(interp != ColorInterp.alpha for interp in dataset.colorinterp)
    if count != 1:
        raise InputError(
            f"{dataset.name}: has {count} bands; a probability raster has one",
            "take the band of the crack probability out, e.g. gdal_translate -b 1",
        )
