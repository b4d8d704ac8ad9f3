"""A run that ends with whoever started it, however hard that program dies.

A program that starts crackgeo may set CRACKGEO_WATCH_STDIN=1 and hold the other end of its
stdin. When that end closes, on purpose to cancel or because the program was killed, the run is
asked to stop as by SIGTERM; if it does not within `GRACE_S`, what it has begun to write is removed
and the process ends. A pipe does this on every system, which signals and process groups do not.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from ..files import discard_unfinished

VARIABLE = "CRACKGEO_WATCH_STDIN"
GRACE_S = 0.25
CANCELLED = 130


def watch_stdin() -> None:
    """Begin to watch stdin if the variable asks for it."""
    if os.environ.get(VARIABLE) != "1":
        return
    threading.Thread(target=_wait_for_end, args=(_own_stdin(),), daemon=True).start()


def _own_stdin() -> int:
    """Take stdin's pipe away from child processes, which on Windows would wait for our reading."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def _wait_for_end(pipe: int) -> None:
    # not sys.stdin, whose lock would hold up the end of the interpreter
    while os.read(pipe, 4096):
        pass
    signal.raise_signal(signal.SIGTERM)
    time.sleep(GRACE_S)
    try:
        discard_unfinished()
        with suppress(OSError):  # whoever was killed reads no more
            sys.stdout.flush()
    finally:
        os._exit(CANCELLED)
