"""Documents that say what the code says."""

import dataclasses
import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_command_line_reference_is_current():
    made = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["reference"]()
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == made, "run: python docs/make_cli.py"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_versions_agree():
    from crackgeo import __version__

    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"[{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def keys_of(kind):
    return {field.name for field in dataclasses.fields(kind)}


def test_every_key_of_the_json_is_described():
    from crackgeo.doctor import Check
    from crackgeo.raster import RasterInfo
    from crackgeo.results import MapResult, PredictResult, VectorizeResult
    from crackgeo.survey import RasterReport

    both = (
        PredictResult(None, 1, (), 0, "m", "0", "cpu", "fp32", (1.0, 1.0), 1, 1, 1, 1.0),
        VectorizeResult(Path("o.gpkg"), 0, 0, 0.0, None, None, None, 1.0, True, 1.0),
    )
    info = (keys_of(RasterInfo) | keys_of(RasterReport)) - {"grid", "raster"} | {"transform"}
    parts = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8").split("\n### ")
    pages = {part.split("\n")[0]: set(re.findall("`([a-z_0-9]+)`", part)) for part in parts}
    results = set(MapResult(*both, None, None, 1.0).to_dict())
    others = {"null", "cpu", "bf16", "map", "predict", "vectorize"}
    assert pages["`map`, `predict` and `vectorize`"] - others == results
    assert info <= pages["`info`"]
    assert keys_of(Check) <= pages["`doctor`"]


def test_every_event_is_described(capsys):
    from crackgeo.cli.console import Console
    from crackgeo.errors import Cancelled, InputError, ModelError, ResourceError, UsageError

    console = Console(progress="json")
    console.warn("careful")
    console.advance("predict", 1, 2)
    console.error(InputError("what", "remedy"), 3)
    console.result({}, "")
    text = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {e["event"] for e in events} == {"progress", "warning", "error", "result"}
    kinds = {e.kind for e in (Cancelled, InputError, ModelError, ResourceError, UsageError)}
    names = {e["event"] for e in events} | {key for e in events for key in e} | kinds
    assert all(f"`{name}`" in text for name in names)
