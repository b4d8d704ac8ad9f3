"""Outputs that appear complete or not at all.

An output is written beside its target under a name such as `.cracks.part-1f2e3d4c.gpkg`, made
safe on the disk and renamed. Whatever goes wrong, Ctrl-C included, removes what was begun.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .errors import ResourceError, UsageError

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your disk quota is used up"}
_MIB = 2**20  # a disk with less is full
_NAME_MAX_BYTES = 255  # of nearly every disk
_SUFFIX_MAX_BYTES = 16  # what libraries add to the name of a file that they write
_TOO_LARGE = {errno.EFBIG: "the file is larger than the disk's format or a limit allows"}
_FORBIDDEN = {
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the disk is read-only",
}


class Format(NamedTuple):
    """What a file is, and the endings of its name; none if any will do."""

    name: str
    suffixes: tuple[str, ...]


_SQLITE_LOGS = ("-wal", "-journal")  # beside a GeoPackage that is being edited
_CLOSE_IT = "close it there (in QGIS: remove its layers), or choose another name"

GEOPACKAGE = Format("GeoPackage", (".gpkg",))
GEOTIFF = Format("GeoTIFF", (".tif", ".tiff"))
PNG = Format("PNG picture", (".png",))
JSON = Format("JSON file", ())
MODEL = Format("model file", (".safetensors",))
ONNX = Format("ONNX file", (".onnx",))


def check_names(outputs: Iterable[tuple[Path | None, Format]], inputs: Iterable[Path]) -> None:
    """Find outputs that would replace an input or each other, or whose names mislead.

    Parameters
    ----------
    outputs : None stands for one that is not wanted
    inputs : whatever the run reads

    Raises
    ------
    UsageError
        Names the output.
    """
    taken = {path.resolve() for path in inputs}
    for path, kind in outputs:
        if path is None:
            continue
        if not path.name:
            raise UsageError(f"the {kind.name} to write has no name", "name a file")
        if kind.suffixes and path.suffix.lower() not in kind.suffixes:
            better = path.with_suffix(kind.suffixes[0]).name
            raise UsageError(f"{path}: what is written is a {kind.name}", f"name it {better}")
        if path.resolve() in taken:
            raise UsageError(
                f"{path}: is an input of this run, or another of its outputs",
                "choose another name",
            )
        taken.add(path.resolve())


def check_output(target: Path, overwrite: bool = False) -> None:
    """Find out early whether an output can be written, before hours of work.

    Raises
    ------
    UsageError
        It exists and `overwrite` is not set, or it is a folder.
    ResourceError
        Its folder is missing or cannot be written to, its name is too long, or another program
        has the file open.
    """
    with output_errors(target):
        if target.is_dir():
            raise UsageError(f"{target}: is a folder", "name a file in it")
        if target.exists() and not overwrite:
            raise UsageError(f"{target}: exists already", "choose another name, or add --overwrite")
        if not target.parent.is_dir():
            raise ResourceError(f"{target}: there is no folder {target.parent}", "create it first")
        # Asking by trying: permissions, mounts and quotas have more rules than os.access knows.
        probe = _beside(target, _token())
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        finally:
            probe.unlink(missing_ok=True)
        _refuse_open_file(target)


def _refuse_open_file(target: Path) -> None:
    """Refuse a target that another program has open and that could not be replaced.

    Windows says so when a file gets a name, also the one that it has. To a GeoPackage's log
    SQLite would add ours.
    """
    if target.exists():
        os.replace(target, target)
    for log in (target.with_name(target.name + suffix) for suffix in _SQLITE_LOGS):
        if os.path.exists(log):  # no error if its name is too long
            raise ResourceError(
                f"{target}: open in another program (there is a file {log.name})", _CLOSE_IT
            )


class AtomicOutput:
    """One output file; write to `path`, then `commit`.

    Leaving the context without `commit` removes everything that was written.

    Parameters
    ----------
    target : where the output shall appear
    overwrite : replace an existing file

    Raises
    ------
    UsageError, ResourceError
        As `check_output`, on entering.
    """

    def __init__(self, target: Path, overwrite: bool = False) -> None:
        self.target = Path(target)
        self.overwrite = overwrite
        self._token = _token()
        self._waits = False  # for others to appear with

    @property
    def path(self) -> Path:
        """Where to write to meanwhile, in the target's folder and with its suffix."""
        return _beside(self.target, self._token)

    def __enter__(self) -> AtomicOutput:
        check_output(self.target, self.overwrite)
        _unfinished.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._waits:
            self.discard()

    def commit(self) -> None:
        """Make the file at `path` safe on the disk and let it appear as the target.

        One of several that appear together (see `all_or_none`) waits for the others.

        Raises
        ------
        ResourceError
            The disk refuses.
        UsageError
            The target has appeared meanwhile and `overwrite` is not set.
        """
        self._check_target()
        with output_errors(self.target):
            _sync(self.path)
        together = _together.get()
        if together is not None and self.target in together.targets:
            together.waiting.append(self)
            self._waits = True
        else:
            self.appear()

    def appear(self) -> None:
        """Let what is safe on the disk appear; errors as `commit`."""
        self._check_target()
        with output_errors(self.target):
            _rename(self.path, self.target)
        self.discard()

    def _check_target(self) -> None:
        if self.target.exists() and not self.overwrite:
            raise UsageError(
                f"{self.target}: was made by someone else meanwhile", "add --overwrite"
            )

    def discard(self) -> None:
        """Remove all temporary files, those that libraries put beside them included."""
        ours = self.target.with_name(f".{_short_stem(self.target)}.part-{self._token}")
        for leftover in glob.glob(f"{glob.escape(str(ours))}*"):
            with suppress(OSError):
                os.unlink(leftover)
        _unfinished.discard(self)


class _Together(NamedTuple):
    """Outputs that appear together, and those of them that are ready."""

    targets: frozenset[Path]
    waiting: list[AtomicOutput]


_unfinished: set[AtomicOutput] = set()
_together: ContextVar[_Together | None] = ContextVar("together", default=None)


def discard_unfinished() -> None:
    """Remove what this process has begun to write: for an end that skips `__exit__`."""
    for output in list(_unfinished):
        output.discard()


@contextmanager
def atomic_output(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write to; commit it if the block ends well, else remove it.

    Errors of the operating system in the block become `ResourceError`.
    """
    with AtomicOutput(target, overwrite) as output:
        with output_errors(output.target):
            yield output.path
        output.commit()


@contextmanager
def all_or_none(outputs: Iterable[Path | None]) -> Iterator[None]:
    """Let outputs that are committed in the block appear together at its end, or none of them.

    If the block fails, those that were there before stay as they are. At its end only renames are
    left to do; should one fail all the same, the outputs before it that are new are removed.
    """
    together = _Together(frozenset(path for path in outputs if path is not None), [])
    token = _together.set(together)
    new: list[Path] = []
    try:
        yield
        for output in together.waiting:
            is_new = not output.target.exists()
            output.appear()
            new += [output.target] if is_new else []
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise
    finally:
        _together.reset(token)
        for output in together.waiting:
            output.discard()


@contextmanager
def output_errors(target: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while writing into a `ResourceError` that names the target.

    Parameters
    ----------
    target : the output
    also : errors of the library that writes, which tell no errno
    """
    try:
        yield
    except OSError as error:
        raise _resource_error(target, error) from error
    except also as error:
        raise _resource_error(target, error) from error


def _resource_error(target: Path, error: Exception) -> ResourceError:
    # GDAL's errors carry an `errno` too, which is a number of GDAL's own
    code = error.errno if isinstance(error, OSError) else None
    if code is None and not _has_space(target):
        code = errno.ENOSPC  # what libraries make of it helps nobody
    if code is None:
        return ResourceError(
            f"{target}: could not be written ({error}); {_free_space(target)}",
            "make room on the disk, or write to another one",
        )
    if code in _FULL:
        reason = f"{_FULL[code]} ({_free_space(target)})"
        return ResourceError(f"{target}: {reason}", "make room, or write to another disk")
    if code == errno.EACCES and target.exists() and str(target) in _named(error):
        return ResourceError(f"{target}: open in another program, or protected", _CLOSE_IT)
    if code == errno.ENAMETOOLONG:
        return ResourceError(f"{target}: the name is too long", "choose a shorter one")
    if code in _FORBIDDEN:
        return ResourceError(f"{target}: {_FORBIDDEN[code]}", "write to a folder of your own")
    reason = _TOO_LARGE.get(code, os.strerror(code))
    return ResourceError(f"{target}: cannot be written, {reason}", "write to another disk")


def _named(error: Exception) -> set[str]:
    """The files that an error of the operating system is about."""
    return {str(getattr(error, name, None)) for name in ("filename", "filename2")}


def _has_space(target: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(target.parent).free > _MIB
    return True


def _free_space(target: Path) -> str:
    with suppress(OSError):
        return f"{shutil.disk_usage(target.parent).free / 1e6:.1f} MB free in {target.parent}"
    return f"free space in {target.parent} unknown"


def remove_leftovers(target: Path) -> None:
    """Remove what runs that were killed while they wrote this output left beside it.

    Only for who knows that no other run is writing it.
    """
    begun = f".{glob.escape(_short_stem(target))}.part-*{glob.escape(target.suffix)}*"
    for path in target.parent.glob(begun):
        with suppress(OSError):  # it is somebody else's, or open: tidying stops no run
            path.unlink()


def write_safely(path: Path, data: bytes) -> None:
    """Write a small file that is whole and on the disk once its name is there.

    Raises
    ------
    OSError
        The disk is full or fails; nothing new appears under the name.
    """
    part = _beside(path, _token())
    try:
        part.write_bytes(data)
        _appear(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _token() -> str:
    return secrets.token_hex(4)


def _beside(target: Path, token: str) -> Path:
    return target.with_name(f".{_short_stem(target)}.part-{token}{target.suffix}")


def _short_stem(target: Path) -> str:
    """A target's stem in the names of its temporary files, which disks must take as well."""
    added = len(f"..part-{_token()}{target.suffix}".encode(errors="replace"))
    room = _NAME_MAX_BYTES - _SUFFIX_MAX_BYTES - added
    whole = os.fsencode(target.stem)
    if len(whole) <= room:
        return target.stem
    # others that begin alike must not be taken for this one
    mark = f"~{sha256(whole).hexdigest()[:8]}"
    return whole[: max(room - len(mark), 0)].decode(errors="ignore") + mark


def _appear(part: Path, target: Path) -> None:
    """Give a file its name once its contents are on the disk."""
    _sync(part)
    _rename(part, target)


def _rename(part: Path, target: Path) -> None:
    """Give a file its name, on the disk too."""
    os.replace(part, target)
    with suppress(OSError):  # not every file system syncs folders
        _sync(target.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    # Windows refuses this to who may only read; a folder cannot be opened for writing
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
