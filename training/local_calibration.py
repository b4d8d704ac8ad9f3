"""Calibrate a fine-tuned model on the local validation part."""

from __future__ import annotations

from dataclasses import replace

import torch

from crackgeo.errors import UsageError
from crackgeo.models.runtime import Scaling
from crackgeo.monitor import SILENT, Monitor

from .bases import Base
from .calibrate import calibrate
from .export import HEAD_BIAS, calibration_metadata
from .local_data import LocalData
from .pairs import read_label

DRAWN = 16  # drawn crack-free scenes beside the local ones


def recalibrated(
    base: Base, data: LocalData, device: str, monitor: Monitor = SILENT
) -> tuple[Base, dict[str, str]]:
    """Choose outline, temperature and object rule on the local validation pictures.

    The offset of the outline goes into the bias of the last layer, as at the first calibration.

    Returns
    -------
    tuple
        The base with its new temperature, and the metadata that tell of it.

    Raises
    ------
    UsageError
        The base is not `compact`.
    """
    if not base.is_compact:
        raise UsageError("--recalibrate works on compact only", "leave it out")
    raw = replace(base, scaling=Scaling(base.scaling.factor, base.scaling.offset))
    free = [r for r in data.val if not (read_label(r)[1] == 1).any()]
    cracked = [r for r in data.val if r not in free]
    found = calibrate(raw.segmenter(device), cracked, free, monitor, DRAWN, outlined_sets=())
    with torch.no_grad():
        base.network.get_parameter(HEAD_BIAS).add_(found.offset)
    scaling = replace(base.scaling, temperature=found.temperature)
    return replace(base, scaling=scaling), calibration_metadata(found)
