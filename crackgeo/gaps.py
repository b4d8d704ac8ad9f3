"""Which parts of a raster are stored at all: empty ones then need no reading.

Sparse GeoTIFFs leave blocks out; virtual rasters have nothing between their sources. The answers
here err on one side only: what is said not to be stored is not.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from .grid import Window
from .virtual import source_path

Bounds = NDArray[np.float64]

_DEPTH = 3  # virtual rasters of virtual rasters ...; further down one rectangle has to do
_SOURCES = {"SimpleSource", "ComplexSource"}
# a source with nothing else gives its pixels unchanged
_AS_IT_IS = {
    "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA",
}  # fmt: skip
_DESCRIPTIONS = {
    "NoDataValue", "HideNoDataValue", "ColorInterp", "ColorTable", "CategoryNames", "Description",
    "Scale", "Offset", "UnitType", "Metadata", "Histograms",
}  # fmt: skip


class Stored(Protocol):
    """Knows where pixels of some bands are stored."""

    def touches(self, window: Window) -> bool:
        """Whether anything may be stored in a window."""
        ...


def stored_blocks(dataset: DatasetReader, bands: int | tuple[int, ...]) -> Stored | None:
    """Where pixels of these bands are stored; None if that cannot be told.

    Parameters
    ----------
    dataset : open; used again with each question
    bands : 1-based
    """
    chosen = (bands,) if isinstance(bands, int) else bands
    if dataset.driver == "GTiff":
        return TiffBlocks(dataset, chosen)
    if dataset.driver == "VRT":
        return virtual_sources(dataset, chosen)
    return None


class TiffBlocks:
    """The blocks of a GeoTIFF; one that has no offset in the file is not stored.

    Source: metadata domain `TIFF` of a band, https://gdal.org/en/stable/drivers/raster/gtiff.html
    """

    def __init__(self, dataset: DatasetReader, bands: tuple[int, ...]) -> None:
        self._dataset = dataset
        self._bands = bands
        self._shape = dataset.block_shapes[bands[0] - 1]

    def touches(self, window: Window) -> bool:
        """Whether a block that is stored touches the window."""
        height, width = self._shape
        rows = range(window.row // height, (window.row_end - 1) // height + 1)
        cols = range(window.col // width, (window.col_end - 1) // width + 1)
        return any(
            self._dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band) is not None
            for band in self._bands
            for row in rows
            for col in cols
        )


class Rectangles:
    """Rectangles of stored pixels.

    Parameters
    ----------
    bounds : float64 `[n, 4]`, first row, first column, end row, end column
    """

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        self._top, self._left, self._bottom, self._right = bounds.T

    def touches(self, window: Window) -> bool:
        """Whether a rectangle touches the window."""
        in_rows = (self._top < window.row_end) & (self._bottom > window.row)
        return bool((in_rows & (self._left < window.col_end) & (self._right > window.col)).any())


def virtual_sources(dataset: DatasetReader, bands: tuple[int, ...]) -> Rectangles | None:
    """Where the sources of a virtual raster lie; None if it is of another kind than a mosaic."""
    try:
        found = _rectangles(Path(dataset.name), bands, _DEPTH)
    except (OSError, ValueError, TypeError, ElementTree.ParseError):
        return None
    return Rectangles(found)


def _rectangles(path: Path, bands: tuple[int, ...], depth: int) -> Bounds:
    """Bounds `[n, 4]` of what the sources of a virtual raster may fill.

    Sources that are virtual rasters themselves are looked into, `depth` levels down.
    """
    root = ElementTree.parse(path).getroot()
    found = [
        _source_bounds(path.parent, source, band.findtext("NoDataValue"), depth)
        for band in root.iter("VRTRasterBand")
        if int(band.get("band", "0")) in bands
        for source in _sources(root, band)
    ]
    return np.concatenate([np.empty((0, 4)), *found])


def _source_bounds(
    folder: Path, source: ElementTree.Element, nodata: str | None, depth: int
) -> Bounds:
    """What a source fills, `[n, 4]`: its rectangle, or less if it is a mosaic itself."""
    place = _bounds(source, "DstRect")
    # a pixel more on each side for resampling
    whole: Bounds = place + np.array([-1.0, -1.0, 1.0, 1.0])
    inner = None
    if depth:
        with suppress(OSError, ValueError, TypeError, ElementTree.ParseError):
            inner = _inner_bounds(folder, source, nodata, depth - 1)
    if inner is None:
        return whole.reshape(1, 4)
    moved = inner + np.tile(place[:2] - _bounds(source, "SrcRect")[:2], 2)
    cut = np.clip(moved, np.tile(whole[:2], 2), np.tile(whole[2:], 2))
    return np.asarray(cut[(cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])])


def _inner_bounds(
    folder: Path, source: ElementTree.Element, nodata: str | None, depth: int
) -> Bounds | None:
    """Bounds inside a source that is a mosaic and comes as it is; None if it is not.

    Its gaps must hold what the gaps between sources hold.
    """
    place, part = _bounds(source, "DstRect"), _bounds(source, "SrcRect")
    name = source.find("SourceFilename")
    if name is None or {child.tag for child in source} - _AS_IT_IS:
        return None
    path = source_path(folder, name)
    same_size = np.array_equal(place[2:] - place[:2], part[2:] - part[:2])
    if path.suffix != ".vrt" or not same_size:
        return None
    number = int(source.findtext("SourceBand", "1"))
    bands = ElementTree.parse(path).getroot().iter("VRTRasterBand")
    gaps = {band.findtext("NoDataValue") for band in bands if band.get("band") == str(number)}
    return _rectangles(path, (number,), depth) if gaps == {nodata} else None


def _sources(root: ElementTree.Element, band: ElementTree.Element) -> list[ElementTree.Element]:
    """The sources of a band; raises ValueError where pixels come in another way."""
    unknown = {child.tag for child in band} - _SOURCES - _DESCRIPTIONS
    if root.get("subClass") or band.get("subClass") or unknown:
        raise ValueError("not a plain mosaic")
    return [child for child in band if child.tag in _SOURCES]


def _bounds(source: ElementTree.Element, name: str) -> Bounds:
    """First row and column and end row and column of a rectangle of a source, float64 `[4]`."""
    place = source.find(name)
    if place is None:
        raise ValueError("a source fills the whole raster")
    col, row, width, height = (float(place.get(k, "")) for k in ("xOff", "yOff", "xSize", "ySize"))
    return np.array([row, col, row + height, col + width])
