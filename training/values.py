"""Whether what somebody wrote into a file is what a field takes."""

from __future__ import annotations

import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_UNIONS = (Union, UnionType)
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    dict: "a table of numbers",
}


def what_is_wrong(value: Any, kind: Any, low: float, high: float) -> str:
    """What a value should be and is not, in words; nothing if all is well.

    Parameters
    ----------
    value : of TOML, lists as tuples
    kind : type of the field: int, float, str, bool, Literal, tuple, dict of numbers, or several
    low, high : range of its numbers, both included
    """
    if not _is_a(value, kind):
        return _words(kind)
    if not all(low <= number <= high for number in _numbers(value)):
        return f"{low:g} or more" if high >= sys.float_info.max else f"from {low:g} to {high:g}"
    return ""


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is what a field takes; whole numbers are numbers as well."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin in _UNIONS:
        return any(_is_a(value, each) for each in inner)
    if origin is dict:
        return isinstance(value, dict) and all(_is_a(each, inner[1]) for each in value.values())
    if origin is tuple:
        return isinstance(value, tuple) and _are_all(value, inner)
    return type(value) is kind or (kind is float and type(value) is int)


def _are_all(values: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(values)
    return len(values) == len(kinds) and all(map(_is_a, values, kinds))


def _words(kind: Any) -> str:
    inner = [each for each in get_args(kind) if each is not NoneType]
    if get_origin(kind) is tuple:
        count = "" if Ellipsis in inner else f" of {len(inner)}"
        return f"a list{count}, each {_words(inner[0])}"
    if get_origin(kind) in (Literal, *_UNIONS):
        return " or ".join(repr(k) if isinstance(k, str) else _words(k) for k in inner)
    return _WORDS[get_origin(kind) or kind]


def _numbers(value: Any) -> list[float]:
    """The numbers of a field, which may hold several."""
    held = value.values() if isinstance(value, dict) else value
    several = held if isinstance(value, dict | tuple) else (value,)
    return [each for each in several if isinstance(each, int | float)]
