"""Where probabilities come from: travels in the probability raster, ends in the run record.

It holds no time, so that the same options, model and input give the same file, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, cast

from .errors import InputError, UsageError
from .jsontext import to_json
from .models.protocol import ModelInfo
from .specs import RESULT_TAG, VectorSpec, number


@dataclass(frozen=True)
class Provenance:
    """What made a probability raster, and how its model wants it read.

    Parameters
    ----------
    version : of crackgeo
    input_name, input_width_px, input_height_px, input_bytes, input_header_sha256 : the raster
    model, model_sha256, device : what computed the probabilities, and on what
    threshold, threshold_low, min_length_px, outline, width_error_px, width_error_share : see
        `ModelInfo`
    n_tiles : tiles that the model looked at
    options : every option of the prediction by its name
    inputs : each raster with its name and either its own pixel size, other sizes and checksum, or
        the error it gave
    skipped : windows of the probability raster that could not be read, with the raster's name
    """

    version: str
    input_name: str
    input_width_px: int
    input_height_px: int
    input_bytes: int
    input_header_sha256: str
    model: str = ""
    model_sha256: str = ""
    device: str = ""
    threshold: float = ModelInfo("", "").threshold
    threshold_low: float = ModelInfo("", "").threshold_low
    min_length_px: float = ModelInfo("", "").min_length_px
    outline: float = ModelInfo("", "").outline
    width_error_px: float = ModelInfo("", "").width_error_px
    width_error_share: float = ModelInfo("", "").width_error_share
    n_tiles: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()

    def to_tags(self) -> dict[str, str]:
        """As metadata of a GeoTIFF."""
        return {RESULT_TAG: to_json(asdict(self), sort_keys=True)}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Provenance | None:
        """Back from a GeoTIFF's metadata; None if another program made it.

        What only other versions write of themselves is passed over.

        Raises
        ------
        InputError
            Another version of crackgeo made it, and too little of it is understood.
        """
        if RESULT_TAG not in tags:
            return None
        ours = {one.name for one in fields(cls)}
        try:
            said = json.loads(tags[RESULT_TAG])
            return cls(**{name: value for name, value in said.items() if name in ours})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                "the probability raster was made by a version of crackgeo that this one does not "
                f"understand ({error})",
                "make it anew with `crackgeo predict`",
            ) from error

    def with_model(self, info: ModelInfo, device: str) -> Provenance:
        """With what the model says of itself.

        Raises
        ------
        UsageError
            A number of a user's own model is none.
        """
        return replace(
            self,
            model=info.name,
            model_sha256=info.sha256,
            device=device,
            threshold=_told(info, "threshold"),
            threshold_low=_told(info, "threshold_low"),
            min_length_px=_told(info, "min_length_px"),
            outline=_told(info, "outline"),
            width_error_px=_told(info, "width_error_px"),
            width_error_share=_told(info, "width_error_share"),
        )

    def vector_spec(
        self,
        threshold: float | None,
        threshold_low: float | None,
        min_length_m: float | None,
        max_width_mm: float,
    ) -> VectorSpec:
        """How to make lines of it: the model's own numbers where the user gave none.

        A threshold given alone takes the low one with it, in the model's proportion; a
        length given replaces the model's own rule.
        """
        high = self.threshold if threshold is None else threshold
        if threshold_low is None:
            low = self.threshold_low if threshold is None else self._low_for(threshold)
        else:
            low = threshold_low
        return VectorSpec(
            threshold=high,
            threshold_low=low,
            outline=self.outline,
            min_length_m=min_length_m or 0.0,
            max_width_mm=max_width_mm,
            min_length_px=self.min_length_px if min_length_m is None else 0.0,
        )

    def _low_for(self, threshold: float) -> float:
        return threshold * self.threshold_low / self.threshold if self.threshold else threshold


def _told(info: ModelInfo, name: str) -> float:
    """A number that a model tells of itself; a user's own model may tell anything."""
    value = number(getattr(info, name, None), float, f"{name} of the model {info.name}")
    if not 0 <= value < math.inf:
        raise UsageError(f"{name} of the model {info.name} must be 0 or more, not {value:g}")
    return cast(float, value)
