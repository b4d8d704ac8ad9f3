"""Probabilities on their way to a result: bands of rows, each safe on the disk once it is there.

A band is a small GeoTIFF that appears by rename after it has reached the disk, so whatever has
appeared is whole, however the program ends; a checksum tells of what became of it since. A virtual
raster (VRT) makes one raster of all bands; it can be vectorized as it is or copied into its final
form.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from .dataset import accept_no_georeference, gdal_environment, gdal_window, open_dataset
from .errors import InputError
from .files import output_errors, write_safely
from .grid import Grid, Window
from .monitor import SILENT, Monitor
from .specs import PROB_NODATA, PROB_SCALE

Codes = NDArray[np.uint8]
Notes = Mapping[str, Any]

_BLOCK_PX = 512
_NAME = re.compile(r"rows-(\d+)-(\d+)\.tif")
_NOTES = "CRACKGEO_BAND"  # metadata items of a band: what is to be remembered,
_FILLED = "CRACKGEO_FILLED"  # and the columns that hold data, so that nobody reads the others
_CRC = "CRACKGEO_CRC"  # CRC-32 of both and of the codes in these columns
_INDEX = "rows.vrt"
_OPTIONS: dict[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint8",
    "count": 1,
    "nodata": PROB_NODATA,
    "tiled": True,
    "blockxsize": _BLOCK_PX,
    "compress": "deflate",
    "zlevel": 1,  # it is read a few times and removed
    "sparse_ok": True,
}


class RowBands:
    """A probability raster that grows from the top, band by band, in a folder of its own.

    Parameters
    ----------
    folder : where the bands are; those that are there already count, up to the first that is
        damaged, from which on they are removed
    grid : place of the whole raster
    monitor : told of what is damaged
    """

    def __init__(self, folder: Path, grid: Grid, monitor: Monitor = SILENT) -> None:
        self.folder = folder
        self.grid = grid
        self._bands: list[tuple[int, int]] = []
        found = list(_contiguous(folder))
        count = len(found)
        while found and self._is_whole(found[0]):
            self._bands.append(found.pop(0))
            monitor.step("check", len(self._bands), count)
        if found:
            self._remove(found, monitor)

    def _is_whole(self, band: tuple[int, int]) -> bool:
        """Whether a band holds what was written; reading it takes little beside predicting it.

        Raises
        ------
        ResourceError
            The disk does not answer, which says nothing of the band.
        """
        shape = band[1] - band[0], self.grid.width
        try:
            with gdal_environment(), open_dataset(self._path(band)) as dataset:
                tags = dataset.tags()
                crc = _checksum(
                    tags, shape[0], lambda window: dataset.read(1, window=gdal_window(window))
                )
                return bool(dataset.shape == shape and tags[_CRC] == crc)
        except (InputError, RasterioError, OSError):
            with output_errors(self._path(band)):
                self._path(band).read_bytes()  # a disk that fails is told, no work is thrown away
            return False
        except (LookupError, TypeError, ValueError):
            return False

    def _remove(self, bands: list[tuple[int, int]], monitor: Monitor) -> None:
        """Take a damaged band and those below it away: they are predicted anew."""
        monitor.warn(f"{self._path(bands[0])}: damaged; its rows and those below are made anew")
        for band in reversed(bands):  # so that what a kill leaves follows on
            with output_errors(self._path(band)):
                self._path(band).unlink(missing_ok=True)

    @property
    def rows_done(self) -> int:
        """Rows from the first that are safe on the disk."""
        return self._bands[-1][1] if self._bands else 0

    @property
    def is_complete(self) -> bool:
        """Whether all rows are there."""
        return self.rows_done == self.grid.height

    def add(self, row: int, codes: Codes, notes: Notes) -> None:
        """Add the next rows; they are safe on the disk when this returns.

        Parameters
        ----------
        row : first row; bands come without gaps from row 0
        codes : uint8 `[h, width]`
        notes : what to remember with them, JSON types only

        Raises
        ------
        ResourceError
            The disk is full or fails.
        ValueError
            The rows do not continue the last ones, or have another width or type.
        """
        height, width = codes.shape
        if row != self.rows_done or width != self.grid.width or row + height > self.grid.height:
            raise ValueError(f"{codes.shape} at row {row} does not continue row {self.rows_done}")
        if codes.dtype != np.uint8:
            raise ValueError(f"probability codes are uint8, not {codes.dtype}")
        band = row, row + height
        with output_errors(self._path(band)):
            write_safely(self._path(band), _encode(codes, notes))
        self._bands.append(band)

    def notes(self) -> Iterator[dict[str, Any]]:
        """What was remembered with each band, from the top."""
        return (json.loads(tags[_NOTES]) for _, tags in self._tags())

    def _tags(self) -> Iterator[tuple[tuple[int, int], dict[str, str]]]:
        """Each band with its metadata, from the top."""
        for band in self._bands:
            with gdal_environment(), open_dataset(self._path(band)) as dataset:
                tags = dataset.tags()
            if not {_NOTES, _FILLED} <= set(tags):
                raise InputError(f"{self._path(band)}: damaged", "start anew with --overwrite")
            yield band, tags

    def write_index(self, tags: Mapping[str, str]) -> Path:
        """Make one raster of the bands, a VRT with the georeference and these metadata items.

        Raises
        ------
        ValueError
            Rows are missing.
        """
        if not self.is_complete:
            raise ValueError(f"{self.rows_done} of {self.grid.height} rows were written")
        path = self.folder / _INDEX
        with output_errors(path):
            write_safely(path, virtual_raster(self.grid, self.parts(), tags))
        return path

    def parts(self) -> Iterator[Placed]:
        """The rectangles that hold data, from the top, to make a virtual raster of."""
        for (row, end), tags in self._tags():
            for col, col_end in json.loads(tags[_FILLED]):
                here = Window(0, col, end - row, col_end - col)
                name, shape = self._path((row, end)).name, (end - row, self.grid.width)
                yield Placed(name, shape, here, replace(here, row=row))

    def _path(self, band: tuple[int, int]) -> Path:
        return self.folder / f"rows-{band[0]:09d}-{band[1]:09d}.tif"


def _contiguous(folder: Path) -> Iterator[tuple[int, int]]:
    """First and end row of the bands in a folder, as far as they follow each other from row 0."""
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    ends = {int(match[1]): int(match[2]) for match in matches if match}
    row = 0
    while row in ends:
        yield row, ends[row]
        row = ends[row]


def _encode(codes: Codes, notes: Notes) -> bytes:
    """A band as the bytes of a GeoTIFF.

    Made in memory: GDAL does not tell of everything that goes wrong while it closes a file.
    """
    height, width = codes.shape
    block = -(-min(height, _BLOCK_PX) // 16) * 16  # a TIFF's blocks are multiples of 16
    with gdal_environment(), accept_no_georeference(), MemoryFile() as memory:
        with memory.open(width=width, height=height, blockysize=block, **_OPTIONS) as dataset:
            dataset.write(codes, 1)
            tags = {_NOTES: json.dumps(notes), _FILLED: json.dumps(_filled(codes))}
            tags[_CRC] = _checksum(tags, height, lambda w: codes[:, w.col : w.col_end])
            dataset.update_tags(**tags)
        return bytes(memory.getbuffer())


def _checksum(tags: Mapping[str, str], height: int, read: Callable[[Window], Codes]) -> str:
    """CRC-32 of what is remembered with a band, and of its codes where it holds data."""
    crc = zlib.crc32(f"{tags[_NOTES]} {tags[_FILLED]}".encode())
    for first, end in json.loads(tags[_FILLED]):
        for col in range(first, end, _BLOCK_PX):  # no copy of a wide raster
            codes = read(Window(0, col, height, min(_BLOCK_PX, end - col)))
            crc = zlib.crc32(np.ascontiguousarray(codes).data, crc)
    return str(crc)


def _filled(codes: Codes) -> list[tuple[int, int]]:
    """First and end column of the runs of blocks that hold data."""
    width = codes.shape[1]
    runs: list[tuple[int, int]] = []
    for col in range(0, width, _BLOCK_PX):
        end = min(col + _BLOCK_PX, width)
        if (codes[:, col:end] != PROB_NODATA).any():
            first = runs.pop()[0] if runs and runs[-1][1] == col else col
            runs.append((first, end))
    return runs


@dataclass(frozen=True)
class Placed:
    """A rectangle of a raster and its place in a virtual one.

    Parameters
    ----------
    name : of the file, seen from the folder of the virtual one
    shape : (height, width) of the file
    window : the rectangle in the file
    at : where it lies in the whole, of the same size
    """

    name: str
    shape: tuple[int, int]
    window: Window
    at: Window


def virtual_raster(grid: Grid, parts: Iterable[Placed], tags: Mapping[str, str]) -> bytes:
    """A probability raster made of others, as the bytes of a VRT file.

    Parameters
    ----------
    grid : place of the whole
    parts : pixels without data leave what other parts have there
    tags : metadata items

    Source: GDAL's VRT driver, https://gdal.org/en/stable/drivers/raster/vrt.html
    """
    size = {"rasterXSize": str(grid.width), "rasterYSize": str(grid.height)}
    root = ElementTree.Element("VRTDataset", size)
    if grid.crs_wkt is not None:
        _text(root, "SRS", grid.crs_wkt)
    _text(root, "GeoTransform", ", ".join(map(repr, grid.transform.to_gdal())))
    metadata = ElementTree.SubElement(root, "Metadata")
    for key, value in tags.items():
        _text(metadata, "MDI", value, key=key)
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    _text(band, "Description", "crack probability")
    _text(band, "NoDataValue", str(PROB_NODATA))
    _text(band, "Scale", repr(PROB_SCALE))
    for part in parts:
        source = ElementTree.SubElement(band, "ComplexSource")
        # not shared: several threads read, each through handles of its own
        _text(source, "SourceFilename", part.name, relativeToVRT="1", shared="0")
        _text(source, "SourceBand", "1")
        height, width = map(str, part.shape)
        ElementTree.SubElement(source, "SourceProperties", RasterXSize=width, RasterYSize=height)
        ElementTree.SubElement(source, "SrcRect", _rectangle(part.window))
        ElementTree.SubElement(source, "DstRect", _rectangle(part.at))
        _text(source, "NODATA", str(PROB_NODATA))
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _rectangle(window: Window) -> dict[str, str]:
    """A window as attributes of GDAL's."""
    row, col, height, width = map(str, astuple(window))
    return {"xOff": col, "yOff": row, "xSize": width, "ySize": height}


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
