"""Parameters that several algorithms have, in the words of the engine's command line."""

from __future__ import annotations

from ..layer_parameters import Extent, Raster, Vector
from ..parameters import Choice, Flag, Model, Number, Text
from ..translation import tr

INPUT = Raster(
    "INPUT",
    tr("Image"),
    tr(
        "Any raster file that GDAL reads: an orthomosaic, a facade picture with coordinates, a "
        "VRT of many. Web layers must be saved as a file first."
    ),
)
MODEL = Model(
    "MODEL",
    tr("Crack model"),
    tr("A model file, for example a fine-tuned one. Empty: compact, which comes with the engine."),
    "--model",
    optional=True,
)
AREA = Vector(
    "AOI",
    tr("Only inside these polygons"),
    tr("Cracks are looked for inside these polygons only; any CRS. Selected features count."),
    "--aoi",
    optional=True,
)
EXTENT = Extent(
    "EXTENT",
    tr("Only this extent"),
    tr("A part of the image, to try settings before a long run."),
    "--bbox",
    optional=True,
)
GSD = Number(
    "GSD",
    tr("Ground pixel size in metres"),
    tr(
        "Resample the image to this pixel size first, for example 0.002. Empty: as it is. Models "
        "are trained on pixels of about 1 to 5 mm."
    ),
    "--gsd",
    optional=True,
    minimum=1e-4,  # where the arrows of the widget begin
)
MIN_LENGTH = Number(
    "MIN_LENGTH",
    tr("Least length in metres"),
    tr(
        "Crack networks shorter than this on the ground are left out; 0 keeps all. Empty: the "
        "model's own rule, which keeps crack-free surfaces clean."
    ),
    "--min-length",
    optional=True,
)
THRESHOLD = Number(
    "THRESHOLD",
    tr("Threshold"),
    tr("A crack must reach this probability somewhere. Empty: the model's own."),
    "--threshold",
    optional=True,
    advanced=True,
    maximum=1,
    open_range=True,
)
THRESHOLD_LOW = Number(
    "THRESHOLD_LOW",
    tr("Lower threshold"),
    tr(
        "A crack is followed down to this probability. Empty: the model's own, or with a "
        "threshold given in the model's proportion to it."
    ),
    "--threshold-low",
    optional=True,
    advanced=True,
    maximum=1,
    open_range=True,
)
MAX_WIDTH = Number(
    "MAX_WIDTH",
    tr("Greatest mean width in mm"),
    tr("Networks wider than this on average are left out: plants and shadows, not cracks."),
    "--max-width",
    default=100.0,
    advanced=True,
    open_range=True,
)
STATIONS = Number(
    "STATIONS",
    tr("Distance of width stations in metres"),
    tr("Also writes the width every so many metres along each crack. Empty: no stations."),
    "--stations",
    optional=True,
    advanced=True,
    open_range=True,
)
OVERLAP = Number(
    "OVERLAP",
    tr("Overlap of tiles in pixels"),
    tr("Neighbouring tiles share this many pixels, so that no crack ends at a seam."),
    "--overlap",
    default=112,
    advanced=True,
    maximum=224,
    whole=True,
)
DEVICE = Choice(
    "DEVICE",
    tr("Device"),
    tr("Where the model runs. auto: the graphics card if there is one, else the processor."),
    "--device",
    default="auto",
    advanced=True,
    words=("auto", "cpu", "cuda", "mps"),
)
PRECISION = Choice(
    "PRECISION",
    tr("Precision"),
    tr("Arithmetic of the model. auto: the fastest that keeps the result."),
    "--precision",
    default="auto",
    advanced=True,
    words=("auto", "fp32", "bf16", "fp16"),
)
BATCH_SIZE = Text(
    "BATCH_SIZE",
    tr("Tiles at once"),
    tr("auto, or a number; a smaller one needs less memory."),
    "--batch-size",
    default="auto",
    advanced=True,
)
BANDS = Text(
    "BANDS",
    tr("Bands"),
    tr("One band or three, counted from 1, for example 1,2,3. Empty: by their colours."),
    "--bands",
    optional=True,
    advanced=True,
)
STRETCH = Text(
    "STRETCH",
    tr("Values for black and white"),
    tr(
        "Two values, for example 200,3000, the same over the whole image. Empty: by the 1st and "
        "99th percentile; 8 bits as they are unless these are near each other, as in haze."
    ),
    "--stretch",
    optional=True,
    advanced=True,
)
NODATA = Number(
    "NODATA",
    tr("Value without data"),
    tr("Pixels with this value count as not surveyed, beside those the image marks itself."),
    "--nodata",
    optional=True,
    advanced=True,
    minimum=-3.5e38,  # beyond the least and greatest value of 32 bits
    maximum=3.5e38,
)
RESUME = Flag(
    "RESUME",
    tr("Go on with a cancelled run"),
    tr("Takes up the work that a run with the same output and options left when it was stopped."),
    "--resume",
    default=False,
    advanced=True,
)

RUN = (OVERLAP, DEVICE, PRECISION, BATCH_SIZE)
RASTER = (BANDS, STRETCH, NODATA)
RULES = (THRESHOLD, THRESHOLD_LOW, MAX_WIDTH, STATIONS)
