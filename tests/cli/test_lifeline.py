"""A run ends with the program that started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from crackgeo.cli.lifeline import CANCELLED, GRACE_S, VARIABLE

# A run that holds an unfinished output and works on, deaf to the wish to stop if asked to.
RUN = """
import signal, sys, time
from pathlib import Path
from crackgeo.cli.console import Console
from crackgeo.cli.lifeline import watch_stdin
from crackgeo.errors import Cancelled
from crackgeo.files import atomic_output
watch_stdin()
with Console().monitor() as monitor, atomic_output(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("ready", flush=True)
    while True:
        time.sleep(0.02)
        if sys.argv[2] == "polite":
            try:
                monitor.step("work", 0, 1)
            except Cancelled:
                sys.exit(130)
"""


def start(target, manner):
    environment = {**os.environ, VARIABLE: "1"}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(target), manner],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    assert run.stdout.readline() == b"ready\n"
    run.stdout.close()
    return run


@pytest.mark.parametrize("manner", ["polite", "deaf"])
def test_a_run_whose_stdin_closes_ends_and_leaves_nothing(tmp_path, manner):
    run = start(tmp_path / "out.txt", manner)
    assert [p.name[:10] for p in tmp_path.iterdir()] == [".out.part-"]
    began = time.monotonic()
    run.stdin.close()
    assert run.wait(10) == CANCELLED
    assert time.monotonic() - began < GRACE_S + 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_run_dies_with_a_parent_that_is_killed(tmp_path):
    """The parent holds the pipe and gets SIGKILL, as QGIS does from a desktop's task manager."""
    parent = subprocess.Popen(
        [sys.executable, "-c",
         "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()",
         sys.executable, "-c", RUN, str(tmp_path / "out.txt"), "polite"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, VARIABLE: "1"},
    )  # fmt: skip
    assert parent.stdout.readline() == b"ready\n"
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert parent.stdout.read() == b""  # comes to its end when the child, too, has closed it
    parent.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_without_the_variable_stdin_is_left_alone():
    run = subprocess.run(
        [sys.executable, "-c",
         "from crackgeo.cli.lifeline import watch_stdin; watch_stdin(); print(input())"],
        input="hello\n", capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout == "hello\n"
