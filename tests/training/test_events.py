"""Event files, read back by TensorFlow's rules."""

import struct

import pytest
from crackgeo_training.finetuning.events import EventWriter, _checksum

from crackgeo.errors import ResourceError


def read_records(path):
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert data[8:12] == _checksum(data[:8])
        event = data[12 : 12 + length]
        assert data[12 + length : 16 + length] == _checksum(event)
        data = data[16 + length :]
        yield parse(event)


def parse(message):
    """Fields of a protocol buffer by number, in lists."""
    fields = {}
    while message:
        key, message = varint(message)
        if key & 7 == 0:
            value, message = varint(message)
        elif key & 7 == 1:
            value, message = struct.unpack("<d", message[:8])[0], message[8:]
        elif key & 7 == 5:
            value, message = struct.unpack("<f", message[:4])[0], message[4:]
        else:
            size, message = varint(message)
            value, message = message[:size], message[size:]
        fields.setdefault(key >> 3, []).append(value)
    return fields


def varint(data):
    value = shift = 0
    while True:
        byte, data = data[0], data[1:]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data


def test_scalars_come_back(tmp_path):
    writer = EventWriter(tmp_path / "board")
    writer.add({"loss": 0.5, "2 px F1": 0.75}, 25)
    writer.add({"loss": float("nan")}, 300)
    head, first, second = read_records(writer.path)
    assert head[3] == [b"brain.Event:2"]
    assert first[1][0] >= head[1][0] > 1.7e9
    assert first[2] == [25]
    assert second[2] == [300]
    values = [parse(value) for value in parse(first[5][0])[1]]
    assert {v[1][0]: v[2][0] for v in values} == {b"loss": 0.5, b"2 px F1": 0.75}


def test_the_checksum_is_crc_32c_masked():
    # 0xE3069283 is the published check value of CRC-32C for these nine bytes
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    assert _checksum(b"123456789") == struct.pack("<I", masked)


def test_writers_do_not_share_a_file(tmp_path):
    one, two = EventWriter(tmp_path), EventWriter(tmp_path)
    assert one.path != two.path
    assert all(path.name.startswith("events.out.tfevents.") for path in tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "board").write_text("a file")
    with pytest.raises(ResourceError, match="board"):
        EventWriter(tmp_path / "board")
