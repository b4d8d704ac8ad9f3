"""A Python to make the engine's environment with, and uv if it is there. Needs no QGIS.

QGIS's own Python never receives packages. It may make a virtual environment, as the last
choice: such an environment ends with that QGIS installation.
"""

from __future__ import annotations

import json
import ntpath
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .child import clean_environment
from .tools import ask

OLDEST = (3, 11)
NO_PYTHON_REMEDY = (
    "install Python 3.12 (python.org, or your system's packages with python3-venv) or uv, "
    "or set the variable CRACKGEO_PYTHON to the path of one"
)
BEYOND = (3, 15)  # the first one without wheels of the pinned packages
ORDER = ((3, 12), (3, 13), (3, 11), (3, 14))
PROBE_LIMIT_S = 15  # a first start from a network drive or under a virus scanner is slow
NEEDED = ("ensurepip", "venv", "ssl", "ctypes", "sqlite3", "zlib", "bz2", "lzma")
PROBE = f"""
import json, platform, sys
missing = []
for name in {NEEDED}:
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
kind = [sys.platform, platform.machine()]
print(json.dumps([list(sys.version_info[:2]), missing, sys.maxsize > 2**32, kind]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that was found, and why it will not do (empty: it will)."""

    path: str
    version: tuple[int, int]
    problem: str = ""

    def __str__(self) -> str:
        reason = f": {self.problem}" if self.problem else ""
        return f"Python {self.version[0]}.{self.version[1]} at {self.path}{reason}"


def each_interpreter(paths: list[str] | None = None) -> Iterator[Interpreter]:
    """Pythons of this machine in the order in which they are worth a try; asked as they are drawn.

    Parameters
    ----------
    paths : programs to try. Default: `candidates()`
    """
    return filter(None, map(probe, candidates() if paths is None else paths))


def find_interpreters(paths: list[str] | None = None) -> list[Interpreter]:
    """Those of `each_interpreter` up to the first one that will do."""
    found = []
    for interpreter in each_interpreter(paths):
        found.append(interpreter)
        if not interpreter.problem:
            break
    return found


def probe(path: str) -> Interpreter | None:
    """Ask a program whether it is a Python of use; None if it is no Python that runs."""
    answer = ask([path, "-I", "-c", PROBE], PROBE_LIMIT_S)
    try:
        version, missing, wide, kind = json.loads(answer or "")
    except ValueError:  # the shop's stand-in on Windows, a shim without a Python behind it
        return None
    return Interpreter(path, tuple(version), _problem(tuple(version), missing, wide, kind))


def _problem(version: tuple[int, int], missing: list[str], wide: bool, kind: list[str]) -> str:
    if not OLDEST <= version < BEYOND:
        return f"needs {OLDEST[0]}.{OLDEST[1]} to {BEYOND[0]}.{BEYOND[1] - 1}"
    if not wide:
        return "32 bits, needs 64"
    if kind == ["darwin", "x86_64"]:
        return "for Intel processors, which torch no longer supports on a Mac"
    if "venv" in missing or "ensurepip" in missing:
        return "has no venv module (on Debian and Ubuntu: apt install python3-venv)"
    return f"was built without {', '.join(missing)}" if missing else ""


def candidates() -> list[str]:
    """Programs that may be a Python of use, best first, each once."""
    names = [f"python{major}.{minor}" for major, minor in ORDER] + ["python3", "python"]
    paths = [os.environ.get("CRACKGEO_PYTHON"), *map(_which, names)]
    for version in ORDER:
        paths.extend(usual_places(*version))
    paths.append(own_python())
    there = (path for path in paths if path and os.path.isfile(path))
    return [path for path in dict.fromkeys(there) if not is_unfit(path)]


def _which(name: str) -> str | None:
    """A program of the PATH without QGIS's own folders."""
    return shutil.which(name, path=clean_environment(platform=sys.platform).get("PATH"))


def is_unfit(path: str) -> bool:
    """Programs that had better not even be asked.

    The Mac's own python3 is too old and may open a window that offers to install it. Python from
    the Microsoft Store writes below AppData into a hidden place, where QGIS finds nothing.
    """
    if sys.platform == "win32":
        return r"\microsoft\windowsapps" in path.lower()
    return sys.platform == "darwin" and os.path.dirname(path) == "/usr/bin"


def usual_places(major: int, minor: int) -> list[str]:
    """Where installers put Python: a desktop program's PATH often lacks these folders."""
    if sys.platform == "win32":
        roots = [
            ntpath.join(os.environ.get("LOCALAPPDATA", ""), "Programs", "Python"),
            os.environ.get("PROGRAMFILES", r"C:\Program Files"),
        ]
        folders = [ntpath.join(root, f"Python{major}{minor}") for root in roots]
        return [ntpath.join(f, "python.exe") for f in (*_registered(major, minor), *folders)]
    name = f"python{major}.{minor}"
    places = [f"/usr/bin/{name}", f"/usr/local/bin/{name}"]
    if sys.platform == "darwin":
        framework = f"/Library/Frameworks/Python.framework/Versions/{major}.{minor}/bin/{name}"
        places += [f"/opt/homebrew/bin/{name}", framework]
    return places


def _registered(major: int, minor: int) -> Iterator[str]:
    """Folders of the Pythons that Windows knows of (PEP 514)."""
    import winreg

    key = rf"SOFTWARE\Python\PythonCore\{major}.{minor}\InstallPath"
    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        with suppress(OSError):  # not installed for this user, or for all
            yield winreg.QueryValue(root, key)


def own_python() -> str:
    """The program of QGIS's own Python; `sys.executable` may be QGIS itself."""
    name = "python.exe" if sys.platform == "win32" else os.path.join("bin", "python3")
    return os.path.join(sys.base_prefix, name)


def find_uv() -> str | None:
    """uv makes environments faster than venv and pip, and brings a Python of its own."""
    places = [
        os.path.join(os.path.expanduser("~"), folder) for folder in (".local/bin", ".cargo/bin")
    ]
    return _which("uv") or shutil.which("uv", path=os.pathsep.join(places))
