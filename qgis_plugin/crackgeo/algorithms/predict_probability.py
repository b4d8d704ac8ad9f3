"""crackgeo:predictprobability, the first half of the main job."""

from __future__ import annotations

from ..layer_parameters import RasterOutput
from ..layers import PROBABILITY_LABEL
from ..translation import tr
from .base import EngineAlgorithm, Value
from .shared import AREA, EXTENT, GSD, INPUT, MODEL, RASTER, RESUME, RUN

OUTPUT = RasterOutput(
    "OUTPUT",
    PROBABILITY_LABEL,
    tr("The GeoTIFF to write: the probability of a crack in each pixel. 255 marks no data."),
    "--output",
    suffix=".tif",
)


class PredictProbability(EngineAlgorithm):
    """Image in, probabilities out."""

    NAME = "predictprobability"
    TITLE = tr("Predict crack probability")
    SUMMARY = tr("Writes the probability of a crack for every pixel of an image.")
    HELP = tr("<p>Vectorize cracks makes measured lines of the result.</p>")
    TAGS = tr("crack,probability,deep learning,segmentation,inference")
    COMMAND = "predict"
    FLAGS = ("--overwrite",)
    PARAMETERS = (INPUT, MODEL, AREA, EXTENT, GSD, *RUN, *RASTER, RESUME, OUTPUT)
    VALUES = (
        Value("TILES", tr("Tiles run"), "tiles_run"),
        Value("PIXELS", tr("Pixels with data"), "pixels_valid"),
    )
    SHARES = (("predict", 1),)
