"""Virtual rasters (GDAL's VRT): the files that their pixels come from."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from .dataset import is_local

_BEGINS = b"<VRTDataset"
_NAMES = ("SourceFilename", "SourceDataset")  # of a mosaic, of a warped raster


def sources_of(path: Path) -> list[Path]:
    """Files that a virtual raster reads, those of virtual rasters in it too.

    Returns
    -------
    list of Path
        Files of this machine, there or not; empty for any other raster, and for one that cannot
        be read, which opening it tells.
    """
    found: dict[Path, None] = {}
    left = [path]
    while left:
        new = [source for source in _named_in(left.pop()) if source not in found]
        found |= dict.fromkeys(new)
        left += new
    return list(found)


def source_path(folder: Path, name: ElementTree.Element) -> Path:
    """The file that an element of a virtual raster in a folder names."""
    return (folder if name.get("relativeToVRT") == "1" else Path()) / str(name.text)


def _named_in(path: Path) -> list[Path]:
    try:
        with path.open("rb") as file:
            if _BEGINS not in file.read(1000):
                return []
        root = ElementTree.parse(path).getroot()
    except (OSError, ValueError, ElementTree.ParseError):
        return []
    names = (element for tag in _NAMES for element in root.iter(tag) if element.text)
    return [source for name in names if is_local(source := source_path(path.parent, name))]
