"""Documents that say what the code says."""

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
