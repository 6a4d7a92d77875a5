"""Writes and reads model weights as bfloat16 safetensors without torch: streaming, one tensor in memory at a
time.

The format is 8 bytes of header length, a JSON header, and the tensors end to end; it is written here because
numpy has no bfloat16, and so that making a base needs neither torch nor twice the model's memory.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import ModelError

Blocks = Callable[[], Iterator[NDArray[Any]]]
"""A tensor's values, in order, in pieces: float32 arrays, or uint16 arrays that are bfloat16 already."""

_FLOATS = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


@dataclass(frozen=True)
class Tensor:
    """One tensor to write."""

    shape: tuple[int, ...]
    blocks: Blocks


def write_bfloat16(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` to `path` as bfloat16 safetensors, in the order of their names."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in sorted(tensors):
        size = 2 * int(np.prod(tensors[name].shape, dtype=np.int64))
        header[name] = {
            "dtype": "BF16",
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64)  # so that the first tensor is aligned when the file is mapped
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            for block in tensors[name].blocks():
                file.write(to_bfloat16(block).data)


def to_bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """The bits of `values` in bfloat16, rounded to the nearest even as torch does; uint16 is taken as done.
    Any shape."""
    if values.dtype == np.uint16:
        return np.ascontiguousarray(values)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(np.uint16)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, still in it. Raises ModelError if it is not one or was cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, 100_000_000):
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        except (ValueError, struct.error) as error:
            raise _broken(path, str(error)) from error
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if 8 + length + end > size:
            raise _broken(path, f"it ends within the tensor `{name}`")
        found[name] = Tensor(
            tuple(entry["shape"]), _reader(path, entry["dtype"], 8 + length + start, end - start, name)
        )
    return found


def _reader(path: Path, dtype: str, offset: int, size: int, name: str) -> Blocks:
    if dtype != "BF16" and dtype not in _FLOATS:
        raise ModelError(
            f"The tensor `{name}` in {path} is {dtype}; a base needs floats.",
            hint="Give the model as it was before it was quantized, or a .gguf of it.",
        )

    def blocks() -> Iterator[NDArray[Any]]:
        kind = np.dtype(np.uint16 if dtype == "BF16" else _FLOATS[dtype])
        values = np.memmap(path, kind, "r", offset, (size // kind.itemsize,))
        step = 1 << 18
        for start in range(0, len(values), step):
            yield values[start : start + step]

    return blocks


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a whole safetensors file: {why}.",
        hint="Fetch it again; a download that was cut looks like this.",
    )
