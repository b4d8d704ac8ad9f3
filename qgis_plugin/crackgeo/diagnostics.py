"""What is there and what is missing, as a report to read and to send. Needs no QGIS.

The report is in English whatever QGIS's language, so that whoever gets it can read it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from . import environment, tools
from .engine import Engine, EngineError, find_engine
from .interpreters import NO_PYTHON_REMEDY, find_interpreters, find_uv

PROXY_SETTINGS = tuple(
    f"proxy/proxy{part}" for part in ("Enabled", "Type", "Host", "Port", "User", "Password")
)
PROXY_SCHEMES = {"HttpProxy": "http", "Socks5Proxy": "socks5"}
DOCTOR_LIMIT_S = 300  # it loads torch and the model, perhaps from a slow disk for the first time


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is as it should be, what was found, what to do if not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok ' if self.ok else 'NO '} {self.name:<20} {self.found}"
        return line if self.ok or not self.remedy else f"{line}\n    {'':<20} remedy: {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and the engine if there is one that fits."""

    findings: tuple[Finding, ...]
    engine: Engine | None = None
    version: str = ""

    @property
    def ready(self) -> bool:
        """Whether cracks can be mapped."""
        return self.engine is not None and not self.problems

    @property
    def problems(self) -> list[Finding]:
        """What is not as it should be."""
        return [finding for finding in self.findings if not finding.ok]

    def report(self) -> str:
        """Lines for a person, without passwords."""
        return tools.without_password("\n".join(map(str, self.findings)))


def diagnose(
    settings: Mapping[str, str],
    host: Mapping[str, str],
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Diagnosis:
    """Look at everything a run needs; takes seconds, as the engine loads its model.

    Parameters
    ----------
    settings : of QGIS, see `host.settings`
    host : names and versions of what the plugin runs in, for the report
    is_cancelled : asked 20 times a second

    Raises
    ------
    tools.Cancelled : the user cancelled
    """
    findings = [Finding(name, True, found) for name, found in host.items()]
    findings += [Finding("computer", True, platform.platform()), _proxy(settings)]
    findings.append(_or_its_error("managed environment", _managed))
    try:
        engine = find_engine(settings)
        version = engine.check_version(is_cancelled)
    except EngineError as error:
        findings.append(Finding("engine", False, error.message, error.remedy))
        return Diagnosis((*findings, *_means()))
    where = f"crackgeo {version}, {engine.executable} ({engine.origin})"
    findings.append(Finding("engine", True, where))
    findings.extend(_doctor(engine, is_cancelled))
    return Diagnosis(tuple(findings), engine, version)


def proxy_url(settings: Mapping[str, str]) -> str:
    """The proxy of QGIS's network settings as a URL; empty if none is set there.

    Then pip and uv take the one that the variables `https_proxy` and `no_proxy` name.
    """
    enabled, kind, host, port, user, password = (settings.get(key, "") for key in PROXY_SETTINGS)
    scheme = PROXY_SCHEMES.get(kind)
    if not (enabled.lower() in ("true", "1") and scheme and host):
        return ""
    user, password = quote(user, safe=""), quote(password, safe="")
    login = f"{user}:{password}@" if user else ""
    return f"{scheme}://{login}{host}{':' + port if port else ''}"


def _proxy(settings: Mapping[str, str]) -> Finding:
    variable = next(
        (os.environ[name] for name in tools.PROXY_VARIABLES if os.environ.get(name)), ""
    )
    url = proxy_url(settings) or variable
    known = url if "://" in url else f"http://{url}"  # tools take it to be that
    return Finding("proxy", True, tools.without_password(known) if url else "none")


def _or_its_error(name: str, look: Callable[[], Finding]) -> Finding:
    """What a look finds, or why it could not look."""
    try:
        return look()
    except EngineError as error:
        return Finding(name, False, error.message, error.remedy)


def _managed() -> Finding:
    """What is in the folder of the managed environment; none of it has to be there."""
    current = environment.current()
    if current.is_complete():
        found = f"complete, {current.folder}"
    elif current.is_ours():
        found = f"unfinished, {current.folder}: Set up finishes it"
    else:
        old = [other.folder.name for other in environment.others() if other.is_complete()]
        found = f"for crackgeo {old[0]}, in {environment.home()}" if old else "none"
    return Finding("managed environment", True, found)


def _means() -> Iterator[Finding]:
    """What an environment could be made with."""
    uv = find_uv()
    tried = find_interpreters()
    usable = any(not interpreter.problem for interpreter in tried)
    found = "; ".join(map(str, tried)) or "none found"
    yield Finding("Python for a set-up", bool(usable or uv), found, NO_PYTHON_REMEDY)
    yield Finding("uv", True, uv or "none, not needed")
    yield _or_its_error("room", _room)


def _room() -> Finding:
    free_gb = environment.free_gb()
    room = f"{free_gb:.1f} GB free at {environment.home()}"
    enough = free_gb >= environment.NEEDED_GB
    return Finding("room", enough, room, f"{environment.NEEDED_GB} GB are needed")


def _doctor(engine: Engine, is_cancelled: Callable[[], bool]) -> list[Finding]:
    """The engine's own checks; with something broken its exit code is 1 or 5."""
    command = [engine.executable, "doctor", "--json"]
    said = tools.ask(command, DOCTOR_LIMIT_S, (0, 1, 5), is_cancelled)
    try:
        checks = json.loads(said or "")["checks"]
        return [Finding(c["name"], c["ok"], c["found"], c["remedy"]) for c in checks]
    except (ValueError, KeyError, TypeError):
        found = f"`crackgeo doctor` gave no answer within {DOCTOR_LIMIT_S} s"
        return [Finding("crackgeo doctor", False, found, "set the engine up again")]
