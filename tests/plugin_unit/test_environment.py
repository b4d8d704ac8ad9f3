"""The managed environment, with a stand-in for Python and pip; once with the real ones."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from qgis_plugin.crackgeo import environment, interpreters, tools
from qgis_plugin.crackgeo.engine import ENGINE_VERSION, EngineError, find_engine
from qgis_plugin.crackgeo.environment import Request
from qgis_plugin.crackgeo.steps import Reporter

FAKE = Path(__file__).with_name("fake_python.sh")


class Log(list):
    """Collects what a set-up reports."""

    def reporter(self, is_cancelled=lambda: False):
        self.stages = []
        return Reporter(
            lambda percent, stage: self.stages.append((percent, stage)), self.append, is_cancelled
        )


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of environments, with the stand-in as the only Python."""
    folder = tmp_path / "user data" / "engine"
    python = tmp_path / "python3"
    shutil.copy(FAKE, python)
    for name in ("PIP_TARGET", "CRACKGEO_TORCH_INDEX", "CRACKGEO_PYTHON", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", str(folder))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    monkeypatch.setattr(interpreters, "candidates", lambda: [str(python)])
    monkeypatch.setattr(environment, "find_uv", lambda: None)
    monkeypatch.setattr(environment, "NEEDED_GB", 0.0)
    monkeypatch.setattr(environment, "OWN_WHEELS", shipped(tmp_path / "the plugin"))
    return folder


def shipped(folder):
    """A folder of wheels as the plugin's zip has it; nothing reads what is in the wheel."""
    folder.mkdir()
    (folder / f"crackgeo-{ENGINE_VERSION}-py3-none-any.whl").touch()
    return folder


def calls(home):
    path = home.parent.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def forget_calls(home):
    (home.parent.parent / "calls").unlink()


def test_a_set_up_makes_an_engine_that_is_found(home, monkeypatch):
    monkeypatch.delenv("CRACKGEO_EXECUTABLE", raising=False)
    assert environment.managed_executable() is None
    log = Log()
    path = environment.set_up(Request(), log.reporter())
    assert path == environment.managed_executable() == str(home / ENGINE_VERSION / "bin/crackgeo")
    assert [stage for _, stage in log.stages] == [
        "Python",
        "torch",
        "packages",
        "kernels",
        "check",
        "done",
    ]
    percents = [percent for percent, _ in log.stages]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert find_engine({}).executable == path


def test_torch_comes_first_from_its_own_index_and_all_is_pinned(home, monkeypatch):
    monkeypatch.setattr(environment, "torch_index", lambda graphics_card: "https://torch.test/cpu")
    environment.set_up(Request(), Log().reporter())
    torch, rest = [call for call in calls(home) if " install " in call]
    assert "--no-deps" in torch
    assert "--index-url https://torch.test/cpu" in torch
    assert torch.endswith(" torch")
    assert "--index-url" not in rest
    wheel = environment.OWN_WHEELS / f"crackgeo-{ENGINE_VERSION}-py3-none-any.whl"
    assert rest.endswith(f" crackgeo[train] @ {wheel.as_uri()}")
    for call in (torch, rest):
        assert f"--constraint {environment.CONSTRAINTS}" in call
        assert "--only-binary :all:" in call


@pytest.mark.parametrize(
    ("system", "machine", "card", "index"),
    [
        ("linux", "x86_64", False, environment.TORCH_CPU),
        ("linux", "x86_64", True, ""),
        ("linux", "aarch64", False, ""),
        ("darwin", "arm64", False, ""),
        ("win32", "AMD64", False, ""),
        ("win32", "AMD64", True, environment.TORCH_CUDA),
    ],
)
def test_the_index_of_torch_is_that_of_the_machine(monkeypatch, system, machine, card, index):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    assert environment.torch_index(card) == index


@pytest.mark.parametrize("offline", [True, False])
def test_a_folder_of_wheels_is_the_only_source_or_the_first(home, tmp_path, offline):
    environment.set_up(Request(wheels=str(tmp_path), offline=offline), Log().reporter())
    for call in calls(home):
        if " install " in call:
            assert f"--find-links {tmp_path}" in call
            assert ("--no-index" in call) == offline
            assert not (offline and "--index-url" in call)


def test_the_engine_in_the_folder_of_wheels_goes_before_the_plugins(home, tmp_path):
    folder = shipped(tmp_path / "built here")
    environment.set_up(Request(wheels=str(folder), offline=False), Log().reporter())
    assert calls(home)[-3].endswith(f" @ {next(folder.iterdir()).as_uri()}")


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_engines_wheel_nothing_is_fetched_or_deleted(home, monkeypatch, offline):
    """An index is not asked for it: there the name may be somebody else's."""
    monkeypatch.setattr(environment, "OWN_WHEELS", home / "none")
    environment.current().write_state(Request(graphics_card=True), complete=False)
    before = contents(home)
    with pytest.raises(EngineError, match="no wheel of crackgeo") as caught:
        environment.set_up(Request(wheels=str(home), offline=offline), Log().reporter())
    assert "from its zip" in caught.value.remedy
    assert calls(home) == []
    assert contents(home) == before | {"lock"}


def test_a_folder_of_wheels_must_be_there(tmp_path):
    with pytest.raises(EngineError, match="no such folder"):
        Request(wheels=str(tmp_path / "none"))


@pytest.mark.parametrize("stage", ["torch", "packages"])
def test_a_failed_download_is_resumed(home, monkeypatch, stage):
    monkeypatch.setenv("FAKE_FAIL", stage)
    monkeypatch.setenv("FAKE_SAYS", "could not connect")
    with pytest.raises(EngineError, match=f"{stage}: stopped with exit code 7") as caught:
        environment.set_up(Request(), Log().reporter())
    assert "could not connect" in caught.value.message
    assert "goes on where it stopped" in caught.value.remedy
    assert environment.managed_executable() is None
    monkeypatch.delenv("FAKE_FAIL")
    forget_calls(home)
    environment.set_up(Request(), Log().reporter())
    assert not [call for call in calls(home) if "-m venv" in call]
    assert environment.managed_executable()


def test_an_environment_without_pip_is_made_anew(home, monkeypatch):
    """A venv that was killed half-way has a Python, and no pip."""
    monkeypatch.setenv("FAKE_FAIL", "torch")
    with pytest.raises(EngineError):
        environment.set_up(Request(), Log().reporter())
    (home / ENGINE_VERSION / "no-pip").touch()
    monkeypatch.delenv("FAKE_FAIL")
    environment.set_up(Request(), Log().reporter())
    assert len([call for call in calls(home) if "-m venv" in call]) == 2
    assert environment.managed_executable()


def test_an_environment_whose_state_cannot_be_read_is_replaced(home):
    litter = home / ENGINE_VERSION / "litter"
    environment.current().write_state(Request(), complete=False)
    litter.mkdir()
    (home / ENGINE_VERSION / "state.json").write_text("{half")
    environment.set_up(Request(), Log().reporter())
    assert not litter.exists()


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_folders_that_the_plugin_did_not_make_survive_set_up_and_removal(home):
    """The user may name a folder of theirs in CRACKGEO_ENVIRONMENTS."""
    for name in ("photos 2023", "0.0.8", "empty"):
        (home / name).mkdir(parents=True)
    (home / "photos 2023" / "a.jpg").touch()
    (home / "0.0.8" / "state.json").write_text('{"complete": true}')
    (home / "lock").write_text("theirs")
    theirs = contents(home)
    environment.set_up(Request(), Log().reporter())
    assert theirs < contents(home)
    environment.remove()
    assert contents(home) == theirs
    assert (home / "lock").read_text() == "theirs"


def test_a_folder_of_theirs_in_the_engines_place_is_not_replaced(home):
    thesis = home / ENGINE_VERSION / "thesis.odt"
    thesis.parent.mkdir(parents=True)
    thesis.touch()
    with pytest.raises(EngineError, match="not made by this plugin") as caught:
        environment.set_up(Request(), Log().reporter())
    assert "CRACKGEO_ENVIRONMENTS" in caught.value.remedy
    environment.remove()
    assert contents(home) == {ENGINE_VERSION, f"{ENGINE_VERSION}/thesis.odt", "lock"}
    thesis.unlink()
    assert environment.set_up(Request(), Log().reporter()), "an empty folder holds nothing to lose"


def test_a_removal_that_breaks_off_is_taken_up(home, monkeypatch):
    environment.set_up(Request(), Log().reporter())

    def fail(path):
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(environment.shutil, "rmtree", fail)
        with pytest.raises(EngineError, match="in use"):
            environment.remove()
    assert environment.managed_executable() is None
    assert environment.current().is_ours()
    environment.remove()
    assert contents(home) == {"lock"}


def test_a_complete_environment_is_tried_not_made_again(home):
    environment.set_up(Request(), Log().reporter())
    forget_calls(home)
    environment.set_up(Request(), Log().reporter())
    assert not [call for call in calls(home) if " install " in call or "-m venv" in call]


def test_one_that_no_longer_works_is_replaced(home, monkeypatch):
    environment.set_up(Request(), Log().reporter())
    broken = home / ENGINE_VERSION / "bin/crackgeo"
    broken.write_text("#!/bin/sh\nexit 1\n")
    log = Log()
    environment.set_up(Request(), log.reporter())
    assert "starting again" in "\n".join(log)
    assert subprocess.run([broken, "--version"], check=False).returncode == 0


def test_another_build_of_torch_is_another_environment(home):
    environment.set_up(Request(), Log().reporter())
    (home / ENGINE_VERSION / "mark").touch()
    environment.set_up(Request(graphics_card=True), Log().reporter())
    assert not (home / ENGINE_VERSION / "mark").exists()


def test_an_update_keeps_the_old_engine_until_the_new_one_is_complete(home, monkeypatch):
    (environment.OWN_WHEELS / "crackgeo-0.0.9-py3-none-any.whl").touch()
    monkeypatch.setattr(environment, "ENGINE_VERSION", "0.0.9")
    old = environment.set_up(Request(), Log().reporter())
    monkeypatch.setattr(environment, "ENGINE_VERSION", ENGINE_VERSION)
    assert environment.managed_executable() == old
    monkeypatch.setenv("FAKE_FAIL", "check")
    with pytest.raises(EngineError):
        environment.set_up(Request(), Log().reporter())
    assert environment.managed_executable() == old
    monkeypatch.delenv("FAKE_FAIL")
    new = environment.set_up(Request(), Log().reporter())
    assert environment.managed_executable() == new
    assert not Path(old).exists()


def test_a_cancel_ends_the_tool_at_once_and_the_next_set_up_goes_on(home, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "packages")
    log = Log()
    with pytest.raises(tools.Cancelled):
        environment.set_up(Request(), log.reporter(lambda: "hanging at packages" in log))
    assert environment.managed_executable() is None
    monkeypatch.delenv("FAKE_HANG")
    forget_calls(home)
    environment.set_up(Request(), Log().reporter())
    assert not [call for call in calls(home) if "-m venv" in call]


def test_what_was_asked_for_last_is_known(home, monkeypatch, tmp_path):
    assert environment.last_request() == Request()
    request = Request(wheels=str(tmp_path), offline=False, graphics_card=True)
    monkeypatch.setenv("FAKE_FAIL", "torch")
    with pytest.raises(EngineError):
        environment.set_up(request, Log().reporter())
    assert environment.last_request() == request
    environment.current().write_state(Request(wheels=str(home), graphics_card=True), complete=True)
    state = home / ENGINE_VERSION / "state.json"
    state.write_text(state.read_text().replace(str(home), "/taken/away"))
    assert environment.last_request() == Request(graphics_card=True)


def test_what_was_cancelled_does_not_run_on(tmp_path):
    mark = tmp_path / "mark"
    script = f"(sleep 2; touch {mark}) & echo started; wait"
    seen = []
    begin = time.monotonic()
    with pytest.raises(tools.Cancelled):
        tools.run(["/bin/sh", "-c", script], dict(os.environ), seen.append, lambda: bool(seen))
    assert time.monotonic() - begin < 1.9
    time.sleep(2.2)
    assert not mark.exists()


def test_removed_is_removed(home):
    environment.set_up(Request(), Log().reporter())
    environment.remove()
    assert environment.managed_executable() is None
    assert [path.name for path in home.iterdir()] == ["lock"]
    environment.remove()  # nothing there: nothing to do


def test_only_one_set_up_at_a_time(home):
    with environment._only_one(), pytest.raises(EngineError, match="another QGIS"):
        environment.set_up(Request(), Log().reporter())


@pytest.mark.parametrize("chosen", ["relative", "~nobody.here/x", "/dev/null/x", "/proc/x"])
def test_a_folder_that_cannot_be_is_an_error_with_a_remedy(home, tmp_path, monkeypatch, chosen):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", chosen)
    with pytest.raises(EngineError, match=chosen) as caught:
        environment.set_up(Request(), Log().reporter())
    assert "CRACKGEO_ENVIRONMENTS" in caught.value.remedy
    assert environment.last_request() == Request()


def test_the_folder_may_begin_with_the_users_own(monkeypatch):
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", "~/engines")
    assert environment.home() == Path.home() / "engines"


def test_a_disk_that_is_not_there_is_an_error(home, monkeypatch):
    """On Windows no parent of a folder need exist."""
    monkeypatch.setattr(Path, "exists", lambda self: False)
    with pytest.raises(EngineError, match="No such file") as caught:
        environment.free_gb()
    assert "CRACKGEO_ENVIRONMENTS" in caught.value.remedy


def test_a_full_disk_is_an_error_with_a_remedy(home, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EngineError, match="No space left") as caught:
        environment.set_up(Request(), Log().reporter())
    assert "make room" in caught.value.remedy


def test_too_little_room_is_said_before_anything_is_fetched(home, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED_GB", 1e9)
    with pytest.raises(EngineError, match="GB free") as caught:
        environment.set_up(Request(), Log().reporter())
    assert "CRACKGEO_ENVIRONMENTS" in caught.value.remedy
    assert calls(home) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('[[3, 9], [], true, ["l", "x"]]', "needs 3.11 to 3.14"),
        ('[[3, 15], [], true, ["l", "x"]]', "needs 3.11 to 3.14"),
        ('[[3, 12], ["ensurepip"], true, ["l", "x"]]', "no venv module"),
        ('[[3, 12], ["ssl", "lzma"], true, ["l", "x"]]', "built without ssl, lzma"),
        ('[[3, 12], [], false, ["l", "x"]]', "32 bits"),
        ('[[3, 12], [], true, ["darwin", "x86_64"]]', "Intel processors"),
        ("no Python", "no Python at all"),
    ],
)
def test_without_a_python_of_use_it_says_what_was_found(home, monkeypatch, answer, said):
    monkeypatch.setenv("FAKE_PYTHON", answer)
    with pytest.raises(EngineError, match=said) as caught:
        environment.set_up(Request(), Log().reporter())
    assert "install Python" in caught.value.remedy


def test_the_first_python_of_use_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    old = tmp_path / "python3"
    old.write_text("""#!/bin/sh\necho '[[3, 9], [], true, ["l", "x"]]'\n""")
    old.chmod(0o755)
    found = interpreters.find_interpreters([str(tmp_path / "none"), str(old), str(FAKE), "never"])
    assert [(i.path, bool(i.problem)) for i in found] == [(str(old), True), (str(FAKE), False)]


def test_a_python_without_ssl_is_known_as_such(tmp_path):
    """As one that was built where OpenSSL's headers were not."""
    python = tmp_path / "python3"
    hide = "import sys; sys.modules['_ssl'] = sys.modules['_lzma'] = None; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -c "{hide}" "$3"\n')
    python.chmod(0o755)
    assert "built without ssl, lzma" in interpreters.probe(str(python)).problem
    assert not interpreters.probe(sys.executable).problem


def test_a_python_whose_environments_lack_ssl_is_passed_over(home, monkeypatch, tmp_path):
    bad = tmp_path / "bad" / "python3"
    bad.parent.mkdir()
    shutil.copy(FAKE, bad)
    (tmp_path / "bad" / "no-ssl").touch()
    monkeypatch.setattr(interpreters, "candidates", lambda: [str(bad), str(tmp_path / "python3")])
    log = Log()
    environment.set_up(Request(), log.reporter())
    assert any("do not work (was built without ssl)" in line for line in log)
    assert not (home / ENGINE_VERSION / "no-ssl").exists()
    environment.remove()
    monkeypatch.setattr(interpreters, "candidates", lambda: [str(bad)])
    with pytest.raises(EngineError, match="environments do not work") as caught:
        environment.set_up(Request(), Log().reporter())
    assert "install Python" in caught.value.remedy
    assert environment.managed_executable() is None


def test_candidates_are_programs_that_exist_and_the_users_choice_comes_first(monkeypatch):
    monkeypatch.setenv("CRACKGEO_PYTHON", sys.executable)
    found = interpreters.candidates()
    assert found[0] == sys.executable
    assert len(found) == len(set(found))
    assert all(os.path.isfile(path) for path in found)


def test_uv_is_used_where_it_is(home, monkeypatch, tmp_path):
    uv = tmp_path / "uv"
    uv.write_text(
        '#!/bin/sh\necho "uv $*" >> "$FAKE_LOG"\n[ "$1" = venv ] && for last; do :; done\n'
        f'[ "$1" = venv ] && mkdir -p "$last/bin" && cp {FAKE} "$last/bin/python"\n'
        f'case "$*" in *crackgeo*@*) cp {FAKE} "$(dirname "$4")/crackgeo";; esac\nexit 0\n'
    )
    uv.chmod(0o755)
    monkeypatch.setattr(environment, "find_uv", lambda: str(uv))
    environment.set_up(Request(), Log().reporter())
    made = [call for call in calls(home) if call.startswith("uv ")]
    assert [call.split()[1] for call in made] == ["venv", "pip", "pip"]
    assert environment.managed_executable()


def test_the_tools_send_packages_into_the_environment_only(home, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.test/simple")
    monkeypatch.setenv("PYTHONPATH", "/usr/share/qgis/python")
    variables = tools.tool_environment("http://proxy.test:8080")
    assert "PIP_TARGET" not in variables
    assert "PYTHONPATH" not in variables
    assert variables["PIP_INDEX_URL"] == "https://mirror.test/simple"
    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == "http://proxy.test:8080"


def test_passwords_reach_neither_log_nor_disk(home, monkeypatch):
    secret = "http://ann:s3cret@proxy.test:8080"  # pragma: allowlist secret
    monkeypatch.setenv("FAKE_FAIL", "torch")
    monkeypatch.setenv("FAKE_SAYS", f"cannot reach {secret}")
    log = Log()
    with pytest.raises(EngineError) as caught:
        environment.set_up(Request(proxy=secret), log.reporter())
    state = (home / ENGINE_VERSION / "state.json").read_text()
    for text in (str(caught.value), "\n".join(log), state, repr(Request(proxy=secret))):
        assert "s3cret" not in text
    assert "http://***@proxy.test:8080" in "\n".join(log)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--index-url https://ghp_TOKEN@host/simple", "--index-url https://***@host/simple"),
        ("http://ann:s3@cret@proxy:8080 and more", "http://***@proxy:8080 and more"),
        ("https://ann:s3/cret@host/", "https://***@host/"),
        ("https://host/a.whl is at ann@home", "https://host/a.whl is at ann@home"),
        ("crackgeo[train] @ file:///a/b.whl", "crackgeo[train] @ file:///a/b.whl"),
    ],
)
def test_logins_are_hidden_whole(text, shown):
    assert tools.without_password(text) == shown


def test_the_state_says_what_was_asked_for(home):
    environment.set_up(Request(graphics_card=True), Log().reporter())
    state = json.loads((home / ENGINE_VERSION / "state.json").read_text())
    assert state["complete"] is True
    assert state["graphics_card"] is True


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("SSL: CERTIFICATE_VERIFY_FAILED", "PIP_CERT"),
        ("Can't connect: the SSL module is not available", "install Python"),
        ("Cannot connect to proxy", "proxy in Settings"),
        ("ERROR: Could not install packages due to: Missing dependencies for SOCKS", "install uv"),
        (
            "HINT: perhaps since this system does not have Windows Long Path support enabled.",
            "C:\\crackgeo",
        ),
        ("OSError: [Errno 28] No space left on device", "make room"),
        ("ERROR: No matching distribution found for scipy==1.18", "PIP_INDEX_URL"),
    ],
)
def test_a_remedy_for_what_pip_says(home, monkeypatch, said, remedy):
    monkeypatch.setenv("FAKE_FAIL", "packages")
    monkeypatch.setenv("FAKE_SAYS", said)
    with pytest.raises(EngineError) as caught:
        environment.set_up(Request(), Log().reporter())
    assert remedy in caught.value.remedy


def wheel(folder, name, version, files=(), entry="", extra=""):
    """A wheel made by hand, as pip reads it."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents = {**dict(files), f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    if entry:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entry}\n"
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def test_the_real_venv_and_pip_install_from_a_folder_without_an_index(tmp_path, monkeypatch):
    wheels, own = tmp_path / "wheels", tmp_path / "a plugin with ü"
    wheels.mkdir()
    own.mkdir()
    wheel(wheels, "torch", "2.13.0+cpu")
    wheel(
        own,
        "crackgeo",
        ENGINE_VERSION,
        {
            "crackgeo/__init__.py": f"def main():\n    print('version {ENGINE_VERSION}')\n",
            "crackgeo/vectorize.py": "def warm_up():\n    pass\n",
        },
        entry="crackgeo = crackgeo:main",
        extra="Provides-Extra: train\nRequires-Dist: torch>=2.10\n",
    )
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", str(tmp_path / "a folder with ü"))
    monkeypatch.setattr(environment, "OWN_WHEELS", own)
    (tmp_path / "pip.conf").write_text("[install]\nuser = true\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(interpreters, "candidates", lambda: [sys.executable])
    monkeypatch.setattr(environment, "find_uv", lambda: None)
    monkeypatch.setattr(environment, "NEEDED_GB", 0.0)
    log = Log()
    path = environment.set_up(Request(wheels=str(wheels)), log.reporter())
    assert tools.ask([path, "--version"], 60) == f"version {ENGINE_VERSION}"
    assert environment.managed_executable() == path
