"""What the plugin's code may import and which spellings of Qt it uses: QGIS 3.22 to 4."""

import ast
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "qgis_plugin" / "crackgeo"
FILES = sorted(PLUGIN.rglob("*.py"))
NO_QGIS = ("child", "engine", "environment", "interpreters", "tools", "diagnostics")
QGIS = {"qgis", "processing"}
HEAD = """from qgis.core import Qgis, QgsProcessing
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QMessageBox
"""


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def relative(path):
    return str(path.relative_to(PLUGIN))


def test_there_is_something_to_check():
    assert {"engine.py", "provider.py"} <= {p.name for p in FILES}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_is_imported_outside_qgis_and_the_standard_library(path):
    for name, level in imports(path):
        top = name.split(".")[0]
        assert level or top in QGIS | sys.stdlib_module_names, f"imports {name}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_qt_comes_through_qgis(path):
    names = {name for name, _ in imports(path)}
    assert not any(name.split(".")[0] in ("PyQt5", "PyQt6", "sip") for name in names)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_code_runs_with_qt_6(path):
    text = path.read_text(encoding="utf-8")
    calls = [n.func.attr for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)
             and isinstance(n.func, ast.Attribute)]  # fmt: skip
    assert "exec_" not in calls
    assert unscoped(ast.parse(text)) == []


def unscoped(tree):
    """Enumerators of QGIS and Qt that are not reached through their enumeration.

    In Qt 6 there is no other way: Qt.ItemDataRole.UserRole, not Qt.UserRole. What follows a class
    and begins with a capital must be an enumeration, or a class that is called.
    """
    classes = {alias.asname or alias.name for node in ast.walk(tree)
               if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis")
               for alias in node.names}  # fmt: skip
    followed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return [f"{node.value.id}.{node.attr}" for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and node.value.id in classes and node.attr[0].isupper()
            and not node.attr.isupper()  # a constant, as Qgis.QGIS_VERSION
            and id(node) not in followed | called]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_code_runs_with_python_3_9(path):
    """QGIS 3.22 on Windows brings Python 3.9."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("module", NO_QGIS)
def test_the_parts_below_qgis_do_not_need_it(module):
    names = {name.split(".")[0] for name, _ in imports(PLUGIN / f"{module}.py")}
    assert not names & QGIS


@pytest.mark.parametrize(
    "bad",
    ["Qt.UserRole", "f(QMessageBox.Yes)", "QgsProcessing.TypeVectorLine", "x = Qgis.Warning",
     "QMessageBox.question(a, b, QMessageBox.Yes | c)"],
)  # fmt: skip
def test_the_rule_for_enumerations_finds_what_it_should(bad):
    assert unscoped(ast.parse(HEAD + bad)) != []


@pytest.mark.parametrize(
    "good",
    ["Qt.ItemDataRole.UserRole", "QMessageBox.StandardButton.Yes", "Qgis.MessageLevel.Info",
     "QgsProcessing.LayerDetails(1)", "QMessageBox.question(a)", "Mine.Red"],
)  # fmt: skip
def test_the_rule_for_enumerations_lets_scoped_ones_pass(good):
    assert unscoped(ast.parse(HEAD + good)) == []
