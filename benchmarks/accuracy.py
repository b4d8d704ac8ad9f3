"""Length and width on rendered truth: tables for docs/accuracy.md and plots in docs/images.

    python benchmarks/accuracy.py --images docs/images

Every crack is rendered from a known centre line and width (tests/synth.py), goes through the
whole of `vectorize`, and through what others do with the same probabilities at 0.5.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from affine import Affine
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import synth

from crackgeo.grid import Grid
from crackgeo.specs import VectorSpec
from crackgeo.vectorize import ArraySource, vectorize

WIDTHS_PX = (1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0, 20.0)
HOW = ("coverage", "blurred", "degraded")
ANGLES_DEG = np.arange(0, 180, 7.5)


def appearance(truth: synth.Truth, how: str, rng: np.random.Generator) -> np.ndarray:
    if how == "coverage":
        return truth.probability
    if how == "blurred":
        return synth.blurred(truth.probability)
    return synth.degraded(truth.probability, rng)


def ours(probability: np.ndarray, spec: VectorSpec) -> tuple[float, float, int]:
    """Total length, mean width of the longest crack, number of cracks."""
    codes = synth.codes(probability)
    grid = Grid(codes.shape[1], codes.shape[0], Affine(1, 0, 0, 0, 1, 0))
    columns = vectorize(ArraySource(codes), grid, spec, workers=1).cracks.columns
    length = columns["length_m"]
    if len(length) == 0:
        return 0.0, np.nan, 0
    return float(length.sum()), float(columns["width_mean_mm"][length.argmax()]), len(length)


def others(probability: np.ndarray) -> dict[str, float]:
    """Lengths by skan and sknw, widths by area over pixel count and by twice the distance."""
    import skan
    import sknw

    mask = probability >= 0.5
    skeleton = skeletonize(mask)
    empty = dict.fromkeys(("skan", "sknw", "area / skeleton pixels", "2 x distance"), np.nan)
    if skeleton.sum() < 3:
        return empty
    graph = sknw.build_sknw(skeleton.astype(np.uint16), multi=True)
    distance = distance_transform_edt(mask)[skeleton]
    return {
        "skan": float(skan.Skeleton(skeleton).path_lengths().sum()),
        "sknw": float(sum(weight for *_, weight in graph.edges(data="weight"))),
        "area / skeleton pixels": float(mask.sum() / skeleton.sum()),
        "2 x distance": float(2 * distance.mean()),
    }


def truths(width_px: float, count: int, rng: np.random.Generator):
    """Centre lines that bend no sharper than their own width."""
    for kind, xy in synth.centre_lines(rng, count):
        step = np.diff(xy, axis=0)
        turn = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        curvature = np.abs(turn[5:] - turn[:-5]) / (5 * np.hypot(*step[0]))
        if curvature.max() * width_px <= 1:
            yield synth.render(kind, xy, width_px)


def by_width(count: int) -> dict[tuple[str, float], dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    found: dict[tuple[str, float], dict[str, list[float]]] = {}
    for width_px in WIDTHS_PX:
        for truth in truths(width_px, count, rng):
            for how in HOW:
                probability = appearance(truth, how, rng)
                length, width, _ = ours(probability, VectorSpec())
                theirs = others(probability)
                row = {
                    "length": 100 * (length / truth.length_px - 1),
                    "skan": 100 * (theirs["skan"] / truth.length_px - 1),
                    "sknw": 100 * (theirs["sknw"] / truth.length_px - 1),
                    "width": width - width_px,
                    "area / skeleton pixels": theirs["area / skeleton pixels"] - width_px,
                    "2 x distance": theirs["2 x distance"] - width_px,
                }
                columns = found.setdefault((how, width_px), {})
                for name, value in row.items():
                    columns.setdefault(name, []).append(value)
    return {k: {n: np.array(v) for n, v in c.items()} for k, c in found.items()}


def by_angle() -> dict[str, np.ndarray]:
    """Errors over the angle of a line 4 px wide, blurred; the mean of four places."""
    rng = np.random.default_rng(2)
    rows: dict[str, list[list[float]]] = {}
    for angle in ANGLES_DEG:
        per: dict[str, list[float]] = {}
        for _ in range(4):
            truth = synth.render("line", synth.line(200, angle, rng), 4.0)
            probability = synth.blurred(truth.probability)
            length, width, _ = ours(probability, VectorSpec())
            theirs = others(probability)
            per.setdefault("length", []).append(100 * (length / truth.length_px - 1))
            per.setdefault("skan", []).append(100 * (theirs["skan"] / truth.length_px - 1))
            per.setdefault("width", []).append(width - 4)
            per.setdefault("2 x distance", []).append(theirs["2 x distance"] - 4)
        for name, values in per.items():
            rows.setdefault(name, []).append([float(np.mean(values))])
    return {name: np.array(values).ravel() for name, values in rows.items()}


def recall(count: int) -> list[str]:
    """Share of the length of blurred cracks found, by width and low threshold."""
    lines = ["| width, px | thinned at 0.25 (default) | thinned at 0.5 |", "|---|---|---|"]
    rng = np.random.default_rng(3)
    for width_px in (1.0, 1.5, 2.0):
        share = []
        for low in (0.25, 0.5):
            found = total = 0.0
            for truth in truths(width_px, count, rng):
                probability = synth.blurred(truth.probability)
                length, _, _ = ours(probability, VectorSpec(threshold_low=low))
                found, total = found + length, total + truth.length_px
            share.append(f"{100 * found / total:.0f} %")
        lines.append(f"| {width_px} | {share[0]} | {share[1]} |")
    return lines


def table(found: dict, names: tuple[str, ...]) -> list[str]:
    lines = [f"| truth | width, px | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for (how, width_px), columns in sorted(found.items(), key=lambda kv: HOW.index(kv[0][0])):
        cells = (
            f"{np.nanmean(columns[n]):+.2f} / {np.nanstd(columns[n]):.2f}" + lost(columns[n])
            for n in names
        )
        lines.append(f"| {how} | {width_px} | {' | '.join(cells)} |")
    return lines


def lost(values: np.ndarray) -> str:
    missing = int(np.isnan(values).sum())
    return f" ({missing} of {len(values)} lost)" if missing else ""


def plots(found: dict, angles: dict[str, np.ndarray], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    panels = (
        ("length", "skan", "length error, %", "length_bias.png"),
        ("width", "2 x distance", "width error, px", "width_bias.png"),
    )
    for own, theirs, label, name in panels:
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
        for how in HOW:
            mean = [found[how, w][own].mean() for w in WIDTHS_PX]
            left.plot(WIDTHS_PX, mean, marker="o", label=f"crackgeo, {how}")
        other = [np.nanmean(found["blurred", w][theirs]) for w in WIDTHS_PX]
        left.plot(WIDTHS_PX, other, "k--", marker="x", label=f"{theirs}, blurred")
        right.plot(ANGLES_DEG, angles[own], marker="o", label="crackgeo")
        right.plot(ANGLES_DEG, angles[theirs], "k--", marker="x", label=theirs)
        left.set(xlabel="true width, px", ylabel=label)
        right.set(xlabel="angle of a 4 px line, degrees")
        for axes in (left, right):
            axes.axhline(0, color="grey", lw=0.5)
            axes.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(folder / name, dpi=110)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    found = by_width(options.count)
    print(f"{datetime.now(UTC):%Y-%m-%d}, `python {' '.join(sys.argv)}`\n")
    print("Length error, %: mean / standard deviation\n")
    print("\n".join(table(found, ("length", "skan", "sknw"))))
    print("\nWidth error, px: mean / standard deviation\n")
    print("\n".join(table(found, ("width", "area / skeleton pixels", "2 x distance"))))
    for how in HOW:
        every = np.concatenate([np.abs(found[how, w]["width"]) for w in WIDTHS_PX])
        print(f"\nMean absolute width error, {how}: {np.nanmean(every):.3f} px")
    print("\nLength found of blurred hairlines\n")
    print("\n".join(recall(options.count)))
    plots(found, by_angle(), options.images)


if __name__ == "__main__":
    main()
