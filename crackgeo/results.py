"""What the main jobs give back: numbers for programs, a few lines for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


@dataclass(frozen=True)
class PredictResult:
    """A probability raster was written.

    Parameters
    ----------
    output : the probability raster, None if it was not kept
    inputs : rasters that were predicted
    left_out : names of rasters that could not be opened or placed
    skipped : blocks inside rasters that could not be read
    model, model_sha256, device, precision : what computed it
    gsd_mm : ground pixel size along columns and rows (local units if the raster has no CRS)
    tiles, tiles_run : tiles in the part asked for, and those that hold data
    pixels_valid : pixels with data
    seconds : wall-clock time
    """

    output: Path | None
    inputs: int
    left_out: tuple[str, ...]
    skipped: int
    model: str
    model_sha256: str
    device: str
    precision: str
    gsd_mm: tuple[float, float]
    tiles: int
    tiles_run: int
    pixels_valid: int
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether nothing had to be left out."""
        return not (self.left_out or self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(asdict(self))

    def input_lines(self) -> list[str]:
        """Lines for a person on the inputs, where there is something to say."""
        lines = [f"rasters         {self.inputs}"] if self.inputs > 1 else []
        lines += [f"LEFT OUT        {name}, see the warning" for name in self.left_out]
        if self.skipped:
            lines.append(f"LEFT OUT        {self.skipped} damaged blocks, see the layer coverage")
        return lines

    def summary(self) -> str:
        """Lines for a person."""
        return "\n".join(
            [
                *self.input_lines(),
                f"probabilities   {self.output}",
                f"model           {self.model} on {self.device}, {self.precision}",
                f"tiles           {self.tiles_run} run, {self.tiles - self.tiles_run} empty",
                f"time            {self.seconds:.1f} s",
            ]
        )


@dataclass(frozen=True)
class VectorizeResult:
    """A crack layer was written.

    Parameters
    ----------
    output : the GeoPackage
    cracks, networks : how many crack lines, and how many connected networks of them
    length_m : total length on the ground
    width_mean_mm : mean over the length whose width is known; None without any
    width_max_mm : of the widest crack; None without any whose width is known
    longest_m : of the longest crack; None without a crack
    surveyed_m2 : ground area with data
    ground_units : False if the raster has no CRS: every length is then in its own unit
    seconds : wall-clock time
    """

    output: Path
    cracks: int
    networks: int
    length_m: float
    width_mean_mm: float | None
    width_max_mm: float | None
    longest_m: float | None
    surveyed_m2: float
    ground_units: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return _plain(asdict(self))

    def summary(self) -> str:
        """Lines for a person."""
        metre, milli = ("m", "mm") if self.ground_units else ("units", "units")
        digits = ".1f" if self.ground_units else ".3g"
        lines = [f"cracks          {self.cracks} in {self.networks} networks"]
        if self.longest_m is not None:
            lines.append(
                f"total length    {self.length_m:.2f} {metre}, longest {self.longest_m:.2f} {metre}"
            )
        if self.width_mean_mm is not None:
            lines.append(
                f"width           mean {self.width_mean_mm:{digits}} {milli}, "
                f"largest {self.width_max_mm:{digits}} {milli}"
            )
        density = self.length_m / self.surveyed_m2 if self.surveyed_m2 else 0.0
        lines += [
            f"area surveyed   {self.surveyed_m2:.2f} {metre}2, {density:.3f} {metre} of crack per "
            f"{metre}2",
            f"layer           {self.output}",
            f"time            {self.seconds:.1f} s",
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class MapResult:
    """The main job was done: both halves, and the files kept beside the layer."""

    prediction: PredictResult
    vectors: VectorizeResult
    probability: Path | None
    quicklook: Path | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the halves' values side by side."""
        values = {**self.prediction.to_dict(), **self.vectors.to_dict()}
        values["probability"] = str(self.probability) if self.probability else None
        values["quicklook"] = str(self.quicklook) if self.quicklook else None
        values["seconds_predict"] = self.prediction.seconds
        values["seconds_vectorize"] = self.vectors.seconds
        values["seconds"] = self.seconds
        return values

    def summary(self) -> str:
        """Lines for a person."""
        p, v = self.prediction, self.vectors
        lines = [*p.input_lines(), *v.summary().splitlines()[:-1]]
        lines.append(f"model           {p.model} on {p.device}, {p.precision}")
        for name, path in (("probabilities", self.probability), ("quicklook", self.quicklook)):
            if path:
                lines.append(f"{name:<15} {path}")
        lines.append(
            f"time            {self.seconds:.1f} s: {p.tiles_run} tiles in {p.seconds:.1f} s, "
            f"vectors in {v.seconds:.1f} s"
        )
        return "\n".join(lines)
