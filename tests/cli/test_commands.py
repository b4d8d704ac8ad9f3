"""The command line as a user meets it: results, refusals, exit codes, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from affine import Affine

from crackgeo.cli import COMMANDS, run
from crackgeo.cli.console import Console
from crackgeo.errors import Cancelled

SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
UTM = Affine(0.002, 0, 500000, 0, -0.002, 5400000)


@pytest.fixture
def survey(tmp_path):
    """A small grey raster with a dark line on it."""
    rng = np.random.default_rng(3)
    grey = rng.normal(140, 6, (460, 500))
    for x in range(40, 460):
        y = int(230 + 40 * np.sin(x / 60))
        grey[y : y + 5, x] = 35
    path = tmp_path / "survey.tif"
    write(path, np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[None], 3, 0))
    return path


def write(path, bands, **profile):
    profile = {"crs": "EPSG:32632", "transform": UTM, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", width=bands.shape[2], height=bands.shape[1],
        count=len(bands), dtype=bands.dtype, **profile,
    ) as raster:  # fmt: skip
        raster.write(bands)


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def fails(capfd, arguments, code, *words):
    """Run; expect the exit code and one message with all the words on stderr; give it back."""
    assert run([str(a) for a in arguments]) == code
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    for word in words:
        assert word in captured.err
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capfd):
    assert run([command, "--help"]) == 0
    assert capfd.readouterr().out.startswith(f"Usage: crackgeo {command}")


def test_map_writes_layers_and_a_json_summary(survey, tmp_path, capfd):
    out = tmp_path / "cracks.gpkg"
    assert run(["map", str(survey), "-o", str(out), "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["output"] == str(out)
    assert summary["tiles_run"] == 4
    assert summary["surveyed_m2"] == pytest.approx(460 * 500 * 4e-6, rel=1e-3)
    assert out.exists()


def test_json_progress_is_one_event_a_line(survey, tmp_path, capfd):
    assert run(["map", str(survey), "-o", str(tmp_path / "o.gpkg"), "--progress", "json"]) == 0
    captured = capfd.readouterr()
    events = [json.loads(line) for line in captured.out.splitlines()]
    assert events[-1]["event"] == "result"
    progress = [e for e in events if e["event"] == "progress"]
    assert {"stage", "done", "total", "rate", "remaining_s"} <= set(progress[0])
    assert "predict" in {e["stage"] for e in progress}


def test_predict_then_vectorize_equals_map(survey, tmp_path):
    prob, out = tmp_path / "p.tif", tmp_path / "o.gpkg"
    assert run(["predict", str(survey), "-o", str(prob), "-q"]) == 0
    assert run(["vectorize", str(prob), "-o", str(out), "-q"]) == 0
    assert run(["map", str(survey), "-o", str(tmp_path / "m.gpkg"), "-q"]) == 0
    import geopandas as gpd

    assert gpd.read_file(out, layer="cracks").equals(
        gpd.read_file(tmp_path / "m.gpkg", layer="cracks")
    )


def test_info_describes_without_running(survey, capfd):
    assert run(["info", str(survey), "--no-timing", "--json"]) == 0
    info = json.loads(capfd.readouterr().out)
    assert (info["width"], info["height"]) == (500, 460)
    assert info["gsd_mm"] == pytest.approx([2, 2], rel=1e-3)
    assert (info["tiles"], info["tiles_to_run"], info["tiles_counted"]) == (4, 4, True)
    assert "32632" in info["crs_name"]


def test_info_looks_at_every_column_of_tiles(tmp_path, capfd):
    pixels = np.zeros((1, 28_000, 1100), np.uint8)
    pixels[:, :, 900:] = 9  # in the last of three columns of tiles, whose number divides the step
    write(tmp_path / "road.tif", pixels, nodata=0, compress="deflate")
    assert run(["info", str(tmp_path / "road.tif"), "--no-timing", "--json"]) == 0
    info = json.loads(capfd.readouterr().out)
    assert not info["tiles_counted"]
    assert info["tiles_to_run"] == info["tiles"] // 3


def test_doctor_finds_this_installation_sound(capfd):
    assert run(["doctor", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["ok"] is True
    assert {"torch", "model compact", "projections"} <= {c["name"] for c in report["checks"]}


def test_an_existing_output_is_refused(survey, tmp_path, capfd):
    out = tmp_path / "cracks.gpkg"
    out.write_text("precious")
    fails(capfd, ["map", survey, "-o", out], 2, "cracks.gpkg", "--overwrite")
    assert out.read_text() == "precious"


def broken_inputs(folder):
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.tif").write_text("this is no raster")
    (folder / "folder.tif").mkdir()
    tile = np.random.default_rng(0).integers(1, 255, (3, 400, 400), dtype=np.uint8)
    write(folder / "whole.tif", tile, compress="deflate", tiled=True, blockxsize=64, blockysize=64)
    data = (folder / "whole.tif").read_bytes()
    (folder / "truncated.tif").write_bytes(data[: len(data) // 2])
    write(folder / "void.tif", np.zeros((3, 90, 90), np.uint8), nodata=0)
    write(folder / "one.tif", np.ones((1, 90, 90), np.uint8))


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("missing.tif", [], 3, ["missing.tif"]),
        ("empty.tif", [], 3, ["empty.tif"]),
        ("text.tif", [], 3, ["text.tif"]),
        ("folder.tif", [], 3, ["folder.tif"]),
        ("truncated.tif", [], 3, ["truncated.tif"]),
        ("void.tif", [], 3, ["void.tif", "nodata"]),
        ("one.tif", ["--bands", "2"], 2, ["one.tif", "band", "2"]),
        ("one.tif", ["--bands", "1,2"], 2, ["--bands"]),
        ("one.tif", ["--model", "nonesuch"], 5, ["nonesuch"]),
        ("one.tif", ["--model", "text.tif"], 5, ["text.tif"]),
        ("one.tif", ["--bbox", "0,0,1,1"], 2, ["bbox", "outside"]),
        ("one.tif", ["--bbox", "1,1,0,0"], 2, ["bbox"]),
        ("one.tif", ["--aoi", "missing.gpkg"], 3, ["missing.gpkg"]),
        ("one.tif", ["--overlap", "300"], 2, ["--overlap"]),
        ("one.tif", ["--gsd", "-1"], 2, ["--gsd"]),
        ("one.tif", ["--threshold", "1.5"], 2, ["--threshold"]),
        ("one.tif", ["--threshold", "0.3", "--threshold-low", "0.4"], 2, ["--threshold-low"]),
        ("one.tif", ["--stretch", "9,3"], 2, ["--stretch"]),
        ("one.tif", ["--device", "cuda:7"], 2, ["cuda:7"]),
        ("one.tif", ["--batch-size", "0"], 2, ["--batch-size"]),
        ("one.tif", ["--nonesuch"], 2, ["--nonesuch"]),
        ("one.tif", ["--stretch", "0,inf"], 2, ["--stretch"]),
        ("one.tif", ["--min-length", "inf"], 2, ["--min-length"]),
        ("one.tif", ["--stations", "nan"], 2, ["--stations"]),
        ("one.tif", ["--prob", "one.tif", "--overwrite"], 2, ["one.tif", "input", "remedy"]),
        ("one.tif", ["--prob", "p.png"], 2, ["p.png", "GeoTIFF", "p.tif"]),
        ("one.tif", ["--quicklook", "look.jpg"], 2, ["look.jpg", "look.png"]),
        ("one.tif", ["--report", "out.gpkg"], 2, ["out.gpkg", "another"]),
    ],
)
def test_bad_input_gives_one_message_and_leaves_nothing(
    tmp_path, monkeypatch, capfd, name, options, code, words
):
    broken_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    fails(capfd, ["map", name, "-o", "out.gpkg", *options], code, *words)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["predict", "one.tif", "-o", "one.tif"], "input"),
        (["predict", "list.txt", "-o", "./one.tif"], "input"),
        (["map", "one.tif", "-o", "one.tif"], "GeoPackage"),
        (["map", "one.tif", "-o", "area.gpkg", "--aoi", "area.gpkg"], "input"),
        (["vectorize", "one.tif", "-o", "one.tif"], "GeoPackage"),
        (["vectorize", "one.gpkg", "-o", "one.gpkg"], "input"),
    ],
)
def test_no_input_is_ever_replaced(tmp_path, monkeypatch, capfd, arguments, word):
    monkeypatch.chdir(tmp_path)
    broken_inputs(tmp_path)
    (tmp_path / "list.txt").write_text("one.tif\n")
    for name in ("area.gpkg", "one.gpkg"):
        (tmp_path / name).write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    fails(capfd, [*arguments, "--overwrite"], 2, word)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_probabilities_that_are_all_nodata_are_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "nan.tif", np.full((1, 9, 9), np.nan, np.float32))
    fails(capfd, ["vectorize", "nan.tif", "-o", "o.gpkg"], 3, "nan.tif", "nodata")
    assert files(tmp_path) == ["nan.tif"]


def test_an_output_folder_that_is_not_there_is_said_before_work_begins(survey, tmp_path, capfd):
    out = tmp_path / "nowhere" / "cracks.gpkg"
    fails(capfd, ["map", survey, "-o", out], 4, "nowhere")


def test_errors_are_events_too(tmp_path, capfd):
    assert run(["map", "missing.tif", "-o", str(tmp_path / "o.gpkg"), "--progress", "json"]) == 3
    event = json.loads(capfd.readouterr().out)
    assert (event["event"], event["exit_code"], event["kind"]) == ("error", 3, "input")
    assert event["remedy"]


def test_wrong_options_are_events_too(tmp_path, capfd):
    assert run(["map", "a.tif", "-o", "o.gpkg", "--gsd", "x", "--progress", "json"]) == 2
    event = json.loads(capfd.readouterr().out)
    assert (event["event"], event["exit_code"], event["kind"]) == ("error", 2, "usage")
    assert "--gsd" in event["message"]


def test_empty_names_are_refused(survey, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(capfd, ["map", "", "-o", "o.gpkg"], 2, "empty name")
    fails(capfd, ["map", survey, "-o", ""], 2, "has no name")
    assert files(tmp_path) == ["survey.tif"]


INTERRUPTED_WHILE_LOADING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "crackgeo.cli":
            signal.raise_signal(int(sys.argv[1]))
sys.meta_path.insert(0, Interrupt())
from crackgeo.__main__ import main
main()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_while_the_command_line_is_loaded_shows_no_traceback(number):
    code = [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, str(int(number))]
    result = subprocess.run(code, capture_output=True, text=True)
    assert result.returncode == 130
    assert result.stderr == "error: stopped by the user\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_cleanly(tmp_path, number):
    rng = np.random.default_rng(1)
    write(tmp_path / "big.tif", rng.integers(0, 255, (3, 3000, 3000), dtype=np.uint8))
    program = [sys.executable, "-c", "from crackgeo.cli import main; main()"]
    process = subprocess.Popen(
        [*program, "map", "big.tif", "-o", "out.gpkg", "--progress", "json", "--batch-size", "1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if json.loads(line).get("done", 0) > 0:
            break
    os.kill(process.pid, number)
    started = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 30
    event = json.loads(out.splitlines()[-1])
    assert (event["event"], event["kind"]) == ("error", "cancelled")
    assert "Traceback" not in err
    assert files(tmp_path) == ["big.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP")
def test_a_lost_terminal_is_not_heard_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Console().monitor() as monitor:
            signal.raise_signal(signal.SIGHUP)
            monitor.step("work", 0, 1)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with Console(verbosity=-1).monitor() as monitor:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # of the shell, after that of the kernel
            with pytest.raises(Cancelled):
                monitor.step("work", 0, 1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_outlives_whoever_read_its_stderr(survey, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    out = tmp_path / "o.tif"
    program = [sys.executable, "-m", "crackgeo", "predict", str(survey), "-o", str(out)]
    with os.fdopen(writing, "wb") as stderr:
        done = subprocess.run(
            [*program, "--progress", "bar"], stdout=subprocess.PIPE, stderr=stderr
        )
    assert done.returncode == 0
    assert out.exists()
    assert done.stdout


def test_a_wish_to_stop_that_a_library_turned_into_its_own_error_is_one(monkeypatch, capsys):
    def stopped(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("no attribute") from None

    monkeypatch.setattr("crackgeo.cli.cli.main", stopped)
    assert run(["doctor"]) == 130
    assert "internal error" not in capsys.readouterr().err


def test_the_end_of_a_file_inside_a_command_is_no_wish_to_stop(monkeypatch, capsys):
    def damaged(*_, **__):
        raise EOFError("Ran out of input")

    monkeypatch.setattr("crackgeo.doctor.diagnose", damaged)
    assert run(["doctor"]) == 1
    assert "internal error: EOFError: Ran out of input" in capsys.readouterr().err


def test_a_signal_after_the_result_upsets_nothing():
    code = (
        "import atexit, signal, crackgeo.cli as cli; cli.run = lambda arguments: 6;"
        "atexit.register(lambda: signal.raise_signal(signal.SIGINT)); cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (6, "")
