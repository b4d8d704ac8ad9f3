"""The report on what is there and what is missing."""

import json
import shutil
from pathlib import Path

import pytest

from qgis_plugin.crackgeo import diagnostics, environment, interpreters, tools
from qgis_plugin.crackgeo.diagnostics import diagnose, proxy_url

FAKE = Path(__file__).with_name("fake_python.sh")
HOST = {"QGIS": "3.22"}


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """No engine anywhere, the stand-in as the only Python."""
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("CRACKGEO_EXECUTABLE", *tools.PROXY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(interpreters, "candidates", lambda: [str(FAKE)])


def engine(tmp_path, checks, code=0):
    """A program that answers --version and doctor."""
    path = tmp_path / "crackgeo"
    answer = json.dumps({"ok": code == 0, "checks": checks})
    path.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "crackgeo, version 0.1.0" && exit 0\n'
        f"echo noise >&2\ncat <<'END'\n{answer}\nEND\nexit {code}\n"
    )
    path.chmod(0o755)
    return {"crackgeo/executable": str(path)}


def check(name, ok):
    return {"name": name, "ok": ok, "found": "seen", "remedy": "" if ok else "do this"}


def test_without_an_engine_it_says_what_one_could_be_made_with():
    diagnosis = diagnose({}, HOST)
    assert not diagnosis.ready
    assert [finding.name for finding in diagnosis.problems] == ["engine"]
    assert f"Python 3.12 at {FAKE}" in diagnosis.report()
    assert "remedy: set it up" in diagnosis.report()


def test_without_a_python_either_it_says_so(monkeypatch):
    monkeypatch.setattr(interpreters, "candidates", list)
    monkeypatch.setattr(diagnostics, "find_uv", lambda: None)
    names = [finding.name for finding in diagnose({}, HOST).problems]
    assert names == ["engine", "Python for a set-up"]


def test_a_good_engine_is_ready(tmp_path):
    diagnosis = diagnose(engine(tmp_path, [check("torch", True)]), HOST)
    assert diagnosis.ready
    assert diagnosis.version == "0.1.0"
    assert diagnosis.report().splitlines()[0].split() == ["ok", "QGIS", "3.22"]


def test_the_engines_own_findings_are_shown_though_it_fails(tmp_path):
    settings = engine(tmp_path, [check("torch", True), check("model compact", False)], code=5)
    diagnosis = diagnose(settings, HOST)
    assert not diagnosis.ready
    assert [finding.name for finding in diagnosis.problems] == ["model compact"]
    assert "remedy: do this" in diagnosis.report()


def test_an_engine_that_gives_no_answer_is_a_problem(tmp_path):
    settings = engine(tmp_path, [], code=139)
    assert [f.name for f in diagnose(settings, HOST).problems] == ["crackgeo doctor"]


def test_an_unfinished_environment_is_named():
    environment.current().write_state(environment.Request(), complete=False)
    assert "unfinished" in diagnose({}, HOST).report()


def test_a_folder_that_cannot_be_is_reported(monkeypatch):
    monkeypatch.setenv("CRACKGEO_ENVIRONMENTS", "relative")
    diagnosis = diagnose({}, HOST)
    names = [finding.name for finding in diagnosis.problems]
    assert names == ["managed environment", "engine", "room"]
    assert "remedy: make room, or set CRACKGEO_ENVIRONMENTS to the full path" in diagnosis.report()


def test_a_complete_environment_is_named():
    current = environment.current()
    current.write_state(environment.Request(), complete=True)
    for name in ("python", "crackgeo"):
        current.program(name).parent.mkdir(exist_ok=True)
        shutil.copy(FAKE, current.program(name))
    report = diagnose({}, HOST).report()
    assert f"complete, {current.folder}" in report
    assert "(the managed environment)" in report


def test_a_cancel_ends_the_engine(tmp_path):
    with pytest.raises(tools.Cancelled):
        diagnose(engine(tmp_path, []), HOST, is_cancelled=lambda: True)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, ""),
        ({"proxyEnabled": "false", "proxyType": "HttpProxy", "proxyHost": "p"}, ""),
        ({"proxyEnabled": "true", "proxyType": "DefaultProxy", "proxyHost": "p"}, ""),
        ({"proxyEnabled": "True", "proxyType": "HttpProxy", "proxyHost": "p"}, "http://p"),
        (
            {
                "proxyEnabled": "true",
                "proxyType": "Socks5Proxy",
                "proxyHost": "p",
                "proxyPort": "99",
            },
            "socks5://p:99",
        ),
        (
            {
                "proxyEnabled": "true",
                "proxyType": "HttpProxy",
                "proxyHost": "p",
                "proxyUser": "ann@work",
                "proxyPassword": "a:b/c",  # pragma: allowlist secret
            },
            "http://ann%40work:a%3Ab%2Fc@p",  # pragma: allowlist secret
        ),
    ],
)
def test_the_proxy_is_that_of_qgis(settings, url):
    assert proxy_url({f"proxy/{k}": v for k, v in settings.items()}) == url


def test_the_report_names_the_proxy_without_its_password():
    settings = {
        "proxy/proxyEnabled": "true",
        "proxy/proxyType": "HttpProxy",
        "proxy/proxyHost": "p",
        "proxy/proxyUser": "ann",
        "proxy/proxyPassword": "s3cret",  # pragma: allowlist secret
    }
    diagnosis = diagnose(settings, HOST)
    assert "http://***@p" in diagnosis.report()
    assert not any("s3cret" in str(finding) for finding in diagnosis.findings)


def test_a_proxy_of_a_variable_may_have_no_scheme(monkeypatch):
    monkeypatch.setenv("https_proxy", "ann:s3cret@p:8080")  # pragma: allowlist secret
    assert "http://***@p:8080" in [f.found for f in diagnose({}, HOST).findings]
