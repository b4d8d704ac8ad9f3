"""The engine runner, against engines that do everything but what they should."""

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crackgeo.version import __version__
from qgis_plugin.crackgeo import child
from qgis_plugin.crackgeo import engine as module
from qgis_plugin.crackgeo.child import clean_environment
from qgis_plugin.crackgeo.engine import (
    Engine,
    EngineError,
    command_line,
    find_engine,
    quoted,
    run_engine,
)
from qgis_plugin.crackgeo.tools import Cancelled

CANCEL_S = 1.0
ROOT = Path(__file__).parents[2]


def run(engine, arguments=("map",), **options):
    events = []
    result = run_engine(engine, arguments, events.append, **options)
    return result, events


def test_events_come_in_order_and_the_result_is_given_back(fake):
    engine = fake(
        "say(event='progress', stage='predict', done=1, total=2)\n"
        "say(event='warning', message='coarse pixels')\n"
        "say(event='result', cracks=3, output='o.gpkg')\n"
    )
    result, events = run(engine)
    assert result.values["cracks"] == 3
    assert result.warnings == ("coarse pixels",)
    assert [e["event"] for e in events] == ["progress", "warning"]


def test_it_gets_the_arguments_and_json_progress_is_added(fake):
    engine = fake("say(event='result', arguments=sys.argv[1:])")
    result, _ = run(engine, ["map", "a b.tif", "--nodata", "-9999"])
    assert result.values["arguments"] == [
        "map", "a b.tif", "--nodata", "-9999", "--progress", "json",
    ]  # fmt: skip


def test_garbage_between_events_goes_to_the_log(fake):
    engine = fake(
        "print('{not json', flush=True)\n"
        "print('[1, 2]', flush=True)\n"
        "print(json.dumps({'event': 'dance'}), flush=True)\n"
        "sys.stdout.buffer.write(b'\\xff\\xfe\\x00 bytes\\n'); sys.stdout.flush()\n"
        "say(event='result', cracks=1)\n"
    )
    result, events = run(engine)
    assert result.values["cracks"] == 1
    assert [e["event"] for e in events] == ["log"] * 4
    assert events[0]["message"] == "{not json"
    assert events[3]["message"].endswith("bytes")


def test_an_error_event_arrives_whole_with_its_remedy(fake):
    engine = fake(
        "say(event='error', message='survey.tif: no such file', remedy='check the path')\n"
        "print('error: survey.tif', file=sys.stderr)\n"
        "sys.exit(3)"
    )
    with pytest.raises(EngineError, match=r"survey\.tif: no such file") as caught:
        run(engine)
    assert caught.value.remedy == "check the path"
    assert caught.value.exit_code == 3
    assert "check the path" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", ["without a result", "said nothing"]),
        ("print('last words', file=sys.stderr); sys.exit(7)", ["exit code 7", "last words"]),
        ("os.kill(os.getpid(), signal.SIGSEGV)", [f"signal {int(signal.SIGSEGV)}"]),
        ("raise ValueError('deep inside')", ["exit code 1", "Traceback", "deep inside"]),
        ("say(event='result', cracks=1); sys.exit(4)", ["exit code 4"]),
    ],
    ids=["silence", "exit", "crash", "traceback", "late failure"],
)
def test_an_end_without_a_result_is_an_error_that_shows_the_log(fake, body, words):
    with pytest.raises(EngineError) as caught:
        run(fake(body))
    assert all(word in caught.value.message for word in words)
    assert caught.value.remedy


def test_a_flood_on_stderr_neither_blocks_nor_fills_the_log(fake):
    engine = fake(
        "for i in range(10000):\n"
        "    print(f'line {i} ' + 'x' * 60, file=sys.stderr)\n"
        "sys.stderr.write('y' * 3_000_000)\n"
        "sys.exit(1)"
    )
    events = []
    with pytest.raises(EngineError) as caught:
        run_engine(engine, ["map"], events.append)
    assert len(events) <= module._LOG_LINES + 1
    assert "line 9999" in caught.value.message
    assert "line 9000" not in caught.value.message


def test_an_engine_that_does_not_end_after_its_result_is_ended(fake, monkeypatch):
    monkeypatch.setattr(module, "_EXIT_S", 0.2)
    engine = fake("say(event='result', cracks=1); os.close(1); os.close(2); time.sleep(60)")
    began = time.monotonic()
    result, _ = run(engine)
    assert result.values["cracks"] == 1
    assert time.monotonic() - began < 5


def test_a_grandchild_that_keeps_the_output_open_does_not_hold_the_run(fake):
    engine = fake("subprocess.Popen(['sleep', '60']); say(event='result', cracks=1)")
    began = time.monotonic()
    result, _ = run(engine)
    assert result.values["cracks"] == 1
    assert time.monotonic() - began < 5


WAITING = "subprocess.Popen(['sleep', '61.25']); say(event='progress', done=0); "
MANNERS = {
    "polite": "sys.stdin.read(); sys.exit(130)",
    "deaf": "time.sleep(60)",
    "stubborn": "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    "talkative": "\nwhile True: print('x' * 1000)",
}


def gone(marker, limit_s=5):
    """Whether no process has a word in its command line; the system may take a moment to kill."""
    deadline = time.monotonic() + limit_s
    while processes(marker):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes(marker):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in path.read_bytes().split(b"\0"):
                found.append(path)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("manner", MANNERS)
def test_cancel_ends_engine_and_children_within_a_second(fake, manner):
    engine = fake(WAITING + MANNERS[manner])
    cancelled = []

    def on_event(event):
        if event["event"] == "progress":
            cancelled.append(time.monotonic())

    with pytest.raises(Cancelled):
        run_engine(engine, ["map"], on_event, lambda: bool(cancelled))
    assert time.monotonic() - cancelled[0] < CANCEL_S
    assert gone(b"61.25")


def test_a_callback_that_fails_leaves_no_process(fake):
    engine = fake("subprocess.Popen(['sleep', '62.25']); say(event='progress'); time.sleep(60)")

    def on_event(event):
        raise RuntimeError("the dialog is gone")

    with pytest.raises(RuntimeError, match="dialog"):
        run_engine(engine, ["map"], on_event)
    assert gone(b"62.25")


def test_the_engine_learns_that_the_host_was_killed(fake, tmp_path):
    """A host process that runs the plugin's code dies by SIGKILL: stdin of the engine ends."""
    ended = tmp_path / "ended"
    engine = fake(f"say(event='progress'); sys.stdin.read(); open({str(ended)!r}, 'w').close()")
    code = (
        "import sys; from qgis_plugin.crackgeo.engine import *\n"
        "run_engine(Engine(sys.argv[1], 'test'), ['map'], lambda e: print('on', flush=True))"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", code, engine.executable], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert host.stdout.readline() == b"on\n"
    host.kill()
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 5
    while not ended.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ended.exists()


def test_this_plugin_and_this_engine_fit(fake):
    assert fake(version=__version__).check_version() == __version__
    assert __version__ == module.ENGINE_VERSION


def test_the_fields_of_labels_are_those_that_the_engine_reads():
    from crackgeo_training.labelling.labels import STATUS, WIDTH_FIELDS

    source = ROOT / "qgis_plugin" / "crackgeo" / "algorithms" / "finetune.py"
    (found,) = re.findall(r"(?m)^LABEL_FIELDS = (\(.*\))", source.read_text(encoding="utf-8"))
    assert ast.literal_eval(found) == (STATUS, *WIDTH_FIELDS)


@pytest.mark.parametrize("version", ["0.0.9", "0.2.0", "1.0"])
def test_another_version_is_refused(fake, version):
    with pytest.raises(EngineError, match=version) as caught:
        fake(version=version).check_version()
    assert "0.1.0" in caught.value.message
    assert "update" in caught.value.remedy


def test_an_updated_engine_is_asked_again(fake):
    engine = fake(version="0.1.1")
    assert engine.version() == "0.1.1"
    path = Path(engine.executable)
    path.write_text(path.read_text().replace("0.1.1", "0.1.2"))
    os.utime(path, ns=(1, 1))
    assert engine.version() == "0.1.2"


def test_a_start_that_takes_long_can_be_cancelled(fake):
    """A virus scanner may look at each file of a first start."""
    engine = fake()
    path = Path(engine.executable)
    path.write_text(path.read_text().replace("if", "time.sleep(63.25)\nif", 1))
    began = time.monotonic()
    with pytest.raises(Cancelled):
        engine.check_version(lambda: time.monotonic() > began + 0.3)
    assert gone(b"63.25")


def test_another_program_is_no_engine():
    with pytest.raises(EngineError, match="version"):
        Engine("/bin/echo", "test").version()


@pytest.mark.parametrize("text", ["", "#!/nowhere/python\n"])
def test_a_program_that_does_not_start_is_an_error(tmp_path, text):
    path = tmp_path / "crackgeo"
    path.write_text(text)
    path.chmod(0o755)
    for action in (Engine(str(path), "test").version, lambda: run(Engine(str(path), "test"))):
        with pytest.raises(EngineError, match="does not start") as caught:
            action()
        assert caught.value.remedy


@pytest.fixture
def places(tmp_path, monkeypatch):
    """One program in each place where an engine may be; tests take places away."""
    for name in ("variable", "setting", "managed", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "crackgeo").write_text("#!/bin/sh\n")
        (tmp_path / name / "crackgeo").chmod(0o755)
    environment = "qgis_plugin.crackgeo.environment.managed_executable"
    monkeypatch.setattr(environment, lambda: str(tmp_path / "managed" / "crackgeo"))
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", str(tmp_path / "variable" / "crackgeo"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_engine_is_looked_for_in_order(places, monkeypatch):
    settings = {"crackgeo/executable": str(places / "setting" / "crackgeo")}

    def found():
        return Path(find_engine(settings).executable).parent.name

    assert found() == "variable"
    monkeypatch.delenv("CRACKGEO_EXECUTABLE")
    assert found() == "setting"
    settings.clear()
    assert found() == "managed"
    monkeypatch.setattr("qgis_plugin.crackgeo.environment.managed_executable", lambda: None)
    assert found() == "path"
    (places / "path" / "crackgeo").unlink()
    with pytest.raises(EngineError, match="not set up") as caught:
        found()
    assert "Plugins" in caught.value.remedy


def test_an_engine_that_the_user_named_is_never_replaced_by_another(places, monkeypatch):
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", "/nowhere/crackgeo")
    with pytest.raises(EngineError, match="CRACKGEO_EXECUTABLE names /nowhere/crackgeo") as caught:
        find_engine({})
    assert "unset CRACKGEO_EXECUTABLE" in caught.value.remedy
    monkeypatch.delenv("CRACKGEO_EXECUTABLE")
    with pytest.raises(EngineError, match="the setting of the plugin names /old") as caught:
        find_engine({"crackgeo/executable": "/old/crackgeo"})
    assert "empty the field Program" in caught.value.remedy


@pytest.mark.parametrize("body", ["exit 1", "echo crackgeo, version 9.0.0"])
def test_setting_up_is_no_remedy_for_an_engine_that_the_user_named(places, body):
    own = places / "variable" / "crackgeo"
    own.write_text(f"#!/bin/sh\n{body}\n")
    with pytest.raises(EngineError) as caught:
        find_engine({}).check_version()
    assert "unset CRACKGEO_EXECUTABLE" in caught.value.remedy


def test_the_child_gets_none_of_the_variables_of_qgis():
    qgis = {
        "PYTHONHOME": "/q", "PYTHONPATH": "/q", "LD_LIBRARY_PATH": "/q", "GDAL_DATA": "/q",
        "PROJ_LIB": "/q", "QT_PLUGIN_PATH": "/q", "VIRTUAL_ENV": "/q",
    }  # fmt: skip
    user = {"HOME": "/home/u", "HTTPS_PROXY": "http://p", "SSL_CERT_FILE": "/etc/ca", "PATH": "/b"}
    clean = clean_environment({**qgis, **user}, "linux")
    assert {k: v for k, v in clean.items() if k in user} == user
    assert not set(qgis) & set(clean)


def test_the_command_in_the_log_can_be_pasted(fake):
    command = command_line(Engine("/opt/my engine/crackgeo", "test"), ["map", "a'b.tif"])
    assert shlex.split(quoted(command)) == command


def test_a_result_that_is_read_late_is_not_lost(fake, monkeypatch):
    """On a busy machine the engine may have ended long before its last line is read."""
    read = child.Child._read

    def late(self, *arguments):
        time.sleep(0.5)
        read(self, *arguments)

    engine = fake("say(event='result', cracks=1)")
    monkeypatch.setattr(child.Child, "_read", late)
    result, _ = run(engine)
    assert result.values["cracks"] == 1
