"""Tiny random models for tests: whole base artifacts, made in under a second, the same bytes every time.

Gemma 3 and Llama are written as a GGUF (float32, which llama.cpp loads) with a vocabulary learned on the
fly, then made a base as a user's .gguf would be. Phi-3, with its fused projections, is written as a folder
by transformers.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import polars as pl
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tuneline.train import base_models, gguf_vocabulary
from tuneline.train.gguf_reading import read_gguf
from tuneline.types import digest_json

_HIDDEN, _FEED_FORWARD, _HEADS, _LAYERS = 64, 128, 4, 2
_TEXTS = (
    "Review: a good film with a fine story and great acting\nSentiment: positive",
    "Review: a bad film with a dull story and poor acting\nSentiment: negative",
    "the quick brown fox jumps over the lazy dog, and what it all means is anyone's guess",
    "I loved this movie. I hated this movie. It was neither funny nor sad, it was just there.",
    "0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz .,:;!?'\"()-{}[]",
)
_CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] }}{{ eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def tiny_base(folder: Path, family: str = "gemma3", *, seed: int = 0) -> Path:
    """Make a base artifact in `folder` (which must not exist) and return it. `family`: gemma3, llama or phi3.

    Gemma 3 and Llama have a base.gguf in it. Another `seed` gives other weights and the same tokenizer.
    """
    source = folder.with_name(folder.name + ".source")
    source.mkdir(parents=True)
    if family == "phi3":
        _phi3(source, seed)
        base_models.make_base(str(source), folder, lambda _: None)
    else:
        path = source / f"tiny-{family}.gguf"
        tiny_gguf(path, family, seed=seed)
        base_models.make_base(str(path), folder, lambda _: None)
    return folder


def tiny_gguf(path: Path, family: str = "llama", *, seed: int = 0) -> Path:
    """Write a random GGUF of `family` (gemma3 or llama)."""
    writer = gguf.GGUFWriter(str(path), family)
    kv_heads = 1 if family == "gemma3" else 2
    head = _HIDDEN // _HEADS
    writer.add_name(f"tiny-{family}")
    writer.add_file_type(0)
    writer.add_context_length(512)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if family == "gemma3":
        writer.add_sliding_window(512)
    else:
        writer.add_rope_dimension_count(head)
        writer.add_vocab_size(len(_pieces()))
    _add_vocabulary(writer)
    for name, value in _weights(family, head, kv_heads, seed).items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def movie_rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Rows of a task a tiny model can learn: `text`, `label` (negative or positive, by one word of it)."""
    words = {"positive": ("good", "great", "fine"), "negative": ("bad", "poor", "dull")}
    found = []
    for number in range(start, start + count):
        label = ("negative", "positive")[number % 2]
        word = words[label][number // 2 % 3]
        found.append(
            {"text": f"a {word} film" + " with a story" * (number % 5) + f" {number}", "label": label}
        )
    return found


def write_split(
    folder: Path, rows: list[dict[str, str]], *, keep: dict[str, list[str]] | None = None
) -> Path:
    """A prepared split as `prepare` writes it, of rows with `text` and `label`."""
    folder.mkdir(parents=True)
    texts = [row["text"] for row in rows]
    columns: dict[str, Any] = {
        "row": [digest_json(row)[7:39] for row in rows],
        "prompt": [f"Review: {text}\nSentiment:" for text in texts],
        "completion": [f" {row['label']}" for row in rows],
        "messages": pl.Series([None] * len(rows), dtype=pl.Utf8),
        "label": [row["label"] for row in rows],
        "tokens": pl.Series([len(text) for text in texts], dtype=pl.Int32),
    }
    columns |= {f"keep_{name}": values for name, values in (keep or {}).items()}
    pl.DataFrame(columns).write_parquet(folder / "rows.parquet")
    info = {
        "rows": len(rows),
        "labels": sorted({row["label"] for row in rows}),
        "format": "prompt",
        "template": {"prompt": "Review: {text}\nSentiment:", "completion": " {label}"},
        "template_hash": digest_json({"tiny": "template"}),
        "max_length": 512,
    }
    (folder / "info.json").write_text(json.dumps(info))
    return folder


def _pieces() -> list[tuple[str, int]]:
    """The vocabulary: pieces with llama.cpp's kind of each (1 normal, 2 unknown, 3 control, 6 byte)."""
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<pad>", 3)]
    pieces += [(f"<0x{byte:02X}>", 6) for byte in range(256)]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    learner.train_from_iterator(_TEXTS, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    learned = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    return pieces + [(piece, 1) for piece, _ in learned]


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    pieces = _pieces()
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_scores([float(-index) for index in range(len(pieces))])
    writer.add_token_types([kind for _, kind in pieces])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_CHAT)


def _weights(family: str, head: int, kv_heads: int, seed: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)

    def random(*shape: int, scale: float | None = None) -> np.ndarray:
        values = chance.normal(0, scale or shape[-1] ** -0.5, shape).astype(np.float32)
        return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)  # exact in bfloat16

    found = {
        "token_embd.weight": random(len(_pieces()), _HIDDEN, scale=0.25),
        "output_norm.weight": np.ones(_HIDDEN),
    }
    for layer in range(_LAYERS):
        block = {
            "attn_q": random(_HEADS * head, _HIDDEN), "attn_k": random(kv_heads * head, _HIDDEN),
            "attn_v": random(kv_heads * head, _HIDDEN), "attn_output": random(_HIDDEN, _HEADS * head),
            "ffn_gate": random(_FEED_FORWARD, _HIDDEN), "ffn_up": random(_FEED_FORWARD, _HIDDEN),
            "ffn_down": random(_HIDDEN, _FEED_FORWARD),
            "attn_norm": np.ones(_HIDDEN), "ffn_norm": np.ones(_HIDDEN),
        }  # fmt: skip
        if family == "gemma3":
            block |= {name: np.ones(_HIDDEN) for name in ("post_attention_norm", "post_ffw_norm")}
            block |= {name: np.ones(head) for name in ("attn_q_norm", "attn_k_norm")}
        found |= {f"blk.{layer}.{name}.weight": value for name, value in block.items()}
    return {name: value.astype(np.float32) for name, value in found.items()}


def _phi3(folder: Path, seed: int) -> None:
    import torch  # noqa: PLC0415
    from transformers import Phi3Config, Phi3ForCausalLM  # noqa: PLC0415

    torch.manual_seed(seed)
    config = Phi3Config(
        vocab_size=len(_pieces()), hidden_size=_HIDDEN, intermediate_size=_FEED_FORWARD,
        num_hidden_layers=_LAYERS, num_attention_heads=_HEADS, num_key_value_heads=2,
        max_position_embeddings=512, original_max_position_embeddings=512,
        pad_token_id=3, bos_token_id=1, eos_token_id=2, initializer_range=0.1,
    )  # fmt: skip
    Phi3ForCausalLM(config).save_pretrained(folder)
    tiny_gguf(folder / "vocabulary.gguf")
    backend, names = gguf_vocabulary.vocabulary(read_gguf(folder / "vocabulary.gguf"))
    (folder / "vocabulary.gguf").unlink()
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
