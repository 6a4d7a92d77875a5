"""A PEFT LoRA adapter as a llama.cpp adapter (GGUF). Float32, the same bytes for the same adapter.

llama.cpp keeps its own names and, for the llama architecture, its own order of the query and key rows; this
is where both are known. What is not known here is refused by name: a silently dropped module would be a
different model.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tuneline.errors import ModelError

Array = NDArray[np.float32]

_MODULES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",  # Phi-3 keeps the three fused, and so does llama.cpp
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",  # Phi-3's fused pair; llama.cpp splits it where it computes
}
_ARCHITECTURES = {
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "llama": "llama",
    "mistral": "llama",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
}
_PERMUTED = {"llama"}
_KEY = re.compile(
    r"^base_model\.model\.(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\.(.+)\.lora_([AB])\.weight$"
)


def convert(adapter: Path, config: Mapping[str, Any], destination: Path) -> None:
    """Write the PEFT adapter in folder `adapter` as `destination`; `config` is the base model's config.json.

    Raises: ModelError, naming each module that has no place in llama.cpp, or the architecture if it is not
    known.
    """
    architecture = _architecture(config)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    _refuse_variants(settings)
    tensors = named_tensors(_read(adapter / "adapter_model.safetensors"), architecture, config)
    _write(destination, architecture, float(settings["lora_alpha"]), tensors)


def named_tensors(
    weights: Mapping[str, Array], architecture: str, config: Mapping[str, Any]
) -> dict[str, Array]:
    """PEFT's tensors under llama.cpp's names, ordered by layer and name. A: [rank, in], B: [out, rank].

    Raises: ModelError, naming each tensor that has no place.
    """
    found: dict[tuple[int, str], Array] = {}
    unknown = []
    for key, value in weights.items():
        matched = _KEY.match(key)
        module = _MODULES.get(matched[2]) if matched else None
        if matched is None or module is None:
            unknown.append(key)
            continue
        side = matched[3].lower()
        if side == "b" and architecture in _PERMUTED and module in ("attn_q", "attn_k"):
            value = permuted(value, _heads(config, module))
        found[int(matched[1]), f"{module}.weight.lora_{side}"] = np.ascontiguousarray(value, dtype=np.float32)
    if unknown:
        raise ModelError(
            f"llama.cpp has no place for {len(unknown)} adapter tensors: `{sorted(unknown)[0]}`, ...",
            hint="Train without these modules (train.target_modules), or set deploy.runtime: transformers.",
            details=sorted(unknown),
        )
    if not found:
        raise ModelError(
            "The adapter has no LoRA tensors.", hint="Train again; the file is not what the trainer wrote."
        )
    return {f"blk.{layer}.{name}": found[layer, name] for layer, name in sorted(found)}


def targets(adapter: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The matrices that an adapter changes: llama.cpp's name of each to the one of transformers.

    Raises: ModelError, naming each module that has no place in llama.cpp, or the architecture.
    """
    architecture = _architecture(config)
    keys = [key for key in _read(adapter / "adapter_model.safetensors") if ".lora_A." in key]
    named_tensors({key: np.zeros((1, 1), np.float32) for key in keys}, architecture, config)
    found = {}
    for key in keys:
        matched = _KEY.match(key)
        assert matched is not None
        weight = key.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
        found[f"blk.{matched[1]}.{_MODULES[matched[2]]}.weight"] = weight
    return found


def placed(weight: NDArray[Any], name: str, config: Mapping[str, Any]) -> NDArray[Any]:
    """A whole matrix [out, in] as llama.cpp keeps it as `name`: query and key rows in its own order."""
    module = name.split(".")[2]
    if _architecture(config) in _PERMUTED and module in ("attn_q", "attn_k"):
        return permuted(weight, _heads(config, module))
    return weight


def permuted(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of a query or key projection as llama.cpp wants them: each head's two halves interleaved.

    Args: weight [heads * size, columns]. As `permute` in llama.cpp's convert_hf_to_gguf.py; exact, no
    arithmetic.
    """
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def _architecture(config: Mapping[str, Any]) -> str:
    kind = str(config.get("model_type"))
    if kind not in _ARCHITECTURES:
        raise ModelError(
            f"Adapters for models of type `{kind}` cannot be converted for llama.cpp.",
            hint=f"Serve with deploy.runtime: transformers. Known: {', '.join(sorted(_ARCHITECTURES))}.",
        )
    return _ARCHITECTURES[kind]


def _refuse_variants(settings: Mapping[str, Any]) -> None:
    """What PEFT can train but `alpha / rank * B A` is not."""
    odd = [name for name in ("use_dora", "use_rslora", "fan_in_fan_out") if settings.get(name)]
    odd += [
        name
        for name in ("rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")
        if settings.get(name)
    ]
    odd += ["bias"] if settings.get("bias", "none") != "none" else []
    if odd:
        raise ModelError(
            f"The adapter uses {', '.join(odd)}, which llama.cpp's adapters cannot express.",
            hint="Train without, or serve with deploy.runtime: transformers.",
        )


def _heads(config: Mapping[str, Any], module: str) -> int:
    heads = int(config["num_attention_heads"])
    return int(config.get("num_key_value_heads") or heads) if module == "attn_k" else heads


def _read(path: Path) -> dict[str, Array]:
    """All tensors as float32; numpy has no bfloat16, so its bits are widened by hand."""
    try:
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        header.pop("__metadata__", None)
        return {name: _tensor(raw, 8 + size, entry) for name, entry in header.items()}
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The adapter {path} cannot be read: {error}", hint="Train again.") from error


def _tensor(raw: bytes, start: int, entry: Mapping[str, Any]) -> Array:
    first, last = entry["data_offsets"]
    data = raw[start + first : start + last]
    if entry["dtype"] == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(entry["shape"])
    kind = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}[entry["dtype"]]
    return np.frombuffer(data, kind).astype(np.float32).reshape(entry["shape"])


def _write(path: Path, architecture: str, alpha: float, tensors: Mapping[str, Array]) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
