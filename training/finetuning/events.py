"""Curves for TensorBoard, written without it: an event file of scalars.

A file is a row of records: length, checksum of the length, event, checksum of the event. An event
is a protocol buffer of four fields. Checksums are CRC-32C, turned and shifted as TFRecord wants.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from crackgeo.files import output_errors

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_MASK_DELTA = 0xA282EAD8
_WALL_TIME, _STEP, _VERSION, _SUMMARY = 1, 2, 3, 5  # fields of an event
_VALUE, _TAG, _SIMPLE_VALUE = 1, 1, 2  # field of a summary, fields of its values
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types


class EventWriter:
    """Appends scalars to an event file of its own in a folder.

    Parameters
    ----------
    folder : made if missing; TensorBoard joins all event files in it
    """

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._append(_field(_VERSION, _BYTES, b"brain.Event:2"))

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """Write numbers by name at a step.

        Raises
        ------
        ResourceError
            The disk is full or refuses.
        """
        values = b"".join(
            _field(
                _VALUE,
                _BYTES,
                _field(_TAG, _BYTES, name.encode()) + _field(_SIMPLE_VALUE, _FLOAT, value),
            )
            for name, value in scalars.items()
        )
        self._append(_field(_STEP, _VARINT, step) + _field(_SUMMARY, _BYTES, values))

    def _append(self, event: bytes) -> None:
        event = _field(_WALL_TIME, _DOUBLE, time.time()) + event
        length = struct.pack("<Q", len(event))
        record = length + _checksum(length) + event + _checksum(event)
        with output_errors(self.path), self.path.open("ab") as out:
            out.write(record)


def _field(number: int, wire: int, value: float | bytes) -> bytes:
    """One field of a protocol buffer."""
    key = _varint(number << 3 | wire)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if wire == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if wire == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _table()[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (turned + _MASK_DELTA) & 0xFFFFFFFF)


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)
