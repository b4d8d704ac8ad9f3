"""The main job end to end, with a model that reads cracks off the red channel."""

import sqlite3

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import IdentityModel
from PIL import Image
from shapely.geometry import box

import crackgeo
from crackgeo.errors import Cancelled, InputError, ModelError, ResourceError, UsageError
from crackgeo.models.protocol import ModelInfo
from crackgeo.monitor import Monitor

UTM = Affine(0.002, 0, 500000, 0, -0.002, 5400000)


@pytest.fixture
def survey(tmp_path):
    """A 700 x 900 RGBA raster, 2 mm a pixel: one straight crack of 6 px over 600 px; a hole."""
    red = np.zeros((700, 900), np.uint8)
    red[300:306, 150:750] = 254
    alpha = np.full((700, 900), 255, np.uint8)
    alpha[:, 800:] = 0
    alpha[500:600, 100:200] = 0
    path = tmp_path / "survey.tif"
    write(path, np.stack([red, red, red, alpha]))
    return path


def write(path, bands, **profile):
    height, width = bands.shape[1:]
    colours = {"photometric": "RGB", "alpha": "yes"} if len(bands) == 4 else {}
    profile = {"crs": "EPSG:32632", "transform": UTM, **colours, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=len(bands), dtype="uint8",
        **profile,
    ) as raster:  # fmt: skip
        raster.write(bands)


def left_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_straight_crack_has_its_length_and_width(survey, tmp_path):
    out = tmp_path / "cracks.gpkg"
    result = crackgeo.map_cracks(survey, out, model=IdentityModel())
    assert result.vectors.cracks == 1
    assert result.vectors.length_m == pytest.approx(1.2, abs=0.02)
    assert result.vectors.width_mean_mm == pytest.approx(12, abs=0.4)
    assert result.vectors.surveyed_m2 == pytest.approx((700 * 800 - 100**2) * 4e-6, rel=1e-3)
    cracks = gpd.read_file(out, layer="cracks")
    assert cracks.crs.to_epsg() == 32632
    west, south, east, north = cracks.total_bounds
    assert (west, east) == pytest.approx((500000.3, 500001.5), abs=0.01)
    assert (south, north) == pytest.approx((5400000 - 0.606, 5400000 - 0.606), abs=0.003)
    assert left_in(tmp_path) == ["cracks.gpkg", "survey.tif"]


def test_map_is_predict_and_vectorize(survey, tmp_path):
    crackgeo.map_cracks(
        survey, tmp_path / "a.gpkg", model=IdentityModel(), probability=tmp_path / "a.tif"
    )
    crackgeo.predict_raster(survey, tmp_path / "b.tif", model=IdentityModel())
    crackgeo.vectorize_raster(tmp_path / "b.tif", tmp_path / "b.gpkg")
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        np.testing.assert_array_equal(a.read(1), b.read(1))
    for layer in ("cracks", "crack_polygons", "crack_nodes", "coverage"):
        a = gpd.read_file(tmp_path / "a.gpkg", layer=layer)
        b = gpd.read_file(tmp_path / "b.gpkg", layer=layer)
        assert a.equals(b), layer


def test_a_part_has_the_numbers_of_the_whole(survey, tmp_path):
    crackgeo.predict_raster(survey, tmp_path / "whole.tif", model=IdentityModel())
    bbox = (500000.4, 5400000 - 1.1, 500001.1, 5400000 - 0.3)
    crackgeo.predict_raster(survey, tmp_path / "part.tif", model=IdentityModel(), bbox=bbox)
    with (
        rasterio.open(tmp_path / "whole.tif") as whole,
        rasterio.open(tmp_path / "part.tif") as part,
    ):
        assert (part.width, part.height) == (350, 400)
        window = rasterio.windows.from_bounds(*part.bounds, whole.transform).round()
        np.testing.assert_array_equal(part.read(1), whole.read(1, window=window))


def test_nothing_is_reported_where_there_is_no_data(survey, tmp_path):
    class Everywhere(IdentityModel):
        def predict(self, images):
            return np.ones(images.shape[:3], np.float32)

    out = tmp_path / "cracks.gpkg"
    crackgeo.map_cracks(survey, out, model=Everywhere(), probability=tmp_path / "p.tif")
    with rasterio.open(tmp_path / "p.tif") as raster:
        codes = raster.read(1)
    assert (codes[:, 800:] == 255).all()
    assert (codes[500:600, 100:200] == 255).all()
    assert (codes[:500, :800] == 254).all()
    coverage = gpd.read_file(out, layer="coverage")
    assert set(coverage["surveyed"]) == {True, False}


def test_a_black_border_that_nothing_marks_is_not_surveyed(tmp_path):
    rng = np.random.default_rng(0)
    bands = rng.integers(20, 40, (3, 700, 900)).astype(np.uint8)
    bands[:, 300:306, 150:750] = 254
    edge = 60 + (20 * np.sin(np.arange(700) / 25)).astype(int)  # ragged
    bands[:, np.arange(900)[None] < edge[:, None]] = 0
    write(tmp_path / "s.tif", bands)
    heard = []
    monitor = Monitor(on_warning=heard.append)

    class Inverse(IdentityModel):  # what is black is a crack
        def predict(self, images):
            return np.maximum(1 - super().predict(images) * 6, 0)

    for name, part in (("whole", None), ("part", (500000.03, 5399998.9, 500000.9, 5399999.8))):
        crackgeo.predict_raster(
            tmp_path / "s.tif",
            tmp_path / f"{name}.tif",
            model=Inverse(),
            bbox=part,
            monitor=monitor,
        )
    with (
        rasterio.open(tmp_path / "whole.tif") as whole,
        rasterio.open(tmp_path / "part.tif") as part,
    ):
        codes = whole.read(1)
        window = rasterio.windows.from_bounds(*part.bounds, whole.transform).round()
        np.testing.assert_array_equal(part.read(1), whole.read(1, window=window))
    np.testing.assert_array_equal(codes == 255, np.arange(900)[None] < edge[:, None])
    assert "black border" in heard[0]


def test_the_run_is_on_record(survey, tmp_path):
    out = tmp_path / "cracks.gpkg"
    crackgeo.map_cracks(survey, out, model=IdentityModel(), min_length_m=0.1)
    with sqlite3.connect(out) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM runs").fetchall()
    database.close()
    assert row["model"] == "identity"
    assert row["input_name"] == "survey.tif"
    assert '"min_length": 0.1' in row["options"]
    assert '"overlap": 112' in row["options"]
    assert row["n_cracks"] == 1


def test_an_existing_output_stays_unless_asked(survey, tmp_path):
    out = tmp_path / "cracks.gpkg"
    out.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        crackgeo.map_cracks(survey, out, model=IdentityModel())
    assert out.read_text() == "precious"
    result = crackgeo.map_cracks(survey, out, model=IdentityModel(), overwrite=True)
    assert result.vectors.cracks == 1


def test_a_file_with_layers_of_others_is_refused_before_the_work(survey, tmp_path):
    out, stages = tmp_path / "work.gpkg", []
    aoi = gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:25832")
    aoi.to_file(out, layer="aoi", engine="pyogrio")
    before = out.read_bytes()
    monitor = Monitor(lambda stage, *_: stages.append(stage))
    for job in (crackgeo.map_cracks, crackgeo.vectorize_raster):
        with pytest.raises(UsageError, match=r"would be lost with the file: aoi"):
            job(survey, out, overwrite=True, monitor=monitor)
    assert (stages, out.read_bytes()) == ([], before)


def test_what_the_model_cannot_do_is_told_before_the_work(survey, tmp_path):
    stages = []
    monitor = Monitor(lambda stage, *_: stages.append(stage))
    options = {"model": IdentityModel(), "monitor": monitor}
    with pytest.raises(UsageError, match=r"--threshold-low must lie in \(0, 0.5\], not 0.6"):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", threshold_low=0.6, **options)
    assert stages == []
    assert left_in(tmp_path) == ["survey.tif"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"threshold": "0.5"}, "threshold of the model own must be a number, not '0.5'"),
        ({"width_error_px": np.nan}, "width_error_px of the model own must be 0 or more, not nan"),
        ({"min_length_px": None}, "min_length_px of the model own must be a number"),
        ({"threshold": 2.0}, "threshold"),
        ({"threshold": 0.3, "threshold_low": 0.9}, "threshold-low"),
        ({"threshold": 0.0}, "threshold"),
    ],
)
def test_an_own_model_that_tells_nonsense_is_refused_before_the_work(survey, tmp_path, told, said):
    model = IdentityModel()
    model.info = ModelInfo("own", "0" * 64, **told)
    with pytest.raises(UsageError, match=said):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=model)
    assert model.tiles == 0
    assert left_in(tmp_path) == ["survey.tif"]


def test_thresholds_that_are_given_count_instead_of_the_models(survey, tmp_path):
    model = IdentityModel()
    model.info = ModelInfo("own", "0" * 64, threshold=0.2)
    out = tmp_path / "o.gpkg"
    given = {"threshold": 0.5, "threshold_low": 0.2, "min_length_m": 0.0}
    assert crackgeo.map_cracks(survey, out, model=model, **given).vectors.cracks == 1
    crackgeo.predict_raster(survey, tmp_path / "p.tif", model=model)


def test_an_own_model_may_tell_numpys_numbers(survey, tmp_path):
    model = IdentityModel()
    model.info = ModelInfo("own", "0" * 64, threshold=np.float32(0.5), min_length_px=np.int64(2))
    assert crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=model).vectors.cracks == 1


def test_an_output_that_is_open_elsewhere_is_refused_before_the_work(survey, tmp_path):
    out, stages = tmp_path / "cracks.gpkg", []
    out.write_text("precious")
    (tmp_path / "cracks.gpkg-wal").touch()
    monitor = Monitor(lambda stage, *_: stages.append(stage))
    with pytest.raises(ResourceError, match="open in another program"):
        crackgeo.map_cracks(survey, out, model=IdentityModel(), overwrite=True, monitor=monitor)
    with pytest.raises(ResourceError, match="open in another program"):
        crackgeo.vectorize_raster(survey, out, overwrite=True, monitor=monitor)
    assert stages == []
    assert left_in(tmp_path) == ["cracks.gpkg", "cracks.gpkg-wal", "survey.tif"]
    assert out.read_text() == "precious"


def test_cancelling_before_anything_is_done_leaves_nothing(survey, tmp_path):
    seen = []
    monitor = Monitor(lambda name, *_: seen.append(name), is_cancelled=lambda: "predict" in seen)
    with pytest.raises(Cancelled):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=IdentityModel(1), monitor=monitor)
    assert left_in(tmp_path) == ["survey.tif"]


def test_a_run_that_was_stopped_goes_on_without_the_model(survey, tmp_path):
    out, seen, heard = tmp_path / "cracks.gpkg", [], []
    monitor = Monitor(
        lambda name, *_: seen.append(name), heard.append, is_cancelled=lambda: "skeleton" in seen
    )
    with pytest.raises(Cancelled):
        crackgeo.map_cracks(survey, out, model=IdentityModel(), monitor=monitor)
    assert left_in(tmp_path) == ["cracks.gpkg.work", "survey.tif"]
    assert "--resume" in heard[-1]
    model = IdentityModel()
    result = crackgeo.map_cracks(survey, out, model=model, resume=True)
    assert (result.vectors.cracks, model.tiles) == (1, 0)
    with sqlite3.connect(out) as database:
        assert database.execute("SELECT n_tiles FROM runs").fetchone() == (6,)
    database.close()
    assert left_in(tmp_path) == ["cracks.gpkg", "survey.tif"]


def test_a_run_that_fails_late_leaves_none_of_its_outputs(survey, tmp_path):
    """Cancelled while it draws: the layers and the probabilities are on the disk already."""
    seen = []
    monitor = Monitor(lambda name, *_: seen.append(name), is_cancelled=lambda: "quicklook" in seen)
    more = {"probability": tmp_path / "p.tif", "quicklook": tmp_path / "q.png"}
    with pytest.raises(Cancelled):
        crackgeo.map_cracks(
            survey, tmp_path / "o.gpkg", model=IdentityModel(), monitor=monitor, **more
        )
    assert left_in(tmp_path) == ["o.gpkg.work", "survey.tif"]
    model = IdentityModel()
    crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=model, resume=True, **more)
    assert model.tiles == 0
    assert left_in(tmp_path) == ["o.gpkg", "p.tif", "q.png", "survey.tif"]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    seen.clear()
    other = {"model": IdentityModel(), "monitor": monitor, "threshold": 0.9, "overwrite": True}
    with pytest.raises(Cancelled):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", **other, **more)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "--workers"),
        ({"batch_size": 0}, "--batch-size"),
        ({"bbox": (1, 2, 3)}, "--bbox takes 4 numbers"),
        ({"bbox": "1,2,3,4"}, "--bbox"),
        ({"bands": 1}, "--bands takes 1 or 3 numbers"),
        ({"bands": (1.5, 2, 3)}, "--bands must be a whole number"),
        ({"bands": (0, 1, 2)}, "--bands counts from 1"),
        ({"nodata": "0"}, "--nodata must be a number"),
        ({"gsd_m": [1]}, "--gsd must be a number"),
        ({"overlap_px": 1.5}, "--overlap must be a whole number"),
        ({"overlap_px": None}, "--overlap must be"),
        ({"on_error": "ignore"}, "--on-error must be fail or skip"),
        ({"model": 5}, "5 is no model"),
        ({"max_width_mm": None}, "--max-width must be a number"),
        ({"threshold": "0.5"}, "--threshold must be a number"),
        ({"min_length_m": np.array([1, 2])}, "--min-length must be a number"),
    ],
)
def test_options_that_make_no_sense(survey, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", **{"model": IdentityModel(), **options})
    assert left_in(tmp_path) == ["survey.tif"]


@pytest.mark.parametrize("inputs", [[], "", [""], None, b"survey.tif", [5]])
def test_inputs_that_are_no_names(tmp_path, inputs):
    with pytest.raises(UsageError, match=r"names? (no )?raster"):
        crackgeo.map_cracks(inputs, tmp_path / "o.gpkg")


def test_an_output_needs_a_name(survey):
    with pytest.raises(UsageError, match="has no name"):
        crackgeo.map_cracks(survey, "")


def test_numbers_may_be_numpy_s(survey, tmp_path):
    box = 500000.4, 5400000 - 1.1, 500001.1, 5400000 - 0.3
    options = {"gsd_m": 0.004, "overlap_px": 64, "min_length_m": 0.25}
    crackgeo.map_cracks(survey, tmp_path / "a.gpkg", model=IdentityModel(), bbox=box, **options)
    options = {name: np.array(value)[()] for name, value in options.items()}
    options["min_length_m"] = np.float32(0.25)
    crackgeo.map_cracks(
        survey, tmp_path / "b.gpkg", model=IdentityModel(), bbox=np.array(box), **options
    )
    told = []
    for name in ("a.gpkg", "b.gpkg"):
        with sqlite3.connect(tmp_path / name) as database:
            told += database.execute("SELECT options FROM runs").fetchall()
        database.close()
    assert told[0] == told[1]


def test_a_picture_without_georeference_has_its_cracks_where_a_gis_shows_it(tmp_path):
    """Rows go down from 0; 0 degrees are up: the crack rises to the right."""
    red = np.zeros((300, 400), np.uint8)
    rows, cols = np.mgrid[0:300, 0:400]
    red[(np.abs(rows + 1.2 * cols - 300) < 5) & (cols > 50) & (cols < 200)] = 254
    Image.fromarray(np.stack([red] * 3, axis=2)).save(tmp_path / "photo.png")
    out = tmp_path / "o.gpkg"
    crackgeo.map_cracks(tmp_path / "photo.png", out, model=IdentityModel())
    (crack,) = gpd.read_file(out, layer="cracks").itertuples()
    assert crack.geometry.bounds == pytest.approx((50, -240, 200, -60), abs=6)
    assert crack.orient_deg == pytest.approx(np.degrees(np.arctan(1 / 1.2)), abs=2)


class OddModel(IdentityModel):
    """Gives something else than it should."""

    def __init__(self, odd):
        super().__init__()
        self.odd = odd

    def predict(self, images):
        return self.odd(super().predict(images))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (lambda p: p * np.float32("nan"), "nan"),
        (lambda p: p + 2, "not probabilities"),
        (lambda p: p[..., None], "array"),
        (lambda p: p[:1], "array"),
        (lambda p: None, "NoneType, no array of numbers"),
        (lambda p: [["crack"]], "list, no array of numbers"),
    ],
    ids=["nan", "range", "shape", "fewer", "nothing", "words"],
)
def test_a_model_that_gives_no_probabilities(survey, tmp_path, odd, words):
    with pytest.raises(ModelError, match=words):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=OddModel(odd))


def test_a_model_without_a_batch(survey, tmp_path):
    with pytest.raises(UsageError, match="batch_size must be 1 or more, not 0"):
        crackgeo.map_cracks(survey, tmp_path / "o.gpkg", model=IdentityModel(0))
    for size in (2.5, "2"):
        with pytest.raises(UsageError, match="--batch-size"):
            crackgeo.load_model(batch_size=size)


def test_a_raster_without_data_is_refused(tmp_path):
    write(tmp_path / "empty.tif", np.zeros((4, 50, 50), np.uint8))
    with pytest.raises(InputError, match="no data"):
        crackgeo.map_cracks(tmp_path / "empty.tif", tmp_path / "o.gpkg", model=IdentityModel())
    assert left_in(tmp_path) == ["empty.tif"]


def test_a_raster_without_cracks_gives_empty_layers(tmp_path):
    write(tmp_path / "plain.tif", np.ones((3, 50, 50), np.uint8))
    out = tmp_path / "o.gpkg"
    result = crackgeo.map_cracks(tmp_path / "plain.tif", out, model=IdentityModel())
    assert (result.vectors.cracks, result.vectors.length_m) == (0, 0.0)
    assert result.vectors.width_mean_mm is None
    assert "cracks          0" in result.summary()
    assert len(gpd.read_file(out, layer="cracks")) == 0


def test_without_a_crs_lengths_are_in_local_units_and_a_warning_says_so(tmp_path):
    bands = np.ones((3, 120, 500), np.uint8)
    bands[:, 60:66, 100:400] = 254
    write(tmp_path / "facade.tif", bands, crs=None)
    heard = []
    result = crackgeo.map_cracks(
        tmp_path / "facade.tif",
        tmp_path / "o.gpkg",
        model=IdentityModel(),
        monitor=Monitor(on_warning=heard.append),
    )
    assert any("local units" in message for message in heard)
    assert not result.vectors.ground_units
    assert result.vectors.length_m == pytest.approx(0.6, abs=0.02)
    assert result.vectors.width_mean_mm == pytest.approx(0.012, abs=0.0005)


def test_a_given_least_length_replaces_the_models_rule(tmp_path):
    bands = np.ones((3, 120, 500), np.uint8)
    bands[:, 60:66, 100:112] = 254  # 12 px, below the rule of 20
    write(tmp_path / "short.tif", bands)
    found = [
        crackgeo.map_cracks(
            tmp_path / "short.tif",
            tmp_path / "o.gpkg",
            model=IdentityModel(),
            min_length_m=least,
            overwrite=True,
        ).vectors.cracks
        for least in (None, 0.0, 0.05)
    ]
    assert found == [0, 1, 0]


def test_what_is_too_wide_for_a_crack_is_left_out_and_said(tmp_path):
    bands = np.ones((3, 300, 500), np.uint8)
    bands[:, 40:46, 100:400] = 254  # 12 mm
    bands[:, 150:210, 50:450] = 254  # 120 mm: a ditch
    write(tmp_path / "wide.tif", bands)
    heard = []
    results = [
        crackgeo.map_cracks(
            tmp_path / "wide.tif",
            tmp_path / "o.gpkg",
            model=IdentityModel(),
            max_width_mm=limit,
            overwrite=True,
            monitor=Monitor(on_warning=heard.append),
        )
        for limit in (100.0, 200.0)
    ]
    assert [r.vectors.networks for r in results] == [1, 2]
    assert len(heard) == 1
    assert heard[0].startswith("1 networks wider than 100 mm")
