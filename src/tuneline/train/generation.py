"""`generate`: what a model answers to each prompt, greedily, several prompts at once.

transformers' own loop, with the settings of generation written out: what a model's folder says of sampling or
penalties has no part in it. Prompts of like length share a batch, filled up at the front.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import GenerationConfig

from tuneline.train import tokenizer
from tuneline.train.batches import length_batches
from tuneline.train.model import TrainedModel
from tuneline.train.rows import Split

_BATCH_TOKENS = 4096
"""Of prompts and answers of a batch together."""


def prompts_of(model: TrainedModel, split: Split) -> list[list[int]]:
    """The ids of each row's prompt as the model is asked: with BOS, or as its chat template writes it."""
    if split.chat:
        return [model.tokenizer.encode_chat(messages[:-1], generate=True) for messages in split.conversations]
    return model.tokenizer.encode_all([str(prompt) for prompt in split.rows["prompt"]])


def end_ids(base: Path, model: TrainedModel) -> frozenset[int]:
    """The ids that end an answer: see `tokenizer.end_ids`."""
    return tokenizer.end_ids(base, model.tokenizer)


@torch.inference_mode()
def generate(
    model: TrainedModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    ends: frozenset[int],
    done: Callable[[int], None] = lambda rows: None,
) -> list[list[int]]:
    """The ids of each answer, without the one that ended it; at temperature 0.

    done: told how many rows more are answered.
    """
    found: list[list[int]] = [[] for _ in prompts]
    model.inner.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=model.tokenizer.pad_id,
    )
    for batch in length_batches([len(ids) + max_new_tokens for ids in prompts], _BATCH_TOKENS):
        width = max(len(prompts[row]) for row in batch)
        ids = torch.tensor(
            [[model.tokenizer.pad_id] * (width - len(prompts[row])) + [*prompts[row]] for row in batch]
        )
        mask = torch.tensor([[0] * (width - len(prompts[row])) + [1] * len(prompts[row]) for row in batch])
        there = model.device
        made = model.inner.generate(input_ids=ids.to(there), attention_mask=mask.to(there))[:, width:]
        for row, answer in zip(batch, made.tolist(), strict=True):
            end = next((at for at, token in enumerate(answer) if token in ends), len(answer))
            found[row] = answer[:end]
        done(len(batch))
    return found
