"""Reads a GGUF file: its metadata at once, its tensors where they lie. Used by `conversion`, which makes a
base of it.

The `gguf` package's own reader takes 7 s for a vocabulary of 262,144 tokens, because it makes an array of
every string; this one takes 0.2 s. Dequantizing is left to that package. Limits: little-endian files of
versions 2 and 3.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import MissingPartError, ModelError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class GgufTensor:
    """One tensor, still packed. `shape` is [rows, ..., columns], as torch has it."""

    name: str
    shape: tuple[int, ...]
    kind: int
    """ggml's number of the type: 0 float32, 1 float16, 8 Q8_0, 12 Q4_K, 30 bfloat16, ..."""
    packed: NDArray[np.uint8]
    """[rows, bytes a row]."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The rows in float32, 1 MB at a time so that it stays in the cache: [n, columns]. Raises ModelError
        for a type that cannot be unpacked."""
        gguf = import_gguf()
        columns = self.shape[-1]
        at_once = max(1, _BLOCK_BYTES // (4 * columns))
        for start in range(0, len(self.packed), at_once):
            raw = self.packed[start : start + at_once]
            if self.kind == 0:
                yield raw.view(np.float32)
                continue
            try:
                yield gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(self.kind)).astype(
                    np.float32, copy=False
                )
            except NotImplementedError as error:
                raise ModelError(
                    f"The tensor `{self.name}` is packed as "
                    f"{gguf.GGMLQuantizationType(self.kind).name}, which cannot be unpacked.",
                    hint="Use a GGUF with K-quants, Q8_0, F16 or BF16.",
                ) from error


@dataclass(frozen=True)
class Gguf:
    """A GGUF file, open and mapped."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]
    """In the file's order."""
    metadata_end: int = 0
    """Byte after the last of it, where the list of tensors begins."""

    @property
    def alignment(self) -> int:
        """Bytes: every tensor begins at a multiple of it."""
        return int(self.metadata.get("general.alignment", 32))

    @property
    def architecture(self) -> str:
        """`gemma3`, `llama`, ..."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def quantization(self) -> str:
        """`Q4_K_M`, ...: as the file says it; `none` for float files."""
        number = self.metadata.get("general.file_type")
        if number is None:
            return "none"
        try:
            name = import_gguf().LlamaFileType(int(number)).name
        except ValueError:
            return f"file_type {number}"
        short = str(name).removeprefix("MOSTLY_").removeprefix("ALL_")
        return "none" if short in ("F32", "F16", "BF16") else short

    def value(self, key: str, default: Any = None) -> Any:
        """Metadata under `<architecture>.<key>`. Raises ModelError if it is not there and no default is
        given."""
        found = self.metadata.get(f"{self.architecture}.{key}", default)
        if found is None:
            raise ModelError(f"{self.path} has no `{self.architecture}.{key}`: it is not a whole model.")
        return found


def read_gguf(path: Path) -> Gguf:
    """The GGUF file at `path`. Raises ModelError if it is not one, or ends before its tensors do."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise _broken(path, "it is too short")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _parse(path, data)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _broken(path, str(error)) from error


def import_gguf() -> Any:
    """The `gguf` package. Raises MissingPartError."""
    try:
        import gguf  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(
            "Reading a GGUF needs `gguf`.", hint='pip install "tuneline[train]"'
        ) from error
    return gguf


def _parse(path: Path, data: mmap.mmap) -> Gguf:
    magic, version, tensor_count, key_count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version not in (2, 3):
        raise _broken(path, f"it starts with {magic!r}, version {version}")
    metadata: dict[str, Any] = {}
    at = 24
    for _ in range(key_count):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        metadata[key], at = _value(data, at + 4, kind)
    metadata_end = at
    entries: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(tensor_count):
        name, at = _string(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dimensions)
        at += 16 + 8 * dimensions
        entries.append((name, tuple(reversed(shape)), kind, offset))
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-at // alignment) * alignment
    tensors = {entry[0]: _tensor(path, data, start, *entry) for entry in entries}
    return Gguf(path, metadata, tensors, metadata_end)


def _tensor(
    path: Path, data: mmap.mmap, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int
) -> GgufTensor:
    gguf = import_gguf()
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    row_bytes = shape[-1] // block * size
    rows = int(np.prod(shape[:-1], dtype=np.int64))
    if start + offset + rows * row_bytes > len(data):
        raise _broken(path, f"it ends within the tensor `{name}`")
    packed = np.frombuffer(data, np.uint8, rows * row_bytes, start + offset).reshape(rows, row_bytes)
    return GgufTensor(name, shape, kind, packed)


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("a string goes on after the end")
    return data[at + 8 : end].decode("utf-8"), end


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind == _STRING:
        return _string(data, at)
    if kind == _ARRAY:
        inner, count = struct.unpack_from("<IQ", data, at)
        return _array(data, at + 12, inner, count)
    form = "<" + _SCALARS[kind]
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _array(data: mmap.mmap, at: int, inner: int, count: int) -> tuple[list[Any], int]:
    if inner in _SCALARS:
        form = f"<{count}{_SCALARS[inner]}"
        return list(struct.unpack_from(form, data, at)), at + struct.calcsize(form)
    found = []
    for _ in range(count):
        item, at = _value(data, at, inner)
        found.append(item)
    return found, at


def _broken(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a whole GGUF file: {why}.",
        hint="Fetch it again; a download that was cut looks like this.",
    )
