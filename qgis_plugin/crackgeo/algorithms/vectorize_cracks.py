"""crackgeo:vectorizecracks, the second half of the main job."""

from __future__ import annotations

from ..layer_parameters import Raster
from ..layers import PROBABILITY_LABEL
from ..translation import tr
from .cracks import OUTPUT, VALUES, CrackAlgorithm
from .shared import MIN_LENGTH, RULES

INPUT = Raster(
    "INPUT",
    PROBABILITY_LABEL,
    tr("A raster of Predict crack probability, or any of probabilities from 0 to 1 or of a mask."),
)


class VectorizeCracks(CrackAlgorithm):
    """Probabilities in, measured crack lines out."""

    NAME = "vectorizecracks"
    TITLE = tr("Vectorize cracks")
    SUMMARY = tr("Makes measured crack lines of a raster of crack probabilities.")
    HELP = tr("<p>Much faster than Map cracks, to try thresholds and lengths.</p>")
    TAGS = tr("crack,skeleton,centreline,width,vectorize,threshold")
    COMMAND = "vectorize"
    FLAGS = ("--overwrite",)
    PARAMETERS = (INPUT, MIN_LENGTH, *RULES, OUTPUT)
    VALUES = VALUES
    SHARES = (("prepare", 25), ("skeleton", 40), ("widths", 25), ("coverage", 10))
