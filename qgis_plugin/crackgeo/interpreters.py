"""A Python to make the engine's environment with, and uv if it is there. Needs no QGIS.

QGIS's own Python never receives packages. It may make a virtual environment, as the last
choice: such an environment ends with that QGIS installation.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from dataclasses import dataclass

from .tools import ask

OLDEST = (3, 11)
BEYOND = (3, 15)  # the first one without wheels of the pinned packages
ORDER = ((3, 12), (3, 13), (3, 11), (3, 14))
PROBE_LIMIT_S = 15  # a first start from a network drive or under a virus scanner is slow
PROBE = """
import json, sys
try:
    import ensurepip, venv
    whole = True
except ImportError:
    whole = False
print(json.dumps([list(sys.version_info[:2]), whole, sys.maxsize > 2**32]))
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


def find_interpreters(paths: list[str] | None = None) -> list[Interpreter]:
    """Pythons of this machine up to the first one that will do, in the order they were tried.

    Parameters
    ----------
    paths : programs to try. Default: `candidates()`
    """
    found = []
    for path in candidates() if paths is None else paths:
        interpreter = probe(path)
        if interpreter:
            found.append(interpreter)
            if not interpreter.problem:
                break
    return found


def probe(path: str) -> Interpreter | None:
    """Ask a program whether it is a Python of use; None if it is no Python that runs."""
    answer = ask([path, "-I", "-c", PROBE], PROBE_LIMIT_S)
    try:
        version, whole, wide = json.loads(answer or "")
    except ValueError:  # the shop's stand-in on Windows, a shim without a Python behind it
        return None
    return Interpreter(path, tuple(version), _problem(tuple(version), whole, wide))


def _problem(version: tuple[int, int], whole: bool, wide: bool) -> str:
    if not OLDEST <= version < BEYOND:
        return f"needs {OLDEST[0]}.{OLDEST[1]} to {BEYOND[0]}.{BEYOND[1] - 1}"
    if not wide:
        return "32 bits, needs 64"
    if not whole:
        return "has no venv module (on Debian and Ubuntu: apt install python3-venv)"
    return ""


def candidates() -> list[str]:
    """Programs that may be a Python of use, best first, each once."""
    names = [f"python{major}.{minor}" for major, minor in ORDER] + ["python3", "python"]
    paths = [os.environ.get("CRACKGEO_PYTHON"), *(shutil.which(name) for name in names)]
    for version in ORDER:
        for pattern in _usual_places(*version):
            paths.extend(sorted(glob.glob(pattern)))
    paths.append(own_python())
    return list(dict.fromkeys(path for path in paths if path and os.path.isfile(path)))


def _usual_places(major: int, minor: int) -> list[str]:
    """Where installers put Python: a desktop program's PATH often lacks these folders."""
    if os.name == "nt":
        roots = [
            os.path.join(os.environ.get("LOCALAPPDATA", ""), "Programs", "Python"),
            os.environ.get("PROGRAMFILES", r"C:\Program Files"),
        ]
        return [os.path.join(root, f"Python{major}{minor}", "python.exe") for root in roots]
    name = f"python{major}.{minor}"
    places = [f"/usr/bin/{name}", f"/usr/local/bin/{name}"]
    if sys.platform == "darwin":
        framework = f"/Library/Frameworks/Python.framework/Versions/{major}.{minor}/bin/{name}"
        places += [f"/opt/homebrew/bin/{name}", framework]
    return places


def own_python() -> str:
    """The program of QGIS's own Python; `sys.executable` may be QGIS itself."""
    name = "python.exe" if os.name == "nt" else os.path.join("bin", "python3")
    return os.path.join(sys.base_prefix, name)


def find_uv() -> str | None:
    """uv makes environments faster than venv and pip, and brings a Python of its own."""
    places = [
        os.path.join(os.path.expanduser("~"), folder) for folder in (".local/bin", ".cargo/bin")
    ]
    return shutil.which("uv") or shutil.which("uv", path=os.pathsep.join(places))
