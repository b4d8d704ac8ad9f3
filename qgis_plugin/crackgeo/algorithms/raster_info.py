"""crackgeo:rasterinfo, what an image is and what a run on it would take."""

from __future__ import annotations

from ..translation import tr
from .base import EngineAlgorithm, Value
from .shared import AREA, EXTENT, GSD, INPUT, MODEL, RASTER, RUN


class RasterInfo(EngineAlgorithm):
    """Image in, numbers out."""

    NAME = "rasterinfo"
    TITLE = tr("Image information")
    SUMMARY = tr("Says what an image is as the engine sees it, and how long Map cracks would take.")
    HELP = tr("<p>The ground pixel size decides which cracks can be seen: see it before a run.</p>")
    TAGS = tr("crack,ground sampling distance,gsd,pixel size,estimate,time")
    COMMAND = "info"
    PARAMETERS = (INPUT, MODEL, AREA, EXTENT, GSD, *RUN, *RASTER)
    VALUES = (
        Value("WIDTH", tr("Columns"), "width"),
        Value("HEIGHT", tr("Rows"), "height"),
        Value("CRS", tr("Coordinate reference system"), "crs_name", text=True),
        Value("GSD_X", tr("Ground pixel size along columns (mm)"), "gsd_mm.0"),
        Value("GSD_Y", tr("Ground pixel size along rows (mm)"), "gsd_mm.1"),
        Value("TILES", tr("Tiles"), "tiles"),
        Value("TILES_TO_RUN", tr("Tiles with data"), "tiles_to_run"),
        Value("SECONDS", tr("Estimated time (s)"), "seconds"),
        Value("HINTS", tr("Hints"), "hints", text=True),
    )
