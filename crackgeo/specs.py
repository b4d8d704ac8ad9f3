"""Every number that shapes a result, once, with its reason.

Frozen dataclasses, checked when made; a wrong value raises `UsageError` that names the option.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UsageError

TILE_PX = 448  # the CrackSAM paper's patch; 14 windows of 32 px, so it fits `compact` too
PROB_SCALE = 1 / 254  # a probability raster holds round(p * 254) ...
PROB_NODATA = 255  # ... and this where nothing was surveyed
RESULT_TAG = "CRACKGEO"  # metadata item of the rasters and pictures that crackgeo writes

OnError = Literal["fail", "skip"]  # what to do with rasters, and blocks, that cannot be read


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def option_of(field: str) -> str:
    """The option of the command line for a field whose name ends in its unit."""
    return "--" + re.sub("_(px|m|mm)$", "", field).replace("_", "-")


def number(value: Any, kind: type[int] | type[float], option: str) -> Any:
    """A number as Python has it, of NumPy's too; text, and a fraction for an int, are refused.

    Raises
    ------
    UsageError
        Names the option.
    """
    try:
        plain = None if isinstance(value, str | bytes | bool) else kind(value)
    except (TypeError, ValueError, OverflowError):
        plain = None
    if plain is None or (kind is int and plain != value):
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{option} must be {wanted}, not {value!r}")
    return plain


def numbers(
    values: Any, kind: type[int] | type[float], counts: tuple[int, ...], option: str
) -> tuple[Any, ...]:
    """Several numbers as a tuple; errors as `number`, and for any other count of them."""
    wanted = " or ".join(map(str, counts))
    try:
        found = () if isinstance(values, str | bytes) else tuple(values)
    except TypeError:
        found = ()
    if len(found) not in counts:
        raise UsageError(f"{option} takes {wanted} numbers, not {values!r}")
    return tuple(number(value, kind, option) for value in found)


@dataclass(frozen=True)
class TileSpec:
    """How a raster is cut into tiles.

    `overlap_px` of 112 (a quarter) keeps every pixel at least 56 px away from the nearest
    border of some tile, about the reach of the context that decides on a crack pixel.
    """

    size_px: int = TILE_PX
    overlap_px: int = 112

    def __post_init__(self) -> None:
        _require(self.size_px > 0, f"tile size must be positive, not {self.size_px}")
        _require(
            0 <= self.overlap_px <= self.size_px // 2,
            f"--overlap must lie between 0 and {self.size_px // 2} px, not {self.overlap_px}",
        )

    @property
    def step_px(self) -> int:
        """Distance between the origins of neighbouring tiles, in pixels."""
        return self.size_px - self.overlap_px


@dataclass(frozen=True)
class BandSpec:
    """Which bands make red, green and blue, and how their values become 0 to 255.

    Parameters
    ----------
    bands : 1-based band numbers, one (grey) or three (red, green, blue); None chooses by
        colour interpretation, else the first three (or the only one)
    stretch : ground values that become 0 and 255, the same over the whole raster; None looks
        at the raster, see `stretch.find_stretch`
    nodata : value that marks pixels without data, beside the raster's own marks
    """

    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        if self.bands is not None:
            _require(len(self.bands) in (1, 3), "--bands takes one band or three, e.g. 1,2,3")
            _require(min(self.bands) >= 1, "--bands counts from 1")
        if self.stretch is not None:
            low, high = self.stretch
            _require(
                -math.inf < low < high < math.inf,
                f"--stretch needs two numbers LOW < HIGH, not {low:g},{high:g}",
            )


@dataclass(frozen=True)
class VectorSpec:
    """How probabilities become lines. Lengths in pixels of the probability raster unless named.

    Parameters
    ----------
    threshold : a crack must reach this probability somewhere (hysteresis, high)
    threshold_low : and is followed down to this one (hysteresis, low); 0.25 keeps hairlines
        that a blur of 1 px lowers below 0.5
    outline : probability at the outline of a clear crack, where widths are measured and polygons
        end, of a model that leaves a rim of lower ones above 0.5 around it; 0 of any other
    min_length_m : shorter networks are dropped, metres on the ground
    min_length_px : shorter networks are dropped as noise whatever the ground pixel size
    max_width_mm : networks wider than this on average, a rim included, are no cracks but plants,
        shadows, ditches (the widest class of pavement manuals begins at 19 mm); no rule without
        a CRS
    spur_radii, spur_px : an end branch shorter than spur_radii * R + spur_px is a spur, R the
        distance to background at its junction
    link_px, link_deg : line ends closer than this and facing each other within this angle are
        joined
    continue_deg : two branches are one crack through a junction below this deflection
    smooth_px : standard deviation of the Gaussian along a traced chain
    simplify_px : Douglas-Peucker tolerance of the written lines; lengths are measured before
    thin_iterations : bound of the thinning, so that it is a local operation; wider regions
        stay solid and become polygons only
    block_px : side of the blocks the raster is processed in; changes memory, never the result
    """

    threshold: float = 0.5
    threshold_low: float = 0.25
    outline: float = 0.0
    min_length_m: float = 0.0
    min_length_px: float = 20.0
    max_width_mm: float = 100.0
    spur_radii: float = 1.5
    spur_px: float = 2.0
    link_px: float = 30.0
    link_deg: float = 45.0
    continue_deg: float = 45.0
    smooth_px: float = 2.0
    simplify_px: float = 0.25
    thin_iterations: int = 64
    block_px: int = 2048

    def __post_init__(self) -> None:
        _require(0 < self.threshold < 1, f"--threshold must lie in (0, 1), not {self.threshold}")
        _require(
            0 < self.threshold_low <= self.threshold,
            f"--threshold-low must lie in (0, {self.threshold}], not {self.threshold_low}",
        )
        _require(0 <= self.outline < 1, f"an outline lies in [0, 1), not at {self.outline}")
        _require(
            0 <= self.min_length_m < math.inf,
            f"--min-length must be a length, 0 or more, not {self.min_length_m:g}",
        )
        _require(self.max_width_mm > 0, "--max-width must be positive")
        _require(self.thin_iterations >= 1 and self.block_px >= 16, "blocks must be >= 16 px")
