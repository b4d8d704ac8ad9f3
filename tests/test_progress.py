"""The time that the program says is left, by a clock of our own."""

import json

import numpy as np
import pytest

from crackgeo.cli import console
from crackgeo.cli.console import Console

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


def test_nothing_is_promised_before_anything_is_done(capsys, monkeypatch):
    monkeypatch.setattr(console.time, "monotonic", lambda: 100.0)
    Console(progress="json").advance("predict", 0, TILES)
    assert json.loads(capsys.readouterr().out)["remaining_s"] is None
