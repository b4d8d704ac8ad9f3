"""How the scores of a model hold when the camera, the light or the file was another.

    python benchmarks/cameras.py DATA [--every 4] [--stretched] [--model compact] [--model OTHER]

Each picture of `val` and of masonry (never trained on) is taken as it is and changed in one way at
a time; a change is the same for every model. Printed are mean IoU and 2 px F1 at p = 0.5. With
--stretched each changed picture is stretched as if it were a raster of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from crackgeo_training.pictures.records import Record, read_manifest, read_pair
from crackgeo_training.scoring.metrics import ObjectRule, score, summarise
from crackgeo_training.scoring.predict_images import predict_images
from numpy.typing import NDArray

from crackgeo.models.protocol import Segmenter
from crackgeo.models.registry import load_model
from crackgeo.stretch import apply_stretch, stretch_of

Picture = NDArray[np.uint8]
SEED = 78


def grey(rgb: Picture) -> Picture:
    """Of a camera without colour."""
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def contrast(factor: float) -> Callable[[Picture], Picture]:
    """Greys around the middle one, nearer together or farther apart."""
    return lambda rgb: _rounded(128 + (rgb.astype(np.float32) - 128) * factor)


def brightness(factor: float) -> Callable[[Picture], Picture]:
    """Exposed for longer or shorter; what gets too bright is white."""
    return lambda rgb: _rounded(rgb.astype(np.float32) * factor)


def gamma(power: float) -> Callable[[Picture], Picture]:
    """Another tone curve."""
    return lambda rgb: _rounded(255 * (rgb.astype(np.float32) / 255) ** power)


def jpeg(quality: int) -> Callable[[Picture], Picture]:
    """Stored with loss."""

    def stored(rgb: Picture) -> Picture:
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        back = cv2.imdecode(code, cv2.IMREAD_COLOR)
        assert back is not None
        return back[..., ::-1].astype(np.uint8)

    return stored


def sharpened(rgb: Picture) -> Picture:
    """By an unsharp mask, as telephones do."""
    x = rgb.astype(np.float32)
    return _rounded(2 * x - cv2.GaussianBlur(x, (0, 0), 1.5).astype(np.float32))


def blurred(rgb: Picture) -> Picture:
    """A little out of focus."""
    return cv2.GaussianBlur(rgb, (0, 0), 1.0).astype(np.uint8)


def noisy(rgb: Picture) -> Picture:
    """Of a small sensor in little light."""
    rng = np.random.default_rng(SEED)
    return _rounded(rgb.astype(np.float32) + rng.normal(0, 8, rgb.shape).astype(np.float32))


def _rounded(x: NDArray[np.floating[Any]]) -> Picture:
    return np.asarray(np.clip(np.rint(x), 0, 255), np.uint8)


def deep(rgb: Picture) -> Picture:
    """In 16 bits, by the stretch of such rasters."""
    values = rgb.astype(np.uint16) * 257
    return apply_stretch(values, stretch_of(values))


def then_stretched(change: Callable[[Picture], Picture]) -> Callable[[Picture], Picture]:
    """What `crackgeo map` would see of a changed picture."""

    def seen(rgb: Picture) -> Picture:
        changed = change(rgb)
        return apply_stretch(changed, stretch_of(changed))

    return seen


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "as they are": lambda rgb: rgb,
    "grey": grey,
    "contrast x 0.5": contrast(0.5),
    "contrast x 0.25": contrast(0.25),
    "contrast x 1.6": contrast(1.6),
    "brightness x 0.4": brightness(0.4),
    "brightness x 1.5": brightness(1.5),
    "gamma 0.5": gamma(0.5),
    "gamma 2": gamma(2.0),
    "JPEG, quality 20": jpeg(20),
    "sharpened": sharpened,
    "blurred by 1 px": blurred,
    "noise of 8 grey levels": noisy,
    "16 bits": deep,
}


def cells(model: Segmenter, records: Sequence[Record], change: Callable[[Picture], Picture]) -> str:
    """Mean IoU and 2 px F1, as cells of a table."""
    found = predict_images(model, (change(read_pair(record)[0]) for record in records))
    scores = [
        score(probability, read_pair(record)[1] > 0, ObjectRule())
        for probability, record in zip(found, records, strict=True)
    ]
    mean = summarise(scores)
    return f"{mean['iou'].value:.3f} | {mean['f1_2px'].value:.3f}"


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--every", default=4, show_default=True, help="Each so-manieth picture.")
@click.option("--stretched", "is_stretched", is_flag=True, help="Stretch them as `map` does.")
@click.option("--model", "names", multiple=True, default=("compact",), show_default=True)
def main(data: Path, every: int, is_stretched: bool, names: tuple[str, ...]) -> None:
    """Print a row a change and model."""
    records = read_manifest(data / "manifest.csv")
    val = [r for r in records if r.split == "val"][::every]
    walls = [r for r in records if r.set == "masonry"][::every]
    print("| pictures | model | val: IoU | 2 px F1 | masonry: IoU | 2 px F1 |")
    print("|---|---|---|---|---|---|")
    models = {name: load_model(name, device="cpu") for name in names}
    for what, change in CHANGES.items():
        seen = then_stretched(change) if is_stretched else change
        for name, model in models.items():
            row = f"{cells(model, val, seen)} | {cells(model, walls, seen)}"
            print(f"| {what} | {Path(name).stem} | {row} |", flush=True)


if __name__ == "__main__":
    main()
