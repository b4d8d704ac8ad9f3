"""What lets a network run faster on a processor, and changes nothing but the last digits."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress

import torch
from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_X86 = ("x86_64", "AMD64")


def keep_memory() -> None:
    """Let glibc keep the memory that a network takes and leaves again with every tile.

    By itself it gives back what lies free at its end, and where Dask starts a worker nearly all, so
    that each large array comes as fresh pages from the system: a quarter of the time of `compact`
    in bf16 (`benchmarks/inference.md`). These are the values that it grows to where large arrays
    have been freed; https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            for parameter, size in (_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 64 << 20):
                mallopt(parameter, size)


def prefer_onednn(network: nn.Module) -> None:
    """Let oneDNN compute convolutions of one pixel, also on a single thread.

    There torch takes slower code of its own for those of less than 16 images, unless they are
    dilated; a single pixel has nothing that could be, so the result is the same. Builds without
    oneDNN have only slow code for dilated ones, so they are left alone.
    """
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_onednn or platform.machine() not in _X86:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)
