"""Make the zip of the plugin and hold it against the rules of the QGIS plugin repository.

    python qgis_plugin/package.py [--url https://HOST/OWNER/crackgeo --email ADDRESS] [--out dist]

The folder of the plugin links to files it shares with the engine (licence, pinned versions); in
the zip they are files. The zip holds the engine's wheel too, built by setuptools without a net: no
index is asked for it, where its name could be anybody's. Translations are compiled with Qt's
lrelease, the help is made of docs/ with markdown-it-py.

The repository wants to know where the plugin's home, code and issues are, and looks whether they
answer. Only who publishes the plugin knows that, so metadata.txt leaves it empty: without --url
and --email the zip is for "Install from ZIP".
"""

from __future__ import annotations

import argparse
import calendar
import configparser
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = Path(__file__).parent / "crackgeo"
ENGINE = ("pyproject.toml", "README.md", "LICENSE", "crackgeo", "training")  # all it is built of
BUILD_WHEEL = ("wheel", "-q", "--disable-pip-version-check", "--no-index", "--no-deps",
               "--no-build-isolation", "--check-build-dependencies")  # fmt: skip
LIMIT_BYTES = 25_000_000
REQUIRED = ("name", "description", "about", "version", "qgisMinimumVersion", "author")
ADDRESSES = ("homepage", "tracker", "repository")
# "": LICENSE, .bandit
KINDS = {".py", ".txt", ".svg", ".qml", ".qm", ".png", ".jpg", ".html", ".whl", ""}
RESERVED = r"(?:^|\.)(?:example\.(?:org|com|net)|example|invalid|localhost|test)$"
LEFT_OUT = {"__pycache__", ".ts", ".pyc"}
STAMP = (2000, 1, 1, 0, 0, 0)  # the same files give the same zip


class PackageError(Exception):
    """What keeps the plugin from being packaged or accepted."""


@dataclass(frozen=True)
class Home:
    """Where a plugin is published.

    Parameters
    ----------
    url : web address of its code, as https://HOST/OWNER/crackgeo; its issues are below /issues
    email : address of its maintainers
    """

    url: str
    email: str

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme != "https" or _is_reserved(address.netloc) or not address.path.strip("/"):
            raise PackageError(f"{self.url!r} is no public https address of a repository")
        name, at, host = self.email.partition("@")
        if not (name and at and "." in host) or _is_reserved(host):
            raise PackageError(f"{self.email!r} is no e-mail address")

    def entries(self) -> dict[str, str]:
        """What metadata.txt leaves empty."""
        url = self.url.rstrip("/")
        tracker = f"{url}/issues"
        return {"email": self.email, "homepage": url, "tracker": tracker, "repository": url}


def _is_reserved(host: str) -> bool:
    return not host or re.search(RESERVED, host.partition(":")[0]) is not None


def build(out: Path, home: Home | None = None) -> Path:
    """Write `crackgeo-VERSION.zip` into a folder and return its path.

    Parameters
    ----------
    out : the folder
    home : where it is published; None for "Install from ZIP" only

    Raises
    ------
    PackageError : a rule of the repository is broken, or a tool is missing
    """
    text = (PLUGIN / "metadata.txt").read_text(encoding="utf-8")
    for name, value in home.entries().items() if home else ():
        text = re.sub(rf"(?m)^{name}=$", lambda _, line=f"{name}={value}": line, text)
    files = {name: path.read_bytes() for name, path in shipped_files()}
    files |= {"metadata.txt": text.encode(), **_help()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        part = Path(folder) / "plugin.zip"
        wheel = engine_wheel(Path(folder))
        files[f"wheels/{wheel.name}"] = wheel.read_bytes()
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {**files, **compiled_translations(Path(folder))}.items():
                entry = zipfile.ZipInfo(f"{PLUGIN.name}/{name}", STAMP)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
        problems = broken_rules(part) + (unpublished(part) if home else [])
        if problems:
            raise PackageError("\n".join(problems))
        return part.replace(out / f"{PLUGIN.name}-{metadata(text)['version']}.zip")


def shipped_files() -> Iterator[tuple[str, Path]]:
    """Name in the zip and path of every file of the plugin that users get."""
    for path in sorted(PLUGIN.rglob("*")):
        if path.is_file() and path.suffix not in LEFT_OUT and not LEFT_OUT & set(path.parts):
            yield path.relative_to(PLUGIN).as_posix(), path


def engine_wheel(folder: Path) -> Path:
    """Build the engine's wheel of this checkout in a folder, and return its path.

    Built of a copy: pip would leave its traces in the checkout, and take up those of older ones.

    Raises
    ------
    PackageError : setuptools is missing or too old
    """
    source = folder / "engine"
    source.mkdir()
    for path in (ROOT / name for name in ENGINE):
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, source / path.name)
    command = [sys.executable, "-m", "pip", *BUILD_WHEEL, "-w", str(folder), str(source)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(calendar.timegm(STAMP))}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise PackageError(f"the engine's wheel: {said}\npip install -U setuptools packaging")
    return next(folder.glob("crackgeo-*.whl"))


def _help() -> dict[str, bytes]:
    try:
        pages = runpy.run_path(str(Path(__file__).with_name("help_pages.py")))
    except ImportError as error:
        raise PackageError(f"{error.name} is missing: pip install markdown-it-py") from error
    return {f"help/{name}": content for name, content in pages["help_files"]()}


def compiled_translations(folder: Path) -> dict[str, bytes]:
    """Each `i18n/*.ts` compiled, with a folder to do it in.

    Raises
    ------
    PackageError : no lrelease, or it fails
    """
    program = next(filter(None, map(shutil.which, ("lrelease", "lrelease-qt5", "lrelease6"))), None)
    if program is None:
        raise PackageError("lrelease is missing: apt install qttools5-dev-tools, or Qt's tools")
    compiled = {}
    for source in sorted((PLUGIN / "i18n").glob("*.ts")):
        target = folder / f"{source.stem}.qm"
        command = [program, "-silent", str(source), "-qm", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not target.exists():
            raise PackageError(f"{source.name}: {done.stderr or done.stdout}")
        compiled[f"i18n/{target.name}"] = target.read_bytes()
    return compiled


def metadata(text: str) -> dict[str, str]:
    """The [general] section of a metadata.txt, names as they are written."""
    parser = configparser.ConfigParser()  # as the repository reads it: "%" must be written "%%"
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["general"])


def broken_rules(package: Path) -> list[str]:
    """What the repository would refuse, one sentence each; empty if nothing.

    The rules are those of https://plugins.qgis.org/docs/publish on the archive and its metadata.
    """
    with zipfile.ZipFile(package) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        names = list(entries)
        top = names[0].split("/")[0]
        problems = [f"not in the folder {top}: {n}" for n in names if n.split("/")[0] != top]
        problems += [f"{top} is no Python name"] if not top.isidentifier() else []
        problems += [f"not allowed: {name}" for name in names if not _allowed(name)]
        problems += [
            f"executable: {n}" for n, e in entries.items() if e.external_attr >> 16 & 0o111
        ]
        wanted = {f"{top}/{name}" for name in ("__init__.py", "metadata.txt", "LICENSE")}
        missing = sorted(wanted - set(names))
        if missing:
            return [*problems, *(f"missing: {name}" for name in missing)]
        try:
            values = metadata(archive.read(f"{top}/metadata.txt").decode())
        except configparser.Error as error:
            return [*problems, f"metadata.txt: {error}"]
        if len(archive.read(f"{top}/LICENSE")) < 1000:
            problems.append("LICENSE holds no licence: a link that was not followed?")
    if package.stat().st_size > LIMIT_BYTES:
        problems.append(f"larger than {LIMIT_BYTES} bytes")
    return problems + _metadata_problems(values, top, set(names))


def _allowed(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") and part != ".bandit" for part in parts)
    plain = not hidden and "__MACOSX" not in parts and "" not in parts
    return plain and "\\" not in name and Path(name).suffix in KINDS


def _metadata_problems(values: dict[str, str], top: str, names: set[str]) -> list[str]:
    problems = [f"metadata.txt lacks {name}" for name in REQUIRED if not values.get(name)]
    for name in ("version", "qgisMinimumVersion", "qgisMaximumVersion"):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", values.get(name, "")):
            problems.append(f"metadata.txt: {name} is no version number")
    if values.get("supportsQt6") != "True":  # else QGIS 4 does not offer it
        problems.append("metadata.txt: supportsQt6 is not True")
    if f"{top}/{values.get('icon')}" not in names:
        problems.append("metadata.txt: the icon is not in the zip")
    if re.search(r"[^\w .,-]", values.get("author", "")):
        problems.append("metadata.txt: author holds characters that are refused")
    return problems


def unpublished(package: Path) -> list[str]:
    """What the repository wants to know beside the rules for every plugin, and is not there."""
    with zipfile.ZipFile(package) as archive:
        values = metadata(archive.read(f"{PLUGIN.name}/metadata.txt").decode())
    missing = [name for name in ADDRESSES if not values.get(name, "").startswith("https://")]
    missing += [] if "@" in values.get("email", "") else ["email"]
    return [f"metadata.txt: {name} is missing" for name in missing]


def main() -> int:
    """Build, check and say where the zip is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--url", help="where its code is published: https://HOST/OWNER/crackgeo")
    parser.add_argument("--email", help="address of its maintainers")
    arguments = parser.parse_args()
    try:
        published = arguments.url or arguments.email
        home = Home(arguments.url or "", arguments.email or "") if published else None
        package = build(arguments.out, home)
    except PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{package}: {os.path.getsize(package) / 1e3:.0f} kB")
    if home is None:
        print("for Install from ZIP; for plugins.qgis.org it needs --url and --email")
    return 0


if __name__ == "__main__":
    sys.exit(main())
