"""The layers of the GeoPackage and their fields, once: types, names for people, meaning.

docs/layers.md is the field dictionary made from the same words; a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["int", "real", "bool", "text", "time"]

DTYPES: dict[Kind, type[Any] | str] = {
    "int": np.int64,
    "real": np.float64,
    "bool": np.bool_,
    "text": np.object_,
    "time": "datetime64[ms]",
}


_UNIT = re.compile(r"\(m?m(²?)\)")


@dataclass(frozen=True)
class Field:
    """One column of a layer.

    Parameters
    ----------
    name : column name, with its unit
    kind : type of its values
    alias : name for people, with the unit in brackets
    meaning : one sentence for the field dictionary
    """

    name: str
    kind: Kind
    alias: str
    meaning: str

    def name_for_people(self, ground_units: bool = True) -> str:
        """The alias; with "units" instead of metres and millimetres where there is no CRS."""
        return self.alias if ground_units else _UNIT.sub(r"(units\1)", self.alias)


@dataclass(frozen=True)
class LayerSchema:
    """One layer (or table, where `geometry_type` is None) and its fields in order."""

    name: str
    geometry_type: str | None
    title: str
    fields: tuple[Field, ...]


CRACKS = LayerSchema(
    "cracks",
    "LineString",
    "Cracks",
    (
        Field("crack_id", "int", "Crack", "Number of the crack, from 1."),
        Field("network_id", "int", "Network", "Number of the connected network it belongs to."),
        Field("length_m", "real", "Length (m)", "Length along the crack on the ground."),
        Field("width_mean_mm", "real", "Mean width (mm)", "Mean width along the crack."),
        Field("width_p95_mm", "real", "95 % width (mm)", "Width that 95 % of the crack is below."),
        Field("width_max_mm", "real", "Greatest width (mm)", "Greatest width along the crack."),
        Field("width_sd_mm", "real", "Width deviation (mm)", "Standard deviation of the width."),
        Field(
            "width_unc_mm", "real", "Width uncertainty (mm)", "Standard uncertainty of the mean."
        ),
        Field("area_m2", "real", "Area (m²)", "Length times mean width."),
        Field(
            "orient_deg", "real", "Orientation (°)", "Azimuth on the ground, 0 to 180, 0 is north."
        ),
        Field(
            "tortuosity", "real", "Tortuosity", "Length over the distance between the ends, >= 1."
        ),
        Field("conf_mean", "real", "Mean confidence", "Mean probability along the crack, 0 to 1."),
        Field("conf_min", "real", "Least confidence", "Least probability along the crack, 0 to 1."),
        Field(
            "gsd_mm",
            "real",
            "Ground pixel size (mm)",
            "Ground pixel size at the crack, of the raster it was found in.",
        ),
        Field("below_gsd", "bool", "Below pixel size", "The mean width is below one ground pixel."),
        Field("touches_edge", "bool", "Touches edge", "The crack reaches the edge of the survey."),
        Field(
            "source",
            "text",
            "Source",
            "File name of the raster it was found in, with folders if others have that name, too.",
        ),
    ),
)

CRACK_POLYGONS = LayerSchema(
    "crack_polygons",
    "MultiPolygon",
    "Crack outlines",
    (
        Field("network_id", "int", "Network", "Number of the connected network."),
        Field("area_m2", "real", "Area (m²)", "Area of the outline on the ground."),
        Field("length_m", "real", "Length (m)", "Length of all cracks of the network."),
        Field("n_cracks", "int", "Cracks", "Number of cracks in the network."),
        Field("too_wide", "bool", "Too wide", "Some part is too wide to have a centre line."),
    ),
)

CRACK_NODES = LayerSchema(
    "crack_nodes",
    "Point",
    "Crack ends and junctions",
    (
        Field("kind", "text", "Kind", "'end' or 'junction'."),
        Field("degree", "int", "Branches", "Number of branches that meet here."),
        Field("network_id", "int", "Network", "Number of the connected network."),
    ),
)

WIDTH_STATIONS = LayerSchema(
    "width_stations",
    "Point",
    "Widths along the cracks",
    (
        Field("crack_id", "int", "Crack", "Number of the crack."),
        Field("chainage_m", "real", "Chainage (m)", "Distance from the start of the crack."),
        Field("width_mm", "real", "Width (mm)", "Width of the crack here."),
    ),
)

COVERAGE = LayerSchema(
    "coverage",
    "MultiPolygon",
    "Coverage of the survey",
    (
        Field("surveyed", "bool", "Surveyed", "True where cracks were looked for."),
        Field("reason", "text", "Reason", "Why the ground was not surveyed; empty if it was."),
        Field("area_m2", "real", "Area (m²)", "Area of the polygon on the ground."),
    ),
)

RUNS = LayerSchema(
    "runs",
    None,
    "How the layers were made",
    (
        Field("version", "text", "Version", "Version of crackgeo."),
        Field("model", "text", "Model", "Name of the model."),
        Field("model_sha256", "text", "Model checksum", "SHA-256 of the model's weights."),
        Field("device", "text", "Device", "Device and precision the model ran on."),
        Field("input_name", "text", "Input", "File name of the raster, without its folder."),
        Field("input_width_px", "int", "Input width (px)", "Columns of the raster."),
        Field("input_height_px", "int", "Input height (px)", "Rows of the raster."),
        Field("input_bytes", "int", "Input size (bytes)", "Size of the raster's file."),
        Field("input_header_sha256", "text", "Input checksum", "SHA-256 of the raster's header."),
        Field("inputs", "text", "Inputs", "Each raster with size and checksum or error, as JSON."),
        Field("skipped", "text", "Skipped", "Windows that could not be read, as JSON."),
        Field("options", "text", "Options", "Every option that shapes the result, as JSON."),
        Field("versions", "text", "Versions", "Versions of Python and the libraries, as JSON."),
        Field("stages", "text", "Stages", "Seconds that each stage took, as JSON."),
        Field("started", "time", "Started", "Start of the run, UTC."),
        Field("finished", "time", "Finished", "End of the run, UTC."),
        Field("seconds", "real", "Seconds", "Duration of the run."),
        Field("n_tiles", "int", "Tiles", "Number of tiles the model looked at."),
        Field("n_cracks", "int", "Cracks", "Number of cracks in this file."),
        Field("n_networks", "int", "Networks", "Number of crack networks in this file."),
        Field("length_m", "real", "Crack length (m)", "Length of all cracks together."),
        Field("surveyed_m2", "real", "Surveyed (m²)", "Ground surveyed, counted by pixel."),
    ),
)

LAYERS = (CRACKS, CRACK_POLYGONS, CRACK_NODES, WIDTH_STATIONS, COVERAGE, RUNS)
