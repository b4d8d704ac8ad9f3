"""Calibrate a fine-tuned model on the local validation part."""

from __future__ import annotations

from dataclasses import replace

from crackgeo.models.compact import restore_compact, without_outline
from crackgeo.models.runtime import Scaling
from crackgeo.monitor import SILENT, Monitor

from ..pictures.pairs import has_crack
from ..scoring.calibrate import calibrate, fit_masks
from ..scoring.stored import calibration_metadata, fitted
from .bases import Base
from .local_data import LocalData

DRAWN = 16  # drawn crack-free scenes beside the local ones


def recalibrated(
    base: Base, data: LocalData, device: str, monitor: Monitor = SILENT
) -> tuple[Base, dict[str, str]]:
    """Choose outline, temperature and object rule on the local validation pictures.

    The offset of the outline and the temperature go into the last layer, as at the first time.

    Returns
    -------
    tuple
        The base with temperature 1, and the metadata that tell of it.
    """
    raw = replace(base, scaling=Scaling(base.scaling.factor, base.scaling.offset))
    cracked = [r for r in data.val if has_crack(r)]
    free = [r for r in data.val if r not in cracked]
    masks = restore_compact(without_outline(base.network.state_dict()))
    fit = fit_masks(replace(raw, network=masks).segmenter(device), cracked, (), monitor)
    raw.network.load_state_dict(fitted(raw.network.state_dict(), fit))
    found = calibrate(raw.segmenter(device), cracked, free, fit, monitor, DRAWN, outlined_sets=())
    return raw, calibration_metadata(found)
