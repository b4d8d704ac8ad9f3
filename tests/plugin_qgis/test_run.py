"""Runs inside QGIS, most with an engine that only pretends: what goes in and what comes back."""

import shlex
import shutil
import sys
import time
import types
import zipfile
from pathlib import Path

import processing
import pytest
from osgeo import gdal
from processing.gui.AlgorithmExecutor import execute
from processing.gui.Postprocessing import handleAlgorithmResults
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingModelAlgorithm,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsSingleSymbolRenderer,
    QgsSymbol,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant

pytestmark = pytest.mark.qgis
MAP = "crackgeo:mapcracks"


def words(feedback):
    """The command line in the log, as words."""
    (command,) = feedback.of("command")
    return shlex.split(command)


def option(feedback, name):
    found = words(feedback)
    return found[found.index(name) + 1]


def test_results_progress_and_command(fake_engine, feedback, survey, tmp_path):
    out = str(tmp_path / "o.gpkg")
    result = processing.run(MAP, {"INPUT": survey, "GSD": 0.004, "OUTPUT": out}, feedback=feedback)
    assert result["OUTPUT"] == f"{out}|layername=cracks"
    assert option(feedback, "--output") == out
    assert (result["COUNT"], result["LENGTH"], result["LONGEST"]) == (2, 1.5, 1.0)
    assert (result["WIDEST"], result["WIDTH_MEAN"]) == (4.5, None)
    assert QgsVectorLayer(result["COVERAGE"], "c", "ogr").isValid()
    assert words(feedback)[:3] == [str(fake_engine), "map", survey]
    assert option(feedback, "--gsd") == "0.004"
    assert "--threshold" not in words(feedback)
    assert feedback.of("warning") == ["pixels are coarse"]
    assert "pretending" in feedback.of("console")
    assert feedback.percents[0] == pytest.approx(40)  # half of the model's 80 %
    assert any("2 min left" in text for text in feedback.of("progress"))


def test_an_extent_is_handed_over_in_the_crs_of_the_raster(fake_engine, feedback, survey, tmp_path):
    part = QgsRectangle(500000.1, 5399999.5, 500000.4, 5399999.9)
    parameters = {"INPUT": survey, "EXTENT": part, "NODATA": -9999, "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.run(MAP, parameters, feedback=feedback)
    (bbox,) = [w for w in words(feedback) if w.startswith("--bbox")]
    assert [float(v) for v in bbox.partition("=")[2].split(",")] == pytest.approx(
        [500000.1, 5399999.5, 500000.4, 5399999.9], abs=1e-4
    )
    assert option(feedback, "--nodata") == "-9999"


def test_a_layer_in_memory_becomes_a_file(fake_engine, feedback, survey):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "lanes", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500000, 5399999, 500001, 5400000)))
    layer.dataProvider().addFeature(feature)
    parameters = {"INPUT": survey, "AOI": layer, "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.run(MAP, parameters, feedback=feedback)
    written = QgsVectorLayer(option(feedback, "--aoi"), "a", "ogr")
    assert written.isValid()
    assert written.featureCount() == 1
    assert written.crs().authid() == "EPSG:32632"


def squares(fields, rows):
    """A layer in memory of a square for each row of attributes."""
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32632{fields}", "squares", "memory")
    for i, attributes in enumerate(rows):
        feature = QgsFeature(layer.fields())
        west = 500000 + 0.1 * i
        box = QgsRectangle(west, 5399999.9, west + 0.1, 5400000)
        feature.setGeometry(QgsGeometry.fromRect(box))
        feature.setAttributes(attributes)
        assert layer.dataProvider().addFeature(feature)
    return layer


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ("&field=fid:integer", [[1], [1], [2], [2]]),
        ("&field=fid:string", [["a"], ["b"], ["c"]]),
        ("&field=ogc_fid:integer&field=geom:string", [[1, "g"], [1, "g"]]),
        ("&field=Name:string&field=name:string", [["a", "b"], ["c", "d"]]),
    ],
)
def test_no_feature_of_an_area_is_lost(fake_engine, feedback, survey, fields, rows):
    """Merged layers and parts of a multipart have the same fid more than once."""
    parameters = {"INPUT": survey, "AOI": squares(fields, rows), "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.run(MAP, parameters, feedback=feedback)
    written = QgsVectorLayer(option(feedback, "--aoi"), "a", "ogr")
    assert written.featureCount() == len(rows)
    assert written.fields().names() == ["fid"]


def test_labels_keep_what_the_engine_reads_of_them(fake_engine, feedback, survey, tmp_path):
    fields = "&field=fid:integer&field=width_mean_mm:double&field=status:string&field=Status:string"
    rows = [[7, 1.5, "accepted", "a"], [7, None, None, "b"]]
    parameters = {
        "INPUT": survey,
        "LABELS": squares(fields, rows),
        "OUTPUT": str(tmp_path / "mine.safetensors"),
    }
    processing.run("crackgeo:finetune", parameters, feedback=feedback)
    written = QgsVectorLayer(option(feedback, "--labels"), "labels", "ogr")
    assert written.fields().names() == ["fid", "status", "width_mean_mm"]
    found = [(f["status"] or None, f["width_mean_mm"] or None) for f in written.getFeatures()]
    assert found == [("accepted", 1.5), (None, None)]


def test_only_selected_features_and_edits_count(fake_engine, feedback, survey, qgis_new_project):
    layer = squares("&field=n:integer", [[1], [2], [3]])
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    layer.deleteFeature(1)
    layer.selectByIds([2])
    selected = QgsProcessingFeatureSourceDefinition(layer.id(), True)
    for area, n_wanted in ((layer.id(), 2), (selected, 1)):
        parameters = {"INPUT": survey, "AOI": area, "OUTPUT": "TEMPORARY_OUTPUT"}
        feedback.said.clear()
        processing.run(MAP, parameters, feedback=feedback)
        assert QgsVectorLayer(option(feedback, "--aoi"), "a", "ogr").featureCount() == n_wanted
    layer.rollBack()


@pytest.mark.parametrize("fault", ["addFeature", "errorMessage"])
def test_features_that_cannot_be_written_are_no_small_loss(
    fake_engine, feedback, survey, monkeypatch, fault
):
    from crackgeo import features

    class Lossy:
        """A writer that drops each second feature, with a word or without."""

        def __init__(self, *arguments):
            self.inner = QgsVectorFileWriter.create(*arguments)
            self.n = 0

        def addFeature(self, feature, flags):
            self.n += 1
            if self.n % 2:
                return self.inner.addFeature(feature, flags)
            return fault != "addFeature"

        def flushBuffer(self):
            return self.inner.flushBuffer()

        def errorMessage(self):
            return "disk full"

    writer = types.SimpleNamespace(
        create=Lossy, SaveVectorOptions=QgsVectorFileWriter.SaveVectorOptions
    )
    monkeypatch.setattr(features, "QgsVectorFileWriter", writer)
    area = squares("", [[], [], []])
    with pytest.raises(QgsProcessingException):
        processing.run(
            MAP, {"INPUT": survey, "AOI": area, "OUTPUT": "TEMPORARY_OUTPUT"}, feedback=feedback
        )
    said = feedback.of("error")[0]
    assert "Only inside these polygons" in said
    assert "disk full" in said
    assert ("2 of 3" in said) == (fault == "errorMessage")
    assert feedback.of("command") == []


@pytest.mark.parametrize("expression", ["NULL", "''"])
def test_an_expression_without_a_value_gives_no_option(fake_engine, feedback, survey, expression):
    nothing = QgsProperty.fromExpression(expression)
    parameters = {"INPUT": survey, "GSD": nothing, "BANDS": nothing, "MIN_LENGTH": nothing}
    processing.run(MAP, {**parameters, "OUTPUT": "TEMPORARY_OUTPUT"}, feedback=feedback)
    assert not {"--gsd", "--bands", "--min-length"} & set(words(feedback))


def test_a_number_is_handed_over_whole(fake_engine, feedback, survey):
    least = -3.4028234663852886e38  # of 32 bits, which many rasters have for no data
    parameters = {
        "INPUT": survey,
        "NODATA": least,
        "GSD": QgsProperty.fromExpression("0.004 / 8"),
        "OUTPUT": "TEMPORARY_OUTPUT",
    }
    processing.run(MAP, parameters, feedback=feedback)
    assert float(option(feedback, "--nodata")) == least
    assert option(feedback, "--gsd") == "0.0005"


def test_errors_arrive_whole(fake_engine, feedback, survey, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(QgsProcessingException) as caught:
        processing.run(MAP, {"INPUT": survey, "OUTPUT": str(tmp_path / "o.gpkg")})
    assert "survey.tif: damaged" in str(caught.value)
    assert "copy it again" in str(caught.value)


def test_a_wrong_version_is_refused(provider, fake_engine, survey, monkeypatch):
    monkeypatch.setenv("FAKE_VERSION", "9.9.9")
    with pytest.raises(QgsProcessingException, match=r"9\.9\.9"):
        processing.run(MAP, {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT"})


def test_a_missing_engine_is_named(provider, survey, monkeypatch):
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", "/nowhere/crackgeo")
    with pytest.raises(QgsProcessingException, match=r"/nowhere/crackgeo(.|\n)*unset CRACKGEO"):
        processing.run(MAP, {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT"})


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"INPUT": "/nowhere.tif"}, "INPUT"),
        ({"OUTPUT": "/tmp/cracks.shp"}, "gpkg"),
        ({"THRESHOLD": 7}, "THRESHOLD"),
        ({"DEVICE": "toaster"}, "DEVICE"),
    ],
)
def test_wrong_parameters_are_refused(fake_engine, feedback, survey, parameters, word):
    with pytest.raises(QgsProcessingException):
        processing.run(
            MAP,
            {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT", **parameters},
            feedback=feedback,
        )
    assert any(word in text for text in feedback.of("error"))
    assert feedback.of("command") == []


def web_layer():
    layer = QgsRasterLayer("type=xyz&url=file:///nowhere/{z}/{x}/{y}.png", "tiles", "wms")
    assert layer.isValid()
    return layer


def in_a_geopackage(survey, folder):
    path = folder / "ortho.gpkg"
    gdal.Translate(str(path), survey, format="GPKG", creationOptions=["RASTER_TABLE=ortho"])
    return QgsRasterLayer(f"GPKG:{path}:ortho", "table")


def in_an_archive(survey, folder):
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(survey, "a.tif")
    return QgsRasterLayer(f"/vsizip/{path}/a.tif", "archive")


def web_service_in_a_file(survey, folder):
    path = folder / "wms.xml"
    service = (
        '<Service name="TMS"><ServerUrl>file:///nowhere/${z}/${x}/${y}.png</ServerUrl></Service>'
    )
    window = (
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
        "<LowerRightY>0</LowerRightY><TileLevel>3</TileLevel></DataWindow>"
    )
    path.write_text(f"<GDAL_WMS>{service}{window}<BandsCount>3</BandsCount></GDAL_WMS>")
    return QgsRasterLayer(str(path), "service")


@pytest.mark.parametrize(
    "make",
    [lambda *_: web_layer(), in_a_geopackage, in_an_archive, web_service_in_a_file],
    ids=["web", "table", "archive", "service"],
)
def test_a_raster_that_is_no_file_is_refused_with_what_to_do(
    fake_engine, feedback, survey, tmp_path, make
):
    layer = make(survey, tmp_path)
    assert layer.isValid()
    with pytest.raises(QgsProcessingException, match="save the layer as a GeoTIFF"):
        processing.run(MAP, {"INPUT": layer, "OUTPUT": "TEMPORARY_OUTPUT"}, feedback=feedback)


def test_a_web_layer_is_refused_inside_a_model(
    fake_engine, feedback, tmp_path, chain, qgis_new_project
):
    path, output = chain
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(path)
    web = web_layer()
    QgsProject.instance().addMapLayer(web)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {"image": web.id(), output: str(tmp_path / "o.gpkg")}
    with pytest.raises(QgsProcessingException):
        model.run(parameters, context, feedback, catchExceptions=False)
    assert any("save the layer as a GeoTIFF" in text for text in feedback.of("error"))
    assert feedback.of("command") == []


def test_a_raster_on_a_server_is_handed_over_by_its_address(provider):
    from crackgeo import layer_parameters as parameters

    layer = QgsRasterLayer("/vsicurl/https://nowhere.invalid/a.tif|option:X=1", "far")
    assert parameters.raster_path(layer) == "https://nowhere.invalid/a.tif"
    assert parameters._is_file("https://nowhere.invalid/a.tif")


@pytest.mark.parametrize(("held", "said"), [("EPSG:25833", "EPSG:25833"), ("", "none")])
def test_a_crs_that_only_qgis_knows_is_refused(fake_engine, feedback, survey, tmp_path, held, said):
    """The engine reads the file: coordinates would be taken for others, or for local units."""
    path = str(tmp_path / "copy.tif")
    shutil.copy(survey, path)
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.SetProjection(QgsCoordinateReferenceSystem(held).toWkt())
    del dataset
    layer = QgsRasterLayer(path, "copy")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    parameters, context = {"INPUT": layer, "OUTPUT": "TEMPORARY_OUTPUT"}, QgsProcessingContext()
    assert algorithm.checkParameterValues(parameters, context)[0]
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert not ok
    assert f"is EPSG:32632 in QGIS, but {said} in the file" in message
    assert "Assign Projection" in message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"MIN_LENGTH": "0,25"},
            "Least length in metres: 0,25 is no number; fractions have a point",
        ),
        ({"NODATA": "abc"}, "Value without data: abc is no number"),
        ({"GSD": "='0,002'"}, "0,002 is no number"),
        ({"GSD": "=nonsense("}, "nonsense( has no value"),
        ({"THRESHOLD": "=7"}, "7 does not lie between 0 and 1"),
        ({"MAX_WIDTH": 0.0}, "Greatest mean width in mm: 0.0 does not lie between 0 and"),
        ({"OVERLAP": "=11.5"}, "11.5 is no whole number"),
        ({"DEVICE": "='cuda:1'"}, "cuda:1 is none of auto, cpu"),
        ({"EXTENT": "0,0,0,0"}, "Only this extent: this extent has no area"),
        ({"EXTENT": QgsGeometry}, "this extent has no area"),
        ({"EXTENT": "0,1,0,1 [EPSG:99999]"}, "its coordinate system is not known"),
        ({"EXTENT": "200,300,100,200 [EPSG:4326]"}, "where the image's coordinate system is used"),
    ],
)
def test_what_qgis_would_turn_into_something_else_is_refused(
    fake_engine, feedback, survey, values, said
):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    (name, value), *_ = values.items()
    if str(value).startswith("="):
        value = QgsProperty.fromExpression(value[1:])
    elif value is QgsGeometry:
        value = QgsGeometry()
    parameters = {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT", name: value}
    ok, message = algorithm.checkParameterValues(parameters, QgsProcessingContext())
    assert not ok
    assert said in message
    assert not algorithm.run(parameters, QgsProcessingContext(), feedback)[1]  # nobody asked before
    assert not feedback.of("command")


@pytest.mark.parametrize("system", ["EPSG:25832", ""])
@pytest.mark.parametrize("as_text", [True, False])
def test_an_image_without_crs_takes_an_extent_as_it_is(
    fake_engine, feedback, survey, tmp_path, as_text, system
):
    """As QGIS's own widget gives it, which names the project's system."""
    path = str(shutil.copy(survey, tmp_path / "plain.tif"))
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.SetProjection("")
    del dataset
    box = QgsRectangle(500000.1, 5399999.5, 500000.4, 5399999.9)
    extent = QgsReferencedRectangle(box, QgsCoordinateReferenceSystem(system))
    if as_text:
        named = f" [{system}]" if system else ""
        extent = f"500000.1,500000.4,5399999.5,5399999.9{named}"
    layer = QgsRasterLayer(path, "plain")
    layer.setCrs(QgsCoordinateReferenceSystem())
    parameters = {"INPUT": layer, "EXTENT": extent, "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.run(MAP, parameters, feedback=feedback)
    (bbox,) = [w for w in words(feedback) if w.startswith("--bbox")]
    assert [float(v) for v in bbox.partition("=")[2].split(",")] == pytest.approx(
        [500000.1, 5399999.5, 500000.4, 5399999.9], abs=1e-4
    )


def test_a_layer_may_be_called_like_a_year(fake_engine, feedback, survey, qgis_new_project):
    layer = QgsRasterLayer(survey, "ortho [2024]")
    QgsProject.instance().addMapLayer(layer)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {
        "INPUT": survey, "EXTENT": "ortho [2024]", "OVERLAP": QVariant(50),
        "OUTPUT": "TEMPORARY_OUTPUT",
    }  # fmt: skip
    processing.run(MAP, parameters, feedback=feedback, context=context)
    assert any(word.startswith("--bbox=500000,") for word in words(feedback))
    assert option(feedback, "--overlap") == "50"


def test_a_raster_that_is_gone_or_locked_is_named(fake_engine, survey, tmp_path, monkeypatch):
    from crackgeo import layer_parameters as code

    path = str(shutil.copy(survey, tmp_path / "copy.tif"))
    layer = QgsRasterLayer(path, "copy")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    parameters, context = {"INPUT": layer, "OUTPUT": "TEMPORARY_OUTPUT"}, QgsProcessingContext()
    Path(path).rename(tmp_path / "other.tif")
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert (ok, "copy.tif cannot be read (No such file or directory)" in message) == (False, True)

    def locked(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(code, "_is_file", locked)
    ok, message = algorithm.checkParameterValues(parameters, context)
    assert (ok, "cannot be read (Permission denied)" in message) == (False, True)


def test_an_archive_on_a_server_is_no_file(provider):
    from crackgeo import layer_parameters as parameters

    layer = QgsRasterLayer("/vsizip//vsicurl/http://nowhere.invalid/z.zip/a.tif", "far")
    assert not parameters._is_file(parameters.raster_path(layer))


def test_without_crs_nothing_is_called_metres(fake_engine, feedback, survey, monkeypatch):
    from crackgeo.algorithms import base

    assert base._without_units("Total length (m)") == "Total length (units of the image)"
    assert base.has_ground_units({"cracks": 1})
    assert not base.has_ground_units({"ground_units": False})
    assert not base.has_ground_units({"has_ground_units": False})
    processing.run(MAP, {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT"}, feedback=feedback)
    assert "Total length (m): 1.500" in feedback.of("info")


def test_messages_speak_of_layers_and_labels(provider):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    algorithm.handed = {"/tmp/x/features.gpkg": "Only inside these polygons (fields)"}
    said = "/tmp/x/features.gpkg: no area; '--max-width' and --threshold-low, not --overwrite"
    assert algorithm.in_words(said) == (
        'Only inside these polygons (fields): no area; "Greatest mean width in mm" and '
        '"Lower threshold", not --overwrite'
    )


def test_label_fields_count_in_any_case(provider, tmp_path):
    from crackgeo.features import write_features

    def written(*names):
        layer = QgsVectorLayer("LineString?crs=EPSG:32632", "labels", "memory")
        layer.dataProvider().addAttributes([QgsField(n, QVariant.String) for n in names])
        layer.updateFields()
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt("LineString (0 0, 1 1)"))
        feature.setAttributes(list(names))
        layer.dataProvider().addFeature(feature)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("crackgeo:finetune")
        context = QgsProcessingContext()
        source = algorithm.parameterAsSource({"LABELS": layer}, "LABELS", context)
        path = write_features(source, "Labels", ("status",), context.transformContext())
        (one,) = QgsVectorLayer(path, "found", "ogr").getFeatures()
        return one["status"]

    assert written("STATUS", "other") == "STATUS"
    with pytest.raises(QgsProcessingException, match="two fields are called status"):
        written("STATUS", "Status")


def test_on_windows_a_file_of_a_layer_is_not_written_to(
    fake_engine, feedback, survey, tmp_path, monkeypatch, mapped, qgis_new_project
):
    """That system replaces no file that is open."""
    out = tmp_path / "cracks.gpkg"
    shutil.copy(mapped[0], out)
    layer = QgsVectorLayer(f"{out}|layername=cracks", "Cracks, road 5", "ogr")
    QgsProject.instance().addMapLayer(layer)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    for platform, refused in (("linux", False), ("win32", True)):
        monkeypatch.setattr(sys, "platform", platform)
        ok, said = algorithm.checkParameterValues({"INPUT": survey, "OUTPUT": str(out)}, context)
        assert ok != refused
    assert "Cracks, road 5" in said
    other = {"INPUT": survey, "OUTPUT": str(tmp_path / "other.gpkg")}
    assert algorithm.checkParameterValues(other, context)[0]


def test_cancel_in_a_task_takes_less_than_a_second(
    fake_engine, feedback, survey, tmp_path, monkeypatch, qgis_app
):
    monkeypatch.setenv("FAKE_WAITS", "1")
    context = QgsProcessingContext()
    target = tmp_path / "o.gpkg"
    algorithm = QgsApplication.processingRegistry().algorithmById(MAP)
    parameters = {"INPUT": survey, "OUTPUT": str(target)}
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    done = []
    task.executed.connect(lambda ok, results: done.append(results))
    QgsApplication.taskManager().addTask(task)
    began = cancelled = time.monotonic()
    while not done and time.monotonic() - began < 20:
        qgis_app.processEvents()
        if feedback.percents and not task.isCanceled():
            cancelled = time.monotonic()
            task.cancel()
        time.sleep(0.01)
    assert done == [{}]
    assert time.monotonic() - cancelled < 1
    assert not target.exists()
    assert any("Cancelled" in text for text in feedback.of("info"))


def test_result_layers_are_named_and_styled(fake_engine, feedback, survey, qgis_new_project):
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    parameters = {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.runAndLoadResults(algorithm, parameters, feedback=feedback, context=context)
    layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
    cracks, outlines = layers["Cracks, survey one"], layers["Crack outlines, survey one"]
    assert set(layers) == {cracks.name(), outlines.name(), "Coverage, survey one"}
    assert cracks.renderer().type() == "graduatedSymbol"
    assert [r.label() for r in cracks.renderer().ranges()][1] == "0.3 - 1.3 mm"
    assert cracks.labelsEnabled()
    assert cracks.labeling().settings().scaleVisibility
    assert layers["Coverage, survey one"].renderer().type() == "categorizedSymbol"
    assert outlines.renderer().type() == "singleSymbol"


def test_in_a_group_of_results_the_cracks_lie_on_top(
    fake_engine, feedback, survey, tmp_path, qgis_new_project
):
    """QGIS 3.22 puts each layer below the last there, above it elsewhere."""
    from processing.core.ProcessingConfig import ProcessingConfig

    for group in ("", "My results"):
        project, context = QgsProject.instance(), QgsProcessingContext()
        project.clear()
        context.setProject(project)
        ProcessingConfig.setSettingValue(ProcessingConfig.RESULTS_GROUP_NAME, group)
        try:
            algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
            parameters = {"INPUT": survey, "OUTPUT": str(tmp_path / f"o{len(group)}.gpkg")}
            processing.runAndLoadResults(algorithm, parameters, feedback=feedback, context=context)
        finally:
            ProcessingConfig.setSettingValue(ProcessingConfig.RESULTS_GROUP_NAME, "")
        names = [node.name() for node in project.layerTreeRoot().findLayers()]
        assert [n.partition(",")[0] for n in names] == ["Cracks", "Crack outlines", "Coverage"]


def test_a_probability_raster_is_named_after_its_image(
    fake_engine, feedback, survey, tmp_path, qgis_new_project
):
    project = QgsProject.instance()
    for name, output in (("predictprobability", "OUTPUT"), ("mapcracks", "PROBABILITY")):
        project.clear()
        context = QgsProcessingContext()
        context.setProject(project)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"crackgeo:{name}")
        path = tmp_path / f"{name}.tif"
        shutil.copy(survey, path)  # the pretended engine writes no second output
        parameters = {"INPUT": survey, "OUTPUT": "TEMPORARY_OUTPUT", output: str(path)}
        processing.runAndLoadResults(algorithm, parameters, feedback=feedback, context=context)
        names = {layer.name() for layer in project.mapLayers().values()}
        assert "Crack probability, survey one" in names


def test_stations_are_loaded_where_they_were_asked_for(
    provider, real_engine, feedback, survey, tmp_path, monkeypatch, qgis_new_project
):
    monkeypatch.setenv("CRACKGEO_EXECUTABLE", real_engine)
    project, context = QgsProject.instance(), QgsProcessingContext()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    parameters = {
        "INPUT": survey, "STATIONS": 0.05, "MIN_LENGTH": 0, "OUTPUT": str(tmp_path / "o.gpkg"),
    }  # fmt: skip
    results = processing.runAndLoadResults(
        algorithm, parameters, feedback=feedback, context=context
    )
    names = [node.name() for node in project.layerTreeRoot().findLayers()]
    assert names[:2] == ["Widths at stations, survey one", "Cracks, survey one"]
    (stations,) = project.mapLayersByName(names[0])
    assert stations.featureCount() > 0
    assert results["STATIONS_LAYER"] == stations.source()


def test_a_layer_that_is_there_keeps_name_and_style(
    fake_engine, feedback, survey, tmp_path, mapped, qgis_new_project
):
    out, project = tmp_path / "o.gpkg", QgsProject.instance()
    shutil.copy(mapped[0], out)
    mine = QgsVectorLayer(f"{out}|layername=cracks", "North bridge", "ogr")
    mine.setRenderer(QgsSingleSymbolRenderer(QgsSymbol.defaultSymbol(mine.geometryType())))
    project.addMapLayer(mine)
    context = QgsProcessingContext()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    parameters = {"INPUT": survey, "OUTPUT": str(out)}
    processing.runAndLoadResults(algorithm, parameters, feedback=feedback, context=context)
    cracks = [v for v in project.mapLayers().values() if v.source().endswith("=cracks")]
    assert [(v.name(), v.renderer().type()) for v in cracks] == [("North bridge", "singleSymbol")]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Road A1.2", "Road A1.2"),
        ("copy.tif", "copy"),
        ("v1.0", "v1.0"),
        ("", "copy"),
        ("Crack probability, Road 5", "Road 5"),
    ],
)
def test_a_dot_in_a_layers_name_stays(provider, survey, tmp_path, name, title):
    from crackgeo.layers import title_of

    path = str(shutil.copy(survey, tmp_path / "copy.tif"))
    assert title_of(QgsRasterLayer(path, name)) == title


def test_a_name_that_the_user_chose_stays(fake_engine, feedback, survey, tmp_path, chain):
    path, output = chain
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(path)
    single = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    # to a model's results QGIS gives the names that they have in the model
    for algorithm, image, result, name in (
        (single, "INPUT", "OUTPUT", "Road 5"),
        (model, "image", output, "cracks"),
    ):
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        out = QgsProcessingOutputLayerDefinition(str(tmp_path / "o.gpkg"), QgsProject.instance())
        out.destinationName = "Road 5"
        assert algorithm.run({image: survey, result: out}, context, feedback)[1]
        details = context.layersToLoadOnCompletion().values()
        names = [f"Coverage, {name}", f"Crack outlines, {name}", name]
        assert sorted(d.name for d in details) == sorted(names)
        assert all(d.forceName for d in details)


def test_a_group_that_was_chosen_stays(provider, tmp_path):
    from crackgeo.layers import load_with_cracks

    context, path = QgsProcessingContext(), str(tmp_path / "o.gpkg")
    details = QgsProcessingContext.LayerDetails("Road 5", QgsProject.instance(), "OUTPUT")
    if not hasattr(details, "groupName"):
        pytest.skip("QGIS before 3.32 has no groups for results")
    details.groupName = "results"
    context.addLayerToLoadOnCompletion(path, details)
    load_with_cracks(context, path, "title")
    loaded = context.layersToLoadOnCompletion().values()
    assert [d.groupName for d in loaded] == ["results"] * 3


def test_a_batch_of_two_rasters(fake_engine, feedback, survey, tmp_path):
    """As the batch dialog does: one algorithm, a row of parameters at a time."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    outputs = [str(tmp_path / f"{i}.gpkg") for i in (1, 2)]
    for out in outputs:
        context = QgsProcessingContext()
        ok, results = execute(
            algorithm, {"INPUT": survey, "OUTPUT": out}, context, feedback, catch_exceptions=False
        )
        assert ok
        assert results["OUTPUT"].startswith(out)
        assert handleAlgorithmResults(algorithm, context, feedback)
    assert [Path(out).exists() for out in outputs] == [True, True]


def test_a_model_keeps_its_children_and_passes_results_on(
    fake_engine, feedback, survey, tmp_path, chain
):
    """Predict, then vectorize, in the model designer: saved, read again, run."""
    path, output = chain
    again = QgsProcessingModelAlgorithm()
    assert again.fromFile(path)
    assert set(again.childAlgorithms()) == {"predict", "vectorize"}
    assert [d.name() for d in again.destinationParameterDefinitions()] == [output]
    target = str(tmp_path / "o.gpkg")
    context = QgsProcessingContext()
    _, ok = again.run({"image": survey, output: target}, context, feedback)
    assert ok, feedback.said
    predict, vectorize = map(shlex.split, feedback.of("command")[-2:])
    assert predict[1] == "predict"
    assert vectorize[1:3] == ["vectorize", predict[predict.index("--output") + 1]]
    assert vectorize[vectorize.index("--min-length") + 1] == "0.25"
    assert QgsVectorLayer(f"{target}|layername=cracks", "c", "ogr").featureCount() >= 1


def test_a_run_in_another_thread_loads_its_layers_too(
    fake_engine, feedback, survey, tmp_path, qgis_app, qgis_new_project
):
    """As the dialog runs it: QGIS keeps what to load only if it hears of it in that thread."""
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    out = QgsProcessingOutputLayerDefinition(str(tmp_path / "o.gpkg"), QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(MAP)
    task = QgsProcessingAlgRunnerTask(
        algorithm, {"INPUT": survey, "OUTPUT": out}, context, feedback
    )
    done = []
    task.executed.connect(lambda ok, results: done.append(results))
    QgsApplication.taskManager().addTask(task)
    began = time.monotonic()
    while not done and time.monotonic() - began < 60:
        qgis_app.processEvents()
        time.sleep(0.01)
    assert done[0]["COUNT"] == 2
    names = [details.name for details in context.layersToLoadOnCompletion().values()]
    assert sorted(names) == [
        "Coverage, survey one",
        "Crack outlines, survey one",
        "Cracks, survey one",
    ]
    assert handleAlgorithmResults(algorithm, context, feedback)
    assert len(QgsProject.instance().mapLayers()) == 3
