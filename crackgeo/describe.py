"""What is known of the inputs of a run before anything is computed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from .errors import CrackgeoError
from .mosaic import Survey
from .provenance import Provenance
from .raster import describe, header_checksum
from .version import __version__


def describe_input(path: Path, options: dict[str, Any]) -> Provenance:
    """What is known of one raster before anything is computed."""
    one = _describe(path)
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
    survey: Survey, errors: dict[Path, CrackgeoError], options: dict[str, Any]
) -> Provenance:
    """What is known of all rasters before anything is computed."""
    if len(survey.members) + len(errors) == 1:
        return describe_input(survey.members[0].path, options)
    inputs = [_describe(member.path) for member in survey.members]
    inputs += [{"name": path.name, "error": error.message} for path, error in errors.items()]
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


def _describe(path: Path) -> dict[str, Any]:
    info = describe(path)
    return {
        "name": path.name,
        "width_px": info.width,
        "height_px": info.height,
        "bytes": info.file_bytes or 0,
        "header_sha256": header_checksum(path),
    }
