"""One child process: started apart from QGIS, read line by line, ended with all it started.

No QGIS here, so that it is tested without. The child holds the reading end of a pipe as its
stdin: when the pipe closes, because the user cancelled or because QGIS died however hard, the
engine stops by itself (`crackgeo/cli/lifeline.py`). What does not stop in time is killed.
"""

from __future__ import annotations

import ntpath
import os
import posixpath
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import IO, Any

# Set for QGIS's own Python and libraries; in another Python they load the wrong ones.
FOREIGN = (
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "GDAL_PLUGINS",
    "PROJ_LIB",
    "PROJ_DATA",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "QT_PLUGIN_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "__PYVENV_LAUNCHER__",
)
WATCH_STDIN = "CRACKGEO_WATCH_STDIN"
GRACE_S = 0.45  # from closing the pipe to killing; the engine takes 0.25 s to tidy up
POLL_S = 0.05
_DRAIN_POLLS = 40  # in silence after the end: on a busy machine the last lines come late
_LINE_CHARS = 1 << 20  # a longer line comes in pieces
_OUT, _ERR = "out", "err"
_ARM = ("/usr/bin/arch", "-arm64")
_ASK_ARM = ("/usr/sbin/sysctl", "-n", "hw.optional.arm64")


def clean_environment(
    environ: Mapping[str, str] | None = None, platform: str = sys.platform
) -> dict[str, str]:
    """The environment for another Python than QGIS's.

    Parameters
    ----------
    environ : variables to start from, default this process's
    platform : as `sys.platform`

    Returns
    -------
    dict
        Without what QGIS sets for itself. Proxies, certificates and settings of the user stay,
        unless they point into QGIS's own folder.
    """
    environ = os.environ if environ is None else environ
    paths = ntpath if platform == "win32" else posixpath
    root = environ.get("OSGEO4W_ROOT", "") if platform == "win32" else _bundle(platform)

    def in_qgis(path: str) -> bool:
        folder = paths.join(paths.normcase(path), "")
        return bool(root) and folder.startswith(paths.join(paths.normcase(root), ""))

    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() not in FOREIGN
        and not name.upper().startswith("PYTHON")
        and not (name.upper().startswith("SSL_CERT") and in_qgis(value))
    }
    if "PATH" in kept:
        folders = kept["PATH"].split(paths.pathsep)
        kept["PATH"] = paths.pathsep.join(f for f in folders if not in_qgis(f))
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}


def _bundle(platform: str) -> str:
    """The folder of QGIS.app on macOS; Linux's QGIS shares /usr and has none."""
    head, mark, _ = sys.executable.partition(".app/")
    return f"{head}.app" if platform == "darwin" and mark else ""


def natively(command: list[str]) -> list[str]:
    """The command so that it runs as its processor wants it.

    A QGIS for Intel Macs on Apple silicon runs translated, and so would all that it starts, if it
    could; torch has no builds for that.
    """
    if sys.platform == "darwin" and os.uname().machine == "x86_64" and _is_apple_silicon():
        return [*_ARM, *command]
    return command


@lru_cache(maxsize=1)
def _is_apple_silicon() -> bool:
    with suppress(OSError):
        answer = subprocess.run(_ASK_ARM, capture_output=True, check=False).stdout
        return answer.strip() == b"1"
    return False


class Child:
    """A running process; leaving the context ends it and everything it started.

    Parameters
    ----------
    command : program and arguments
    environ : its environment, default `clean_environment`

    Raises
    ------
    OSError
        The program cannot be started.
    """

    def __init__(self, command: list[str], environ: Mapping[str, str] | None = None) -> None:
        environ = clean_environment() if environ is None else environ
        self._process = subprocess.Popen(
            natively(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environ, WATCH_STDIN: "1"},
            encoding="utf-8",
            errors="replace",
            **_apart(),
        )
        self._lines: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in ((_OUT, self._process.stdout), (_ERR, self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def lines(self) -> Iterator[tuple[str | None, str]]:
        """Pairs of stream ("out", "err") and line until both streams end.

        While nothing comes, (None, "") comes every `POLL_S`, so that the caller can look at other
        things. A stream that outlives the process, because a child of it holds it, is left.
        """
        open_streams = {_OUT, _ERR}
        left = _DRAIN_POLLS
        while open_streams and left:
            try:
                name, line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                left -= self.exit_code is not None
                yield None, ""
                continue
            left = _DRAIN_POLLS
            if line is None:
                open_streams.discard(name)
            else:
                yield name, line

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.exit_code is not None

    def stop(self) -> None:
        """Ask it to end by closing its stdin; kill it and its children after `GRACE_S`."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self.wait(GRACE_S)
        _kill_tree(self._process)
        if not self.wait(POLL_S):  # dead, but a busy system takes its time to clear it away
            threading.Thread(target=self._process.wait, daemon=True).start()
        for reader in self._readers:
            reader.join(POLL_S)

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream, suppress(OSError, ValueError):
            for line in iter(lambda: stream.readline(_LINE_CHARS), ""):
                self._lines.put((name, line.rstrip("\r\n")))
        self._lines.put((name, None))


def _apart() -> dict[str, Any]:
    """Popen's options for a process group of its own and, on Windows, no console window."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}


def _kill_tree(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the process and of all it started."""
    if sys.platform == "win32":
        if process.poll() is None:
            system = ntpath.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32")
            command = [ntpath.join(system, "taskkill.exe"), "/F", "/T", "/PID", str(process.pid)]
            with suppress(OSError):
                subprocess.run(command, check=False, capture_output=True, **_apart())
            process.kill()  # if taskkill could not
    else:
        with suppress(OSError):  # the group is gone
            os.killpg(process.pid, signal.SIGKILL)
