"""The tokenizer as it was when a model was trained: text in, token ids out, and the hash that proof compares.

It is the `tokenizers` backend alone, read from the `tokenizer.json` that `base_models` wrote, so every step
that counts or encodes tokens has the same ids without importing transformers (0.8 s for Gemma's 262,144
tokens, not 5 s).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from tuneline.errors import ModelError
from tuneline.types import Digest, digest_bytes

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
"""The files that make a tokenizer; the first is needed, the others only say more."""


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back. Build it with `load`."""

    backend: Backend
    config: Mapping[str, Any]
    """`tokenizer_config.json`: names of the special tokens."""
    chat_template: str
    """Jinja; "" if the model has none."""

    @property
    def eos_token(self) -> str:
        """What ends a completion. Raises ModelError if the model has none."""
        return self._special("eos_token")

    @property
    def eos_id(self) -> int:
        """Its id."""
        return self._id(self.eos_token)

    @property
    def pad_id(self) -> int:
        """What fills batches up; never seen by attention. The end token if the model has none of its own."""
        name = _content(self.config.get("pad_token"))
        found = self.backend.token_to_id(name) if name else None
        return self.eos_id if found is None else int(found)

    @property
    def bos_id(self) -> int | None:
        """The id that starts a text, if the model has one."""
        name = _content(self.config.get("bos_token"))
        return self.backend.token_to_id(name) if name else None

    @cached_property
    def hash(self) -> Digest:
        """Digest of the backend's own serialisation: equal hashes give equal ids for every text."""
        return digest_bytes(self.backend.to_str().encode())

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, with the tokens the model starts with (BOS), as in training."""
        return list(self.backend.encode(text).ids)

    def encode_all(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """The ids of many texts, in parallel; with `special` false, without BOS."""
        return [
            list(found.ids)
            for found in self.backend.encode_batch_fast(list(texts), add_special_tokens=special)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens left out."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def encode_chat(self, messages: Sequence[Mapping[str, Any]], *, generate: bool) -> list[int]:
        """The ids of a conversation as the model's chat template writes it; with `generate`, ready for the
        answer.

        Raises ModelError if the model has no chat template, or it refuses these messages.
        """
        return self.encode_all([render_chat(self, messages, generate=generate)], special=False)[0]

    def _special(self, key: str) -> str:
        name = _content(self.config.get(key))
        if not name:
            raise ModelError(
                f"The tokenizer names no `{key}`.", hint="Add it to the model's tokenizer_config.json."
            )
        return name

    def _id(self, token: str) -> int:
        found = self.backend.token_to_id(token)
        if found is None:
            raise ModelError(f"The tokenizer names `{token}`, which its vocabulary does not have.")
        return int(found)


def load(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`. Raises ModelError if there is none, or it cannot be read."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json.", hint="Give a model folder with a fast tokenizer in it."
        )
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:
        raise ModelError(f"{path} is not a tokenizer: {error}.") from error
    backend.no_padding()
    backend.no_truncation()
    config = _read_json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    chat = (
        template.read_text(encoding="utf-8") if template.is_file() else str(config.get("chat_template") or "")
    )
    return Tokenizer(backend, config, chat)


def tokenizer_hash(tokenizer: Tokenizer | Path) -> Digest:
    """The hash of a tokenizer, or of the one in a folder. Raises ModelError."""
    return (load(tokenizer) if isinstance(tokenizer, Path) else tokenizer).hash


def end_ids(base: Path, words: Tokenizer) -> frozenset[int]:
    """The ids that end an answer: what the tokenizer, config.json and generation_config.json say."""
    found = {words.eos_id}
    for name in ("config.json", "generation_config.json"):
        if (base / name).is_file():
            said = json.loads((base / name).read_text(encoding="utf-8")).get("eos_token_id")
            found.update(said if isinstance(said, list) else [said] if said is not None else [])
    return frozenset(found)


def render_chat(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], *, generate: bool) -> str:
    """The text of a conversation, written by the model's chat template. Raises ModelError."""
    if not tokenizer.chat_template:
        raise ModelError(
            "This base model has no chat template, so it cannot be trained on `messages`.",
            hint="Use an instruction-tuned base, or give `data.prompt` and `data.completion`.",
        )
    # transformers' own renderer: its Jinja sandbox and filters are what templates are written for
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    names = {
        key: _content(tokenizer.config.get(key))
        for key in ("bos_token", "eos_token", "pad_token", "unk_token")
    }
    try:
        rendered, _ = render_jinja_template(
            conversations=[[dict(message) for message in messages]],
            chat_template=tokenizer.chat_template,
            add_generation_prompt=generate,
            **{key: name for key, name in names.items() if name},
        )
    except Exception as error:
        raise ModelError(f"The model's chat template refuses these messages: {error}") from error
    return str(rendered[0])


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}.") from error
    return found if isinstance(found, dict) else {}
