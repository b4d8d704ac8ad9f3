"""The engine's own Python environment: outside the plugin, outside QGIS. Needs no QGIS.

Every Python runs with -I: modules in the folder QGIS happens to be in do not count.

Each version of the engine has a folder of its own in the user's data folder, so that an update
of the plugin leaves the old engine in place until the new one is complete. `state.json` in the
folder says what was asked for and whether it was finished; without it, or with another request,
the folder is made anew; unfinished, the work goes on where it stopped. Only folders with our mark
are ever deleted: the user may have chosen a folder that holds other things.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from . import tools
from .engine import ENGINE_VERSION, EngineError
from .interpreters import NO_PYTHON_REMEDY, OLDEST, each_interpreter, find_uv, probe
from .steps import Reporter, run_step

CONSTRAINTS = Path(__file__).parent / "constraints.txt"
OWN_WHEELS = Path(__file__).parent / "wheels"  # the engine's; a checkout has none
NEEDED_GB = 3.0  # the CPU build takes 2.0 GB when installed, and pip unpacks beside it
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
TORCH_CUDA = "https://download.pytorch.org/whl/cu130"
OLDEST_VERSION = f"{OLDEST[0]}.{OLDEST[1]}"
MARK = "crackgeo-engine.txt"  # written first and removed last
MARK_TEXT = "The plugin CrackGeo for QGIS made this folder, and deletes it when it is replaced.\n"
ELSEWHERE_REMEDY = "make room, or set CRACKGEO_ENVIRONMENTS to the full path of another folder"
WARM_UP = "from crackgeo.vectorize import warm_up; warm_up()"


@dataclass(frozen=True)
class Request:
    """What to install and from where.

    Parameters
    ----------
    wheels : folder of wheels, empty: the plugin's own engine and the package index
    offline : with `wheels`: use nothing but that folder
    graphics_card : torch's build for NVIDIA cards (about 3 GB) instead of the one for processors
    proxy : URL of the proxy, empty: as the process's variables say
    """

    wheels: str = ""
    offline: bool = True
    graphics_card: bool = False
    proxy: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.wheels and not os.path.isdir(self.wheels):
            raise EngineError(f"no such folder of wheels: {self.wheels}", "choose another folder")

    def sources(self) -> list[str]:
        """The options of pip and uv that say where packages come from."""
        if not self.wheels:
            return []
        return ["--find-links", self.wheels, *(["--no-index"] if self.offline else [])]

    def torch_sources(self) -> list[str]:
        """The same for torch, whose builds lie in an index of their own."""
        index = os.environ.get("CRACKGEO_TORCH_INDEX") or torch_index(self.graphics_card)
        if (self.wheels and self.offline) or not index:
            return self.sources()
        return [*self.sources(), "--index-url", index]

    def engine(self) -> str:
        """The engine's wheel as a requirement, from the folder of wheels or the plugin.

        It is never asked of an index by its name, which anybody may take there.

        Raises
        ------
        EngineError : there is none, as in a plugin that runs from a checkout
        """
        for folder in filter(None, (self.wheels, OWN_WHEELS)):
            for wheel in sorted(Path(folder).glob(f"crackgeo-{ENGINE_VERSION}-*.whl")):
                return f"crackgeo[train] @ {wheel.resolve().as_uri()}"
        raise EngineError(
            f"no wheel of crackgeo {ENGINE_VERSION} in {self.wheels or OWN_WHEELS}",
            "install the plugin from its zip, or choose the folder that holds crackgeo's wheel",
        )

    def fingerprint(self) -> str:
        """Changes with all that makes another environment, not with where it comes from."""
        parts = (ENGINE_VERSION, CONSTRAINTS.read_text(encoding="utf-8"), str(self.graphics_card))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def torch_index(graphics_card: bool) -> str:
    """The index of torch's build for this machine; empty if the usual index holds it."""
    if graphics_card:
        return TORCH_CUDA if sys.platform == "win32" else ""
    pc = sys.platform == "linux" and platform.machine() == "x86_64"
    return TORCH_CPU if pc else ""


def home() -> Path:
    """The folder of all environments: `CRACKGEO_ENVIRONMENTS`, else in the user's data folder.

    Raises
    ------
    EngineError : the variable holds no full path
    """
    chosen = os.environ.get("CRACKGEO_ENVIRONMENTS")
    if chosen:
        folder = Path(os.path.expanduser(chosen))
        if folder.is_absolute():
            return folder
        raise EngineError(f"CRACKGEO_ENVIRONMENTS is {chosen}: no full path", ELSEWHERE_REMEDY)
    user = Path.home()
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or user / "AppData/Local") / "crackgeo" / "engine"
        )
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "crackgeo" / "engine"
    return Path(os.environ.get("XDG_DATA_HOME") or user / ".local/share") / "crackgeo" / "engine"


@dataclass(frozen=True)
class Environment:
    """One environment on disk."""

    folder: Path

    def program(self, name: str) -> Path:
        """Path of one of its programs, e.g. `python` or `crackgeo`."""
        if sys.platform == "win32":
            return self.folder / "Scripts" / f"{name}.exe"
        return self.folder / "bin" / name

    def state(self) -> dict[str, object]:
        """What `write_state` wrote; empty if there is nothing that can be read."""
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def write_state(self, request: Request, complete: bool) -> None:
        """Record the request and whether it is fulfilled; by rename, so never half-written."""
        state = {"fingerprint": request.fingerprint(), "complete": complete, **_public(request)}
        part = self.folder / "state.json.part"
        with _disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MARK).write_text(MARK_TEXT, encoding="utf-8")
            part.write_text(json.dumps(state, indent=1), encoding="utf-8")
            part.replace(self.folder / "state.json")

    def is_complete(self) -> bool:
        """Whether its set-up was finished and its programs are still there."""
        there = self.program("python").exists() and self.program("crackgeo").exists()
        return bool(self.state().get("complete")) and there

    def fits(self, request: Request) -> bool:
        """Whether it was made, or half made, for this very request."""
        return self.state().get("fingerprint") == request.fingerprint()

    def is_ours(self) -> bool:
        """Whether the plugin made it, and so may delete it."""
        return (self.folder / MARK).is_file()

    def delete(self) -> None:
        """Remove it; what a removal that breaks off leaves counts as unfinished, and as ours."""
        try:
            there = os.listdir(self.folder) if self.folder.exists() else []
            if there and MARK not in there:
                raise EngineError(
                    f"{self.folder} is there already, and was not made by this plugin",
                    "rename it, or set CRACKGEO_ENVIRONMENTS to another folder",
                )
            for name in sorted(there, key=_last_to_go):
                _delete(self.folder / name)
            if self.folder.exists():
                self.folder.rmdir()
        except OSError as error:
            raise EngineError(
                f"cannot remove {self.folder}: {error}", "end running crackgeo jobs and try again"
            ) from error


def _last_to_go(name: str) -> int:
    return (name == MARK) - (name == "state.json")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says about a folder of ours into an EngineError."""
    try:
        yield
    except OSError as error:
        raise EngineError(f"{folder}: {error.strerror or error}", ELSEWHERE_REMEDY) from error


def _public(request: Request) -> dict[str, object]:
    values = asdict(request)
    del values["proxy"]  # may hold a password
    return values


def current() -> Environment:
    """The environment of the engine's version that this plugin was made for; may not exist."""
    return Environment(home() / ENGINE_VERSION)


def last_request() -> Request:
    """What the environment of `current` was last asked for, whether it was finished or not."""
    try:
        state = current().state()
    except EngineError:  # the next set-up says what is wrong
        return Request()
    wheels = str(state.get("wheels", ""))
    return Request(
        wheels=wheels if os.path.isdir(wheels) else "",
        offline=bool(state.get("offline", True)),
        graphics_card=bool(state.get("graphics_card", False)),
    )


def others() -> list[Environment]:
    """Environments that the plugin made for other versions, the newest first."""
    folders = [mark.parent for mark in home().glob(f"*/{MARK}") if mark.parent != current().folder]
    return [Environment(path) for path in sorted(folders, key=_version_key, reverse=True)]


def _version_key(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def managed_executable() -> str | None:
    """The `crackgeo` program of the managed environment, None if there is no complete one.

    One that an earlier version of the plugin made is better than none: whoever starts it checks
    its version.
    """
    for environment in (current(), *others()):
        if environment.is_complete():
            return str(environment.program("crackgeo"))
    return None


def remove() -> None:
    """Remove all environments that the plugin made.

    Raises
    ------
    EngineError : a file is in use, or another set-up is running
    """
    if home().exists():
        with _only_one():
            for environment in filter(Environment.is_ours, (current(), *others())):
                environment.delete()


def set_up(request: Request, reporter: Reporter) -> str:
    """Make the managed environment, or finish it; return the path of its `crackgeo` program.

    Raises
    ------
    EngineError : what is missing or went wrong, with a remedy
    tools.Cancelled : `reporter.is_cancelled` said so; the next set-up goes on from there
    """
    with _only_one():
        environment = current()
        begun = environment.fits(request) and _answers(environment)
        if not (begun and environment.is_complete()):
            _install(environment, request, reporter, keep=begun)
        try:
            _prove(environment, request, reporter)
        except EngineError:
            if not begun:
                raise
            reporter.on_line("what was there does not work: starting again")
            _install(environment, request, reporter, keep=False)
            _prove(environment, request, reporter)
        environment.write_state(request, complete=True)
        for old in others():
            old.delete()
        reporter.on_progress(100, "done")
        return str(environment.program("crackgeo"))


def _answers(environment: Environment) -> bool:
    """Whether its Python runs and can install: a killed venv leaves one without pip."""
    test = ["-I", "-c", ""] if find_uv() else ["-I", "-m", "pip", "--version"]
    return tools.ask([str(environment.program("python")), *test], limit_s=60) is not None


def free_gb() -> float:
    """Room on the disk of `home()`, which may not exist yet, in 10^9 bytes.

    Raises
    ------
    EngineError : there is no such disk
    """
    folders = (home(), *home().parents)
    with _disk_errors(home()):
        there = next((folder for folder in folders if folder.exists()), home())
        return shutil.disk_usage(there).free / 1e9


def _check_space() -> None:
    if free_gb() < NEEDED_GB:
        raise EngineError(
            f"{home()}: {free_gb():.1f} GB free, {NEEDED_GB} GB needed", ELSEWHERE_REMEDY
        )


def _install(environment: Environment, request: Request, reporter: Reporter, keep: bool) -> None:
    """Install everything; `keep`: what is there already is good."""
    engine = request.engine()  # without it nothing need be fetched
    if not keep:
        environment.delete()
        _check_space()
    environment.write_state(request, complete=False)
    uv = find_uv()
    if not keep:
        _make(environment, uv, request, reporter)
    for stage, percent, command in _install_commands(environment, request, engine, uv):
        _run(stage, percent, command, request, reporter)


def _prove(environment: Environment, request: Request, reporter: Reporter) -> None:
    """Compile the engine's kernels, which the first run would wait for, and run its own checks."""
    kernels = [str(environment.program("python")), "-I", "-c", WARM_UP]
    _run("kernels", 80, kernels, request, reporter)
    _run("check", 95, [str(environment.program("crackgeo")), "doctor"], request, reporter)


def _run(
    stage: str, percent: int, command: list[str], request: Request, reporter: Reporter
) -> None:
    has_index = not (request.wheels and request.offline)
    run_step(stage, percent, command, request.proxy, has_index, reporter)


def _make(environment: Environment, uv: str | None, request: Request, reporter: Reporter) -> None:
    """Make it with the first Python that will do, in which everything is found there too.

    That of QGIS on Windows may find its ssl only with the PATH that QGIS has.
    """
    tried = []
    for interpreter in each_interpreter():
        tried.append(str(interpreter))
        if interpreter.problem:
            continue
        _run("Python", 0, _venv_command(environment, uv, interpreter.path), request, reporter)
        made = probe(str(environment.program("python")))
        if made and not made.problem:
            return
        tried[-1] += f": its environments do not work ({made.problem if made else 'no answer'})"
        reporter.on_line(tried[-1])
        environment.delete()
        environment.write_state(request, complete=False)
    if not uv:
        raise _no_python(tried)
    _run("Python", 0, _venv_command(environment, uv, OLDEST_VERSION), request, reporter)


def _no_python(tried: list[str]) -> EngineError:
    needed = f"no Python {OLDEST_VERSION} or newer to make the engine's environment with"
    return EngineError(
        f"{needed} (found: {'; '.join(tried) or 'no Python at all'})", NO_PYTHON_REMEDY
    )


def _venv_command(environment: Environment, uv: str | None, python: str) -> list[str]:
    """venv, or uv, which fetches a Python if it is given a version."""
    folder = str(environment.folder)
    if uv:
        return [uv, "venv", "--allow-existing", "--python", python, folder]
    return [python, "-I", "-m", "venv", folder]


def _install_commands(
    environment: Environment, request: Request, engine: str, uv: str | None
) -> Iterator[tuple[str, int, list[str]]]:
    """Stage, percent done when it begins, and command.

    torch comes first and alone: with the others, pip would take its largest build.
    """
    python = str(environment.program("python"))
    common = ["--only-binary", ":all:", "--constraint", str(CONSTRAINTS)]
    if uv:
        install = [uv, "pip", "install", "--python", python, *common]
    else:
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        # --no-user: whatever pip.conf says
        install = [python, "-I", "-m", "pip", "install", "--no-user", *quiet, *common]
    yield "torch", 5, [*install, "--no-deps", *request.torch_sources(), "torch"]
    yield "packages", 45, [*install, *request.sources(), engine]


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock of `home()`; the system releases it even if the process is killed."""
    with _lock_file() as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise EngineError(
                "another QGIS is setting up the engine", "wait until it is done"
            ) from error
        yield


def _lock_file() -> IO[str]:
    with _disk_errors(home()):
        home().mkdir(parents=True, exist_ok=True)
        return open(home() / "lock", "a", encoding="ascii")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
