"""JSON that every program can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def to_json(value: object, **layout: Any) -> str:
    """A value as JSON text; numbers that JSON has no word for become "nan", "inf" and "-inf".

    Parameters
    ----------
    value : mappings, sequences, numbers, text; times become ISO text, anything else its text
    layout : `indent`, `sort_keys`, `ensure_ascii` of `json.dumps`
    """
    return json.dumps(_plain(value), allow_nan=False, default=_text, **layout)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
