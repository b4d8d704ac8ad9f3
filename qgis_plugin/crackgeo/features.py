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
    QgsField,
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
        There is none, or not every feature could be written, or it is not clear which field counts.
    """
    if source.featureCount() == 0:
        raise QgsProcessingException(
            tr("{}: no feature to use; look at the selection and the filter").format(title)
        )
    found = {name: _index(source.fields(), name, title) for name in names}
    kept = {name: i for name, i in found.items() if i is not None}
    fields = QgsFields()
    for name, i in kept.items():
        field = QgsField(source.fields()[i])
        field.setName(name)
        fields.append(field)
    path = QgsProcessingUtils.generateTempFilename("features.gpkg")
    writer = _writer(path, fields, source, transform_context)
    n_given = 0
    for feature in _read(source, list(kept.values())):
        copy = QgsFeature(fields)
        copy.setGeometry(feature.geometry())
        copy.setAttributes([feature.attributes()[i] for i in kept.values()])
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


def _index(fields, name, title):
    """Where a field is, None without one; its case counts only where two differ in nothing else."""
    alike = [i for i in range(len(fields)) if fields[i].name().lower() == name]
    exact = [i for i in alike if fields[i].name() == name]
    if not exact and len(alike) > 1:
        wanted = tr("{}: two fields are called {}; rename the one that does not count")
        raise QgsProcessingException(wanted.format(title, name))
    return next(iter(exact or alike), None)


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
