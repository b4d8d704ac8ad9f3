"""Where a model runs and in what arithmetic."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from ..errors import UsageError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = {dtype: name for name, dtype in PRECISIONS.items()}
_TENSOR_CORES = (7, 0)  # compute capability of the first cards that are fast in fp16
_NATIVE_BF16 = (8, 0)


def resolve_devices(device: str) -> tuple[torch.device, ...]:
    """The devices that `--device` means: `cuda` is every card, all others are one device.

    Raises
    ------
    UsageError
        The name makes no sense, or there is no such device here.
    """
    if device == "auto":
        return resolve_devices(_best())
    if device == "cpu":
        return (torch.device("cpu"),)
    if device == "mps":
        _require(torch.backends.mps.is_available(), device, "no Apple GPU that torch can use")
        return (torch.device("mps"),)
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: unknown", "use auto, cpu, cuda, cuda:N or mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    _require(count > 0, device, "torch finds no CUDA card")
    if device == "cuda":
        return tuple(torch.device("cuda", i) for i in range(count))
    index = int(device.removeprefix("cuda:"))
    _require(index < count, device, f"there are {count}, counted from cuda:0")
    return (torch.device("cuda", index),)


def resolve_precision(precision: str, *devices: torch.device) -> torch.dtype:
    """The arithmetic that `--precision` means on devices of one type.

    `auto` is the fastest one that all of them have natively: bf16 where there is such a
    unit, fp16 on older cards with tensor cores and on Apple GPUs, else fp32.

    Raises
    ------
    UsageError
        No such precision, or fp16 on a processor.
    """
    if precision == "auto":
        return _fastest(devices)
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: unknown", "use auto, fp32, bf16 or fp16")
    if precision == "fp16" and devices[0].type == "cpu":
        raise UsageError(
            "--precision fp16: processors do not compute in it", "use --precision bf16 or fp32"
        )
    return PRECISIONS[precision]


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 natively (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _fastest(devices: Sequence[torch.device]) -> torch.dtype:
    if devices[0].type == "mps":
        return torch.float16
    if devices[0].type == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    capability = min(torch.cuda.get_device_capability(device) for device in devices)
    if capability >= _NATIVE_BF16:
        return torch.bfloat16
    return torch.float16 if capability >= _TENSOR_CORES else torch.float32


def _require(available: bool, device: str, why: str) -> None:
    if not available:
        raise UsageError(
            f"--device {device}: {why}", "use --device auto or cpu; crackgeo doctor lists devices"
        )
