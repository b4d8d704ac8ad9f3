"""crackgeo:mapcracks, the main job."""

from __future__ import annotations

from ..layer_parameters import RasterOutput
from ..layers import PROBABILITY_LABEL
from ..translation import tr
from .cracks import OUTPUT, VALUES, CrackAlgorithm
from .shared import AREA, EXTENT, GSD, INPUT, MIN_LENGTH, MODEL, RASTER, RESUME, RULES, RUN

PROBABILITY = RasterOutput(
    "PROBABILITY",
    PROBABILITY_LABEL,
    tr("Also keep the raster of probabilities, to try other thresholds with Vectorize cracks."),
    "--prob",
    optional=True,
    suffix=".tif",
)


class MapCracks(CrackAlgorithm):
    """Image in, measured crack lines out."""

    NAME = "mapcracks"
    TITLE = tr("Map cracks")
    SUMMARY = tr("Finds the cracks in an image and measures their length and width.")
    HELP = tr(
        "<p>The result is a GeoPackage: crack lines with length in metres and width in "
        "millimetres, their outlines, and a layer that says what was surveyed.</p>"
    )
    TAGS = tr("crack,pavement,road,bridge,facade,concrete,asphalt,deep learning,segmentation")
    COMMAND = "map"
    FLAGS = ("--overwrite",)
    PARAMETERS = (
        INPUT,
        MODEL,
        AREA,
        EXTENT,
        GSD,
        MIN_LENGTH,
        *RULES,
        *RUN,
        *RASTER,
        RESUME,
        OUTPUT,
        PROBABILITY,
    )
    VALUES = VALUES
    SHARES = (("predict", 80), ("prepare", 5), ("skeleton", 8), ("widths", 5), ("coverage", 2))
