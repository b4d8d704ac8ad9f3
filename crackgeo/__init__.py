"""crackgeo: cracks on a map, from geo-referenced imagery to measured crack lines.

    import crackgeo

    result = crackgeo.map_cracks("survey.tif", "cracks.gpkg")
    print(result.summary())

The engine is loaded when one of its functions is first used: importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    Cancelled,
    CrackgeoError,
    InputError,
    ModelError,
    ResourceError,
    UsageError,
)
from .monitor import Monitor
from .version import __version__

if TYPE_CHECKING:
    from .models.registry import load_model
    from .pipeline import map_cracks, predict_raster, vectorize_raster
    from .predict_options import PredictOptions
    from .results import MapResult, PredictResult, VectorizeResult

__all__ = [
    "Cancelled",
    "CrackgeoError",
    "InputError",
    "MapResult",
    "ModelError",
    "Monitor",
    "PredictOptions",
    "PredictResult",
    "ResourceError",
    "UsageError",
    "VectorizeResult",
    "__version__",
    "load_model",
    "map_cracks",
    "predict_raster",
    "vectorize_raster",
]

_ENGINE = {
    "MapResult": "results",
    "PredictOptions": "predict_options",
    "PredictResult": "results",
    "VectorizeResult": "results",
    "load_model": "models.registry",
    "map_cracks": "pipeline",
    "predict_raster": "pipeline",
    "vectorize_raster": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _ENGINE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ENGINE[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
