"""One run at a time for one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ResourceError
from ..files import output_errors


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Let no other run write the same file meanwhile.

    Raises
    ------
    ResourceError
        One does, or the lock beside the file cannot be made.
    """
    # short enough for any disk, whatever the target's name
    mark = sha256(os.fsencode(target.name)).hexdigest()[:8]
    lock = target.with_name(f".{target.name[:40]}.{mark}.lock")
    held = FileLock(lock, timeout=0)
    with output_errors(target):
        try:
            held.acquire()
        except Timeout as error:
            raise ResourceError(
                f"{target}: another run of crackgeo is writing it", "wait until it is done"
            ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open, and it harms nobody there
            lock.unlink()
        held.release()
