"""What the values of a probability raster mean: crackgeo's codes, or another program's numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .monitor import Monitor
from .source import Pixels, Source
from .specs import PROB_NODATA, PROB_SCALE
from .stretch import sample_values

_LEVELS = 254  # the code of probability 1
_TOLERANCE = 1e-4  # float probabilities of other programs may stick out this far
_PART_PX = 2**20

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Scaling:
    """How stored values become probabilities: value * factor + offset, in [0, 1].

    `meaning` says so in words, for rasters of other programs.
    """

    factor: float
    offset: float = 0.0
    meaning: str = ""

    @property
    def is_own(self) -> bool:
        """Whether stored values are crackgeo's codes already."""
        return abs(self.factor - PROB_SCALE) < 1e-9 and self.offset == 0

    def codes(self, values: Pixels, valid: NDArray[np.bool_], name: str) -> Codes:
        """Codes of stored values, `[h, w]`; raises InputError outside [0, 1]."""
        if self.is_own and values.dtype == np.uint8:
            return np.where(valid, values, np.uint8(PROB_NODATA))
        chance = values[valid] * np.float64(self.factor) + self.offset
        if chance.size and not -_TOLERANCE <= chance.min() <= chance.max() <= 1 + _TOLERANCE:
            raise InputError(
                f"{name}: holds values from {chance.min():g} to {chance.max():g}, "
                "not probabilities from 0 to 1",
                "rescale it to 0 to 1 first (percent: divide by 100)",
            )
        codes = np.full(values.shape, PROB_NODATA, np.uint8)
        codes[valid] = np.rint(np.clip(chance, 0, 1) * _LEVELS)
        return codes


def find_scaling(source: Source, monitor: Monitor) -> Scaling:
    """How to take the values; looks at them where the file does not say."""
    dataset, name = source.dataset, source.dataset.name
    factor, offset = dataset.scales[0], dataset.offsets[0]
    if source.dtype == np.uint8 and Scaling(factor, offset).is_own:
        return Scaling(factor, offset)
    if (factor, offset) != (1.0, 0.0):
        scaling = Scaling(factor, offset, "values with the file's own scale")
    elif source.dtype.kind == "f":
        scaling = Scaling(1.0, 0.0, "probabilities from 0 to 1")
    elif _is_mask(source):
        scaling = Scaling(1.0, 0.0, "a mask of 0 and 1")
    elif source.dtype == np.uint8:
        scaling = Scaling(1 / 255, 0.0, "probabilities from 0 to 255")
    else:
        raise InputError(
            f"{name}: holds {source.dtype} without a scale, not known to be probabilities",
            "rescale it to 0 to 1 as float32 first",
        )
    sample = sample_values(source)
    scaling.codes(sample, np.ones(sample.shape, np.bool_), name)
    monitor.warn(f"{name} is not crackgeo's; taken as {scaling.meaning}")
    if source.plan.nodata[0] == 0:
        monitor.warn(f"{name}: 0 is its nodata value, so where it is 0 is not surveyed")
    return scaling


def _is_mask(source: Source) -> bool:
    """Whether no valid value is beyond 1; reads all of it only if a sample is not."""
    sample = sample_values(source)
    if sample.size and sample.max() > 1:
        return False
    parts = (source.read(part) for part in source.parts(source.window, _PART_PX))
    return all(int(values[valid].max(initial=0)) <= 1 for values, valid in parts)
