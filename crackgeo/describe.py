"""What is known of the inputs of a run before anything is computed."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .dataset import is_local
from .errors import CrackgeoError
from .mosaic import Survey
from .provenance import Provenance
from .raster import describe, header_checksum
from .specs import BandSpec
from .version import __version__
from .virtual import sources_of


def describe_input(path: Path, options: dict[str, Any], spec: BandSpec | None = None) -> Provenance:
    """What is known of one raster before anything is computed; `spec` says what is read of it."""
    one = _describe(path, path.name, spec)
    return Provenance(
        version=__version__,
        input_name=one["name"],
        input_width_px=one["width_px"],
        input_height_px=one["height_px"],
        input_bytes=one["bytes"],
        input_header_sha256=one["header_sha256"],
        options=options,
        inputs=(one,),
    )


def describe_survey(
    survey: Survey, errors: dict[Path, CrackgeoError], options: dict[str, Any], spec: BandSpec
) -> Provenance:
    """What is known of all rasters before anything is computed."""
    if len(survey.members) + len(errors) == 1:
        return describe_input(survey.members[0].path, options, spec)
    names = survey.names
    inputs = [_describe(member.path, names[member.path], spec) for member in survey.members]
    inputs += [{"name": names[path], "error": error.message} for path, error in errors.items()]
    checksums = " ".join(one.get("header_sha256", "") for one in inputs)
    return Provenance(
        version=__version__,
        input_name=f"{len(inputs)} rasters",
        input_width_px=survey.grid.width,
        input_height_px=survey.grid.height,
        input_bytes=sum(one.get("bytes", 0) for one in inputs),
        input_header_sha256=hashlib.sha256(checksums.encode()).hexdigest(),
        options=options,
        inputs=tuple(inputs),
    )


def _describe(path: Path, name: str, spec: BandSpec | None) -> dict[str, Any]:
    info = describe(path, spec)
    return {
        "name": name,
        "width_px": info.width,
        "height_px": info.height,
        "bytes": info.file_bytes or 0,
        "gsd_mm": info.gsd_mm,
        "header_sha256": header_checksum(path),
    }


def file_stamp(path: Path) -> str | None:
    """When a raster was last changed, and its size, with masks and what a virtual raster reads.

    Other sidecars do not count: a GIS writes some when it looks at a raster. None for one on a
    server.
    """
    if not is_local(path):
        return None
    files = [path, *sources_of(path)]
    files += [Path(f"{file}.msk") for file in files]
    found = [file.stat() for file in files if os.path.isfile(file)]  # no error for odd names
    latest = datetime.fromtimestamp(max(one.st_mtime for one in found), UTC)
    return f"{latest.isoformat()}, {sum(one.st_size for one in found)} bytes"
