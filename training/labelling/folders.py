"""Folders that appear complete or not at all, and never in the place of what they are made of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from crackgeo.errors import ResourceError, UsageError
from crackgeo.files import output_errors


def check_apart(written: Iterable[Path], read: Iterable[Path | None]) -> None:
    """Refuse to write over what is read.

    Parameters
    ----------
    written : files and folders that are made anew
    read : files and folders; None stands for one that there is not

    Raises
    ------
    UsageError
        Something that is read is one of those written, or lies in it.
    """
    for path in (path for path in read if path is not None):
        place = path.resolve()
        for target in written:
            if target.resolve() in (place, *place.parents):
                raise UsageError(
                    f"{path}: is read by this run, which writes {target} in its place",
                    "choose another output",
                )


@contextmanager
def filled_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of an older one when the block ends well, else goes.

    Raises
    ------
    ResourceError
        The disk refuses.
    """
    if not target.parent.is_dir():
        raise ResourceError(f"{target}: there is no folder {target.parent}", "create it first")
    part = target.with_name(f".{target.name}.part-{uuid4().hex[:8]}")
    try:
        with output_errors(target):
            part.mkdir()
        yield part
        with output_errors(target):
            if target.exists():
                shutil.rmtree(target)
            os.replace(part, target)
    finally:
        with suppress(OSError):
            shutil.rmtree(part)
