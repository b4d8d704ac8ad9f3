"""Features of any layer as a file for the engine, none of them lost.

QGIS's own way (`parameterAsCompatibleSourceLayerPath`) keeps all fields: a field `fid` with the
same number twice, as merged layers have it, costs features without a word, and two fields whose
names differ in case only give a file without a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFields,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingUtils,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from .translation import tr


def write_features(
    source: QgsProcessingFeatureSource, title: str, names: Sequence[str], transform_context
) -> str:
    """Write a source's features into a temporary GeoPackage and return its path.

    Parameters
    ----------
    source : what the user gave; a selection, a filter and edits count
    title : for messages
    names : of the fields to keep, those that are there
    transform_context : QgsCoordinateTransformContext of the run

    Raises
    ------
    QgsProcessingException
        Not every feature could be written.
    """
    kept = [i for i in map(source.fields().indexFromName, names) if i >= 0]
    fields = QgsFields()
    for i in kept:
        fields.append(source.fields()[i])
    path = QgsProcessingUtils.generateTempFilename("features.gpkg")
    writer = _writer(path, fields, source, transform_context)
    n_given = 0
    for feature in _read(source, kept):
        copy = QgsFeature(fields)
        copy.setGeometry(feature.geometry())
        copy.setAttributes([feature.attributes()[i] for i in kept])
        n_given += 1
        if not writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
            raise _failure(title, writer.errorMessage())
    writer.flushBuffer()
    problem = writer.errorMessage()
    del writer  # which closes the file
    n_written = QgsVectorLayer(path, title, "ogr").featureCount()
    if n_written != n_given:
        counts = tr("{} of {} features were written").format(max(n_written, 0), n_given)
        raise _failure(title, f"{counts} {problem}".strip())
    return path


def _writer(path, fields, source, transform_context):
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    return QgsVectorFileWriter.create(
        path, fields, source.wkbType(), source.sourceCrs(), transform_context, options
    )


def _read(source, kept):
    """The features as they are: what is to be done about a crooked polygon the engine knows."""
    request = QgsFeatureRequest().setSubsetOfAttributes(kept)
    unchecked = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    return source.getFeatures(request, unchecked)


def _failure(title: str, problem: str) -> QgsProcessingException:
    wanted = tr(
        "{}: the features could not be handed to the engine ({}). Save the layer as a new file "
        "(Export > Save Features As), and use that."
    )
    return QgsProcessingException(wanted.format(title, problem))
