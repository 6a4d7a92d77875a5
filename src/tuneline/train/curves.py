"""Curves as TensorBoard reads them: an event file of scalars, written as the training goes.

The format is TFRecord (length, masked CRC-32C, data, masked CRC-32C) around `Event` messages, of which
scalars need five fields; `torch.utils.tensorboard` would import for 0.5 s to write the same.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_NAME = "events.out.tfevents.0000000000.tuneline"


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


class Curves:
    """Writes one event file. `with Curves(folder, started_at) as curves: curves.add(step, {...}, at)`."""

    def __init__(self, folder: Path, started_at: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = (folder / _NAME).open("wb")
        self._write(_double(1, started_at) + _text(3, "brain.Event:2"))

    def __enter__(self) -> "Curves":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, step: int, values: Mapping[str, float], at: float) -> None:
        """The values at optimizer step `step`, `at` Unix seconds."""
        points = b"".join(_message(1, _text(1, tag) + _float(2, value)) for tag, value in values.items())
        self._write(_double(1, at) + _number(2, step) + _message(5, points))
        self._file.flush()

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))


def _masked_crc(data: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())
