"""`classify`: how likely a model finds each label's completion after each prompt, in one pass over the rows.

A label's score is the summed log-probability of its completion's tokens (the end token is not counted: it
would only weigh labels by how surely they end). The prompt is read once for all labels that are one token
after it; where a completion has more, each label is read with the prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tuneline.errors import DataError
from tuneline.train.batches import length_batches
from tuneline.train.model import TrainedModel, pad
from tuneline.train.rows import Split, encode_answer, encode_pairs
from tuneline.train.tokenizer import Tokenizer

Report = Callable[[int], None]
"""Told how many rows more are done."""

_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Question:
    """One row: what the model has read, and each label's tokens after it."""

    context: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    """In the order of the labels."""

    @property
    def single(self) -> bool:
        """Whether every label is one token here."""
        return all(len(answer) == 1 for answer in self.answers)


def questions(tokenizer: Tokenizer, split: Split, completions: Sequence[str]) -> list[Question]:
    """The rows of `split` as questions with `completions` to choose from. Raises DataError if two are the
    same tokens."""
    columns = [_encoded(tokenizer, split, completion) for completion in completions]
    found = []
    for row in zip(*columns, strict=True):
        start = min(from_ for _, from_ in row)
        answers = tuple(ids[start:] for ids, _ in row)
        if len(set(answers)) < len(answers) or not all(answers):
            raise DataError(
                f"The model cannot tell these completions apart: {', '.join(map(repr, completions))}.",
                hint="Make them differ in their words.",
            )
        found.append(Question(row[0][0][:start], answers))
    return found


@torch.inference_mode()
def classify(
    model: TrainedModel, rows: Sequence[Question], done: Report | None = None
) -> NDArray[np.float64]:
    """The probability of each label, [rows, labels]: scores through a softmax over the labels."""
    if not rows:
        return np.zeros((0, 0))
    scores = np.zeros((len(rows), len(rows[0].answers)))
    single = [k for k, row in enumerate(rows) if row.single]
    several = [(k, n) for k, row in enumerate(rows) if not row.single for n in range(len(row.answers))]
    for batch in length_batches([len(rows[k].context) for k in single], _BATCH_TOKENS):
        chosen = [single[place] for place in batch]
        scores[chosen] = _next_token(model, [rows[k] for k in chosen])
        if done:
            done(len(chosen))
    whole = [rows[k].context + rows[k].answers[n] for k, n in several]
    for batch in length_batches([len(text) for text in whole], _BATCH_TOKENS):
        pairs = [several[place] for place in batch]
        sums = _continuations(model, [(rows[k].context, rows[k].answers[n]) for k, n in pairs])
        for (k, n), value in zip(pairs, sums, strict=True):
            scores[k, n] = value
        if done:
            done(sum(1 for _, n in pairs if n == 0))
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _next_token(model: TrainedModel, rows: Sequence[Question]) -> NDArray[np.float64]:
    ids, mask = pad([row.context for row in rows], model.tokenizer.pad_id)
    last = torch.tensor([len(row.context) - 1 for row in rows])
    logits = model.logits_at(ids, mask, torch.arange(len(rows)), last)  # (rows, vocabulary)
    wanted = torch.tensor([[answer[0] for answer in row.answers] for row in rows])
    return np.asarray(
        logits.gather(1, wanted.to(logits.device)).double().cpu().numpy()
    )  # what is the same for all labels cancels out


def _continuations(
    model: TrainedModel, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[float]:
    texts = [context + answer for context, answer in pairs]
    ids, mask = pad(texts, model.tokenizer.pad_id)
    places = [(n, c) for n, (context, _) in enumerate(pairs) for c in range(len(context), len(texts[n]))]
    at, columns = torch.tensor(places).T
    scores = torch.log_softmax(model.logits_at(ids, mask, at, columns - 1), dim=-1)
    given = scores.gather(1, ids[at, columns].to(scores.device).unsqueeze(1)).squeeze(1).double().cpu()
    return torch.zeros(len(pairs), dtype=torch.double).index_add(0, at, given).tolist()


def _encoded(tokenizer: Tokenizer, split: Split, completion: str) -> list[tuple[tuple[int, ...], int]]:
    """Each row's ids with `completion` in place of its own, and where that starts. No end token."""
    if split.chat:
        answer: Mapping[str, str] = {"role": "assistant", "content": completion}
        found = [encode_answer(tokenizer, [*messages[:-1], answer]) for messages in split.conversations]
    else:
        prompts = split.rows["prompt"].to_list()
        found = encode_pairs(tokenizer, prompts, [completion] * len(prompts), end=False)
    return [(example.ids, example.learned_from) for example in found]
