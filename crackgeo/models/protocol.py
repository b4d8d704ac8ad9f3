"""What the engine needs of a model; knows no torch, so tests can bring models of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..specs import TILE_PX, VectorSpec


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Parameters
    ----------
    name : "compact", or the file's own name
    sha256 : of the model file, hexadecimal
    threshold, threshold_low : probabilities for the hysteresis, chosen on validation data
    min_length_px : networks shorter than this are dropped, chosen on validation data
    outline : probability at a crack's outline, of a model that leaves a rim around it; else 0
    width_error_px, width_error_share : mean absolute error to expect of a width, from validation
        outlines: the first, plus this share of the width; they feed `width_unc_mm`
    tile_px : side of the square images it takes
    metadata : everything else the file says, as strings
    """

    name: str
    sha256: str
    threshold: float = VectorSpec.threshold
    threshold_low: float = VectorSpec.threshold_low
    min_length_px: float = VectorSpec.min_length_px
    outline: float = VectorSpec.outline
    width_error_px: float = 1.0
    width_error_share: float = 0.0
    tile_px: int = TILE_PX
    metadata: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Segmenter(Protocol):
    """A model that gives crack probabilities."""

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        ...

    @property
    def batch_size(self) -> int:
        """How many tiles it likes at once."""
        ...

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crack probabilities of RGB tiles.

        Parameters
        ----------
        images : uint8 `[N, 448, 448, 3]`, RGB

        Returns
        -------
        float32 `[N, 448, 448]` in [0, 1]
        """
        ...


@runtime_checkable
class StreamSegmenter(Segmenter, Protocol):
    """A model that can run several batches at once."""

    def predict_each(
        self, batches: Iterable[NDArray[np.uint8]]
    ) -> Generator[NDArray[np.float32], None, None]:
        """Crack probabilities of one batch after the other; may ask for some batches ahead.

        Parameters
        ----------
        batches : uint8 `[N, 448, 448, 3]`, RGB each

        Yields
        ------
        float32 `[N, 448, 448]` in [0, 1], in the order of the batches
        """
        ...


def trait(model: object, name: str) -> str:
    """A property that the models of crackgeo have, but a user's own need not."""
    return str(getattr(model, name, "own"))
