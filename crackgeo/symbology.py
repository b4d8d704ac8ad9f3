"""How cracks look: width classes and colours, the same in QGIS and in the quicklook.

Classes end where inspectors' classes end, so that a colour is a grade:

- 0.3 and 1.3 mm: reinforced concrete, condition states 1/2 and 2/3 (AASHTO Manual for Bridge
  Element Inspection, 0.012 and 0.05 in); 0.3 mm is the limit of ACI 224R-01, table 4.1, and of
  Eurocode 2, table 7.1N, for concrete in moist air too.
- 3 and 6 mm: transverse cracks in jointed concrete pavement, low/moderate/high
  (FHWA-HRT-13-092, LTPP Distress Identification Manual, 2014).
- 6 and 19 mm: cracks in asphalt pavement, low/moderate/high, by mean width (the same manual).

The colours are the six-class RdYlBu scheme of ColorBrewer, marked safe for colour-blind
readers; width doubles what colour says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from .schema import LAYERS, Field

_OPEN_END_MM = 1e6  # QGIS has no open range; wider than any crack


@dataclass(frozen=True)
class WidthClass:
    """Cracks of mean width in (lower, upper] and how they are drawn.

    Parameters
    ----------
    lower_mm, upper_mm : bounds of the class in mm; the last is open (infinity), of unknown
        widths both are -1
    colour : red, green, blue, 0 to 255
    line_mm : width of the line on a map, mm on paper
    """

    lower_mm: float
    upper_mm: float
    colour: tuple[int, int, int]
    line_mm: float

    def label(self, ground_units: bool = True) -> str:
        """The class in words, e.g. "1.3 - 3 mm"; in "units" where there is no CRS."""
        unit = "mm" if ground_units else "units"
        if self.upper_mm < 0:
            return "width unknown"
        if self.lower_mm == 0:
            return f"up to {self.upper_mm:g} {unit}"
        if math.isinf(self.upper_mm):
            return f"over {self.lower_mm:g} {unit}"
        return f"{self.lower_mm:g} - {self.upper_mm:g} {unit}"


WIDTH_CLASSES = (
    WidthClass(0.0, 0.3, (69, 117, 180), 0.30),
    WidthClass(0.3, 1.3, (145, 191, 219), 0.36),
    WidthClass(1.3, 3.0, (224, 243, 248), 0.44),
    WidthClass(3.0, 6.0, (254, 224, 144), 0.54),
    WidthClass(6.0, 19.0, (252, 141, 89), 0.68),
    WidthClass(19.0, math.inf, (215, 48, 39), 0.86),
)


# Such a crack has no grade; in QGIS, which would leave out NULL, its width counts as this one.
UNKNOWN = WidthClass(-1.0, -1.0, (178, 178, 178), 0.36)
CRACK_CLASSES = (*WIDTH_CLASSES, UNKNOWN)


def width_class(width_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index into `CRACK_CLASSES` of mean widths in mm, any shape; NaN is an unknown one.

    A bound belongs to the class below it, as in QGIS.
    """
    uppers = np.array([c.upper_mm for c in WIDTH_CLASSES])
    found = np.searchsorted(uppers, np.nan_to_num(width_mm, posinf=_OPEN_END_MM))
    return np.where(np.isnan(width_mm), len(WIDTH_CLASSES), found)


@cache
def style_qml(layer: str, ground_units: bool = True) -> str | None:
    """The default QGIS style of a layer as QML, None for a layer without one.

    Without ground units widths have the same classes, in the raster's own units.
    """
    source = resources.files(__package__).joinpath("styles", f"{layer}.qml")
    if not source.is_file():
        return None
    schema = next(s for s in LAYERS if s.name == layer)
    metre, milli, digits = ("m", "mm", 1) if ground_units else ("units", "units", 3)
    return Template(source.read_text(encoding="utf-8")).substitute(
        aliases=_aliases(schema.fields, ground_units),
        crack_ranges=_ranges(CRACK_CLASSES, ground_units),
        lines=_lines(),
        ranges=_ranges(WIDTH_CLASSES, ground_units),
        markers=_markers(),
        metre=metre,
        milli=milli,
        digits=digits,
    )


def _aliases(fields: Iterable[Field], ground_units: bool) -> str:
    names = ((f.name, f.name_for_people(ground_units)) for f in fields)
    rows = (f"<alias field={quoteattr(f)} name={quoteattr(name)}/>" for f, name in names)
    return "\n    ".join(rows)


def _ranges(classes: Iterable[WidthClass], ground_units: bool) -> str:
    return "\n      ".join(
        f'<range symbol="{i}" lower="{c.lower_mm:g}" upper="{min(c.upper_mm, _OPEN_END_MM):.15g}" '
        f'label="{c.label(ground_units)}" render="true"/>'
        for i, c in enumerate(classes)
    )


def _lines() -> str:
    """Each class as a coloured line over a dark casing, legible on asphalt and on concrete."""
    return _symbols(
        "line",
        CRACK_CLASSES,
        lambda c: _line((20, 20, 20), c.line_mm + 0.3, 150) + _line(c.colour, c.line_mm),
    )


def _markers() -> str:
    """Each class as a coloured dot with a dark rim, larger with the class."""
    return _symbols("marker", WIDTH_CLASSES, _marker)


def _symbols(kind: str, classes: Iterable[WidthClass], drawn: Callable[[WidthClass], str]) -> str:
    return "\n      ".join(
        f'<symbol name="{i}" type="{kind}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f"{drawn(c)}</symbol>"
        for i, c in enumerate(classes)
    )


def _line(colour: tuple[int, int, int], width_mm: float, opacity: int = 255) -> str:
    values = {
        "line_color": _colour(colour, opacity),
        "line_width": f"{width_mm:.2f}",
        "line_width_unit": "MM",
        "line_style": "solid",
        "capstyle": "round",
        "joinstyle": "round",
    }
    return _layer("SimpleLine", values)


def _marker(width: WidthClass) -> str:
    values = {
        "name": "circle",
        "size": f"{1 + width.line_mm:.2f}",
        "size_unit": "MM",
        "color": _colour(width.colour),
        "outline_color": _colour((20, 20, 20)),
        "outline_width": "0.20",
    }
    return _layer("SimpleMarker", values)


def _colour(colour: tuple[int, int, int], opacity: int = 255) -> str:
    return ",".join(map(str, (*colour, opacity)))


def _layer(kind: str, values: dict[str, str]) -> str:
    options = "".join(
        f'<Option name="{key}" value="{value}" type="QString"/>' for key, value in values.items()
    )
    return (
        f'<layer class="{kind}" enabled="1" locked="0" pass="0">'
        f'<Option type="Map">{options}</Option></layer>'
    )
