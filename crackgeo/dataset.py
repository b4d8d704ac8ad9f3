"""Open rasters through GDAL so that whatever is wrong with one becomes a clear message.

Everything of crackgeo that touches GDAL's raster side goes through `gdal_environment` and
`open_dataset`.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import Interleaving
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from .errors import InputError
from .grid import Window
from .resample import MAX_SIDE_PX

CACHE_MB = 64  # GDAL's block cache; its default is 5 % of the machine's memory
MAX_PIXELS = 10**12  # 3 TB of RGB; more is a broken header, not a survey
MAX_BANDS = 1024  # beyond, each question about all bands takes seconds; a crack needs three
MAX_BLOCK_BYTES = 2**29  # a block is decoded whole, again for each window that touches it

# For servers that are slow, drop connections or answer with errors: GDAL asks again, with longer
# and longer pauses; a transfer below LIMIT bytes a second for TIME seconds has stalled.
HTTP_OPTIONS: dict[str, Any] = {
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
}
# What GDAL does not retry itself, a transfer that breaks off or stalls: the file is opened anew.
REREAD_PAUSES_S = (1.0, 5.0, 20.0)
# pathlib makes one slash of the two in an address
_ADDRESS = re.compile(r"(https?|ftp|s3|gs|az|oss):/+(?=[^/])")
_FILE_SYSTEMS = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "oss": "/vsioss/"}

_filters = threading.Lock()  # warnings.catch_warnings changes state of the whole process


@contextmanager
def gdal_environment() -> Iterator[None]:
    """GDAL's settings for all of crackgeo; cheap (0.2 ms), needed in each thread."""
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, **HTTP_OPTIONS):
        yield


@contextmanager
def accept_no_georeference() -> Iterator[None]:
    """Keep rasterio from warning of a raster without georeference; `grid_of` does that."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def open_dataset(path: str | Path) -> DatasetReader:
    """Open a raster for reading, checked to hold pixels of a believable size.

    Parameters
    ----------
    path : a file, an address (`https://`, `s3://`, `gs://`, `az://`), or another name that GDAL
        knows (`/vsicurl/...`, `/vsizip/...`)

    Raises
    ------
    InputError
        Missing, empty, a folder, no raster, no bands, no pixels, or absurdly large.
    """
    _check_file(path)
    # asking a server for a list of its files is slow and gives nothing where sidecars are unusual
    remote = {} if is_local(path) else {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    with (
        header_errors(path),
        gdal_environment(),
        rasterio.Env(**remote),
        accept_no_georeference(),
    ):
        dataset = rasterio.open(gdal_name(path), sharing=False)
    try:
        with header_errors(path):
            _check_contents(dataset, path)
    except BaseException:
        dataset.close()
        raise
    return dataset


@contextmanager
def header_errors(path: str | Path) -> Iterator[None]:
    """Turn what is wrong with a raster before its pixels are read into an `InputError`."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, ValueError, OSError) as error:
        # CPLE_BaseError: GDAL opens some damaged files and complains at the next question only
        raise InputError(
            f"{path}: not a raster that can be read ({_reason(error)})",
            "check that the file is complete and opens in a GIS, e.g. with gdalinfo",
        ) from error


def reopen_remote(name: str) -> DatasetReader:
    """Open a raster on a server anew and forget what came of it before a connection broke.

    GDAL keeps the beginning of a block whose rest did not come. Files opened as not to be cached
    take it away when they close, so one is opened for that alone: closing such a file makes others
    of the same address, open meanwhile, read zeros where they should say that they cannot.
    """
    everywhere = ":".join(["/vsicurl/", *_FILE_SYSTEMS.values()])
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED=everywhere):
        open_dataset(name).close()
    return open_dataset(name)


def gdal_name(path: str | Path) -> str:
    """What GDAL calls a file: addresses become its virtual file systems, e.g. /vsicurl/https://."""
    text = str(path)
    address = _ADDRESS.match(text)
    if address is None:
        return text
    scheme, rest = address[1], text[address.end() :]
    return _FILE_SYSTEMS.get(scheme, f"/vsicurl/{scheme}://") + rest


def is_local(path: str | Path) -> bool:
    """Whether a path names a file of this machine rather than something behind GDAL."""
    name = gdal_name(path)
    return not name.startswith("/vsi") and "://" not in name


def _check_file(path: str | Path) -> None:
    if not is_local(path):
        return
    file = Path(path)
    if not file.exists():
        raise InputError(f"{path}: no such file", "check the path")
    if file.is_dir():
        raise InputError(f"{path}: a folder, not a raster", "give the raster file in it")
    if file.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty", "copy or export the raster again")
    if not os.access(file, os.R_OK):
        raise InputError(f"{path}: no permission to read it", "check the file's permissions")


def _check_contents(dataset: DatasetReader, path: str | Path) -> None:
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:3])
        remedy = f"name one of its parts, e.g. {parts}" if parts else "choose a raster with bands"
        raise InputError(f"{path}: holds no image bands itself", remedy)
    if dataset.count > MAX_BANDS:
        raise InputError(
            f"{path}: has {dataset.count} bands", "take out those to look at: gdal_translate -b"
        )
    width, height = dataset.width, dataset.height
    if width < 1 or height < 1:
        raise InputError(f"{path}: has no pixels ({width} x {height})", "export it again")
    if max(width, height) > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: says it has {width} x {height} pixels, beyond {MAX_SIDE_PX} a side",
            "the header is damaged, or split the raster into parts",
        )
    block_bytes = _largest_block_bytes(dataset)
    if block_bytes > MAX_BLOCK_BYTES:
        raise InputError(
            f"{path}: is stored in blocks of {block_bytes / 1e6:.0f} MB, too large for parts",
            "store it in tiles first: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE",
        )
    complex_bands = [d for d in dataset.dtypes if np.dtype(_plain(d)).kind == "c"]
    if complex_bands:
        raise InputError(
            f"{path}: holds complex numbers ({complex_bands[0]}), not an image",
            "convert it to magnitudes first",
        )


def _largest_block_bytes(dataset: DatasetReader) -> int:
    """Memory that the largest block of any band takes, all bands where they are stored together."""
    together = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    sizes = zip(dataset.block_shapes, dataset.dtypes, strict=True)
    return int(together * max(h * w * np.dtype(_plain(dtype)).itemsize for (h, w), dtype in sizes))


def _plain(dtype: str) -> str:
    """A name NumPy knows; GDAL has a complex integer type of its own."""
    return "complex64" if dtype.startswith("complex") else dtype


def gdal_window(window: Window) -> RasterioWindow:
    """The same window, as rasterio takes it."""
    return RasterioWindow(window.col, window.row, window.width, window.height)


def read_error(dataset: DatasetReader, band: int, window: Window, cause: Exception) -> InputError:
    """An error that names the file and the first block that cannot be read in a window.

    Of a raster on a server no block is looked for: each would wait for the server once more.
    """
    if not is_local(dataset.name):
        return InputError(
            f"{dataset.name}: rows {window.row} to {window.row_end - 1} could not be read after "
            f"{len(REREAD_PAUSES_S) + 1} attempts ({_reason(cause)})",
            "check network and address, then go on with --resume; or copy the raster here first",
        )
    where = f"rows {window.row} to {window.row_end - 1}"
    bad = _first_bad_block(dataset, band, window)
    if bad is not None:
        where = f"the block at row {bad.row}, column {bad.col} ({bad.height} x {bad.width} px)"
    return InputError(
        f"{dataset.name}: damaged or cut short, {where} cannot be read ({_reason(cause)})",
        "copy or export the raster again, or leave the damaged part out with --bbox",
    )


def _reason(error: BaseException) -> str:
    """What GDAL said at first; rasterio's own words only say that there was an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _first_bad_block(dataset: DatasetReader, band: int, window: Window) -> Window | None:
    height, width = dataset.block_shapes[band - 1]
    for row in range(window.row // height * height, window.row_end, height):
        for col in range(window.col // width * width, window.col_end, width):
            block = Window(row, col, height, width).intersect(
                Window(0, 0, dataset.height, dataset.width)
            )
            try:
                dataset.read(band, window=gdal_window(block)) if block else None
            except RasterioIOError:
                return block
    return None
