"""Pixels of a raster file as they are stored, and which of them hold data.

What GIS files use to say "nothing here" is brought together: nodata values, NaN, alpha bands,
masks inside the file or beside it, transparent palette entries.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from .collar import MARGIN_PX, border_samples, is_black, is_mask, solid_black
from .dataset import (
    REREAD_PAUSES_S,
    gdal_environment,
    gdal_window,
    is_local,
    open_dataset,
    read_error,
    reopen_remote,
)
from .errors import InputError, UsageError
from .gaps import stored_blocks
from .grid import Window
from .specs import BandSpec, OnError

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_CMYK = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow)

Pixels = NDArray[Any]


@dataclass(frozen=True)
class BandPlan:
    """What to read of a raster.

    Parameters
    ----------
    bands : 1-based, one (grey) or three (red, green, blue)
    palette : uint8 `[n, 4]`, RGBA of each value of a palette image
    alpha : the alpha band, if there is one
    masks : bands whose mask of the file's own (inside or beside it) must be read
    nodata : for each band its nodata value; NaN needs none
    user_nodata : the value the user named
    has_collar : whether solid black is no data, see `collar`
    """

    bands: tuple[int, ...]
    palette: NDArray[np.uint8] | None = None
    alpha: int | None = None
    masks: tuple[int, ...] = ()
    nodata: tuple[float | None, ...] = ()
    user_nodata: float | None = None
    has_collar: bool = False

    @property
    def is_marked(self) -> bool:
        """Whether anything says where there is no data."""
        told = {*self.nodata, self.user_nodata} != {None}
        return told or bool(self.alpha or self.masks) or self.palette is not None


def plan_bands(dataset: DatasetReader, spec: BandSpec) -> BandPlan:
    """Choose bands, by the user's wish or colour interpretation, and the marks of missing data.

    Raises
    ------
    InputError
        Colours that are not red, green, blue or grey.
    UsageError
        A band out of range, or a nodata value that the raster's type cannot hold.
    """
    interps = dataset.colorinterp
    bands = spec.bands or _default_bands(dataset)
    if max(bands) > dataset.count:
        raise UsageError(
            f"{dataset.name}: band {max(bands)} asked for, the raster has {dataset.count}",
            f"choose --bands from 1 to {dataset.count}",
        )
    if spec.nodata is not None and not _holds(dataset.dtypes[bands[0] - 1], spec.nodata):
        raise UsageError(
            f"--nodata {spec.nodata:g}: {dataset.name} holds {dataset.dtypes[bands[0] - 1]}, "
            "which cannot have this value",
            "leave --nodata out, or see the values in use with `crackgeo info`",
        )
    paletted = len(bands) == 1 and interps[bands[0] - 1] == ColorInterp.palette
    return BandPlan(
        bands=bands,
        palette=_palette(dataset, bands[0]) if paletted else None,
        alpha=_alpha_band(dataset),
        masks=_mask_bands(dataset, bands),
        nodata=tuple(_nodata(dataset, band) for band in bands),
        user_nodata=spec.nodata,
    )


def look_for_marks(dataset: DatasetReader, plan: BandPlan, spec: BandSpec) -> BandPlan:
    """Find out, where a raster marks no missing data, whether it holds some all the same.

    Looks at a few pixels along its border. A band beside the picture that is nothing or all is a
    mask that was not named; a border of solid black is no picture. What the user named counts.
    """
    if plan.is_marked or np.dtype(dataset.dtypes[plan.bands[0] - 1]).kind not in "uf":
        return plan
    rest = {*range(1, dataset.count + 1)} - {*plan.bands}
    # a handle of its own: a virtual raster whose source is missing says so at the first read only
    with open_dataset(dataset.name) as probe:
        if spec.bands is None and len(rest) == 1:
            (band,) = rest
            values = [sample.ravel() for sample in _border(probe, [band])]
            if values and is_mask(np.concatenate(values)):
                return replace(plan, alpha=band)
        has_collar = any(is_black(sample).all() for sample in _border(probe, list(plan.bands)))
    return replace(plan, has_collar=has_collar)


def _border(dataset: DatasetReader, bands: list[int]) -> Iterator[Pixels]:
    """A few pixels along the border, `[n, h, w]` each; none of what cannot be read."""
    for window in border_samples(dataset.shape):
        with suppress(RasterioError):
            yield dataset.read(bands, window=gdal_window(window))


def _default_bands(dataset: DatasetReader) -> tuple[int, ...]:
    interps = dataset.colorinterp
    if all(colour in interps for colour in _CMYK):
        raise InputError(
            f"{dataset.name}: holds printing colours (CMYK)",
            "convert it to RGB, or choose --bands",
        )
    if all(colour in interps for colour in _RGB):
        return tuple(interps.index(colour) + 1 for colour in _RGB)
    picture = [i + 1 for i, colour in enumerate(interps) if colour != ColorInterp.alpha]
    return tuple(picture[:3]) if len(picture) >= 3 else tuple(picture[:1] or [1])


def _alpha_band(dataset: DatasetReader) -> int | None:
    interps = dataset.colorinterp
    return interps.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in interps else None


def _mask_bands(dataset: DatasetReader, bands: tuple[int, ...]) -> tuple[int, ...]:
    """The bands with masks of their own; one stands for all if they share it."""
    flags = dataset.mask_flag_enums
    derived = {MaskFlags.all_valid, MaskFlags.alpha, MaskFlags.nodata}
    own = tuple(band for band in bands if not derived & set(flags[band - 1]))
    shared = own and all(MaskFlags.per_dataset in flags[band - 1] for band in own)
    return own[:1] if shared else own


def _nodata(dataset: DatasetReader, band: int) -> float | None:
    value = dataset.nodatavals[band - 1]
    return value if value is not None and _holds(dataset.dtypes[band - 1], value) else None


def _holds(dtype: str, value: float) -> bool:
    """Whether pixels of this type can have this value."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    info = np.iinfo(kind)
    return math.isfinite(value) and value == int(value) and info.min <= value <= info.max


def _palette(dataset: DatasetReader, band: int) -> NDArray[np.uint8]:
    entries = dataset.colormap(band)
    palette = np.zeros((np.iinfo(dataset.dtypes[band - 1]).max + 1, 4), np.uint8)
    palette[list(entries)] = list(entries.values())
    return palette


class Source:
    """Windowed reading of one open raster, from one thread at a time or several.

    Parameters
    ----------
    dataset : open, closed by `close`
    plan : what to read of it
    on_error : "skip" takes blocks that cannot be read as holding no data, see `damaged`
    """

    def __init__(self, dataset: DatasetReader, plan: BandPlan, on_error: OnError = "fail") -> None:
        self.dataset = dataset
        self.plan = plan
        self.damaged: list[Window] = []  # blocks that could not be read so far
        self._skips = on_error == "skip"
        self._lock = threading.Lock()  # a GDAL handle serves one thread at a time
        self._stored = stored_blocks(dataset, plan.alpha or plan.bands)
        self._is_remote = not is_local(dataset.name)
        self._gaps_are_empty: bool | None = None  # not known yet

    @property
    def window(self) -> Window:
        """The whole raster."""
        return Window(0, 0, self.dataset.height, self.dataset.width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` gives."""
        return np.dtype(np.uint8 if self.plan.palette is not None else self._stored_dtype)

    @property
    def _stored_dtype(self) -> np.dtype[Any]:
        return np.result_type(*(self.dataset.dtypes[band - 1] for band in self.plan.bands))

    @property
    def is_striped(self) -> bool:
        """Whether its blocks reach across (most of) the raster."""
        return bool(self.dataset.block_shapes[self.plan.bands[0] - 1][1] * 2 > self.window.width)

    def read(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """Pixels and validity of a window inside the raster.

        Returns
        -------
        `[h, w, n]` of the file's own type, n = 1 or 3, and bool `[h, w]`
            A palette image gives its colours, uint8, n = 3.

        Raises
        ------
        InputError
            The file is damaged there; names the block.
        """
        with self._lock, gdal_environment():
            band = self.plan.bands[0]
            try:
                return self._read_patiently(window)
            except RasterioError as error:
                if self._skips:
                    return self._read_around_damage(window)
                raise read_error(self.dataset, band, window, error) from error

    def _read_around_damage(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read block by block; what cannot be read is no data, and noted."""
        count = 3 if self.plan.palette is not None else len(self.plan.bands)
        values = np.zeros((window.height, window.width, count), self.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        height, width = self.dataset.block_shapes[self.plan.bands[0] - 1]
        for row in range(window.row // height * height, window.row_end, height):
            for col in range(window.col // width * width, window.col_end, width):
                block = Window(row, col, height, width).intersect(self.window)
                part = block.intersect(window) if block else None
                if block is None or part is None:
                    continue
                here = part.seen_from(window)
                cut = np.s_[here.row : here.row_end, here.col : here.col_end]
                try:
                    values[cut], valid[cut] = self._read(part)
                except RasterioError:
                    if block not in self.damaged:
                        self.damaged.append(block)
        return values, valid

    def _read_patiently(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read, and read again after a while what a server did not give."""
        for pause_s in REREAD_PAUSES_S if self._is_remote else ():
            try:
                return self._read(window)
            except RasterioError:
                time.sleep(pause_s)
                self._reopen()
        return self._read(window)

    def _reopen(self) -> None:
        with suppress(InputError):  # the old one, closed, will say that it cannot be read
            self.dataset.close()
            self.dataset = reopen_remote(self.dataset.name)
            self._stored = stored_blocks(self.dataset, self.plan.alpha or self.plan.bands)

    def _read(self, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
        plan, where = self.plan, gdal_window(window)
        stored = self.dataset.read(list(plan.bands), window=where)
        valid = _has_value(stored, plan.nodata)
        if plan.user_nodata is not None:
            valid &= _has_value(stored, (plan.user_nodata,) * len(plan.bands))
        if plan.masks:
            valid &= (self.dataset.read_masks(list(plan.masks), window=where) > 0).any(axis=0)
        if plan.alpha is not None:
            valid &= self.dataset.read(plan.alpha, window=where) > 0
        if plan.has_collar and is_black(stored).any():
            valid &= ~self._is_collar(window)
        if plan.palette is None:
            return np.moveaxis(stored, 0, -1), valid
        colours = plan.palette[stored[0]]
        return colours[..., :3], valid & (colours[..., 3] > 0)

    def _is_collar(self, window: Window) -> NDArray[np.bool_]:
        margin = MARGIN_PX
        height, width = window.height + 2 * margin, window.width + 2 * margin
        around = Window(window.row - margin, window.col - margin, height, width)
        around = around.intersect(self.window) or window
        stored = self.dataset.read(list(self.plan.bands), window=gdal_window(around))
        here = window.seen_from(around)
        black = solid_black(stored, around, self.window)
        return black[here.row : here.row_end, here.col : here.col_end]

    def is_stored(self, window: Window) -> bool:
        """Whether the file holds something of a window, or does not tell."""
        return self._stored is None or self._stored.touches(window)

    def is_empty(self, window: Window) -> bool:
        """Whether a window inside the raster is known to hold no data, without reading it.

        Known are gaps in the storage of sparse GeoTIFFs and virtual rasters. What GDAL puts there
        is the same everywhere, so a look at the first gap tells whether it counts as data.
        """
        plan = self.plan
        if self._stored is None or plan.masks or plan.has_collar or self._gaps_are_empty is False:
            return False
        with self._lock, gdal_environment():
            if self._stored.touches(window):
                return False
            if self._gaps_are_empty is None:
                first = Window(window.row, window.col, 1, 1)
                try:
                    self._gaps_are_empty = not self._read(first)[1].any()
                except RasterioError:  # reading tells better what is wrong
                    self._gaps_are_empty = False
            return self._gaps_are_empty

    def parts(self, window: Window, max_pixels: int) -> list[Window]:
        """Cut a window into parts of bounded size along the file's blocks.

        So each block is decoded once, whatever the layout of the file.
        """
        block_height, block_width = self.dataset.block_shapes[self.plan.bands[0] - 1]
        width = max(block_width, max_pixels // block_height // block_width * block_width)
        width = min(width, max_pixels)
        rows_at_once = max(1, max_pixels // min(width, window.width))
        height = max(rows_at_once // block_height * block_height, min(rows_at_once, block_height))
        return [
            part
            for row in range(window.row // height * height, window.row_end, height)
            for col in range(window.col // width * width, window.col_end, width)
            if (part := Window(row, col, height, width).intersect(window)) is not None
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock, gdal_environment():
            self.dataset.close()


def _has_value(stored: Pixels, nodata: tuple[float | None, ...]) -> NDArray[np.bool_]:
    """Where all bands are finite and not all of them hold their nodata value.

    One band at its nodata value is a colour (pure yellow has a blue of 0), as in GDAL.
    """
    valid: NDArray[np.bool_] = np.ones(stored.shape[1:], np.bool_)
    if stored.dtype.kind == "f":
        valid = np.asarray(np.isfinite(stored).all(axis=0))
    values = [value for value in nodata if value is not None]
    if len(values) < len(stored):
        return valid
    marks = np.array(values).astype(stored.dtype)
    return np.asarray(valid & (stored != marks[:, None, None]).any(axis=0))
