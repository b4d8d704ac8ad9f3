"""The probability raster, the seam between prediction and vectorization: writing and reading.

Codes are uint8: round(254 p), 255 where there is no data (`specs.PROB_SCALE`, `PROB_NODATA`).
On disk a cloud-optimised GeoTIFF that says so itself, by band scale and nodata value.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from .dataset import gdal_environment, gdal_window, header_errors, open_dataset
from .errors import InputError, ResourceError
from .files import AtomicOutput, output_errors
from .georeference import grid_of
from .grid import Grid, Window
from .monitor import SILENT, Monitor
from .scaling import Codes, Scaling, find_scaling
from .source import Source, plan_bands
from .specs import PROB_NODATA, BandSpec

_BLOCK_PX = 512
_PART_PX = 2**20

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


def publish_probability(source: Path, target: Path, overwrite: bool = False) -> None:
    """Copy a probability raster into its final form, a cloud-optimised GeoTIFF with overviews.

    What is on the disk is read back and compared before it appears, as GDAL does not tell of
    everything that goes wrong while it closes a file.

    Parameters
    ----------
    source : a raster that GDAL reads, e.g. of `RowBands`
    target : appears complete
    overwrite : replace an existing file

    Raises
    ------
    UsageError, ResourceError
        The target exists or cannot be written; the disk is full or fails.
    """
    # CPLE_BaseError comes out of rasterio.shutil unwrapped; InputError out of reading back
    failures = RasterioError, CPLE_BaseError, InputError
    with AtomicOutput(target, overwrite) as output:
        with output_errors(target, *failures), gdal_environment():
            rasterio.shutil.copy(source, output.path, driver="COG", **_COG_OPTIONS)
            same = _checksum(output.path) == _checksum(source)
        if not same:
            raise ResourceError(
                f"{target}: what the disk holds is not what was written",
                "make room on the disk, check it, or write to another one",
            )
        output.commit()
    # statistics that a GIS kept of the file that was there before
    target.with_name(f"{target.name}.aux.xml").unlink(missing_ok=True)


def _checksum(path: Path) -> int:
    """CRC-32 of all values, read by rows of blocks."""
    checksum = 0
    with open_dataset(path) as dataset:
        for row in range(0, dataset.height, _BLOCK_PX):
            height = min(_BLOCK_PX, dataset.height - row)
            window = gdal_window(Window(row, 0, height, dataset.width))
            checksum = zlib.crc32(dataset.read(1, window=window), checksum)
    return checksum


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
            if source.is_empty(part):
                continue
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
    masks of 0 and 1 in any integer type. Of integers without a scale 0 is no crack even where the
    file calls it no data.

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
        with gdal_environment(), header_errors(path):
            _check_one_band(dataset)
            # a colour table is for looking at; the values are what counts
            plan = replace(plan_bands(dataset, BandSpec(bands=(1,))), palette=None)
            if _has_background_as_nodata(dataset):
                plan = replace(plan, nodata=(None,))
                monitor.warn(
                    f"{path}: its nodata value, 0, is its background, which is taken as surveyed; "
                    "mark ground that was not surveyed with another value"
                )
            source = Source(dataset, plan)
            grid, _ = grid_of(dataset, monitor)
            tags = {k: v for k, v in dataset.tags().items() if k != "AREA_OR_POINT"}
        scaling = find_scaling(source, monitor)
    except BaseException:
        dataset.close()
        raise
    return ProbabilityRaster(Path(path), source, grid, scaling, tags)


def _has_background_as_nodata(dataset: DatasetReader) -> bool:
    """Whether 0 is called no data in a mask or in 8-bit probabilities without a scale.

    Programs that write masks tag them so to see through them; ground without a crack would
    count as not surveyed, and cracks, with no background beside them, have no width.
    """
    is_plain = (dataset.scales[0], dataset.offsets[0]) == (1.0, 0.0)
    return is_plain and dataset.nodata == 0 and np.dtype(dataset.dtypes[0]).kind in "iu"


def _check_one_band(dataset: DatasetReader) -> None:
    count = sum(interp != ColorInterp.alpha for interp in dataset.colorinterp)
    if count != 1:
        raise InputError(
            f"{dataset.name}: has {count} bands; a probability raster has one",
            "take the band of the crack probability out, e.g. gdal_translate -b 1",
        )
