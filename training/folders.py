"""Folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from crackgeo.errors import ResourceError
from crackgeo.files import output_errors


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
