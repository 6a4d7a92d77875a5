"""The GGUF of a base with merged weights in it: what llama.cpp serves of a release that is merged.

Everything but the adapted matrices is copied from the base's GGUF, its metadata byte by byte and its
quantized tensors as they are; the adapted ones are the merged folder's, in bfloat16. Written here because the
`gguf` package takes 12 s to read a vocabulary of 262,144 tokens. One matrix is in memory at a time.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import ModelError
from tuneline.serve.gguf_adapter import placed, targets
from tuneline.train.gguf_reading import Gguf, GgufTensor, read_gguf
from tuneline.train.weights_file import Tensor, read_tensors

_BFLOAT16 = 30
"""ggml's number of the type."""


def convert(base: Path, adapter: Path, merged: Path, destination: Path) -> None:
    """Write `destination`: base.gguf of `base`, with `merged`'s weights of the modules that `adapter` names.

    Raises: ModelError if the base has no GGUF, or llama.cpp has no place for one of the modules.
    """
    source = base / "base.gguf"
    if not source.is_file():
        raise ModelError(
            f"The base has no base.gguf ({base}), from which a merged one could be made.",
            hint="Set deploy.runtime: transformers, or use a base_model that comes as GGUF.",
        )
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    names, found = targets(adapter, config), read_gguf(source)
    weights = _weights(merged)
    with destination.open("wb") as file:
        _write_header(file, found, names)
        for name, tensor in found.tensors.items():
            _pad(file, found)
            if name in names:
                bits = placed(_bits(weights[names[name]]), name, config)
                file.write(np.ascontiguousarray(bits).data)
            else:
                file.write(np.ascontiguousarray(tensor.packed).data)
        _pad(file, found)


def _write_header(file: BinaryIO, found: Gguf, names: Mapping[str, str]) -> None:
    """The base's own magic, counts and metadata; then where each tensor lies, and as what."""
    with found.path.open("rb") as source:
        file.write(source.read(found.metadata_end))
    at = 0
    for name, tensor in found.tensors.items():
        kind = _BFLOAT16 if name in names else tensor.kind
        text, shape = name.encode(), tensor.shape[::-1]
        file.write(struct.pack("<Q", len(text)) + text)
        file.write(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, at))
        at += _aligned(_size(tensor, kind), found.alignment)


def _size(tensor: GgufTensor, kind: int) -> int:
    """Bytes of a tensor where it is kept as `kind`."""
    return 2 * int(np.prod(tensor.shape, dtype=np.int64)) if kind == _BFLOAT16 else tensor.packed.nbytes


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _pad(file: BinaryIO, found: Gguf) -> None:
    file.write(bytes(_aligned(file.tell(), found.alignment) - file.tell()))


def _weights(merged: Path) -> Mapping[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in sorted(merged.glob("*.safetensors")):
        found |= read_tensors(path)
    return found


def _bits(tensor: Tensor) -> NDArray[Any]:
    """The bits of a bfloat16 matrix, uint16. [rows, columns]."""
    return np.concatenate(list(tensor.blocks())).reshape(tensor.shape)
