"""Whether an error says that memory did not suffice."""

from __future__ import annotations

import torch

# what allocators without an error class of their own say: the CPU's, MPS's, cuBLAS's and cuDNN's
_SAID = ("allocate memory", "out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it was raised for want of memory, on a processor or on a card."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAID)
