"""The zip of the plugin, its translation, and what the plugin repository scans for."""

import ast
import json
import re
import runpy
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "qgis_plugin" / "crackgeo"
package = runpy.run_path(str(ROOT / "qgis_plugin" / "package.py"), run_name="package")
translate = runpy.run_path(str(ROOT / "qgis_plugin" / "translate.py"), run_name="translate")
needs_lrelease = pytest.mark.skipif(shutil.which("lrelease") is None, reason="needs Qt's lrelease")


def write_zip(path, contents, mode=0o644):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return path


@pytest.fixture
def good():
    """Contents of the least zip that is accepted."""
    return {
        "crackgeo/__init__.py": "",
        "crackgeo/metadata.txt": (PLUGIN / "metadata.txt").read_text(encoding="utf-8"),
        "crackgeo/LICENSE": "x" * 2000,
        "crackgeo/icon.svg": "<svg/>",
    }


def rules(tmp_path, contents, **kwargs):
    return package["broken_rules"](write_zip(tmp_path / "p.zip", contents, **kwargs))


def test_the_least_zip_is_accepted(tmp_path, good):
    assert rules(tmp_path, good) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("other/__init__.py", "", "not in the folder"),
        ("crackgeo/tool.exe", "", "not allowed"),
        ("crackgeo/lib.so", "", "not allowed"),
        ("crackgeo/run.sh", "", "not allowed"),
        ("crackgeo/.git/config.txt", "", "not allowed"),
        ("crackgeo/../evil.py", "", "not allowed"),
        ("crackgeo/__init__.pyc", "", "not allowed"),
        ("crackgeo/LICENSE", "../../LICENSE", "holds no licence"),
        ("crackgeo/metadata.txt", "[general]\nname=x\n", "lacks about"),
    ],
)
def test_what_the_repository_refuses_is_found(tmp_path, good, name, text, said):
    assert any(said in problem for problem in rules(tmp_path, {**good, name: text}))


@pytest.mark.parametrize("name", ["__init__.py", "metadata.txt", "LICENSE"])
def test_a_missing_file_is_found(tmp_path, good, name):
    del good[f"crackgeo/{name}"]
    assert f"missing: crackgeo/{name}" in rules(tmp_path, good)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("version=new", "version is no version"),
        ("supportsQt6=False", "supportsQt6 is not True"),
        ("icon=none.svg", "icon is not in the zip"),
        ("about=100 % offline", "'%' must be followed"),
        ("author=A/B", "author holds"),
    ],
)
def test_bad_metadata_is_found(tmp_path, good, line, said):
    key = line.split("=")[0]
    text = re.sub(rf"(?m)^{key}=.*$", line, good["crackgeo/metadata.txt"])
    assert any(
        said in problem for problem in rules(tmp_path, {**good, "crackgeo/metadata.txt": text})
    )


def test_executables_and_giants_are_found(tmp_path, good):
    assert any("executable" in problem for problem in rules(tmp_path, good, mode=0o755))
    good["crackgeo/help.txt"] = "x" * 26_000_000
    assert any("larger" in problem for problem in rules(tmp_path, good))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Path of the zip for Install from ZIP, alone in its folder."""
    return package["build"](tmp_path_factory.mktemp("built"))


@needs_lrelease
def test_the_zip_holds_what_is_shared_with_the_engine(built):
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        for name in ("LICENSE", "constraints.txt"):
            assert archive.read(f"crackgeo/{name}") == (ROOT / name).read_bytes()
        assert "crackgeo/i18n/crackgeo_de.qm" in names
        assert len(archive.read("crackgeo/i18n/crackgeo_de.qm")) > 10_000
        assert all(stat.S_IMODE(e.external_attr >> 16) == 0o644 for e in archive.infolist())
    modules = {f"crackgeo/{p.relative_to(PLUGIN).as_posix()}" for p in PLUGIN.rglob("*.py")}
    assert modules <= set(names)
    assert list(built.parent.iterdir()) == [built], "nothing is left beside the zip"


@needs_lrelease
def test_the_zip_holds_the_engine_for_the_plugin_to_find(built, tmp_path, monkeypatch):
    from qgis_plugin.crackgeo import environment

    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path)
    monkeypatch.setattr(environment, "OWN_WHEELS", tmp_path / "crackgeo" / "wheels")
    found = environment.Request().engine().removeprefix("crackgeo[train] @ ")
    with zipfile.ZipFile(url2pathname(urlsplit(found).path)) as wheel:
        names = set(wheel.namelist())
    for package_name, folder in (("crackgeo", "crackgeo"), ("crackgeo_training", "training")):
        modules = (ROOT / folder).rglob("*.py")
        assert {
            f"{package_name}/{p.relative_to(ROOT / folder).as_posix()}" for p in modules
        } <= names
    assert "crackgeo/models/weights/compact.safetensors" in names


def test_a_wheel_that_cannot_be_built_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(package["engine_wheel"].__globals__, "ENGINE", ("README.md",))
    with pytest.raises(package["PackageError"], match="pip install -U setuptools"):
        package["engine_wheel"](tmp_path)


@needs_lrelease
def test_the_same_files_give_the_same_zip(built, tmp_path):
    assert package["build"](tmp_path).read_bytes() == built.read_bytes()


HOME = {"url": "https://codeberg.org/owner/crackgeo/", "email": "us@codeberg.org"}


@needs_lrelease
def test_the_zip_for_the_repository_names_its_home(tmp_path):
    path = package["build"](tmp_path, package["Home"](**HOME))
    assert package["unpublished"](path) == []
    with zipfile.ZipFile(path) as archive:
        values = package["metadata"](archive.read("crackgeo/metadata.txt").decode())
    assert values["homepage"] == values["repository"] == "https://codeberg.org/owner/crackgeo"
    assert values["tracker"] == "https://codeberg.org/owner/crackgeo/issues"
    assert values["email"] == "us@codeberg.org"


@needs_lrelease
def test_a_zip_without_a_home_is_known_as_such(built):
    problems = package["unpublished"](built)
    assert [p.split()[1] for p in problems] == ["homepage", "tracker", "repository", "email"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "https://example.org/crackgeo"),
        ("url", "https://git.test/owner/crackgeo"),
        ("url", "http://codeberg.org/owner/crackgeo"),
        ("url", "https://codeberg.org"),
        ("url", ""),
        ("email", ""),
        ("email", "us"),
        ("email", "us@example.com"),
    ],
)
def test_an_address_that_is_none_is_refused(name, value):
    with pytest.raises(package["PackageError"], match="is no"):
        package["Home"](**{**HOME, name: value})


@needs_lrelease
def test_the_help_is_whole(built):
    """Each link and picture of a page is in the zip."""
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        pages = {n: archive.read(n).decode() for n in names if n.endswith(".html")}
    assert "crackgeo/help/qgis.html" in pages
    assert len(pages) > 3
    for page in pages.values():
        targets = re.findall(r'(?:href|src)="([^"#]+)', page)
        assert [t for t in targets if not t.startswith("https://")
                and f"crackgeo/help/{t}" not in names] == []  # fmt: skip
    assert "<table>" in pages["crackgeo/help/qgis.html"]


def test_the_versions_agree():
    from crackgeo import __version__
    from qgis_plugin.crackgeo.engine import ENGINE_VERSION

    metadata = package["metadata"]((PLUGIN / "metadata.txt").read_text(encoding="utf-8"))
    assert metadata["version"] == __version__ == ENGINE_VERSION


def test_the_german_translation_is_complete_and_current():
    texts = translate["source_texts"]()
    german = translate["read"](PLUGIN / "i18n" / "crackgeo_de.ts")
    assert set(german) == set(texts), "run: python qgis_plugin/translate.py"
    assert [text for text, said in german.items() if not said] == []


def test_the_translation_keeps_places_and_tags():
    for text, said in translate["read"](PLUGIN / "i18n" / "crackgeo_de.ts").items():
        for mark in (r"\{\w*\}", r"</?\w+>", r"&\w+;", r"\*\.\w+"):
            assert sorted(re.findall(mark, said)) == sorted(re.findall(mark, text)), text


def test_a_text_that_cannot_be_translated_is_refused():
    call = ast.parse("tr(name)").body[0].value
    with pytest.raises(SystemExit, match="needs a literal"):
        translate["_literal"](call, PLUGIN / "x.py")


def test_translations_are_kept_when_texts_change(tmp_path):
    path = tmp_path / "i18n" / "crackgeo_xx.ts"
    translate["write"](path, "xx", {"a <b>": "x.py", "new": "x.py"}, {"a <b>": "ä", "old": "o"})
    assert translate["read"](path) == {"a <b>": "ä", "new": ""}


@pytest.mark.parametrize(
    "command",
    [
        ["bandit", "-q", "-r", "."],
        ["flake8", "--isolated", "--max-line-length", "120", "."],
    ],
    ids=lambda command: command[0],
)
def test_the_scans_of_the_repository_find_nothing(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PLUGIN, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


def test_no_secret_is_in_the_plugin():
    command = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "."]
    done = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"] == {}
