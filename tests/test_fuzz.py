"""Files damaged or made with bad intent: no crash, no hang, no memory blow-up, a clear error.

Each case is a function of its number alone. More of them, and where to begin:

    CRACKGEO_FUZZ=5000 CRACKGEO_FUZZ_START=1000 python -m pytest tests/test_fuzz.py --timeout 0
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import struct
from contextlib import closing

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.shutil
import shapely
from fuzzing import BYTES, NUMBERS, Reader, cut_off, flip_bytes, flip_head, tiff_field
from rasters import TRANSFORM, UTM, picture, write

from crackgeo.models.checkpoint import model_metadata
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.modelfile import save_model

CASES = int(os.environ.get("CRACKGEO_FUZZ", "60"))
START = int(os.environ.get("CRACKGEO_FUZZ_START", "0"))
TIMEOUT_S = 120.0  # of the clock, on a machine that does other things
MOST_MIB = 700  # twice what one row of tiles of the widest honest raster here would take
DOCUMENTED = {"image": {0, 2, 3}, "probability": {0, 2, 3}, "area": {0, 3}, "model": {0, 5}}


@pytest.fixture(scope="module")
def reader(request, tmp_path_factory):
    child = Reader(request.param, tmp_path_factory.mktemp("written"), TIMEOUT_S)
    yield child
    child.close()


def check(reader, path):
    """Read a file and say what is wrong with the answer, or nothing."""
    outcome = reader.read(path)
    if "failure" in outcome:
        return outcome["failure"]
    if outcome["code"] not in DOCUMENTED[reader.kind]:
        return f"exit code {outcome['code']}: {outcome['message']}"
    if outcome["code"] and "remedy:" not in outcome["message"]:
        return f"no remedy: {outcome['message']}"
    if outcome["peak_mib"] > MOST_MIB:
        return f"took {outcome['peak_mib']:.0f} MiB more"
    return None


def fuzz(reader, folder, bases, mutate):
    """Read mutated files; fails with the number and the failure of each that went wrong."""
    wrong = {}
    for case in range(START, START + CASES):
        rng = np.random.default_rng([case, len(reader.kind)])
        base = bases[case % len(bases)]
        path = folder / f"case{case}{base.suffix}"
        path.write_bytes(mutate(base, rng))
        failure = check(reader, path)
        if failure:
            wrong[path.name] = failure
        else:
            path.unlink()
    assert not wrong, "\n".join(f"{folder / name}: {text}" for name, text in wrong.items())


def mutate_bytes(base, rng):
    """One of the mutations that know no format."""
    return BYTES[rng.integers(0, len(BYTES))](base.read_bytes(), rng)


def mutate_tiff(base, rng):
    content = base.read_bytes()
    classic = content[:4] == b"II*\0"
    return tiff_field(content, rng) if classic and rng.random() < 0.5 else mutate_bytes(base, rng)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Rasters of the layouts that a GIS writes."""
    folder = tmp_path_factory.mktemp("images")
    tiled = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    mask = np.ones((90, 120), bool)
    mask[:30, :40] = False
    made = [
        write(folder / "strips.tif", picture(), compress="lzw", nodata=0),
        write(folder / "tiles.tif", picture(), compress="deflate", predictor=2, **tiled),
        write(folder / "raw.tif", picture(bands=4), photometric="RGB", alpha="yes", nodata=0),
        write(folder / "mask.tif", picture(), mask=mask, compress="deflate", **tiled),
        write(folder / "jpeg.tif", picture(), compress="jpeg", photometric="YCBCR", **tiled),
        write(folder / "float.tif", picture(bands=1).astype(np.float32), nodata=-9999.0),
        write(folder / "big.tif", picture(), bigtiff="yes", sparse_ok=True),
        write(folder / "palette.tif", picture(bands=1) % 4,
              palette={i: (60 * i, 0, 90, 255 * (i > 0)) for i in range(4)}),
        write(folder / "picture.png", picture(), driver="PNG"),
    ]  # fmt: skip
    made.append(folder / "cloud.tif")
    rasterio.shutil.copy(made[1], made[-1], driver="COG", blocksize=64)
    made.append(folder / "mosaic.vrt")
    rasterio.shutil.copy(made[0], made[-1], driver="VRT")
    return made


@pytest.mark.parametrize("reader", ["image"], indirect=True)
def test_mutated_rasters(reader, images, tmp_path):
    for base in images:
        assert check(reader, base) is None
        shutil.copy(base, tmp_path)  # what a virtual raster refers to
    fuzz(reader, tmp_path, images, mutate_tiff)


@pytest.fixture(scope="module")
def probabilities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probabilities")
    codes = np.zeros((90, 120), np.uint8)
    codes[40:44, 10:110] = 254
    codes[:, :8] = 255
    plain = write(folder / "codes.tif", codes, nodata=255, scale=1 / 254, compress="deflate")
    share = write(folder / "share.tif", (codes / 255).astype(np.float32), compress="lzw")
    cog = folder / "cog.tif"
    rasterio.shutil.copy(plain, cog, driver="COG", blocksize=64)
    return [plain, share, cog]


@pytest.mark.parametrize("reader", ["probability"], indirect=True)
def test_mutated_probability_rasters(reader, probabilities, tmp_path):
    assert [check(reader, base) for base in probabilities] == [None] * 3
    fuzz(reader, tmp_path, probabilities, mutate_tiff)


@pytest.fixture(scope="module")
def areas(tmp_path_factory):
    """One polygon with a hole and one with two parts, in the formats that --aoi takes."""
    folder = tmp_path_factory.mktemp("areas")
    x, y = TRANSFORM.c, TRANSFORM.f
    hole = shapely.box(x + 0.02, y - 0.1, x + 0.1, y - 0.02).difference(
        shapely.box(x + 0.04, y - 0.06, x + 0.06, y - 0.04)
    )
    parts = shapely.MultiPolygon([shapely.box(x, y - 0.16, x + 0.02, y - 0.14), hole])
    shapes = shapely.to_wkb(np.array([hole, parts], object))
    made = []
    for suffix, driver in ((".gpkg", "GPKG"), (".geojson", "GeoJSON"), (".fgb", "FlatGeobuf")):
        path = folder / f"area{suffix}"
        pyogrio.raw.write(
            path, shapes, [np.array([1, 2])], ["n"], layer="area", driver=driver, crs=UTM,
            geometry_type="Unknown",
        )  # fmt: skip
        made.append(path)
    return made


def mutate_area(base, rng):
    if base.suffix == ".geojson" and rng.random() < 0.6:
        return mutate_json(base, rng)
    if base.suffix == ".gpkg" and rng.random() < 0.7:
        return mutate_geopackage(base, rng)
    return mutate_bytes(base, rng)


STRANGE = (None, True, "x", [], {}, -1, 0, 1e308, -1e-308, 10**30, [[[[]]]], "EPSG:0", [[0, 0]] * 9)


def mutate_json(base, rng):
    """One value somewhere in the tree is replaced by a strange one."""
    tree = json.loads(base.read_text())
    node, keys = tree, list(tree)
    while True:
        key = keys[rng.integers(0, len(keys))]
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.15:
            node[key] = STRANGE[rng.integers(0, len(STRANGE))]
            return json.dumps(tree).encode()
        node, keys = inner, list(inner) if isinstance(inner, dict) else range(len(inner))


GEOPACKAGE_CHANGES = (
    "UPDATE gpkg_contents SET data_type = 'tiles'",
    "UPDATE gpkg_contents SET min_x = 1e308, max_x = -1e308",
    "UPDATE gpkg_contents SET srs_id = 4711",
    "UPDATE gpkg_contents SET table_name = '\"; DROP TABLE area'",
    "UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'",
    "UPDATE gpkg_geometry_columns SET geometry_type_name = 'CIRCULARSTRING', z = 7",
    "UPDATE gpkg_geometry_columns SET column_name = 'n'",
    "UPDATE gpkg_geometry_columns SET srs_id = 4326",
    "UPDATE gpkg_spatial_ref_sys SET definition = 'PROJCS[\"x\"]'",
    "UPDATE gpkg_spatial_ref_sys SET organization_coordsys_id = 999999",
    "DELETE FROM gpkg_spatial_ref_sys",
    "DELETE FROM area",
    "UPDATE area SET geom = NULL",
    "UPDATE area SET geom = zeroblob(40)",
    "UPDATE area SET geom = 'text'",
    "PRAGMA application_id = 1",
    "DROP TABLE gpkg_geometry_columns",
    "DROP TABLE area",
)


def mutate_geopackage(base, rng):
    """A change by SQL, or bytes of the geometries."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(base.read_bytes())
        # triggers of the spatial index call functions of GDAL's own
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            database.execute(f'DROP TRIGGER "{name}"')
        if rng.random() < 0.5:
            database.execute(GEOPACKAGE_CHANGES[rng.integers(0, len(GEOPACKAGE_CHANGES))])
        else:
            rows = database.execute("SELECT fid, geom FROM area").fetchall()
            database.executemany(
                "UPDATE area SET geom = ? WHERE fid = ?",
                [(mutate_geometry(blob, rng), fid) for fid, blob in rows],
            )
        database.commit()
        return database.serialize()


def mutate_geometry(blob, rng):
    """A count or a coordinate at a limit, or other bytes."""
    if rng.random() < 0.4:
        return (flip_bytes, flip_head, cut_off)[rng.integers(0, 3)](blob, rng)
    wrong, place = bytearray(blob), int(rng.integers(0, len(blob) - 8))
    if rng.random() < 0.5:
        struct.pack_into("<I", wrong, place, int(rng.choice(NUMBERS)) % 2**32)
    else:
        struct.pack_into("<d", wrong, place // 8 * 8, rng.choice([np.nan, np.inf, 1e308, -1e-308]))
    return bytes(wrong)


@pytest.mark.parametrize("reader", ["area"], indirect=True)
def test_mutated_areas(reader, areas, tmp_path):
    assert [check(reader, base) for base in areas] == [None] * 3
    fuzz(reader, tmp_path, areas, mutate_area)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from test_models_cracksam import TINY, tiny

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = tiny(DeltaSpec("qv", 2, 4), dataclasses.replace(TINY, depth=1, global_blocks=(0,)))
    metadata = {"name": "tiny", "temperature": "1.5", "threshold": "0.5", "tile_px": "448"}
    save_model(path, network.state_dict(), metadata | model_metadata(network))
    return path


def mutate_model(base, rng):
    if rng.random() < 0.3:
        return mutate_bytes(base, rng)
    content = base.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if rng.random() < 0.5:
        values = header["__metadata__"]
        texts = (
            "nan",
            "inf",
            "-1",
            "0",
            "1e999",
            "",
            "448.5",
            "99999999999",
            "2147483648",
            "\0",
            "é",
        )
    else:
        values = header[list(header)[rng.integers(1, len(header))]]
        texts = ("F16", "I64", "BOOL", "F4", [], [0], [-1], [2**62, 4], [0, 2**63], [8, 4], None)
    values[list(values)[rng.integers(0, len(values))]] = texts[rng.integers(0, len(texts))]
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + content[8 + length :]


@pytest.mark.parametrize("reader", ["model"], indirect=True)
def test_mutated_models(reader, model, tmp_path):
    assert check(reader, model) is None
    fuzz(reader, tmp_path, [model], mutate_model)


def one_block(path):
    """A raster of nothing, 8 KB on the disk, whose only block would take 4 GB."""
    side = 2**16
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", crs=UTM,
        transform=TRANSFORM, sparse_ok=True, compress="deflate", nodata=0, tiled=True,
        blockxsize=side, blockysize=side,
    ):  # fmt: skip
        pass


def itself(path):
    """A virtual raster that refers to itself."""
    path.write_text(
        f"""<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">
        <SimpleSource><SourceFilename relativeToVRT="1">{path.name}</SourceFilename>
        <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
    )


def many_bands(path):
    """A virtual raster of 2,000 bands."""
    band = '<VRTRasterBand dataType="Float64" band="{}"/>'
    bands = "".join(band.format(i) for i in range(1, 2001))
    path.write_text(f'<VRTDataset rasterXSize="900000" rasterYSize="9">{bands}</VRTDataset>')


def deep(path):
    """Geometry collections in each other, deeper than any stack."""
    depth = 50_000
    head = '{"type":"GeometryCollection","geometries":['
    tail = "]}" * depth
    path.write_text('{"type":"Feature","properties":{},"geometry":' + head * depth + tail + "}")


def long_header(path):
    """A header of 2^60 bytes."""
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}" * 100)


def vast_tensor(path):
    """A tensor of a petabyte."""
    entry = {"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}
    meta = {"format": "crackgeo-model", "format_version": "1", "architecture": "compact"}
    head = json.dumps({"__metadata__": meta, "stem": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(64))


@pytest.mark.parametrize(
    ("reader", "suffix", "make"),
    [
        ("image", ".tif", one_block),
        ("image", ".vrt", itself),
        ("image", ".vrt", many_bands),
        ("area", ".geojson", deep),
        ("model", ".safetensors", long_header),
        ("model", ".safetensors", vast_tensor),
    ],
    indirect=["reader"],
)
def test_hostile_sizes_are_refused(reader, suffix, make, tmp_path):
    path = tmp_path / f"hostile{suffix}"
    make(path)
    outcome = reader.read(path)
    assert "failure" not in outcome, outcome
    assert outcome["code"] == {"image": 3, "area": 3, "model": 5}[reader.kind], outcome
    assert "remedy:" in outcome["message"]
    assert outcome["peak_mib"] < 200
