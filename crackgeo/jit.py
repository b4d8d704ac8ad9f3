"""Compiled functions: numba, cached on disk where a place for the cache can be found.

numba keeps the machine code beside the source, else below the user's cache folder (or
NUMBA_CACHE_DIR). Where neither can be written, functions are compiled in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function on its first call; it releases the GIL, so threads run it in parallel."""
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # "no locator available": nowhere to keep the cache
        return cast(Function, numba.njit(nogil=True)(function))
