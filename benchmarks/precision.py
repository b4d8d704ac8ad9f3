"""How far low precision changes a model's masks, on pictures of your own.

    python benchmarks/precision.py --model compact --precision bf16 PICTURE...

Pictures are cut to 448 x 448 px from their upper left corner; smaller ones are scaled up first.
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from crackgeo import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    reference = load_model(options.model, options.device, "fp32", 1)
    lower = load_model(options.model, options.device, options.precision, 1)
    print("| picture | pixels equal, % | largest difference of probability | mean |")
    print("|---|---|---|---|")
    for path in options.pictures:
        tile = read_tile(path, reference.info.tile_px)[None]
        p, q = reference.predict(tile), lower.predict(tile)
        equal = 100 * np.mean((p >= reference.info.threshold) == (q >= reference.info.threshold))
        gap = np.abs(p - q)
        print(f"| {path} | {equal:.3f} | {gap.max():.3f} | {gap.mean():.5f} |", flush=True)


def read_tile(path: str, side: int) -> np.ndarray:
    with Image.open(path) as picture:
        size = [max(side, length) for length in picture.size]
        return np.asarray(picture.convert("RGB").resize(size))[:side, :side]


if __name__ == "__main__":
    main()
