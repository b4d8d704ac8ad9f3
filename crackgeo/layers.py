"""The GeoPackage that a surveyor opens: typed layers, spatial index, styles, run record.

Strategy: GDAL (through pyogrio) writes the layers, then plain SQLite adds what GDAL has no
option for: names of fields for people (schema extension) and default QGIS styles. The file
comes to be under another name and is renamed when complete.

Two runs with the same record give the same bytes: nothing but the record's times is written.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from . import schema
from .errors import UsageError
from .files import atomic_output, output_errors
from .jsontext import to_json
from .schema import LayerSchema
from .symbology import style_qml
from .vectors import FeatureTable, Vectors

GEOMETRY_COLUMN = "geom"
_STYLES, _PROJECTS = "layer_styles", "qgis_projects"  # tables where QGIS keeps them
_UTC = 100  # GDAL's code for a time in UTC
_UNDEFINED_CARTESIAN = "-1"  # srs_id of a layer without CRS (GeoPackage 1.2, requirement 11)

_CREATE_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
  f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""

_CREATE_DATA_COLUMNS = """
CREATE TABLE gpkg_data_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT,
  description TEXT, mime_type TEXT, constraint_name TEXT,
  CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
  CONSTRAINT gdc_tn UNIQUE (table_name, name))
"""


@dataclass(frozen=True)
class RunRecord:
    """How the layers were made, so that a result can be defended and repeated.

    Parameters
    ----------
    version : of crackgeo
    model, model_sha256 : name of the model and SHA-256 of its weights
    input_name : file name of the raster, without its folder
    input_width_px, input_height_px : its size
    input_bytes : size of its file
    input_header_sha256 : SHA-256 of its header
    started, finished : with time zone
    options : every option of the run by its name on the command line; JSON types only
    device : device and precision the model ran on
    n_tiles : tiles the model looked at
    surveyed_m2 : ground surveyed, counted by pixel
    inputs : each raster with its name and either size and checksum or the error it gave
    skipped : windows of the probability raster that could not be read, with the raster's name
    versions : of Python and the libraries
    stages : seconds that each stage took until the layers were written

    Raises
    ------
    ValueError
        A time has no time zone, or the end lies before the start.
    """

    version: str
    model: str
    model_sha256: str
    input_name: str
    input_width_px: int
    input_height_px: int
    input_bytes: int
    input_header_sha256: str
    started: datetime
    finished: datetime
    options: Mapping[str, object] = field(default_factory=dict)
    device: str = ""
    n_tiles: int = 0
    surveyed_m2: float = 0.0
    inputs: Sequence[Mapping[str, Any]] = ()
    skipped: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.started.tzinfo is None or self.finished.tzinfo is None:
            raise ValueError("times of a run need a time zone")
        if self.finished < self.started:
            raise ValueError("a run cannot end before it started")

    @property
    def seconds(self) -> float:
        """Duration of the run."""
        return (self.finished - self.started).total_seconds()


def refuse_foreign_layers(path: Path) -> None:
    """Find what crackgeo did not make in a GeoPackage that is about to be replaced.

    Raises
    ------
    UsageError
        It holds layers of somebody else, or a QGIS project: with the file they would be lost.
    """
    ours = {layer.name for layer in schema.LAYERS} | {_STYLES}
    foreign = ", ".join(name for name in _contents(path) if name not in ours)
    if foreign:
        raise UsageError(
            f"{path}: holds what crackgeo did not make and would be lost with the file: {foreign}",
            "choose another name for the result, or move these into a file of their own",
        )


def _contents(path: Path) -> list[str]:
    """Layers of a GeoPackage, and its projects; empty if the file is none."""
    # four slashes before a server's name, where `as_uri` has two: SQLite knows no other machine
    place = f"file://{quote(path.absolute().as_posix())}?mode=ro&immutable=1"  # leaves no log
    try:
        with closing(sqlite3.connect(place, uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if "gpkg_contents" not in tables:
                return []
            names = [name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")]
            if _PROJECTS in tables:
                found = database.execute(f"SELECT name FROM {_PROJECTS}")
                names += [f"QGIS project {name}" for (name,) in found]
    except sqlite3.Error:
        return []
    return list(map(str, names))


def write_geopackage(
    path: Path,
    vectors: Vectors,
    coverage: FeatureTable,
    run: RunRecord,
    crs_wkt: str | None,
    *,
    overwrite: bool = False,
) -> None:
    """Write all layers, their styles and the record of the run; see docs/layers.md.

    Parameters
    ----------
    path : the GeoPackage to make; appears only when complete
    vectors, coverage : geometries in CRS coordinates and their columns; a column that the
        schema does not know is kept as it is, an empty table gets all columns of the schema
    run : how they were made
    crs_wkt : coordinate reference system as WKT, None for local units
    overwrite : replace an existing file

    Raises
    ------
    UsageError
        The file is there and `overwrite` was not asked for, or it holds what is not ours.
    ResourceError
        It cannot be written, or another program has it open.
    ValueError
        A table lacks a column of its layer.
    """
    tables = [
        (schema.CRACKS, vectors.cracks),  # first: what programs open that ask for no layer
        (schema.CRACK_POLYGONS, vectors.crack_polygons),
        (schema.CRACK_NODES, vectors.crack_nodes),
        (schema.COVERAGE, coverage),
    ]
    refuse_foreign_layers(path)
    if vectors.width_stations is not None:
        tables.append((schema.WIDTH_STATIONS, vectors.width_stations))
    with (
        atomic_output(path, overwrite) as part,
        output_errors(path, sqlite3.Error, *_gdal_errors()),
        _ogr_date(run.finished),
    ):
        for layer, table in tables:
            _write_layer(part, layer, table.geometry, _columns(layer, table), crs_wkt)
        _write_layer(part, schema.RUNS, None, _run_columns(run, vectors), None)
        with closing(sqlite3.connect(part)) as database, database:
            _name_fields(database, run.finished, crs_wkt is not None)
            _embed_styles(database, run.finished, crs_wkt is not None)


def _columns(layer: LayerSchema, table: FeatureTable) -> dict[str, NDArray[Any]]:
    """Columns in schema order and type, then those that the schema does not know."""
    columns = {}
    for known in layer.fields:
        dtype = schema.DTYPES[known.kind]
        if known.name in table.columns:
            columns[known.name] = np.asarray(table.columns[known.name]).astype(dtype)
        elif len(table) == 0:
            columns[known.name] = np.empty(0, dtype)
        else:
            raise ValueError(f"layer {layer.name}: column {known.name} is missing")
    return columns | {k: v for k, v in table.columns.items() if k not in columns}


def _run_columns(run: RunRecord, vectors: Vectors) -> dict[str, NDArray[Any]]:
    """The record and the counts of its result, as the one row of layer `runs`."""
    cracks = vectors.cracks.columns
    computed: dict[str, Any] = {
        **{name: _json(getattr(run, name)) for name in ("options", "versions", "stages")},
        **{name: _json(list(getattr(run, name))) for name in ("inputs", "skipped")},
        "started": _naive_utc(run.started),
        "finished": _naive_utc(run.finished),
        "n_cracks": len(vectors.cracks),
        "n_networks": len(vectors.crack_polygons),
        "length_m": float(np.sum(cracks["length_m"])) if len(vectors.cracks) else 0.0,
    }
    return {
        f.name: np.array(
            [computed[f.name] if f.name in computed else getattr(run, f.name)],
            schema.DTYPES[f.kind],
        )
        for f in schema.RUNS.fields
    }


def _json(value: object) -> str:
    return to_json(value, sort_keys=True, ensure_ascii=False)


def _naive_utc(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)


def _write_layer(
    path: Path,
    layer: LayerSchema,
    geometry: NDArray[np.object_] | None,
    columns: dict[str, NDArray[Any]],
    crs_wkt: str | None,
) -> None:
    """Append one layer to the file, which is made with the first."""
    import pyogrio.raw
    import shapely

    options: dict[str, Any] = {"IDENTIFIER": layer.name, "DESCRIPTION": layer.title}
    if geometry is not None:
        options |= {"GEOMETRY_NAME": GEOMETRY_COLUMN, "SPATIAL_INDEX": "YES"}
        options |= {} if crs_wkt else {"SRID": _UNDEFINED_CARTESIAN}
    times = [name for name, values in columns.items() if values.dtype.kind == "M"]
    with warnings.catch_warnings():
        # Without a CRS the layer says so itself, by its srs_id.
        warnings.filterwarnings("ignore", message="'crs' was not provided", category=UserWarning)
        pyogrio.raw.write(
            path,
            None if geometry is None else shapely.to_wkb(geometry),
            [_writable(values) for values in columns.values()],
            list(columns),
            layer=layer.name,
            driver="GPKG",
            geometry_type=layer.geometry_type,
            crs=None if geometry is None else crs_wkt,
            promote_to_multi=layer.geometry_type == "MultiPolygon",
            dataset_options=None if path.exists() else {"VERSION": "1.2"},
            layer_options=options,
            gdal_tz_offsets={name: np.full(len(columns[name]), _UTC) for name in times},
        )


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    """Text as Python strings; everything else as it is."""
    return values.astype(np.object_) if values.dtype.kind == "U" else values


def _name_fields(database: sqlite3.Connection, when: datetime, ground_units: bool) -> None:
    """Give fields their names for people, by the GeoPackage schema extension."""
    database.execute(_CREATE_DATA_COLUMNS)
    database.execute(
        "INSERT INTO gpkg_extensions VALUES ('gpkg_data_columns', NULL, 'gpkg_schema',"
        " 'http://www.geopackage.org/spec120/#extension_schema', 'read-write')"
    )
    present = {name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")}
    database.executemany(
        "INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            (layer.name, f.name, *[f.name_for_people(ground_units)] * 2, f.meaning)
            for layer in schema.LAYERS
            if layer.name in present
            for f in layer.fields
        ],
    )
    database.execute("UPDATE gpkg_contents SET last_change = ?", (_stamp(when),))


def _embed_styles(database: sqlite3.Connection, when: datetime, ground_units: bool) -> None:
    """Store the default QGIS style of each layer.

    QGIS asks for catalog and schema '' (NULL does not match), for the layer's own geometry
    column, and for the table being listed in gpkg_contents.
    """
    database.execute(_CREATE_STYLES)
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change, srs_id)"
        " VALUES ('layer_styles', 'attributes', 'layer_styles', ?, 0)",
        (_stamp(when),),
    )
    rows = database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall()
    database.executemany(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
        " f_geometry_column, styleName, styleQML, useAsDefault, description, owner, update_time)"
        " VALUES ('', '', ?, ?, ?, ?, 1, 'default style of crackgeo', '', ?)",
        [(name, geom, name, style_qml(name, ground_units), _stamp(when)) for name, geom in rows],
    )


def _stamp(time: datetime) -> str:
    """Time as a GeoPackage writes it."""
    return _naive_utc(time).isoformat(timespec="milliseconds") + "Z"


def _gdal_errors() -> tuple[type[Exception], ...]:
    """What GDAL raises when a disk is full or broken."""
    from pyogrio.errors import DataLayerError, DataSourceError

    return DataLayerError, DataSourceError


@contextmanager
def _ogr_date(time: datetime) -> Iterator[None]:
    """Let GDAL write this time, not the clock's, while the block runs."""
    import pyogrio

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _stamp(time)})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
