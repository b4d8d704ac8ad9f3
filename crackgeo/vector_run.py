"""The second half of the main job: from a probability raster to layers and their record."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .attributes import judge_by_own_pixels
from .coverage import coverage_table
from .describe import describe_input
from .errors import InputError, UsageError
from .files import check_output
from .grid import Grid, Window
from .ground import has_ground_units
from .layers import RunRecord, write_geopackage
from .monitor import SILENT
from .probability import open_probability
from .provenance import Provenance
from .report import StageClock, versions
from .results import VectorizeResult
from .sources import crack_sources, own_pixels_mm
from .specs import VectorSpec, number, option_of
from .vectors import FeatureTable, Vectors

if TYPE_CHECKING:
    from .predict_run import Prediction

_PLACE = ("row", "col", "height", "width")


class VectorRules(NamedTuple):
    """What a user may say about the lines; None leaves it to the model."""

    threshold: float | None
    threshold_low: float | None
    min_length_m: float | None
    max_width_mm: float
    stations_m: float | None

    def checked(self) -> VectorRules:
        """The same in Python's own numbers; finds what no model could make right.

        Raises
        ------
        UsageError
            No number, or one out of its range, or a low threshold above the high one.
        """
        given = self._asdict().items()
        told = {n: v for n, v in given if v is not None or n == "max_width_mm"}
        rules = self._replace(**{n: number(v, float, option_of(n)) for n, v in told.items()})
        high = math.nextafter(1, 0) if rules.threshold is None else rules.threshold
        VectorSpec(
            threshold=high,
            threshold_low=high if rules.threshold_low is None else rules.threshold_low,
            min_length_m=rules.min_length_m or 0.0,
            max_width_mm=rules.max_width_mm,
        )
        if rules.stations_m is not None and not 0 < rules.stations_m < math.inf:
            raise UsageError(f"--stations must be a positive length, not {rules.stations_m:g}")
        return rules

    def of_model(self, source: Provenance) -> VectorSpec:
        """With the model's own numbers where the user said nothing; errors as `VectorSpec`."""
        return source.vector_spec(
            self.threshold, self.threshold_low, self.min_length_m, self.max_width_mm
        )


class Vectorization(NamedTuple):
    """What the second half leaves: numbers for the user, the vectors for a picture, the record."""

    result: VectorizeResult
    vectors: Vectors
    record: RunRecord


def run_vectorization(
    input: Path,
    output: Path,
    rules: VectorRules,
    overwrite: bool,
    clock: StageClock,
    first: Prediction | None = None,
) -> Vectorization:
    """`vectorize_raster`; `first` is the half before, if both are one run, timed by the clock."""
    from .vectorize import vectorize, warm_up  # numba: not before it is needed

    started = time.monotonic()
    begun = datetime.now(UTC) if first is None else first.started
    monitor = clock.monitor
    listener = monitor if first is None else SILENT  # the first half has told all
    check_output(output, overwrite)
    monitor.step("prepare", 0, 1)
    warm_up()  # the first run on a machine compiles for a minute; the bar says so
    monitor.step("prepare", 1, 1)
    with open_probability(input, listener) as raster:
        source = Provenance.from_tags(raster.tags) or describe_input(input, {})
        spec = rules.of_model(source)
        vectors = vectorize(
            raster,
            raster.grid,
            spec,
            width_error_px=source.width_error_px,
            width_error_share=source.width_error_share,
            monitor=monitor,
            stations_m=rules.stations_m,
        )
        damaged = [Window(*(one[k] for k in _PLACE)) for one in source.skipped]
        coverage = coverage_table(raster, raster.grid, damaged=damaged, monitor=monitor)
        grid = raster.grid
    if coverage.surveyed_m2 == 0:
        raise InputError(f"{input}: no data, all of it is nodata", "check how it was made")
    names = _sources(vectors.cracks, grid, source, first)
    own_mm = own_pixels_mm(names, source.inputs)
    judge_by_own_pixels(vectors.cracks, own_mm, source.width_error_px, source.width_error_share)
    vectors.cracks.columns["source"] = names
    monitor.step("write", 0, 1)
    record = run_record(source, _told(rules, spec), begun, clock, coverage.surveyed_m2)
    write_geopackage(output, vectors, coverage.table, record, grid.crs_wkt, overwrite=overwrite)
    monitor.step("write", 1, 1)
    units = has_ground_units(grid)
    result = _result(output, vectors.cracks, coverage.surveyed_m2, units, started)
    return Vectorization(result, vectors, record)


def _told(rules: VectorRules, spec: VectorSpec) -> dict[str, Any]:
    """The options that shape the lines, by their names on the command line."""
    return {
        "threshold": spec.threshold,
        "threshold_low": spec.threshold_low,
        "outline": spec.outline,
        "min_length": rules.min_length_m,
        "min_length_px": spec.min_length_px,
        "max_width": rules.max_width_mm,
        "stations": rules.stations_m,
    }


def _sources(
    cracks: FeatureTable,
    grid: Grid,
    source: Provenance,
    first: Prediction | None,
) -> NDArray[np.object_]:
    """Name of each crack's raster; empty if nothing but a mosaic of several is known."""
    if first is None:
        used = [one["name"] for one in source.inputs if "error" not in one]
        name = used[0] if len(used) == 1 else "" if used else source.input_name
        return np.full(len(cracks), name, np.object_)
    here = [replace(one, window=one.window.seen_from(first.window)) for one in first.shares]
    return crack_sources(cracks, grid, here)


def run_record(
    source: Provenance,
    options: dict[str, Any],
    begun: datetime,
    clock: StageClock,
    surveyed_m2: float = 0.0,
) -> RunRecord:
    """What is known of a run that ends now."""
    return RunRecord(
        version=source.version,
        model=source.model,
        model_sha256=source.model_sha256,
        input_name=source.input_name,
        input_width_px=source.input_width_px,
        input_height_px=source.input_height_px,
        input_bytes=source.input_bytes,
        input_header_sha256=source.input_header_sha256,
        started=begun,
        finished=max(begun, datetime.now(UTC)),  # the clock may have been set back meanwhile
        options={**source.options, **options},
        device=source.device,
        n_tiles=source.n_tiles,
        surveyed_m2=surveyed_m2,
        inputs=source.inputs,
        skipped=source.skipped,
        versions=versions(),
        stages=clock.seconds(),
    )


def _result(
    output: Path, cracks: FeatureTable, surveyed_m2: float, ground_units: bool, started: float
) -> VectorizeResult:
    length = cracks.columns["length_m"]
    total = float(length.sum())
    mean_mm, max_mm = _widths_mm(cracks)
    return VectorizeResult(
        output=output,
        cracks=len(cracks),
        networks=len(set(cracks.columns["network_id"].tolist())),
        length_m=total,
        width_mean_mm=mean_mm,
        width_max_mm=max_mm,
        longest_m=float(length.max()) if total else None,
        surveyed_m2=surveyed_m2,
        ground_units=ground_units,
        seconds=time.monotonic() - started,
    )


def _widths_mm(cracks: FeatureTable) -> tuple[float | None, float | None]:
    """Mean width over the length whose width is known, and the largest."""
    known = np.isfinite(cracks.columns["width_mean_mm"])
    if not known.any():
        return None, None
    mean, largest, length = (
        cracks.columns[name][known] for name in ("width_mean_mm", "width_max_mm", "length_m")
    )
    return float(np.average(mean, weights=length)), float(largest.max())
