"""How far low precision changes a model's masks, on pictures of your own.

    python benchmarks/precision.py --model compact --precision bf16 PICTURE...
    python benchmarks/precision.py --model vit_b --delta both PICTURE...      # random weights

Pictures are cut to 448 x 448 px from their upper left corner; smaller ones are scaled up first.
Random weights give masks without meaning, all of whose logits lie near zero: the hardest case for
the share of equal pixels, an easy one for the difference of probabilities.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from inference import DELTAS, random_network, wrap
from PIL import Image

from crackgeo import load_model
from crackgeo.models.runtime import TorchSegmenter
from crackgeo.models.sam import VITS, for_inference

GOAL_PERCENT = 99.5  # of pixels equal to fp32's


def main() -> None:
    options = parse()
    reference, lower = (make(options, p) for p in ("fp32", options.precision))
    tiles = (read_tile(path, reference.info.tile_px) for path in options.pictures)
    found = np.array([compare(reference, lower, tile[None]) for tile in tiles])
    equal, largest, mean = found.T
    print("| tiles | equal, %: mean | lowest | tiles below 99.5 | difference: largest | mean |")
    print("|---|---|---|---|---|---|")
    cells = (f"{equal.mean():.3f}", f"{equal.min():.3f}", np.sum(equal < GOAL_PERCENT))
    cells += (f"{largest.max():.4f}", f"{mean.mean():.6f}")
    print("| " + " | ".join(map(str, (len(found), *cells))) + " |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", default="compact", help="name, file, or vit_b, vit_l, vit_h")
    parser.add_argument("--delta", choices=DELTAS, default="lora", help="of random weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    return parser.parse_args()


def make(options: argparse.Namespace, precision: str) -> TorchSegmenter:
    if options.model not in VITS:
        return load_model(options.model, options.device, precision, 1)
    network = for_inference(random_network(options.model, options.delta))
    return wrap(network, options.device, precision, 1)


def compare(
    reference: TorchSegmenter, lower: TorchSegmenter, tile: np.ndarray
) -> tuple[float, float, float]:
    """Pixels on the same side of the threshold, %, and the probabilities' largest and mean gap."""
    threshold = reference.info.threshold
    p, q = reference.predict(tile), lower.predict(tile)
    equal, gap = (p >= threshold) == (q >= threshold), np.abs(p - q)
    return float(100 * equal.mean()), float(gap.max()), float(gap.mean())


def read_tile(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as picture:
        size = [max(side, length) for length in picture.size]
        return np.asarray(picture.convert("RGB").resize(size))[:side, :side]


if __name__ == "__main__":
    main()
