"""What reading a file that others made can meet, before anything in it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ModelError, UsageError

SHOWN_MAX = 300  # letters of a text that a file holds
_HEADER_MAX_BYTES = 100_000_000  # as safetensors has it
_HEAD_BYTES = 9


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `ModelError` that names the file."""
    try:
        yield
    except OSError as error:
        # libraries raise some without the system's own words
        reason = error.strerror or str(error)
        raise ModelError(
            f"{path}: cannot be read ({reason})", "check the path, and that you may read it"
        ) from error


def begins_as_safetensors(path: Path) -> bool:
    """Whether a file's first bytes are those of safetensors: a length, and JSON."""
    with read_errors(path), path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    length = int.from_bytes(head[:8], "little")
    return len(head) == _HEAD_BYTES and head[8:] == b"{" and length < _HEADER_MAX_BYTES


def is_safetensors(path: Path) -> bool:
    """Whether a file is to be read as safetensors: by its name, else by its first bytes."""
    return path.suffix.lower() == ".safetensors" or begins_as_safetensors(path)


def shown(text: str) -> str:
    """A text from a file as people may see it: no control characters, and not endless."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= SHOWN_MAX else f"{plain[: SHOWN_MAX - 1]}…"


def check_text(path: Path) -> None:
    """Refuse a path that is of bytes which are no text: safetensors opens none.

    Raises
    ------
    UsageError
        It is.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{path}: a name that is not UTF-8, which safetensors files cannot have", "rename it"
        ) from error


def storable(text: str) -> str:
    """A file's name as text for metadata, whatever bytes it is of."""
    return text.encode(errors="replace").decode()
