"""Fetching one large file over HTTP: resumable, watched for stalls, kept only if it is right."""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ModelError, ResourceError
from ..files import output_errors
from ..monitor import SILENT, Monitor
from ..version import __version__
from .locks import alone

_CHUNK_BYTES = 1 << 20
_BUSY = {http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EISDIR}


@dataclass(frozen=True)
class Patience:
    """How long to put up with a bad connection.

    Parameters
    ----------
    stall_s : nothing received for this long counts as a broken connection
    attempts : connections in a row that may break without a byte of progress
    pause_s : wait before connecting again, doubled each time
    """

    stall_s: float = 30.0
    attempts: int = 5
    pause_s: float = 1.0


def download(
    url: str,
    target: Path,
    check: Callable[[Path], None],
    size_bytes: int | None = None,
    monitor: Monitor = SILENT,
    patience: Patience = Patience(),
) -> None:
    """Fetch a file; it appears under its name when it is complete and checked.

    What was received stays beside it as `.part` when the connection breaks or the user stops,
    and the next call goes on from there. Proxies are taken from the environment
    (`https_proxy`, `no_proxy`).

    Parameters
    ----------
    url : https, or http to a server of one's own
    target : the file to make
    check : raises `ModelError` if the file it gets is not the right one
    size_bytes : of the whole file, if known
    monitor : progress in bytes; may cancel

    Raises
    ------
    ModelError
        No connection, or wrong bytes.
    ResourceError
        The disk is full or not writable, or another run is fetching the file.
    """
    if urlsplit(url).scheme not in ("https", "http"):
        raise ModelError(f"{url}: only https and http", "use another address")
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target), output_errors(target):
        part = target.with_name(target.name + ".part")
        resumed = part.exists()
        _receive(url, part, size_bytes, monitor, patience)
        try:
            check(part)
        except ModelError as error:
            part.unlink()
            if not resumed:
                raise ModelError(f"{url}: {error.message}", "try again later") from error
            # the beginning may be of an older or interrupted file: once more, all of it
            _receive(url, part, size_bytes, monitor, patience)
            _check_or_remove(part, check)
        os.replace(part, target)


def _check_or_remove(part: Path, check: Callable[[Path], None]) -> None:
    try:
        check(part)
    except ModelError:
        part.unlink()
        raise


def _receive(
    url: str, part: Path, size_bytes: int | None, monitor: Monitor, patience: Patience
) -> None:
    """Connect as often as it takes to get all bytes."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _connect(url, part, size_bytes, monitor, patience.stall_s)
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and _is_ours(error):
                raise
            failures = 1 if _size(part) > before else failures + 1
            if failures >= patience.attempts or _is_final(error):
                raise _no_connection(url, error) from error
            monitor.warn(f"connection to {urlsplit(url).netloc} broke ({_why(error)}), again")
            time.sleep(patience.pause_s * 2 ** (failures - 1))


def _connect(
    url: str, part: Path, size_bytes: int | None, monitor: Monitor, stall_s: float
) -> None:
    """One connection: from where the part ends to the end of the file."""
    start = _size(part)
    if size_bytes is not None and start == size_bytes:
        return
    request = urllib.request.Request(url, headers={"User-Agent": f"crackgeo/{__version__}"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.build_opener(_SameSecurity).open(request, timeout=stall_s)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        part.unlink()  # longer than the file on the server
        raise ConnectionError("the server's file is shorter than what is here") from error
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0  # a server that knows no ranges sends all again
        _write(response, part, start, size_bytes, monitor)


def _write(
    response: HTTPResponse, part: Path, start: int, size_bytes: int | None, monitor: Monitor
) -> None:
    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced else size_bytes or 0
    if size_bytes is not None and total != size_bytes:
        raise ModelError(
            f"{response.url}: offers {total} bytes instead of {size_bytes}",
            "try again later, or get the file by other means",
        )
    _check_room(part, total - start)
    done = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        while chunk := response.read1(min(_CHUNK_BYTES, total - done) if total else _CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            monitor.step("download", done, max(total, done))
            if total and done >= total:
                break
    if total and done < total:
        raise ConnectionError(f"ended after {done} of {total} bytes")


def _check_room(part: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed_bytes > free:
        raise ResourceError(
            f"{part.parent}: {needed_bytes / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free",
            "make room, or set CRACKGEO_HOME to a folder on another disk",
        )


class _SameSecurity(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request, new_url = arguments[0], arguments[5]
        if request.type == "https" and urlsplit(new_url).scheme != "https":
            raise ModelError(
                f"{request.full_url}: redirects to {new_url}, which is not encrypted",
                "get the file by other means",
            )
        return super().redirect_request(*arguments)


def _is_ours(error: OSError) -> bool:
    """Whether the disk refused, not the network."""
    return error.errno in _DISK and not isinstance(error, urllib.error.URLError)


def _is_final(error: Exception) -> bool:
    """Whether trying again is pointless: the server answered, and said no."""
    return (
        isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in _BUSY
    )


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


def _no_connection(url: str, error: Exception) -> ModelError:
    return ModelError(f"{url}: cannot be fetched ({_why(error)})", "check the connection")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
