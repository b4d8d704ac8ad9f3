"""Make the zip of the plugin and hold it against the rules of the QGIS plugin repository.

    python qgis_plugin/package.py [--out dist]

The folder of the plugin links to files it shares with the engine (licence, pinned versions,
styles); in the zip they are files. Translations are compiled with Qt's lrelease.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PLUGIN = Path(__file__).parent / "crackgeo"
LIMIT_BYTES = 25_000_000
REQUIRED = ("name", "description", "about", "version", "qgisMinimumVersion", "author", "email")
ADDRESSES = ("homepage", "tracker", "repository")
KINDS = {".py", ".txt", ".svg", ".qml", ".qm", ".png", ""}  # "": LICENSE, .bandit
LEFT_OUT = {"__pycache__", ".ts", ".pyc"}
STAMP = (2000, 1, 1, 0, 0, 0)  # the same files give the same zip


class PackageError(Exception):
    """What keeps the plugin from being packaged or accepted."""


def build(out: Path) -> Path:
    """Write `crackgeo-VERSION.zip` into a folder and return its path.

    Raises
    ------
    PackageError : a rule of the repository is broken, or lrelease is missing
    """
    version = metadata((PLUGIN / "metadata.txt").read_text(encoding="utf-8"))["version"]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        part = Path(folder) / "plugin.zip"
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in [*shipped_files(), *compiled_translations(Path(folder))]:
                entry = zipfile.ZipInfo(f"{PLUGIN.name}/{name}", STAMP)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
        problems = broken_rules(part)
        if problems:
            raise PackageError("\n".join(problems))
        return part.replace(out / f"{PLUGIN.name}-{version}.zip")


def shipped_files() -> Iterator[tuple[str, Path]]:
    """Name in the zip and path of every file of the plugin that users get."""
    for path in sorted(PLUGIN.rglob("*")):
        if path.is_file() and path.suffix not in LEFT_OUT and not LEFT_OUT & set(path.parts):
            yield path.relative_to(PLUGIN).as_posix(), path


def compiled_translations(folder: Path) -> Iterator[tuple[str, Path]]:
    """Compile each `i18n/*.ts` into a `.qm` in a folder.

    Raises
    ------
    PackageError : no lrelease, or it fails
    """
    program = next(filter(None, map(shutil.which, ("lrelease", "lrelease-qt5", "lrelease6"))), None)
    if program is None:
        raise PackageError("lrelease is missing: apt install qttools5-dev-tools, or Qt's tools")
    for source in sorted((PLUGIN / "i18n").glob("*.ts")):
        target = folder / f"{source.stem}.qm"
        command = [program, "-silent", str(source), "-qm", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not target.exists():
            raise PackageError(f"{source.name}: {done.stderr or done.stdout}")
        yield f"i18n/{target.name}", target


def metadata(text: str) -> dict[str, str]:
    """The [general] section of a metadata.txt, names as they are written."""
    parser = configparser.ConfigParser(interpolation=None)
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
        values = metadata(archive.read(f"{top}/metadata.txt").decode())
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
    problems = [
        f"metadata.txt lacks {name}" for name in (*REQUIRED, *ADDRESSES) if not values.get(name)
    ]
    for name in ("version", "qgisMinimumVersion", "qgisMaximumVersion"):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", values.get(name, "")):
            problems.append(f"metadata.txt: {name} is no version number")
    if f"{top}/{values.get('icon')}" not in names:
        problems.append("metadata.txt: the icon is not in the zip")
    for name in ADDRESSES:
        if not values.get(name, "").startswith("https://"):
            problems.append(f"metadata.txt: {name} is no https address")
    if re.search(r"[^\w .,-]", values.get("author", "")):
        problems.append("metadata.txt: author holds characters that are refused")
    return problems


def not_public(package: Path) -> list[str]:
    """Entries of the metadata that still name the reserved domain example.org."""
    with zipfile.ZipFile(package) as archive:
        values = metadata(archive.read(f"{PLUGIN.name}/metadata.txt").decode())
    return [name for name, value in values.items() if re.search(r"\bexample\.org\b", value)]


def main() -> int:
    """Build, check and say where the zip is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dist"))
    try:
        package = build(parser.parse_args().out)
    except PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{package}: {os.path.getsize(package) / 1e3:.0f} kB")
    if not_public(package):
        print(
            f"before an upload, give metadata.txt real addresses: {', '.join(not_public(package))}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
