"""What a user may name as input, as a list of rasters: files, folders, patterns, list files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .dataset import is_local
from .errors import InputError, UsageError
from .work import is_work

StrPath = str | os.PathLike[str]

# What counts as a raster in a folder, where sidecars, vectors and reports lie beside them.
SUFFIXES = {".tif", ".tiff", ".vrt", ".jp2", ".img", ".ecw", ".png", ".jpg", ".jpeg"}


def find_inputs(inputs: StrPath | Iterable[StrPath]) -> list[Path]:
    """The rasters that were named, each once, in the order given.

    Parameters
    ----------
    inputs : one or several of: a raster (also an address); a folder, which stands for the
        rasters in it by name; a pattern with `*`, `?` or `[...]`; a file ending in .txt that
        names one of these a line, seen from its own folder, where lines with # are comments and
        quotes around a line do not count

    Raises
    ------
    UsageError
        Nothing is named, or what is given is no path.
    InputError
        A folder or list without rasters, a pattern that matches nothing, an unreadable list.
    """
    try:
        named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        names = [os.fspath(one) for one in named]
    except TypeError as error:
        raise UsageError(f"{inputs!r} names no raster", "give a path or several") from error
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"{inputs!r} does not name rasters only", "give a path or several")
    found = [path for name in names for path in _expand(name, Path())]
    return list(dict.fromkeys(found))


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """What each raster is called in results: its file name, where that is one raster's alone.

    Others have as many of their folders before it as tell them apart, with slashes between.
    """
    names: dict[Path, str] = {}
    depth, left = 1, list(dict.fromkeys(paths))
    while left:
        ends = {path: path.parts[-depth:] for path in left}
        count = Counter(ends.values())
        told = [path for path in left if count[ends[path]] == 1 or depth >= len(path.parts)]
        names |= {path: Path(*ends[path]).as_posix() for path in told}
        left = [path for path in left if path not in names]
        depth += 1
    return {path: names[path] for path in paths}


def _expand(name: str, base: Path) -> Iterator[Path]:
    if not is_local(name):
        yield Path(name)
        return
    path = base / name
    if path.is_dir():
        yield from _rasters_in(path)
    elif path.suffix.lower() == ".txt" and path.is_file():
        for line in _lines(path):
            yield from _expand(line, path.parent)
    elif glob.has_magic(name) and not path.exists():
        yield from _matches(path)
    else:
        yield path


def _rasters_in(folder: Path) -> list[Path]:
    # what macOS leaves beside files, and what a killed run of ours had begun, are hidden
    seen = (path for path in folder.iterdir() if not path.name.startswith("."))
    rasters = sorted(path for path in seen if path.suffix.lower() in SUFFIXES)
    if not rasters:
        wanted = " ".join(sorted(SUFFIXES))
        raise InputError(f"{folder}: a folder without rasters ({wanted})", "name the rasters")
    return rasters


def _matches(pattern: Path) -> list[Path]:
    found = (Path(match) for match in glob.glob(str(pattern), recursive=True))
    matches = sorted(path for path in found if not is_work(path))
    if not matches:
        raise InputError(f"{pattern}: matches no file", "check the pattern")
    return matches


def _lines(path: Path) -> list[str]:
    try:
        # with the mark that editors on Windows begin a file with, and quoted as its Explorer copies
        text = path.read_text(encoding="utf-8-sig")
        lines = [line.strip().strip('"') for line in text.splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a list of rasters ({error})", "one path a line") from error
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise InputError(f"{path}: a list without rasters", "name one raster a line")
    return named
