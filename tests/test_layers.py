from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from crackgeo import schema
from crackgeo.errors import ResourceError, UsageError
from crackgeo.layers import RunRecord, _contents, write_geopackage
from crackgeo.symbology import CRACK_CLASSES, UNKNOWN, WIDTH_CLASSES, style_qml, width_class
from crackgeo.vectors import FeatureTable, Vectors

UTM = pyproj.CRS.from_epsg(32632).to_wkt()
SITE_GRID = pyproj.CRS.from_proj4(
    "+proj=tmerc +lat_0=47.1 +lon_0=8.2 +k=1 +x_0=1000 +y_0=2000 +ellps=GRS80 +units=m"
).to_wkt()
RUN = RunRecord(
    version="0.1.0",
    model="compact",
    model_sha256="ab" * 32,
    input_name="survey.tif",
    input_width_px=2400,
    input_height_px=1800,
    input_bytes=7_000_000,
    input_header_sha256="cd" * 32,
    started=datetime(2026, 5, 1, 10, 0, 0, tzinfo=UTC),
    finished=datetime(2026, 5, 1, 10, 0, 12, 500000, tzinfo=UTC),
    options={"threshold": 0.5, "bands": [1, 2, 3], "aoi": None},
    device="cpu, fp32",
    n_tiles=35,
    surveyed_m2=14.25,
)
EMPTY = FeatureTable(np.empty(0, np.object_), {})
NOTHING = Vectors(EMPTY, EMPTY, EMPTY, EMPTY)


def table(layer: schema.LayerSchema, geometries: list[shapely.Geometry]) -> FeatureTable:
    """Any values of the right types, one row a geometry."""
    values = {"int": 7, "real": 1.5, "bool": True, "text": "end", "time": None}
    geometry = np.empty(len(geometries), np.object_)
    geometry[:] = geometries
    return FeatureTable(
        geometry, {f.name: np.array([values[f.kind]] * len(geometries)) for f in layer.fields}
    )


def some_vectors() -> Vectors:
    lines = [shapely.LineString([(0, 0), (3, 4)]), shapely.LineString([(1, 1), (2, 2)])]
    return Vectors(
        table(schema.CRACKS, lines),
        table(schema.CRACK_POLYGONS, [lines[0].buffer(0.1)]),
        table(schema.CRACK_NODES, [shapely.Point(0, 0), shapely.Point(3, 4)]),
    )


def some_coverage() -> FeatureTable:
    return table(schema.COVERAGE, [shapely.box(-1, -1, 5, 5)])


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def test_layers_types_and_order(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    assert [tuple(r) for r in pyogrio.list_layers(path)] == [
        ("cracks", "LineString"),
        ("crack_polygons", "MultiPolygon"),
        ("crack_nodes", "Point"),
        ("coverage", "MultiPolygon"),
        ("runs", None),
        ("layer_styles", None),
    ]
    info = pyogrio.read_info(path, layer="cracks")
    assert info["crs"] == "EPSG:32632"
    assert dict(zip(info["fields"], info["dtypes"], strict=True)) == {
        f.name: {"int": "int64", "real": "float64", "bool": "bool", "text": "object"}[f.kind]
        for f in schema.CRACKS.fields
    }
    assert rows(path, "PRAGMA user_version") == [(10200,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []


def test_values_survive(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    vectors = some_vectors()
    vectors.cracks.columns["width_mean_mm"] = np.array([0.25, np.nan])
    vectors.cracks.columns["below_gsd"] = np.array([True, False])
    write_geopackage(path, vectors, some_coverage(), RUN, UTM)
    assert rows(path, "SELECT width_mean_mm, below_gsd FROM cracks") == [(0.25, 1), (None, 0)]
    lines = pyogrio.read_dataframe(path, layer="cracks").geometry
    assert lines[0].equals(shapely.LineString([(0, 0), (3, 4)]))


def test_spatial_index_finds_features(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    query = "SELECT count(*) FROM rtree_cracks_geom WHERE minx > 0.5"
    assert rows(path, query) == [(1,)]


def test_run_record(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    names = [f.name for f in schema.RUNS.fields]
    (row,) = rows(path, f"SELECT {', '.join(names)} FROM runs")
    record = dict(zip(names, row, strict=True))
    assert record["options"] == '{"aoi": null, "bands": [1, 2, 3], "threshold": 0.5}'
    assert record["started"] == "2026-05-01T10:00:00.000Z"
    assert (record["seconds"], record["n_cracks"], record["length_m"]) == (12.5, 2, 3.0)
    assert (record["n_networks"], record["surveyed_m2"], record["n_tiles"]) == (1, 14.25, 35)


@pytest.mark.parametrize(
    ("crs_wkt", "srs_id"),
    [(None, -1), (UTM, 32632), (pyproj.CRS.from_epsg(4326).to_wkt(), 4326)],
)
def test_every_crs_and_empty_layers_keep_their_columns(
    tmp_path: Path, crs_wkt: str | None, srs_id: int
) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, NOTHING, EMPTY, RUN, crs_wkt)
    layers = [s for s in schema.LAYERS if s.geometry_type]
    found = rows(path, "SELECT table_name, geometry_type_name, srs_id FROM gpkg_geometry_columns")
    assert sorted(found) == sorted((s.name, s.geometry_type.upper(), srs_id) for s in layers)
    for layer in layers:
        info = pyogrio.read_info(path, layer=layer.name)
        assert list(info["fields"]) == [f.name for f in layer.fields]
        assert info["features"] == 0
    kinds = dict(zip(info["fields"], info["ogr_subtypes"], strict=True))
    assert kinds["surveyed"] == "OFSTBoolean"


def test_custom_crs_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, SITE_GRID)
    read = pyogrio.read_info(path, layer="cracks")["crs"]
    assert pyproj.CRS(read).equals(pyproj.CRS(SITE_GRID), ignore_axis_order=True)


def test_styles_are_found_by_qgis(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, NOTHING, EMPTY, RUN, UTM)
    columns = "f_table_catalog, f_table_schema, f_geometry_column, useAsDefault, styleQML"
    styles = rows(path, f"SELECT f_table_name, {columns} FROM layer_styles")
    assert {s[0] for s in styles} == {s.name for s in schema.LAYERS if s.geometry_type}
    for _, catalog, schema_name, geometry, default, qml in styles:
        assert (catalog, schema_name, geometry, default) == ("", "", "geom", 1)
        root = ElementTree.fromstring(str(qml))
        symbols = {s.get("name") for s in root.findall("renderer-v2/symbols/symbol")}
        used = {s.get("symbol") for s in root.iter() if s.tag in ("range", "category")} or {"0"}
        assert symbols == used
    listed = rows(path, "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'")
    assert listed == [("attributes",)]


@pytest.mark.parametrize(
    ("layer", "colour", "each", "classes"),
    [
        ("cracks", "line_color", 2, CRACK_CLASSES),
        ("width_stations", "color", 1, WIDTH_CLASSES),
    ],
)
def test_ranges_of_the_style_meet_and_are_the_classes(layer, colour, each, classes) -> None:
    root = ElementTree.fromstring(style_qml(layer) or "")
    ranges = [(float(r.get("lower")), float(r.get("upper"))) for r in root.iter("range")]
    known = ranges[: len(WIDTH_CLASSES)]
    assert [low for low, _ in known[1:]] == [high for _, high in known[:-1]]
    assert [low for low, _ in ranges] == [c.lower_mm for c in classes]
    assert ("coalesce" in (style_qml(layer) or "").split("</renderer")[0]) == (UNKNOWN in classes)
    colours = [o.get("value") for o in root.iter("Option") if o.get("name") == colour]
    assert colours[each - 1 :: each] == ["{},{},{},255".format(*c.colour) for c in classes]


@given(st.floats(0, 1e4))
def test_a_width_lies_in_its_class(width_mm: float) -> None:
    chosen = WIDTH_CLASSES[int(width_class(np.float64(width_mm)))]
    assert chosen.lower_mm <= width_mm <= chosen.upper_mm


def test_bounds_and_unknown_widths() -> None:
    widths = np.array([0.0, 0.3, 0.30001, 19.0, 19.1, np.inf, np.nan])
    assert width_class(widths).tolist() == [0, 0, 1, 4, 5, 5, 6]
    assert CRACK_CLASSES[6] is UNKNOWN


def test_neighbouring_colours_differ_for_colour_blind_eyes() -> None:
    """Viénot et al. 1999: red and green confused, in linear RGB."""
    rgb = (np.array([c.colour for c in WIDTH_CLASSES]) / 255) ** 2.2
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    seen = np.clip(rgb @ deutan.T, 0, 1) ** (1 / 2.2)
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 0.15


def test_names_for_people_reach_gdal(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    query = "SELECT name, description FROM gpkg_data_columns WHERE column_name = 'width_p95_mm'"
    assert rows(path, query) == [("95 % width (mm)", "Width that 95 % of the crack is below.")]
    query = "SELECT count(*) FROM gpkg_data_columns WHERE table_name = 'width_stations'"
    assert rows(path, query) == [(0,)]


def test_same_record_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.gpkg", tmp_path / "two.gpkg"
    for path in (one, two):
        write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    assert one.read_bytes() == two.read_bytes()


def test_unknown_columns_are_kept_and_missing_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    vectors = some_vectors()
    vectors.cracks.columns["street"] = np.array(["Hauptstraße", "Ringweg"])
    write_geopackage(path, vectors, some_coverage(), RUN, UTM)
    assert rows(path, "SELECT street FROM cracks") == [("Hauptstraße",), ("Ringweg",)]
    del vectors.cracks.columns["length_m"]
    with pytest.raises(ValueError, match="cracks: column length_m"):
        write_geopackage(path, vectors, some_coverage(), RUN, UTM, overwrite=True)
    assert rows(path, "SELECT street FROM cracks")[0] == ("Hauptstraße",)
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        write_geopackage(path, NOTHING, EMPTY, RUN, UTM)
    assert path.read_bytes() == b"precious"
    write_geopackage(path, NOTHING, EMPTY, RUN, UTM, overwrite=True)
    assert rows(path, "SELECT model FROM runs") == [("compact",)]


def test_layers_and_projects_of_others_are_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "work 100%.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM, overwrite=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE roads (id INTEGER)")
        database.execute("INSERT INTO gpkg_contents (table_name, data_type) VALUES ('roads', 'x')")
        database.execute("CREATE TABLE qgis_projects (name TEXT)")
        database.execute("INSERT INTO qgis_projects VALUES ('bridge')")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="roads, QGIS project bridge") as caught:
        write_geopackage(path, NOTHING, EMPTY, RUN, UTM, overwrite=True)
    assert "another name" in caught.value.remedy
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_a_server_are_asked_for_their_layers_too(tmp_path: Path) -> None:
    """Windows names them //server/share/...: where there is none, two slashes are one."""
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, NOTHING, EMPTY, RUN, UTM)
    assert "cracks" in _contents(path)
    assert "cracks" in _contents(Path(f"/{path}"))
    assert "cracks" in _contents(Path(str(path).replace("/", "//", 1)))


def test_a_file_open_in_qgis_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cracks.gpkg"
    write_geopackage(path, some_vectors(), some_coverage(), RUN, UTM)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE edited (id INTEGER)")
        with pytest.raises(ResourceError, match="open in another program"):
            write_geopackage(path, NOTHING, EMPTY, RUN, UTM, overwrite=True)
    assert rows(path, "SELECT count(*) FROM cracks") == [(2,)]


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="no folder"):
        write_geopackage(tmp_path / "no" / "x.gpkg", NOTHING, EMPTY, RUN, UTM)


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("crackgeo.layers._embed_styles", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write_geopackage(tmp_path / "x.gpkg", NOTHING, EMPTY, RUN, UTM)
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_times_that_can_be() -> None:
    with pytest.raises(ValueError, match="time zone"):
        replace(RUN, started=datetime(2026, 5, 1))
    with pytest.raises(ValueError, match="before it started"):
        replace(RUN, finished=datetime(2026, 4, 1, tzinfo=UTC))


def test_without_a_crs_nothing_is_called_metres() -> None:
    for layer in schema.LAYERS:
        names = [f.name_for_people(ground_units=False) for f in layer.fields]
        assert not any("(m" in name for name in names), layer.name
    style = style_qml("cracks", ground_units=False) or ""
    assert 'label="1.3 - 3 units"' in style
    assert 'name="Mean width (units)"' in style
    assert "mm'" not in style
    assert " m," not in style
    assert """fieldName="format_number(&quot;width_mean_mm&quot;, 3) || ' units'\"""" in style
    assert " mm" not in "".join(re.findall(r'label="([^"]*)"', style))
    assert "mm'" not in (style_qml("width_stations", ground_units=False) or "mm'")
    assert 'label="1.3 - 3 mm"' in (style_qml("cracks") or "")


def test_field_dictionary_is_the_schema() -> None:
    text = (Path(__file__).parents[1] / "docs" / "layers.md").read_text(encoding="utf-8")
    for layer in schema.LAYERS:
        section = re.search(rf"^## {layer.name} \(.*?(?=^## )", text, re.M | re.S)
        assert section, layer.name
        documented = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", section.group(), re.M)
        assert documented == [(f.name, f.meaning) for f in layer.fields]
    for c in CRACK_CLASSES:
        assert f"| {c.label()} |" in text


def test_import_is_cheap() -> None:
    code = (
        "import sys, crackgeo.layers; print({'pyogrio', 'geopandas', 'shapely'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


QGIS_PYTHON = "/usr/bin/python3"
ASK_QGIS = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
found = {}
for name in sys.argv[2:]:
    layer = QgsVectorLayer(f"{sys.argv[1]}|layername={name}", name, "ogr")
    found[name] = {
        "valid": layer.isValid(),
        "renderer": layer.renderer().type(),
        "alias": layer.attributeAlias(1),
        "least_scale": layer.minimumScale() if layer.hasScaleBasedVisibility() else None,
    }
    if name == "cracks":
        bounds = [[r.lowerValue(), r.upperValue()] for r in layer.renderer().ranges()]
        found[name]["bounds"] = bounds
    if name == "coverage":
        found[name]["labels"] = [c.label() for c in layer.renderer().categories()]
print(json.dumps(found))
del layer  # before the application that owns its provider
application.exitQgis()
"""


@pytest.mark.qgis
def test_qgis_opens_every_layer_in_its_style(tmp_path: Path) -> None:
    try:
        subprocess.run([QGIS_PYTHON, "-c", "import qgis.core"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no QGIS for the system's Python")
    path = tmp_path / "cracks.gpkg"
    stations = table(schema.WIDTH_STATIONS, [shapely.Point(0, 0)])
    vectors = replace(some_vectors(), width_stations=stations)
    write_geopackage(path, vectors, some_coverage(), RUN, UTM)
    names = [s.name for s in schema.LAYERS if s.geometry_type]
    surroundings = {"QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path)}
    done = subprocess.run(
        [QGIS_PYTHON, "-c", ASK_QGIS, str(path), *names],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), **surroundings},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(layer["valid"] for layer in found.values())
    assert {name: layer["renderer"] for name, layer in found.items()} == {
        "cracks": "graduatedSymbol",
        "crack_polygons": "singleSymbol",
        "crack_nodes": "categorizedSymbol",
        "width_stations": "graduatedSymbol",
        "coverage": "categorizedSymbol",
    }
    bounds = [[c.lower_mm, min(c.upper_mm, 1e6)] for c in CRACK_CLASSES]
    assert found["cracks"]["bounds"] == bounds
    assert found["cracks"]["alias"] == "Crack"
    assert found["crack_nodes"]["least_scale"] == 50
    assert found["coverage"]["labels"] == ["surveyed", "not surveyed"]
