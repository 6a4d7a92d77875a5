"""A base, with an adapter or not, ready to be trained or asked. What tune, evaluate and verify load.

The weights are mapped, not copied: loading Gemma 3 270M takes 0.2 s after torch and transformers are
imported (3 s). The vocabulary head is computed only at the positions asked for: it is most of a small
model's work.
"""

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tuneline.errors import ModelError
from tuneline.train import adapters, attention, fused, machine
from tuneline.train.batches import length_batches
from tuneline.train.tokenizer import Tokenizer
from tuneline.train.tokenizer import load as load_tokenizer


class TokenScore(NamedTuple):
    """How a model sees one given token."""

    logprob: float
    """Of the given token, in nats."""
    argmax: int
    """The id the model finds likeliest there."""
    margin: float
    """Between the two likeliest ids, in nats."""


@dataclass(frozen=True)
class TrainedModel:
    """A model with its tokenizer."""

    network: Any
    """The transformers model, or PEFT's around it."""
    tokenizer: Tokenizer

    @property
    def inner(self) -> Any:
        """The transformers model itself, its layers changed by the adapter if there is one."""
        return self.network.get_base_model() if hasattr(self.network, "peft_config") else self.network

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        found: torch.device = next(self.network.parameters()).device
        return found

    def prompt_token_ids(self, prompt: str) -> list[int]:
        """The ids of a prompt, exactly as in training: with BOS where the model has one."""
        return self.tokenizer.encode(prompt)

    def logits_at(
        self, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Logits after the token at each (row, column): [n, vocabulary], float32, where the model computes.

        Args:
            ids, mask: [batch, length]; mask is 0 on padding, which stands at the end.
            rows, columns: [n], where the head is computed.
        """
        decoder, there = self.inner.get_decoder(), self.device
        seen = _mask_or_none(mask)
        hidden = decoder(
            input_ids=ids.to(there), attention_mask=None if seen is None else seen.to(there), use_cache=False
        ).last_hidden_state
        return head_logits(self.inner, hidden[rows.to(there), columns.to(there)])

    @torch.inference_mode()
    def continuation_logprobs(
        self,
        prompt_ids: Sequence[Sequence[int]],
        continuation_ids: Sequence[Sequence[int]],
        batch_tokens: int = 4096,
    ) -> list[list[TokenScore]]:
        """How the model sees each token of each continuation after its prompt; the k-th list is of the k-th
        pair."""
        texts = [[*p, *c] for p, c in zip(prompt_ids, continuation_ids, strict=True)]
        found: list[list[TokenScore]] = [[] for _ in texts]
        for batch in length_batches([len(text) for text in texts], batch_tokens):
            ids, mask = pad([texts[k] for k in batch], self.tokenizer.pad_id)
            places = [
                (n, len(prompt_ids[k]) + j)
                for n, k in enumerate(batch)
                for j in range(len(continuation_ids[k]))
            ]
            if not places:
                continue
            rows, columns = torch.tensor(places).T
            scores = torch.log_softmax(
                self.logits_at(ids, mask, rows, columns - 1), dim=-1
            )  # (n, vocabulary)
            given = scores.gather(1, ids[rows, columns].to(scores.device).unsqueeze(1)).squeeze(1)
            top, top_ids = scores.topk(2, dim=-1)
            for (n, _), logprob, pair, best in zip(
                places, given.tolist(), top.tolist(), top_ids[:, 0].tolist(), strict=True
            ):
                found[batch[n]].append(TokenScore(logprob, best, pair[0] - pair[1]))
        return found


def load(base: Path, adapter: Path | None, dtype: str = "auto") -> TrainedModel:
    """The model of a base artifact, with an adapter folder on it (LoRA, or the whole model of a full
    fine-tuning).

    Raises ModelError if one cannot be read or the adapter does not fit the base.
    """
    tokenizer = load_tokenizer(base)
    if adapter is not None and (adapter / "model.safetensors").is_file():
        network = load_network(adapter, machine.choose_dtype(dtype))
    else:
        network = load_network(base, machine.choose_dtype(dtype))
        if adapter is not None:
            network = adapters.load_adapter(network, adapter)
    network.eval()
    network.requires_grad_(False)
    fused.speed_up(network)
    return TrainedModel(network, tokenizer)


def load_network(folder: Path, dtype: torch.dtype, quantization: Any = None) -> Any:
    """The transformers model in `folder`, its weights mapped if they are of `dtype`.

    quantization: transformers' own config of it, or None. Raises: ModelError.
    """
    machine.quiet()
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
        kind = getattr(importlib.import_module("transformers"), name)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError(
            f"{folder} is not a model: {error}.", hint="Give a base that tuneline made."
        ) from error
    except AttributeError as error:
        raise ModelError(f"This transformers does not know `{name}`.", hint="Update transformers.") from error
    more = (
        {}
        if quantization is None
        else {"quantization_config": quantization, "device_map": {"": machine.device()}}
    )
    try:
        network = kind.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention.register(), local_files_only=True, **more
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {error}") from error
    return network if quantization is not None else network.to(machine.device())


def head_logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """The vocabulary head on [n, hidden] states: [n, vocabulary], float32, capped or scaled as the model
    does it."""
    logits = model.get_output_embeddings()(hidden).float()
    config = model.config
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if scaling := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / scaling
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits = torch.tanh(logits / cap) * cap
    return torch.as_tensor(logits)


def pad(texts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids filled up at the end to the longest, and the mask that is 0 there: two of [batch, length]."""
    longest = max(len(text) for text in texts)
    ids = torch.tensor([[*text, *[pad_id] * (longest - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return ids, mask


def _mask_or_none(mask: torch.Tensor) -> torch.Tensor | None:
    """No mask where padding is at the end: a causal model never looks ahead, so what it makes of padding
    reaches nobody.

    Without it attention takes its causal path, and no [batch, 1, length, length] mask is built for every
    layer.
    """
    return None if bool((mask[:, :-1] >= mask[:, 1:]).all()) else mask
