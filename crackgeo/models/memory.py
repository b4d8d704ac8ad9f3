"""Whether an error says that memory did not suffice."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from ..errors import ResourceError

# what allocators without an error class of their own say: the CPU's and mmap's, MPS's, cuBLAS's
# and cuDNN's, C++'s, and safetensors'
_SAID = ("allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc", "(os error 12)")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it was raised for want of memory, on a processor or on a card."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    known = isinstance(error, RuntimeError | OSError | SafetensorError)
    return known and any(text in str(error) for text in _SAID)


@contextmanager
def memory_errors(path: Path | str) -> Iterator[None]:
    """Turn want of memory into a `ResourceError` that says for what."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"{path}: not enough memory for these weights",
            "close other programs, or use a computer or a card with more memory",
        ) from error
