"""The tutorial and the pages it links to as HTML, for the plugin's help: it works offline.

Needs markdown-it-py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parents[1] / "docs"
FIRST = "qgis.md"
STYLE = """body { max-width: 60em; margin: 2em auto; padding: 0 1em; font-family: sans-serif;
line-height: 1.45 } img { max-width: 100%; border: 1px solid #ccc } table { border-collapse:
collapse } td, th { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align:
top } code, pre { background: #f2f2f2 } pre { padding: .6em; overflow: auto }"""
PAGE = '<!DOCTYPE html>\n<meta charset="utf-8">\n<title>{}</title>\n<style>{}</style>\n{}'


def help_files() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of the help; `qgis.html` is the first.

    Links to documents that are not among them lose their link, not their text.
    """
    names = [FIRST, *_links(DOCS / FIRST)]
    pictures: set[str] = set()
    for name in names:
        body = MarkdownIt().enable("table").render((DOCS / name).read_text(encoding="utf-8"))
        pictures.update(re.findall(r'<img src="([^"]+)"', body))
        title = re.sub(r"<.*?>", "", body.partition("</h1>")[0]).strip()
        yield _html(name), PAGE.format(title, STYLE, _relinked(body, names)).encode()
    for picture in sorted(pictures):
        yield picture, (DOCS / picture).read_bytes()


def _links(page: Path) -> list[str]:
    """Documents beside a page that it links to, each once."""
    found = re.findall(r"\]\(([\w-]+\.md)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


def _relinked(body: str, names: list[str]) -> str:
    def link(match: re.Match[str]) -> str:
        target, text = match.groups()
        if target.partition("#")[0] in names:
            return f'<a href="{_html(target)}">{text}</a>'
        return match.group() if target.startswith("https://") else text

    return re.sub(r'<a href="([^"]+)">(.*?)</a>', link, body, flags=re.DOTALL)


def _html(name: str) -> str:
    return name.replace(".md", ".html")
