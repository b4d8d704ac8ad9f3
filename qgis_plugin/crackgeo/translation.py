"""Texts in the user's language.

Every text that a user sees is the literal argument of `tr`, so that a script can collect them.
"""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtCore import QCoreApplication, QLocale, QSettings, QTranslator

CONTEXT = "crackgeo"
FOLDER = Path(__file__).parent / "i18n"


def tr(text: str) -> str:
    """The text in the user's language, in English if there is no translation."""
    return QCoreApplication.translate(CONTEXT, text)


def install_translator() -> QTranslator | None:
    """Load the translation for the user's language; must happen before a text is asked for."""
    locale = str(QSettings().value("locale/userLocale", QLocale().name()) or "en")
    translator = QTranslator()
    if not translator.load(str(FOLDER / f"crackgeo_{locale[:2]}.qm")):
        return None
    QCoreApplication.installTranslator(translator)
    return translator
