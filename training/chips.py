"""A labelled raster, or a folder of pictures, as chips to learn from.

chips/manifest.csv    split, set, image, mask, licence, row, col, known_px, crack_px
chips/chips.json      what they were made of, counts, warnings
chips/images, masks   see `pairs` for the values of a mask
chips/contact_sheet.png
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError, ResourceError, UsageError
from crackgeo.files import output_errors
from crackgeo.monitor import SILENT, Monitor
from crackgeo.raster import ImageRaster, header_checksum, open_image
from crackgeo.specs import BandSpec

from .alignment import Shift, find_shift
from .blocks import TRAIN, VAL, Chip, ChipSpec, plan_chips
from .contact import write_contact_sheet
from .data import IGNORE, Record, read_manifest
from .labels import Labels, LabelSpec, read_labels
from .layouts import find_pairs
from .pairs import read_label, write_label, write_picture

STAGE = "chips"
SUMMARY = "chips.json"
COLUMNS = ("split", "set", "image", "mask", "licence", "row", "col", "known_px", "crack_px")
LEAST_KNOWN = 0.02  # a chip with less labelled ground teaches nothing
CONTACT_CHIPS = 24
MANY_EMPTY = 0.5  # share of a folder's masks


@dataclass(frozen=True)
class ChipSummary:
    """What `make_chips` made.

    Parameters
    ----------
    folder : the chips
    train, val : chips of each split
    train_cracks, val_cracks : those with crack pixels
    chip_px : side of a chip; None for pictures as they came
    shift : how far labels lie off the dark ridges, if that could be told
    warnings : what the user was warned of
    """

    folder: Path
    train: int
    val: int
    train_cracks: int
    val_cracks: int
    chip_px: int | None
    shift: Shift | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "folder": str(self.folder)}

    def summary(self) -> str:
        """For people."""
        lines = [
            f"chips           {self.folder}",
            f"training        {self.train}, {self.train_cracks} with cracks",
            f"validation      {self.val}, {self.val_cracks} with cracks",
            f"look at         {self.folder / 'contact_sheet.png'}",
        ]
        return "\n".join(lines)


def make_chips(
    source: Path,
    output: Path,
    labels: Path | None = None,
    area: Path | None = None,
    label_spec: LabelSpec | None = None,
    chip_spec: ChipSpec | None = None,
    bands: BandSpec | None = None,
    gsd_m: float | None = None,
    overwrite: bool = False,
    monitor: Monitor = SILENT,
) -> ChipSummary:
    """Cut a labelled raster, or take over a folder of pictures, as chips for training.

    Parameters
    ----------
    source : a raster with `labels`, or a folder of images and masks, see `layouts`
    output : the folder to make; appears when it is complete
    labels, area, label_spec : see `labels.read_labels`
    chip_spec : sizes and shares
    bands, gsd_m : see `raster.open_image`
    overwrite : replace older chips
    monitor : progress and warnings; may cancel, which leaves nothing

    Raises
    ------
    UsageError
        Raster without labels, folder with labels, or the output exists.
    InputError
        Something is wrong with raster, labels or pictures; nothing at all to learn from.
    ResourceError
        The disk is full or refuses.
    """
    if source.is_dir() == (labels is not None):
        raise UsageError(
            f"{source}: a raster needs --labels, a folder of images and masks has its own",
            "give a raster with --labels LABELS.gpkg, or a folder without",
        )
    spec = chip_spec or ChipSpec()
    heard: list[str] = []

    def hear(message: str) -> None:
        heard.append(message)
        monitor.warn(message)

    listening = Monitor(monitor.on_progress, hear, monitor.is_cancelled)
    with folder_output(output, overwrite) as part:
        if labels is None:
            rows = list(_take_over(source, part, spec, listening))
            made: dict[str, Any] = {"folder": source.name}
        else:
            with open_image(source, bands, gsd_m, listening) as image:
                found = read_labels(labels, image.grid, label_spec, area, listening)
                rows = list(_cut(image, found, part, spec, listening))
            made = {"raster": source.name, "header_sha256": header_checksum(source)}
            made |= {"labels": labels.name, "area": area.name if area else None}
        _write_manifest(part / "manifest.csv", rows)
        records = read_manifest(part / "manifest.csv")
        shift = find_shift(records)
        size_px = None if labels is None else max(r["size"] for r in rows)
        _warn(rows, shift, listening)
        if labels is None:
            _warn_of_empty(rows, listening)
        write_contact_sheet(part / "contact_sheet.png", _to_show(records, rows))
        counts = _counts(rows)
        result = ChipSummary(output, *counts, size_px, shift, tuple(heard))
        story = {**made, "spec": asdict(spec), **result.to_dict(), "folder": None}
        with output_errors(output):
            (part / SUMMARY).write_text(json.dumps(story, indent=1) + "\n", encoding="utf-8")
    return result


def _cut(
    image: ImageRaster, labels: Labels, folder: Path, spec: ChipSpec, monitor: Monitor
) -> Iterator[dict[str, Any]]:
    """Write the chips of a raster; gives their rows of the manifest."""
    marked = np.concatenate([labels.cracks, labels.rejected])
    chips = plan_chips(labels.extent, image.grid.window, marked, spec)
    _folders(folder)
    for i, chip in enumerate(chips):
        monitor.step(STAGE, i, len(chips))
        row = _write_chip(image, labels, folder, chip)
        if row is not None:
            yield row
    monitor.step(STAGE, len(chips), len(chips))


def _write_chip(
    image: ImageRaster, labels: Labels, folder: Path, chip: Chip
) -> dict[str, Any] | None:
    window = chip.window
    pixels, valid = image.read(window)
    label = labels.draw(window)
    label[~valid] = IGNORE
    if (label != IGNORE).mean() < LEAST_KNOWN:
        return None
    name = f"{Path(image.name).stem}_{window.row}_{window.col}.png"
    write_picture(folder / "images" / name, np.asarray(pixels, np.uint8))
    write_label(folder / "masks" / name, label)
    row = _row(chip.split, Path(image.name).stem, name, name, label)
    return {**row, "row": window.row, "col": window.col, "size": max(window.height, window.width)}


def _take_over(
    source: Path, folder: Path, spec: ChipSpec, monitor: Monitor
) -> Iterator[dict[str, Any]]:
    """Copy pictures and write their masks; gives their rows of the manifest."""
    pairs = find_pairs(source, spec.val_share)
    _folders(folder)
    for i, pair in enumerate(pairs):
        monitor.step(STAGE, i, len(pairs))
        label = pair.read_mask()
        name = f"{pair.split}_{pair.name}"  # numbers often begin anew in every split
        image, mask = f"{name}{pair.image.suffix.lower()}", f"{name}.png"
        with output_errors(folder):
            shutil.copyfile(pair.image, folder / "images" / image)
        write_label(folder / "masks" / mask, label)
        record = Record(pair.split, "", folder / "images" / image, folder / "masks" / mask)
        read_label(record)  # an image that is broken, or of another size, stops here
        yield _row(pair.split, source.name, image, mask, label)
    monitor.step(STAGE, len(pairs), len(pairs))


def _folders(folder: Path) -> None:
    with output_errors(folder):
        for kind in ("images", "masks"):
            (folder / kind).mkdir()


def _row(split: str, name: str, image: str, mask: str, label: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "split": split,
        "set": name,
        "image": f"images/{image}",
        "mask": f"masks/{mask}",
        "licence": "your own",
        "known_px": int((label != IGNORE).sum()),
        "crack_px": int((label == 1).sum()),
    }


def _write_manifest(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if not any(row["crack_px"] for row in rows):
        raise InputError(
            "no crack pixel anywhere in what is labelled: there is nothing to learn",
            "check --area, --width-field, the status field, and the masks' values (crack is 255)",
        )
    with output_errors(path), path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, COLUMNS, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def _counts(rows: Iterable[dict[str, Any]]) -> tuple[int, int, int, int]:
    count = Counter((row["split"], row["crack_px"] > 0) for row in rows)
    with_cracks = count[TRAIN, True], count[VAL, True]
    without = count[TRAIN, False], count[VAL, False]
    return with_cracks[0] + without[0], with_cracks[1] + without[1], *with_cracks


def _warn(rows: Sequence[dict[str, Any]], shift: Shift | None, monitor: Monitor) -> None:
    _, _, train_cracks, val_cracks = _counts(rows)
    for name, count in (("training", train_cracks), ("validation", val_cracks)):
        if not count:
            monitor.warn(
                f"{name} has no crack: label cracks in more places, or make chips smaller "
                "with --chip-px"
            )
    if shift is not None and shift.is_systematic:
        monitor.warn(
            f"labels lie {shift.distance_px:.0f} px off the dark ridges: moved by {shift.cols:+d} "
            f"columns and {shift.rows:+d} rows they would fit; were they drawn on another image?"
        )


def _warn_of_empty(rows: Sequence[dict[str, Any]], monitor: Monitor) -> None:
    """Crack-free pictures teach, too, but most of a folder without a crack looks like a mistake."""
    empty = sum(not row["crack_px"] for row in rows)
    if empty > MANY_EMPTY * len(rows):
        monitor.warn(
            f"{empty} of {len(rows)} masks are empty: they are learned from as pictures without a "
            "crack; leave pictures out that nobody has labelled"
        )


def _to_show(records: Sequence[Record], rows: Sequence[dict[str, Any]]) -> list[tuple[Record, str]]:
    """Some chips of each kind with captions: validation first, cracks before empty ones."""
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i]["split"] != VAL, rows[i]["crack_px"] == 0)
    )
    step = max(1, -(-len(order) // CONTACT_CHIPS))
    return [
        (records[i], f"{rows[i]['split']}  {rows[i]['crack_px']} crack px") for i in order[::step]
    ]


@contextmanager
def folder_output(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill that appears under its name when the block ends well, else is removed.

    Raises
    ------
    UsageError
        The target exists; or it is to be overwritten but holds other things than chips.
    ResourceError
        The disk refuses.
    """
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already", "choose another name, or add --overwrite")
    if target.exists() and not (target / SUMMARY).is_file():
        raise UsageError(f"{target}: holds no chips, so it is not overwritten", "choose another")
    if not target.parent.is_dir():
        raise ResourceError(f"{target}: there is no folder {target.parent}", "create it first")
    part = target.with_name(f".{target.name}.part-{uuid4().hex[:8]}")
    try:
        with output_errors(target):
            part.mkdir()
        yield part
        with output_errors(target):
            if target.exists():
                shutil.rmtree(target)
            os.replace(part, target)
    finally:
        with suppress(OSError):
            shutil.rmtree(part)
