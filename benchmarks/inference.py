"""Seconds a tile of each model, precision and batch, against plain segment-anything.

The reference is the same network run plainly: segment-anything's own attention, deltas apart,
both class logits, fp32, one tile at a time; that of `compact` is the first ViT of the run. All
cases of all models take turns, round by round, so that other load on the machine falls on all of
them alike; the ratio is the median over the rounds. CrackSAM's weights are random here, which
changes no time.

    python benchmarks/inference.py --models vit_b compact --precisions fp32 bf16 --threads 1 2
    python benchmarks/inference.py --models vit_b vit_l vit_h --device cuda \\
        --precisions fp32 bf16 fp16 --batches 1 8 32 64
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.devices import cpu_has_bf16
from crackgeo.models.protocol import ModelInfo
from crackgeo.models.registry import load_model
from crackgeo.models.runtime import Scaling, TorchSegmenter
from crackgeo.models.sam import VITS, CrackSam, build_cracksam, for_inference

DELTAS = {
    "lora": DeltaSpec("qv", 4),
    "adapter": DeltaSpec(adapter_dim=32),
    "both": DeltaSpec("qv", 8, 32),
}
SIDE = 448


@dataclass
class Case:
    """One way to run a model, and its time per tile in each round."""

    model: str
    name: str
    precision: str
    batch: int
    run: Callable[[np.ndarray], np.ndarray]
    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0

    def time(self, tiles: np.ndarray) -> None:
        """Run one batch and note its time."""
        started = time.perf_counter()
        self.run(tiles[: self.batch])
        self.seconds.append((time.perf_counter() - started) / self.batch)


class Plain(nn.Module):
    """The network as published: both class maps, deltas apart, segment-anything's attention."""

    def __init__(self, network: CrackSam) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Crack logits `[N, 1, 448, 448]`."""
        logits = self.network.class_logits(images)
        return logits[:, 1:] - logits[:, :1]


def main() -> None:
    options = parse()
    peak = peak_flops() if options.device.startswith("cuda") else None
    lines = heading(options, peak)
    for threads in options.threads:
        torch.set_num_threads(threads)
        cases = [case for model in options.models for case in make_cases(model, options)]
        take_turns(cases, options)
        lines += ["", f"## Threads: {threads}", "", *rows(cases, options, peak)]
    text = "\n".join(lines) + "\n"
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    print(text)


def take_turns(cases: list[Case], options: argparse.Namespace) -> None:
    """All rounds, and one before to warm up, which does not count."""
    shape = (max(options.batches), SIDE, SIDE, 3)
    tiles = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if options.picture:
        tiles[:] = np.asarray(Image.open(options.picture).convert("RGB"))[:SIDE, :SIDE]
    for _ in range(options.rounds + 1):
        for case in cases:
            case.time(tiles)
            case.first_s = case.first_s or case.seconds[0] * case.batch
        print(".", end="", file=sys.stderr, flush=True)
    for case in cases:
        del case.seconds[0]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["compact", "vit_b"])
    parser.add_argument("--delta", choices=DELTAS, default="lora")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=5, help="beside one to warm up")
    parser.add_argument("--threads", nargs="+", type=int, default=[torch.get_num_threads()])
    parser.add_argument("--picture", help="run its upper left tile, not noise without a crack")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--output", help="write the table here, as Markdown")
    return parser.parse_args()


def make_cases(model: str, options: argparse.Namespace) -> Iterator[Case]:
    if model in VITS:
        yield from plain_cases(model, options)
    for precision in options.precisions:
        for batch in options.batches:
            segmenter = make(model, options, precision, batch)
            yield Case(model, "crackgeo", precision, batch, segmenter.predict)
            if options.compile:
                segmenter = compiled(make(model, options, precision, batch))
                yield Case(model, "compiled", precision, batch, segmenter.predict)
            if model not in VITS:
                segmenter = channels_first(make(model, options, precision, batch))
                yield Case(model, "channels first", precision, batch, segmenter.predict)


def plain_cases(model: str, options: argparse.Namespace) -> Iterator[Case]:
    """Batch 1 and the largest, in fp32; on a card also in TF32, which it offers for that."""
    network = Plain(random_network(model, options.delta))
    for batch in sorted({1, max(options.batches)}):
        segmenter = wrap(network, options.device, "fp32", batch)
        yield Case(model, "plain", "fp32", batch, segmenter.predict)
        if options.device.startswith("cuda"):
            yield Case(model, "plain", "tf32", batch, in_tf32(segmenter))


def in_tf32(segmenter: TorchSegmenter) -> Callable[[np.ndarray], np.ndarray]:
    def run(tiles: np.ndarray) -> np.ndarray:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return segmenter.predict(tiles)
        finally:
            torch.set_float32_matmul_precision(before)

    return run


def make(model: str, options: argparse.Namespace, precision: str, batch: int) -> TorchSegmenter:
    if model not in VITS:
        return load_model(model, options.device, precision, batch)
    network = for_inference(random_network(model, options.delta))
    return wrap(network, options.device, precision, batch)


def channels_first(segmenter: TorchSegmenter) -> TorchSegmenter:
    """The same model without channels-last, which crackgeo takes for all convolutions."""
    for replica in segmenter._replicas:
        replica.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        replica.register_forward_pre_hook(lambda _, arguments: (arguments[0].contiguous(),))
    return segmenter


def compiled(segmenter: TorchSegmenter) -> TorchSegmenter:
    """The same model through `torch.compile`, on cards as a CUDA graph; crackgeo does neither."""
    mode = "reduce-overhead" if segmenter.devices[0].type == "cuda" else "default"
    segmenter._replicas = [torch.compile(replica, mode=mode) for replica in segmenter._replicas]
    return segmenter


def wrap(network: nn.Module, device: str, precision: str, batch: int) -> TorchSegmenter:
    scaling = Scaling(1 / 255, 0.0)
    return TorchSegmenter(network, ModelInfo("random", ""), scaling, device, precision, batch)


def random_network(model: str, delta: str) -> CrackSam:
    torch.manual_seed(0)
    return build_cracksam(VITS[model], DELTAS[delta])


def heading(options: argparse.Namespace, peak: float | None) -> list[str]:
    lines = [
        f"# Inference, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"- hardware: {hardware(options.device)}",
        f"- torch {torch.__version__}, delta of CrackSAM: {options.delta}, {options.rounds} rounds",
        f"- command: `python {shlex.join(sys.argv)}`",
    ]
    if peak is not None:
        lines.append(f"- measured bf16 peak: {peak / 1e12:.0f} TFLOP/s")
    return lines


def rows(cases: list[Case], options: argparse.Namespace, peak: float | None) -> list[str]:
    """The table; `of peak` is the share of the card's measured bf16 peak, `first` the first run."""
    columns = ("model", "run", "precision", "batch", "s a tile", "tiles/s")
    columns += ("against plain fp32, batch 1", "TFLOP/s", "of peak", "first, s")
    head = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    flops = {m: count_flops(m, options.delta) for m in options.models if m in VITS}
    plain = {case.model: case for case in reversed(cases) if case.name == "plain"}
    first = next((plain[m] for m in options.models if m in plain), None)
    body = [row(c, plain.get(c.model, first), flops.get(c.model), peak) for c in cases]
    return [*head, *body]


def row(case: Case, reference: Case | None, flops: float | None, peak: float | None) -> str:
    ratio = "-"
    if reference is not None:
        ratios = [a / b for a, b in zip(reference.seconds, case.seconds, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    seconds = statistics.median(case.seconds)
    done = "-" if flops is None else f"{flops / seconds / 1e12:.3g}"
    share = "-" if flops is None or peak is None else f"{100 * flops / seconds / peak:.0f} %"
    speed = f"{seconds:.4g}", f"{1 / seconds:.3g}"
    cells = (case.model, case.name, case.precision, case.batch, *speed, ratio, done, share)
    cells += (f"{case.first_s:.2f}",)
    return "| " + " | ".join(map(str, cells)) + " |"


def count_flops(model: str, delta: str) -> float:
    """Of one tile, of the plain network."""
    with torch.device("meta"):
        network = Plain(build_cracksam(VITS[model], DELTAS[delta]))
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            network.network.image_encoder(torch.empty(1, 3, SIDE, SIDE))
    return float(counter.get_total_flops())


def peak_flops(size: int = 8192, repeats: int = 50) -> float:
    """Of large bf16 matrix products on this card."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.perf_counter() - started)


def hardware(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.exists() else []  # fmt: skip
    name = names[0].split(":", 1)[1].strip() if names else platform.processor()
    bf16 = "native bf16" if cpu_has_bf16() else "no native bf16"
    return f"{name} ({torch.backends.cpu.get_cpu_capability()}, {bf16}, {os.cpu_count()} cores)"


if __name__ == "__main__":
    main()
