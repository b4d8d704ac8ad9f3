"""Files made wrong on purpose, and a process that reads them and may die of it."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

CHILD = Path(__file__).with_name("fuzz_child.py")
START_S = 120.0  # imports on a busy machine
NUMBERS = (0, 1, 2, 3, 8, 16, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes get another value."""
    wrong = bytearray(content)
    for place in rng.integers(0, len(wrong), rng.integers(1, 12)):
        wrong[place] = rng.integers(0, 256)
    return bytes(wrong)


def flip_head(content: bytes, rng: np.random.Generator) -> bytes:
    """The same among the first 512 bytes, where headers are."""
    return flip_bytes(content[:512], rng) + content[512:]


def cut_off(content: bytes, rng: np.random.Generator) -> bytes:
    """The file ends early."""
    return content[: rng.integers(0, len(content))]


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, as a disk leaves it after a crash."""
    start, length = rng.integers(0, len(content)), rng.integers(1, 4096)
    return content[:start] + bytes(min(length, len(content) - start)) + content[start + length :]


def repeat_piece(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch comes twice, so that all that follows moves."""
    start, length = rng.integers(0, len(content)), rng.integers(1, 4096)
    return content[: start + length] + content[start:]


def large_number(content: bytes, rng: np.random.Generator) -> bytes:
    """Some place in the head holds a number at a limit."""
    wrong, size = bytearray(content), rng.choice([2, 4, 8])
    place = rng.integers(0, min(len(wrong), 1024) - 8)
    number = int(rng.choice(NUMBERS)) * (2 ** int(rng.integers(0, 33)) if size == 8 else 1)
    wrong[place : place + size] = (number % 2 ** (8 * int(size))).to_bytes(int(size), "little")
    return bytes(wrong)


def tiff_field(content: bytes, rng: np.random.Generator) -> bytes:
    """One field of the first directory of a classic TIFF gets another tag, type, count or value."""
    wrong = bytearray(content)
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    entry = directory + 2 + 12 * int(rng.integers(0, count))
    offset, form = [(0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I"), (8, "<I")][
        rng.integers(0, 6)
    ]
    limit = 2**16 if form == "<H" else 2**32
    struct.pack_into(form, wrong, entry + offset, int(rng.choice(NUMBERS)) % limit)
    return bytes(wrong)


BYTES: tuple[Mutation, ...] = (
    flip_bytes, flip_head, cut_off, blank, repeat_piece, large_number,
)  # fmt: skip


class Reader:
    """A child process that reads files, replaced when it dies or takes too long.

    Parameters
    ----------
    kind : what the child takes the files for
    folder : where it may write
    timeout_s : a file that takes longer hangs
    """

    def __init__(self, kind: str, folder: Path, timeout_s: float) -> None:
        self.kind, self.folder, self.timeout_s = kind, folder, timeout_s
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> dict[str, Any]:
        """What became of a file, as the child tells it; `failure` if the child does not."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        outcome = _answer(process, self.timeout_s)
        if isinstance(outcome, str):
            self.close()
            return {"failure": outcome}
        return outcome

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), self.kind, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parent)},
        )
        assert _answer(self._process, START_S) == "ready"
        return self._process


def _answer(process: subprocess.Popen[str], timeout_s: float) -> Any:
    """A line of JSON from the child, or what it did instead, as text."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    if not ready:
        return f"no answer in {timeout_s} s"
    line = process.stdout.readline()
    return json.loads(line) if line else f"died ({process.wait()})"
