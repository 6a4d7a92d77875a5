"""Makes a base of a model: `config.json`, `model.safetensors` in bfloat16 and the tokenizer, in one folder.

Reads a GGUF (Gemma 3 and Llama directly, in 5 s and without torch; other architectures through transformers)
or a folder in Hugging Face's layout. Called by `base_models`, which checks and names what is converted.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneline.errors import MissingPartError, ModelError
from tuneline.train import gguf_vocabulary, tokenizer
from tuneline.train.gguf_reading import Gguf, GgufTensor
from tuneline.train.weights_file import Tensor, read_tensors, write_bfloat16

_ARCHITECTURES = {"gemma3": "Gemma3ForCausalLM", "llama": "LlamaForCausalLM"}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
}  # fmt: skip
_NORMS = {
    "gemma3": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    "llama": {"ffn_norm": "post_attention_layernorm"},
}


def convert_gguf(gguf: Gguf, folder: Path) -> str:
    """Write the model in `gguf` to `folder`. Returns its class's name in transformers. Raises ModelError."""
    if not _is_plain(gguf):
        return _through_transformers(gguf.path, folder)
    names = {name: _name(gguf, name) for name in gguf.tensors}
    tensors = {names[name]: _tensor(gguf, gguf.tensors[name]) for name in names}
    write_bfloat16(folder / "model.safetensors", tensors)
    backend, config = gguf_vocabulary.vocabulary(gguf)
    backend.save(str(folder / "tokenizer.json"), pretty=False)
    _write_json(folder / "tokenizer_config.json", config)
    settings = _gemma3(gguf) if gguf.architecture == "gemma3" else _llama(gguf)
    _write_json(folder / "config.json", settings | _common(gguf, tied="lm_head.weight" not in tensors))
    return _ARCHITECTURES[gguf.architecture]


def convert_folder(source: Path, folder: Path) -> str:
    """Write the model in the Hugging Face folder `source` to `folder`. Returns its class's name.

    Raises ModelError.
    """
    config = _read_config(source)
    files = sorted(source.glob("*.safetensors"))
    index = source / "model.safetensors.index.json"
    if index.is_file():
        files = sorted({source / name for name in json.loads(index.read_text())["weight_map"].values()})
    missing = [str(path) for path in files if not path.is_file()]
    if missing or not files:
        raise ModelError(
            f"{source} has no weights: {', '.join(missing) or 'no *.safetensors'} is not there.",
            hint="Give a folder as `save_pretrained` writes it, with safetensors.",
        )
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= read_tensors(path)
    write_bfloat16(folder / "model.safetensors", tensors)
    _copy_tokenizer(source, folder)
    for key in ("torch_dtype", "_name_or_path"):
        config.pop(key, None)
    _write_json(folder / "config.json", config | {"dtype": "bfloat16"})
    return str(config["architectures"][0])


def _is_plain(gguf: Gguf) -> bool:
    """Whether what is written here is all there is to the model: no stretched positions, no odd attention
    scale."""
    stretched = "rope_freqs.weight" in gguf.tensors or any(".rope.scaling." in key for key in gguf.metadata)
    odd = gguf.architecture == "gemma3" and gguf.value("block_count") == 62  # 27B scales by its hidden size
    known = gguf.architecture in _ARCHITECTURES and gguf_vocabulary.can_convert(gguf)
    return known and not stretched and not odd


def _name(gguf: Gguf, name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{kind}"
    parts = stem.split(".")
    inner = _INNER | _NORMS[gguf.architecture]
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in inner:
        return f"model.layers.{parts[1]}.{inner[parts[2]]}.{kind}"
    raise ModelError(f"{gguf.path} has a tensor `{name}`, which {gguf.architecture} is not known to have.")


def _tensor(gguf: Gguf, tensor: GgufTensor) -> Tensor:
    if gguf.architecture == "gemma3" and "norm" in tensor.name:  # stored as weight + 1
        return Tensor(tensor.shape, lambda: (block - np.float32(1) for block in tensor.blocks()))
    if gguf.architecture == "llama" and (".attn_q." in tensor.name or ".attn_k." in tensor.name):
        heads = gguf.value("attention.head_count")
        count = heads if ".attn_q." in tensor.name else gguf.value("attention.head_count_kv", heads)
        return Tensor(tensor.shape, lambda: _unpermuted(tensor, count))
    return Tensor(tensor.shape, tensor.blocks)


def _unpermuted(tensor: GgufTensor, heads: int) -> Iterator[NDArray[np.float32]]:
    """llama.cpp interleaves the two halves of each head for its rotary embedding; this puts them back."""
    rows, columns = tensor.shape
    whole = np.concatenate(list(tensor.blocks()))
    yield whole.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _common(gguf: Gguf, tied: bool) -> dict[str, Any]:
    ids = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    heads = gguf.value("attention.head_count")
    settings = {
        "architectures": [_ARCHITECTURES[gguf.architecture]],
        "dtype": "bfloat16",
        "hidden_size": gguf.value("embedding_length"),
        "intermediate_size": gguf.value("feed_forward_length"),
        "num_hidden_layers": gguf.value("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": gguf.value("attention.head_count_kv", heads),
        "max_position_embeddings": gguf.value("context_length"),
        "rms_norm_eps": gguf.value("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": tied,
        "vocab_size": gguf.tensors["token_embd.weight"].shape[0],
    }
    return settings | {key: gguf.metadata.get(f"tokenizer.ggml.{name}_token_id") for key, name in ids.items()}


def _gemma3(gguf: Gguf) -> dict[str, Any]:
    layers = gguf.value("block_count")
    kinds = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)]
    head = gguf.value(
        "attention.key_length", gguf.value("embedding_length") // gguf.value("attention.head_count")
    )
    return {
        "model_type": "gemma3_text",
        "attention_bias": False,
        "head_dim": head,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": kinds,
        "query_pre_attn_scalar": head,
        "rope_parameters": {
            "full_attention": {"rope_theta": gguf.value("rope.freq_base", 1e6), "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": gguf.value("attention.sliding_window", 512),
    }


def _llama(gguf: Gguf) -> dict[str, Any]:
    size = gguf.value("embedding_length") // gguf.value("attention.head_count")
    return {
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "head_dim": gguf.value("attention.key_length", gguf.value("rope.dimension_count", size)),
        "hidden_act": "silu",
        "rope_parameters": {"rope_theta": gguf.value("rope.freq_base", 10000.0), "rope_type": "default"},
    }


def _through_transformers(path: Path, folder: Path) -> str:
    """Any architecture transformers can load from a GGUF; takes about ten times as long."""
    try:
        import torch  # noqa: PLC0415
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(f"{path} needs transformers.", hint='pip install "tuneline[train]"') from error
    try:
        where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        packed = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"transformers cannot load {path}: {error}") from error
    settings = {
        k: v for k, v in packed.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")
    }
    model = type(packed)(AutoConfig.for_model(**settings)).to(torch.bfloat16)
    model.load_state_dict({name: value.to(torch.bfloat16) for name, value in packed.state_dict().items()})
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return type(model).__name__


def _read_config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{source} is not a model: it has no config.json.",
            hint="Give a folder as `save_pretrained` writes it.",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{source / 'config.json'} is not JSON: {error}.", hint="Fetch the model again, whole."
        ) from error
    named = config.get("architectures") or []
    if len(named) != 1 or not str(named[0]).endswith("ForCausalLM"):
        raise ModelError(
            f"{source} is a {', '.join(map(str, named)) or 'nameless'} model; tuneline tunes text models.",
            hint="Use one whose config.json names one `...ForCausalLM` under `architectures`.",
        )
    if "quantization_config" in config:
        raise ModelError(
            f"{source} is quantized; a base needs its weights as floats.", hint="Use the unquantized model."
        )
    return dict(config)


def _copy_tokenizer(source: Path, folder: Path) -> None:
    if not (source / "tokenizer.json").is_file():
        raise ModelError(
            f"{source} has no tokenizer.json.",
            hint="Save it with a fast tokenizer: `tokenizer.save_pretrained`.",
        )
    for name in tokenizer.FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
