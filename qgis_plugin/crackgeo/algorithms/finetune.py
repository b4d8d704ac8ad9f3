"""crackgeo:finetune, a model that knows the user's own surface."""

from __future__ import annotations

from qgis.core import QgsProcessing

from ..layer_parameters import ModelOutput, Vector
from ..parameters import Flag, Model, Number
from ..translation import tr
from .base import EngineAlgorithm, Value
from .shared import BANDS, DEVICE, GSD, INPUT, NODATA, PRECISION, STRETCH

LABEL_FIELDS = ("status", "width_mm", "width_mean_mm")  # that the engine reads
LABELS = Vector(
    "LABELS",
    tr("Corrected cracks"),
    tr("Lines or polygons of all cracks in the labelled area, for example a corrected result."),
    "--labels",
    kinds=(
        QgsProcessing.SourceType.TypeVectorLine,
        QgsProcessing.SourceType.TypeVectorPolygon,
    ),
    fields=LABEL_FIELDS,
)
AREA = Vector(
    "AREA",
    tr("Labelled area"),
    tr(
        "Polygons inside which every crack is labelled. Empty: where the labels have a field "
        "status, a strip beside those that were judged; else the whole image."
    ),
    "--area",
    optional=True,
)
LABEL_WIDTH = Number(
    "LABEL_WIDTH",
    tr("Width of cracks drawn as lines, in mm"),
    tr("For lines without a width of their own. Empty: the median of those that have one."),
    "--label-width-mm",
    optional=True,
    open_range=True,
)
BASE = Model(
    "BASE",
    tr("Model to begin with"),
    tr("A model file. Empty: compact, which comes with the engine."),
    "--base",
    optional=True,
)
ITERATIONS = Number(
    "ITERATIONS",
    tr("Most steps"),
    tr("Training ends earlier when it no longer helps."),
    "--iterations",
    default=200,
    minimum=1,
    whole=True,
)
RESUME = Flag(
    "RESUME",
    tr("Go on with a cancelled training"),
    tr("Takes up the training that was stopped for the same output, from its last checkpoint."),
    "--resume",
    default=False,
    advanced=True,
)
OUTPUT = ModelOutput(
    "OUTPUT",
    tr("Fine-tuned model"),
    tr("The model file to write; a folder with the report lies beside it."),
    "--output",
    suffix=".safetensors",
)


class FineTune(EngineAlgorithm):
    """Image and labels in, model file out."""

    NAME = "finetune"
    TITLE = tr("Fine-tune a model")
    SUMMARY = tr("Trains a crack model further on labels of your own.")
    HELP = tr(
        "<p>Correct the result of Map cracks in an area, then train on it. The report beside the "
        "model says whether it helped.</p>"
    )
    GROUP = ("models", tr("Models"))
    TAGS = tr("crack,training,fine-tuning,labels,deep learning,model")
    COMMAND = "finetune"
    FLAGS = ("--overwrite",)
    PARAMETERS = (
        INPUT,
        LABELS,
        AREA,
        LABEL_WIDTH,
        BASE,
        ITERATIONS,
        GSD,
        DEVICE,
        PRECISION,
        BANDS,
        STRETCH,
        NODATA,
        RESUME,
        OUTPUT,
    )
    VALUES = (
        Value("IOU_BEFORE", tr("Overlap with the labels before (IoU)"), "before.iou"),
        Value("IOU_AFTER", tr("Overlap with the labels after (IoU)"), "after.iou"),
        Value("REPORT", tr("Report"), "report", text=True),
    )
    SHARES = (("chips", 2), ("evaluate", 3), ("finetune", 95))
