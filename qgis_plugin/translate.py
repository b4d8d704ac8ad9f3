"""Bring the translation sources up to date with the plugin's texts.

    python qgis_plugin/translate.py [--language de]

Collects every literal that the plugin gives to `tr` and writes `i18n/crackgeo_LANGUAGE.ts`:
translations that still apply are kept, new texts are marked unfinished. Qt Linguist or an editor
fills them in; `package.py` compiles them.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from xml.etree import ElementTree

PLUGIN = Path(__file__).parent / "crackgeo"
CONTEXT = "crackgeo"  # as in translation.py
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n'


def source_texts() -> dict[str, str]:
    """Every text of the plugin and the file where it comes first, in the order of the files."""
    texts: dict[str, str] = {}
    for path in sorted(PLUGIN.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
                texts.setdefault(_literal(node, path), path.relative_to(PLUGIN).as_posix())
    return texts


def _literal(call: ast.Call, path: Path) -> str:
    text = call.args[0]
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        return text.value
    raise SystemExit(f"{path}:{call.lineno}: tr() needs a literal, or nobody can translate it")


def read(path: Path) -> dict[str, str]:
    """Text and translation of a .ts file; an unfinished one is empty."""
    if not path.exists():
        return {}
    messages = ElementTree.parse(path).iter("message")
    return {m.findtext("source", ""): m.findtext("translation", "") or "" for m in messages}


def write(path: Path, language: str, texts: dict[str, str], known: dict[str, str]) -> None:
    """Write a .ts file."""
    root = ElementTree.Element("TS", version="2.1", language=language, sourcelanguage="en")
    context = ElementTree.SubElement(root, "context")
    ElementTree.SubElement(context, "name").text = CONTEXT
    for text, place in texts.items():
        message = ElementTree.SubElement(context, "message")
        ElementTree.SubElement(message, "location", filename=f"../{place}")
        ElementTree.SubElement(message, "source").text = text
        translation = ElementTree.SubElement(message, "translation")
        translation.text = known.get(text)
        if not translation.text:
            translation.set("type", "unfinished")
    ElementTree.indent(root, " ")
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + ElementTree.tostring(root, "unicode") + "\n", encoding="utf-8")


def main() -> int:
    """Update one language and say what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--language", default="de")
    language = parser.parse_args().language
    path = PLUGIN / "i18n" / f"{CONTEXT}_{language}.ts"
    texts, known = source_texts(), read(path)
    write(path, language, texts, known)
    missing = [text for text in texts if not known.get(text)]
    print(f"{path.name}: {len(texts)} texts, {len(missing)} without a translation")
    return 0


if __name__ == "__main__":
    sys.exit(main())
