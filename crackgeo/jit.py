"""Compiled functions: numba, cached on disk where a place for the cache can be found.

numba keeps the machine code beside the source, else below the user's cache folder (or
NUMBA_CACHE_DIR). Where neither can be written, functions are compiled in every process; so are
those whose cache is damaged or has no room.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function on its first call; it releases the GIL, so threads run it in parallel."""
    try:
        dispatcher: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": nowhere to keep the cache
        return cast(Function, numba.njit(nogil=True)(function))
    # numba has no other way to say what becomes of a cache that fails
    dispatcher._cache = _Forgiving(dispatcher._cache)
    return cast(Function, dispatcher)


class _Forgiving:
    """A cache of numba's whose failures only cost a compilation: a full disk, damaged files."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *key: Any) -> Any:
        """The machine code; None, which makes numba compile it, where it cannot be read."""
        try:
            return self._cache.load_overload(*key)
        except OSError:
            return None
        except Exception:  # a damaged pickle raises anything
            with suppress(OSError):
                self._cache.flush()  # else it would be found damaged in every process
            return None

    def save_overload(self, *entry: Any) -> None:
        """Keep the machine code for the next process if that is possible."""
        with suppress(Exception):
            self._cache.save_overload(*entry)
