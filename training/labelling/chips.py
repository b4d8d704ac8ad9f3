"""A labelled raster, or a folder of pictures, as chips to learn from.

chips/manifest.csv    split, set, image, mask, licence, row, col, known_px, crack_px
chips/chips.json      what they were made of, counts, warnings
chips/images, masks   see `pairs` for the values of a mask
chips/contact_sheet.png
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackgeo.errors import InputError, UsageError
from crackgeo.files import output_errors
from crackgeo.jsontext import to_json
from crackgeo.monitor import SILENT, Monitor
from crackgeo.raster import ImageRaster, header_checksum, open_image
from crackgeo.specs import BandSpec

from ..pictures.pairs import write_label, write_picture
from ..pictures.records import IGNORE, Record, check_sizes, checksum, read_image, read_manifest
from .alignment import Shift, find_shift
from .blocks import TRAIN, VAL, Chip, ChipSpec, plan_chips
from .contact import write_contact_sheet
from .folders import check_apart, folder_output
from .labels import Labels, LabelSpec, read_labels
from .layouts import Pair, find_pairs, list_pairs

STAGE = "chips"
SUMMARY = "chips.json"
COLUMNS = ("split", "set", "image", "mask", "licence", "row", "col", "known_px", "crack_px")
LEAST_KNOWN = 0.02  # a chip with less labelled ground teaches nothing
CONTACT_CHIPS = 24
MANY_EMPTY = 0.5  # share of a folder's masks
MORE_CHIPS = "label cracks in more places, or make chips smaller with --chip-px"
MORE_PICTURES = "add pictures with cracks; NAME-1, NAME-2 count as crops of one photograph"
Row = dict[str, Any]  # of the manifest
Made = tuple[list[Row], dict[str, Any]]  # rows, and what is told of where they come from


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
        Raster without labels, folder with labels, or the output exists or holds an input.
    InputError
        Something is wrong with raster, labels or pictures; nothing at all to learn from.
    ResourceError
        The disk is full or refuses.
    """
    given = _Given(source, labels, area, label_spec, chip_spec, bands, gsd_m)
    check_apart([output], [source, labels, area])
    if (source / SUMMARY).is_file():
        raise UsageError(
            f"{source}: holds chips already; split anew, what was learned from would judge",
            "give it to `crackgeo finetune --data` or `crackgeo evaluate --data` as it is",
        )
    heard: list[str] = []

    def hear(message: str) -> None:
        heard.append(message)
        monitor.warn(message)

    listening = Monitor(monitor.on_progress, hear, monitor.is_cancelled)
    with folder_output(output, overwrite, SUMMARY) as part:
        _folders(part)
        rows, made = (_take_over if labels is None else _cut)(given, part, listening)
        records = read_manifest(part / "manifest.csv")
        shift = find_shift(records)
        _warn_of_shift(shift, listening)
        write_contact_sheet(part / "contact_sheet.png", _to_show(records, rows))
        size_px = max((row["size"] for row in rows if "size" in row), default=None)
        result = ChipSummary(output, *_counts(rows), size_px, shift, tuple(heard))
        told = {name: value for name, value in result.to_dict().items() if name != "folder"}
        story = {**made, "spec": asdict(given.spec), **told}
        with output_errors(output):
            (part / SUMMARY).write_text(to_json(story, indent=1) + "\n", encoding="utf-8")
    return result


def check_chips(folder: Path, source: Path, **options: Any) -> None:
    """Find out whether chips are those that `make_chips` would make now.

    Parameters
    ----------
    folder : the chips
    source, options : see `make_chips`

    Raises
    ------
    UsageError
        They were made of other pixels or labels, or in another way.
    InputError
        Raster, labels, pictures or what the chips tell of themselves cannot be read.
    """
    anew = "begin anew with --overwrite and without --resume"
    try:
        story = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / SUMMARY}: cannot be read ({error})", anew) from error
    if story.get("inputs_sha256") != _Given(source, **options).digest():
        raise UsageError(
            f"{folder}: was made of other labels or pictures, or with other options",
            f"give the same ones, or {anew}",
        )


@dataclass(frozen=True)
class _Given:
    """What chips are made of, see `make_chips`."""

    source: Path
    labels: Path | None = None
    area: Path | None = None
    label_spec: LabelSpec | None = None
    chip_spec: ChipSpec | None = None
    bands: BandSpec | None = None
    gsd_m: float | None = None

    def __post_init__(self) -> None:
        if self.source.is_dir() == (self.labels is not None):
            raise UsageError(
                f"{self.source}: a raster needs --labels, a folder of images and masks has its own",
                "give a raster with --labels LABELS.gpkg, or a folder without",
            )

    @property
    def spec(self) -> ChipSpec:
        """Sizes and shares."""
        return self.chip_spec or ChipSpec()

    @contextmanager
    def opened(self, monitor: Monitor = SILENT) -> Iterator[tuple[ImageRaster, Labels, list[Chip]]]:
        """The raster, its labels, and where chips will lie."""
        assert self.labels is not None
        with open_image(self.source, self.bands, self.gsd_m, monitor) as image:
            found = read_labels(self.labels, image.grid, self.label_spec, self.area, monitor)
            marked = np.concatenate([found.cracks, found.rejected])
            yield image, found, plan_chips(found.extent, image.grid.window, marked, self.spec)

    def digest(self) -> str:
        """The same for the same pixels, labels and options, whatever the files are called."""
        if self.labels is not None:
            with self.opened() as (_, found, chips):
                return self.digest_of(found, chips)
        pairs = [
            (p.split, p.name, checksum(p.image), checksum(p.mask)) for p in list_pairs(self.source)
        ]
        return sha256(repr((self.spec, pairs)).encode()).hexdigest()

    def digest_of(self, labels: Labels, chips: Sequence[Chip]) -> str:
        """The same of a raster that is open."""
        header = header_checksum(self.source)
        digest = sha256(repr((header, self.bands or BandSpec(), self.gsd_m)).encode())
        for chip in chips:
            digest.update(repr(chip).encode())
            digest.update(labels.draw(chip.window).tobytes())
        return digest.hexdigest()


def _cut(given: _Given, folder: Path, monitor: Monitor) -> Made:
    """Write the chips of a raster and their manifest."""
    assert given.labels is not None
    rows = []
    with given.opened(monitor) as (image, found, chips):
        for i, chip in enumerate(chips):
            monitor.step(STAGE, i, len(chips))
            rows += _write_chip(image, found, folder, chip)
        monitor.step(STAGE, len(chips), len(chips))
        digest = given.digest_of(found, chips)
    _write_manifest(folder / "manifest.csv", rows)
    _warn_of_no_crack(rows, MORE_CHIPS, monitor)
    made = {"raster": given.source.name, "header_sha256": header_checksum(given.source)}
    area = given.area.name if given.area else None
    return rows, {**made, "labels": given.labels.name, "area": area, "inputs_sha256": digest}


def _write_chip(image: ImageRaster, labels: Labels, folder: Path, chip: Chip) -> list[Row]:
    """Write a chip; gives its row of the manifest, or none if too little of it is labelled."""
    window = chip.window
    pixels, valid = image.read(window)
    label = labels.draw(window)
    label[~valid] = IGNORE
    if (label != IGNORE).mean() < LEAST_KNOWN:
        return []
    name = f"{Path(image.name).stem}_{window.row}_{window.col}.png"
    write_picture(folder / "images" / name, np.asarray(pixels, np.uint8))
    write_label(folder / "masks" / name, label)
    row = _row(chip.split, Path(image.name).stem, name, name, label)
    place = {"row": window.row, "col": window.col}
    return [{**row, **place, "size": max(window.height, window.width)}]


def _take_over(given: _Given, folder: Path, monitor: Monitor) -> Made:
    """Copy the pictures of a folder, write their masks and their manifest."""
    pairs = find_pairs(given.source, given.spec.val_share)
    rows = []
    for i, pair in enumerate(pairs):
        monitor.step(STAGE, i, len(pairs))
        rows.append(_copy_pair(pair, folder, given.source.name))
    monitor.step(STAGE, len(pairs), len(pairs))
    _write_manifest(folder / "manifest.csv", rows)
    _warn_of_no_crack(rows, MORE_PICTURES, monitor)
    _warn_of_empty(rows, monitor)
    return rows, {"folder": given.source.name, "inputs_sha256": given.digest()}


def _copy_pair(pair: Pair, folder: Path, name: str) -> Row:
    label = pair.read_mask()
    check_sizes(read_image(pair.image), label, pair.mask)
    stem = f"{pair.split}_{pair.name}"  # numbers often begin anew in every split
    image, mask = f"{stem}{pair.image.suffix.lower()}", f"{stem}.png"
    with output_errors(folder):
        shutil.copyfile(pair.image, folder / "images" / image)
    write_label(folder / "masks" / mask, label)
    return _row(pair.split, name, image, mask, label)


def _folders(folder: Path) -> None:
    with output_errors(folder):
        for kind in ("images", "masks"):
            (folder / kind).mkdir()


def _row(split: str, name: str, image: str, mask: str, label: NDArray[np.uint8]) -> Row:
    return {
        "split": split,
        "set": name,
        "image": f"images/{image}",
        "mask": f"masks/{mask}",
        "licence": "your own",
        "known_px": int((label != IGNORE).sum()),
        "crack_px": int((label == 1).sum()),
    }


def _write_manifest(path: Path, rows: Sequence[Row]) -> None:
    if not any(row["crack_px"] for row in rows):
        raise InputError(
            "no crack pixel anywhere in what is labelled: there is nothing to learn",
            "check --area, --width-field, the status field, and the masks' values (crack is 255)",
        )
    with output_errors(path), path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, COLUMNS, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def _counts(rows: Iterable[Row]) -> tuple[int, int, int, int]:
    count = Counter((row["split"], row["crack_px"] > 0) for row in rows)
    with_cracks = count[TRAIN, True], count[VAL, True]
    without = count[TRAIN, False], count[VAL, False]
    return with_cracks[0] + without[0], with_cracks[1] + without[1], *with_cracks


def _warn_of_no_crack(rows: Sequence[Row], remedy: str, monitor: Monitor) -> None:
    _, _, train_cracks, val_cracks = _counts(rows)
    for name, count in (("training", train_cracks), ("validation", val_cracks)):
        if not count:
            monitor.warn(f"{name} has no crack: {remedy}")


def _warn_of_shift(shift: Shift | None, monitor: Monitor) -> None:
    if shift is not None and shift.is_systematic:
        monitor.warn(
            f"labels lie {shift.distance_px:.0f} px off the dark ridges: moved by {shift.cols:+d} "
            f"columns and {shift.rows:+d} rows they would fit; were they drawn on another image?"
        )


def _warn_of_empty(rows: Sequence[Row], monitor: Monitor) -> None:
    """Crack-free pictures teach, too, but most of a folder without a crack looks like a mistake."""
    empty = sum(not row["crack_px"] for row in rows)
    if empty > MANY_EMPTY * len(rows):
        monitor.warn(
            f"{empty} of {len(rows)} masks are empty: they are learned from as pictures without a "
            "crack; leave pictures out that nobody has labelled"
        )


def _to_show(records: Sequence[Record], rows: Sequence[Row]) -> list[tuple[Record, str]]:
    """Some chips of each kind with captions: validation first, cracks before empty ones."""
    order = sorted(
        range(len(rows)), key=lambda i: (rows[i]["split"] != VAL, rows[i]["crack_px"] == 0)
    )
    step = max(1, -(-len(order) // CONTACT_CHIPS))
    return [
        (records[i], f"{rows[i]['split']}  {rows[i]['crack_px']} crack px") for i in order[::step]
    ]
