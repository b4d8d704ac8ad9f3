"""What differs on Windows and macOS, with those systems faked: what is asked of them and done."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from qgis_plugin.crackgeo import child, engine, environment, interpreters
from qgis_plugin.crackgeo.child import Child, clean_environment


@pytest.fixture
def windows(monkeypatch):
    """As if this were Windows, as far as the plugin looks."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)


@pytest.fixture
def mac(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")


def test_folders_of_qgis_leave_the_path_on_windows():
    root = r"C:\PROGRA~1\QGIS32~1.16"
    folders = [rf"{root}\bin", r"D:\tools", rf"{root}\apps\qt5\bin".upper(), rf"{root}-more\bin"]
    qgis = {
        "OSGEO4W_ROOT": root,
        "PATH": ";".join(folders),
        "SSL_CERT_FILE": rf"{root}\bin\curl-ca-bundle.crt",
        "SYSTEMROOT": r"C:\Windows",
    }
    clean = clean_environment(qgis, "win32")
    assert clean["PATH"] == rf"D:\tools;{root}-more\bin"
    assert "SSL_CERT_FILE" not in clean
    assert clean["SYSTEMROOT"] == r"C:\Windows"


def test_a_certificate_of_the_user_stays():
    environ = {"OSGEO4W_ROOT": r"C:\OSGeo4W", "SSL_CERT_FILE": r"C:\ours\ca.crt"}
    assert clean_environment(environ, "win32")["SSL_CERT_FILE"] == r"C:\ours\ca.crt"


def test_folders_of_the_bundle_leave_the_path_on_macos(monkeypatch):
    bundle = "/Applications/QGIS-LTR.app"
    monkeypatch.setattr(sys, "executable", f"{bundle}/Contents/MacOS/QGIS")
    path = f"{bundle}/Contents/MacOS/bin:/opt/homebrew/bin:/usr/bin"
    clean = clean_environment({"PATH": path, "DYLD_LIBRARY_PATH": f"{bundle}/lib"}, "darwin")
    assert clean["PATH"] == "/opt/homebrew/bin:/usr/bin"
    assert "DYLD_LIBRARY_PATH" not in clean


@pytest.mark.parametrize(
    ("platform", "machine", "answer", "translated"),
    [
        ("darwin", "x86_64", b"1\n", True),  # QGIS for Intel on Apple silicon
        ("darwin", "x86_64", b"", False),  # an Intel Mac does not know the question
        ("darwin", "arm64", b"1\n", False),
        ("linux", "x86_64", b"1\n", False),
    ],
)
def test_a_translated_qgis_starts_programs_untranslated(
    monkeypatch, platform, machine, answer, translated
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))
    done = subprocess.CompletedProcess((), 0, answer)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: done)
    child._is_apple_silicon.cache_clear()
    prefix = ["/usr/bin/arch", "-arm64"] if translated else []
    assert child.natively(["python3", "-c", ""]) == [*prefix, "python3", "-c", ""]
    child._is_apple_silicon.cache_clear()


def test_a_child_on_windows_opens_no_console_and_has_a_group_of_its_own(windows):
    assert child._apart() == {"creationflags": 0x08000200}


def test_on_windows_the_whole_tree_is_killed(windows, monkeypatch):
    ran, killed = [], []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: ran.append(command))
    monkeypatch.setenv("SYSTEMROOT", r"C:\Windows")
    process = types.SimpleNamespace(pid=77, poll=lambda: None, kill=lambda: killed.append(77))
    child._kill_tree(process)
    assert ran == [[r"C:\Windows\System32\taskkill.exe", "/F", "/T", "/PID", "77"]]
    assert killed == [77], "also if taskkill could not"


def test_on_windows_what_has_ended_is_left_alone(windows, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("its number may be reused"))
    child._kill_tree(types.SimpleNamespace(pid=77, poll=lambda: 0))


def test_a_system_without_taskkill_still_ends_the_child(windows, monkeypatch):
    def missing(*arguments, **options):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    killed = []
    child._kill_tree(types.SimpleNamespace(pid=7, poll=lambda: None, kill=lambda: killed.append(7)))
    assert killed == [7]


def test_the_command_can_be_pasted_on_windows(windows):
    command = [r"C:\my engine\crackgeo.exe", "map", "a b.tif"]
    assert engine.quoted(command) == r'"C:\my engine\crackgeo.exe" map "a b.tif"'


def test_where_the_environment_lies(monkeypatch):
    monkeypatch.delenv("CRACKGEO_ENVIRONMENTS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/u")
    assert environment.home() == Path("/home/u/.local/share/crackgeo/engine")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert environment.home() == Path("/home/u/Library/Application Support/crackgeo/engine")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/users/u/AppData/Local")
    assert environment.home() == Path("/users/u/AppData/Local/crackgeo/engine")
    monkeypatch.delenv("LOCALAPPDATA")
    assert environment.home() == Path("/home/u/AppData/Local/crackgeo/engine")


def test_programs_of_an_environment_on_windows(windows):
    programs = environment.Environment(Path("e"))
    assert programs.program("crackgeo") == Path("e/Scripts/crackgeo.exe")


def registry(**folders):
    """A stand-in for winreg: folders by root."""

    def query(root, key):
        if root not in folders:
            raise FileNotFoundError(key)
        assert key == r"SOFTWARE\Python\PythonCore\3.12\InstallPath"
        return folders[root]

    return types.SimpleNamespace(
        HKEY_CURRENT_USER="user", HKEY_LOCAL_MACHINE="all", QueryValue=query
    )


def test_windows_is_asked_for_its_pythons(windows, monkeypatch):
    monkeypatch.setitem(sys.modules, "winreg", registry(all="D:\\Py\\"))
    monkeypatch.setenv("LOCALAPPDATA", r"C:\Users\u\AppData\Local")
    monkeypatch.setenv("PROGRAMFILES", r"C:\Program Files")
    assert interpreters.usual_places(3, 12) == [
        "D:\\Py\\python.exe",
        r"C:\Users\u\AppData\Local\Programs\Python\Python312\python.exe",
        r"C:\Program Files\Python312\python.exe",
    ]


def test_places_on_macos(mac):
    places = interpreters.usual_places(3, 12)
    assert "/opt/homebrew/bin/python3.12" in places
    assert any(place.startswith("/Library/Frameworks/Python.framework") for place in places)


def test_the_python_of_qgis_comes_last_on_macos(mac, monkeypatch, tmp_path):
    """QGIS puts its own folder first on the PATH of its process."""
    bundle, brew = tmp_path / "QGIS.app" / "Contents" / "MacOS", tmp_path / "homebrew"
    names = ("bin/python3.12", "bin/python3")
    for path in (*(bundle / name for name in names), brew / "python3.12", brew / "uv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bundle / 'bin'}:{brew}")
    monkeypatch.setattr(sys, "executable", str(bundle / "QGIS"))
    monkeypatch.setattr(sys, "base_prefix", str(bundle))
    monkeypatch.setattr(interpreters, "usual_places", lambda *version: [])
    monkeypatch.delenv("CRACKGEO_PYTHON", raising=False)
    assert interpreters.candidates() == [str(brew / "python3.12"), str(bundle / "bin" / "python3")]
    assert interpreters.find_uv() == str(brew / "uv")


@pytest.mark.parametrize(
    ("platform", "path", "unfit"),
    [
        ("win32", r"C:\Users\u\AppData\Local\Microsoft\WindowsApps\python3.12.exe", True),
        ("win32", r"C:\Program Files\Python312\python.exe", False),
        ("darwin", "/usr/bin/python3", True),
        ("darwin", "/usr/local/bin/python3", False),
        ("linux", "/usr/bin/python3", False),
    ],
)
def test_pythons_that_are_not_even_asked(monkeypatch, platform, path, unfit):
    monkeypatch.setattr(sys, "platform", platform)
    assert interpreters.is_unfit(path) == unfit


def test_the_python_of_qgis_itself(windows, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", "/osgeo/apps/Python312")
    assert interpreters.own_python() == "/osgeo/apps/Python312/python.exe"
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sys, "base_prefix", "/Applications/QGIS.app/Contents/MacOS")
    assert interpreters.own_python() == "/Applications/QGIS.app/Contents/MacOS/bin/python3"


def test_a_child_is_started_with_the_prefix(monkeypatch):
    monkeypatch.setattr(child, "natively", lambda command: ["/usr/bin/env", "A=b", *command])
    with Child(["/bin/sh", "-c", "echo $A"]) as running:
        assert ("out", "b") in list(running.lines())
