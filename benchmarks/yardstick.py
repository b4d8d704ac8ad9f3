"""What a classical detector reaches on the same pictures: dark ridges, found by hysteresis.

The picture is divided by its own blurred self, ridges are found by the Sato filter
(scikit-image), and lines are those that reach a high response, are followed down to half of it, and
are long enough. The response and the size are chosen on training pictures, some of each set; the
table is of the validation pictures and of masonry.

    python benchmarks/yardstick.py DATA -o runs/yardstick
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from crackgeo_training.learning.watch import some_of_each
from crackgeo_training.pictures.records import Record, read_manifest, read_pair
from crackgeo_training.scoring.evaluate import evaluate, find_records
from crackgeo_training.scoring.metrics import ObjectRule, score
from crackgeo_training.scoring.report import to_markdown, write_report
from skimage.filters import apply_hysteresis_threshold, sato
from skimage.morphology import remove_small_objects

from crackgeo.models.protocol import ModelInfo

SIGMAS_PX = (1.0, 2.0, 3.5, 6.0)
GROUND_PX = 25.0  # blur that leaves the light and takes out the cracks
HIGH = (0.02, 0.03, 0.045, 0.065, 0.09)
SIZE_PX = (0, 60, 150, 400)
PICTURES = 12  # of each set, to choose on
RULE = ObjectRule()


@dataclass(frozen=True)
class RidgeDetector:
    """A `Segmenter` whose probabilities are 0 or 1."""

    high: float
    size_px: int
    batch_size: int = 1

    @property
    def info(self) -> ModelInfo:
        """Its setting; there is no file to hash."""
        return ModelInfo(f"ridges, response {self.high}, {self.size_px} px", "0" * 64)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The masks of RGB tiles, as 0 or 1."""
        return np.stack([self.mask(ridges(image)) for image in images]).astype(np.float32)

    def mask(self, response: np.ndarray) -> np.ndarray:
        """Lines in a picture of ridge strengths."""
        lines = apply_hysteresis_threshold(response, self.high / 2, self.high)
        if self.size_px:
            lines = remove_small_objects(lines, max_size=self.size_px, connectivity=2)
        return lines


def ridges(rgb: np.ndarray) -> np.ndarray:
    """Strength of dark lines, float `[H, W]`, in parts of the local brightness."""
    grey = rgb.astype(np.float32).mean(axis=2) + 1
    even = grey / cv2.GaussianBlur(grey, (0, 0), GROUND_PX)
    return np.asarray(sato(even, sigmas=SIGMAS_PX, black_ridges=True))


def try_all(record: Record) -> list[dict[str, float]]:
    """The sums of one picture under every setting, in the order of `product(HIGH, SIZE_PX)`."""
    image, truth = read_pair(record)
    response = ridges(image)
    masks = (RidgeDetector(*s).mask(response) for s in product(HIGH, SIZE_PX))
    return [score(m.astype(np.float32), truth > 0, RULE).parts for m in masks]


def tuned(data: Path) -> RidgeDetector:
    """The setting with the best 2 px F1, mean over sets, on some training pictures of each."""
    records = some_of_each(read_manifest(data / "manifest.csv", "train"), PICTURES)
    with ProcessPoolExecutor(2) as pool:
        tried = list(pool.map(try_all, records, chunksize=4))
    sets = sorted({r.set for r in records})
    settings = list(product(HIGH, SIZE_PX))

    def quality(i: int) -> float:
        values = [
            np.mean([t[i]["f1_2px"] for t, r in zip(tried, records, strict=True) if r.set == s])
            for s in sets
        ]
        return float(np.mean(values))

    return RidgeDetector(*settings[max(range(len(settings)), key=quality)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    detector = tuned(arguments.data)
    print(detector.info.name)
    records = [r for split in ("val", "devtest") for r in find_records(arguments.data, split)]
    result = evaluate(detector, records, RULE)
    write_report(replace(result, model=detector.info.name), arguments.output)
    print(to_markdown(result.scores))


if __name__ == "__main__":
    main()
