"""What of a calibration is stored in a model file: in its last layer, and beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from torch import Tensor

from crackgeo.models.compact import HEAD_BIAS, HEAD_WEIGHT

from .calibrate import Calibration, MaskFit


def fitted(weights: Mapping[str, Tensor], fit: MaskFit) -> dict[str, Tensor]:
    """The weights with offset and temperature of the mask's logit folded into its last layer."""
    weight, bias = weights[HEAD_WEIGHT], weights[HEAD_BIAS]
    return {
        **weights,
        HEAD_WEIGHT: (weight.float() / fit.temperature).to(weight.dtype),
        HEAD_BIAS: (bias + fit.offset) / fit.temperature,
    }


def calibration_metadata(calibration: Calibration) -> dict[str, str]:
    """Metadata that a run reads to use the model as it was calibrated."""
    numbers = {
        "temperature": 1.0,  # it is part of the weights
        "threshold": calibration.threshold,
        "threshold_low": calibration.threshold_low,
        "min_length_px": calibration.min_length_px,
    }
    if calibration.widths is not None:
        numbers["width_error_px"] = calibration.widths.base_px
        numbers["width_error_share"] = calibration.widths.share
    details = json.dumps({**asdict(calibration), "ece": calibration.reliability.error}, default=str)
    said = {name: f"{value:.4g}" for name, value in numbers.items()}
    return {**said, "calibration": details.replace("NaN", "null")}
