"""Folders that appear complete or not at all, and never in the place of what they are made of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
def folder_output(target: Path, overwrite: bool, mark: str) -> Iterator[Path]:
    """A folder of results to fill, see `filled_folder`.

    Parameters
    ----------
    target : where it appears
    overwrite : replace an older one
    mark : file by which an older one is known as such

    Raises
    ------
    UsageError
        The target exists and is no empty folder; or is to be overwritten but holds other things.
    ResourceError
        The disk refuses.
    """
    is_free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not (is_free or overwrite):
        raise UsageError(f"{target}: exists already", "choose another name, or add --overwrite")
    if not (is_free or (target / mark).is_file()):
        raise UsageError(f"{target}: holds no {mark}, so it is not overwritten", "choose another")
    with filled_folder(target) as part:
        yield part


@contextmanager
def filled_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of an older one when the block ends well, else goes.

    Raises
    ------
    ResourceError
        The disk refuses.
    """
    target = target.resolve()  # of a link, what it leads to is replaced
    if not target.parent.is_dir():
        raise ResourceError(f"{target}: there is no folder {target.parent}", "create it first")
    part = target.with_name(f".{target.name}.part-{uuid4().hex[:8]}")
    try:
        with output_errors(target):
            part.mkdir()
        yield part
        with output_errors(target):
            _take_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, target: Path) -> None:
    """Rename a folder; an older one of that name goes afterwards, or stays if that fails."""
    if not target.exists():
        os.replace(part, target)
        return
    older = part.with_name(f"{part.name}-older")
    os.replace(target, older)
    try:
        os.replace(part, target)
    except BaseException:
        os.replace(older, target)
        raise
    shutil.rmtree(older, ignore_errors=True)
