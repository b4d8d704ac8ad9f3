"""The time that the program says is left, by a clock of our own."""

import errno
import json
import os
import sys

import numpy as np
import pytest

from crackgeo.cli import console, main
from crackgeo.cli.console import Console
from crackgeo.errors import Cancelled, ResourceError

TILES = 2000


def events(capsys, monkeypatch, seconds, first=0):
    """Progress events of a run whose tiles take so many seconds each, with their times."""
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    talker = Console(progress="json")
    talker.advance("predict", first, TILES)
    for done in range(first + 1, TILES + 1):
        clock[0] += seconds[done - 1]
        talker.advance("predict", done, TILES)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("first", [0, 1500])
def test_the_estimate_is_good_after_a_twentieth(capsys, monkeypatch, first):
    """Tiles of uneven cost, a slow first one; also in a run that goes on after 1,500 tiles."""
    seconds = np.random.default_rng(1).gamma(4, 0.1, TILES)
    seconds[first] += (TILES - first) / 400
    told = events(capsys, monkeypatch, seconds, first)
    late = [e for e in told if first + (TILES - first) / 20 <= e["done"] < TILES]
    assert len(late) > 400
    # near the end the tiles left are few and uneven, and a second is not worth a comparison
    for event in (e for e in late if e["remaining_s"] > 30):
        left = seconds[event["done"] :].sum()
        assert event["remaining_s"] == pytest.approx(left, rel=0.3), event
    assert told[-1]["remaining_s"] == 0


class Pipe:
    """A stdout that fails."""

    def __init__(self, code):
        self.code = code

    def write(self, text):
        raise OSError(self.code, os.strerror(self.code))

    def fileno(self):
        raise OSError


def test_a_reader_who_has_gone_stops_the_run_and_is_told_on_stderr(capsys, monkeypatch):
    talker = Console(progress="json")
    monkeypatch.setattr(sys, "stdout", Pipe(errno.EPIPE))
    with pytest.raises(Cancelled, match="has gone"):
        talker.advance("predict", 0, TILES)
    talker.warn("the work is kept")
    talker.error(Cancelled(), 130)
    told = capsys.readouterr().err
    assert "the work is kept" in told
    assert "stopped" in told


def test_a_result_that_cannot_be_written_is_no_internal_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Pipe(errno.ENOSPC))
    with pytest.raises(ResourceError, match="stdout") as caught:
        Console(as_json=True).result({"a": 1}, "one")
    assert "outputs are complete" in caught.value.remedy


@pytest.mark.parametrize("settings", [{}, {"as_json": True}, {"progress": "json"}])
def test_a_result_nobody_reads_is_told_to_be_complete(monkeypatch, capsys, settings):
    monkeypatch.setattr(sys, "stdout", Pipe(errno.EPIPE))
    with pytest.raises(BrokenPipeError):
        Console(**settings).result({"a": 1}, "one")
    assert "so are its outputs" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO])
def test_a_stderr_that_goes_away_stops_nothing(monkeypatch, code):
    monkeypatch.setattr(sys, "stderr", Pipe(code))
    talker = Console(progress="bar")
    talker.advance("predict", 0, TILES)
    talker.note("a note")
    talker.warn("a warning")
    talker.error(Cancelled(), 130)
    talker.result({}, "text")


def test_a_stderr_that_was_closed_stops_nothing(monkeypatch):
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    talker = Console()
    talker.advance("predict", 0, TILES)
    talker.warn("a warning")


def test_without_stderr_nothing_of_it_goes_to_stdout(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "argv", ["crackgeo", "info", "none.tif"])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stderr.close()
    assert ended.value.code == 3
    assert capsys.readouterr().out == ""


def test_nothing_is_promised_before_anything_is_done(capsys, monkeypatch):
    monkeypatch.setattr(console.time, "monotonic", lambda: 100.0)
    Console(progress="json").advance("predict", 0, TILES)
    assert json.loads(capsys.readouterr().out)["remaining_s"] is None
