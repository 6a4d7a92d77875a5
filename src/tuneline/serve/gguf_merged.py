"""The GGUF of a base with merged weights in it: what llama.cpp serves of a release that is merged.

Everything but the adapted matrices is copied from the base's GGUF, its quantized tensors as they are; the
adapted ones are the merged folder's, in bfloat16. Limit: the file holds those in memory while it is written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tuneline.errors import ModelError
from tuneline.serve.gguf_adapter import placed, targets
from tuneline.train.weights_file import Tensor, read_tensors

_BFLOAT16 = gguf.GGMLQuantizationType.BF16


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
    names = targets(adapter, config)
    weights = _weights(merged)
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(destination, str(reader.fields["general.architecture"].contents()))
    _copy_metadata(reader, writer)
    for tensor in reader.tensors:
        if tensor.name not in names:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        value = placed(_float32(weights[names[tensor.name]]), tensor.name, config)
        writer.add_tensor(tensor.name, gguf.quants.quantize(value, _BFLOAT16), raw_dtype=_BFLOAT16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(merged: Path) -> Mapping[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in sorted(merged.glob("*.safetensors")):
        found |= read_tensors(path)
    return found


def _float32(tensor: Tensor) -> NDArray[np.float32]:
    """The values of a bfloat16 tensor, exactly. [rows, columns]."""
    bits = np.concatenate([block.astype(np.uint32) for block in tensor.blocks()])
    values: NDArray[np.float32] = (bits << 16).view(np.float32).reshape(tensor.shape)
    return values


def _copy_metadata(reader: Any, writer: Any) -> None:
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, inner)
