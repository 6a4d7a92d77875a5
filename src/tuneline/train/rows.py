"""Rows of a prepared split as token ids with the mask that says which of them are learned.

The ids and the mask are what TRL's SFTTrainer makes of the same rows: the end token is added to a
completion, prompt and completion are tokenized as one text, and the completion starts where the two
tokenizations part. Tests compare the two.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tuneline.errors import DataError
from tuneline.train.tokenizer import Tokenizer


@dataclass(frozen=True)
class Example:
    """One row as the model reads it."""

    ids: tuple[int, ...]
    learned_from: int
    """Index of the first id that is learned; all before it are context."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids with -100 where nothing is learned: TRL's `labels`."""
        return (-100,) * self.learned_from + self.ids[self.learned_from :]


@dataclass(frozen=True)
class Split:
    """A prepared split: `rows.parquet` and `info.json`."""

    rows: pl.DataFrame
    info: Mapping[str, Any]

    @property
    def chat(self) -> bool:
        """Whether rows are conversations."""
        return str(self.info.get("format", "prompt")) == "messages"

    @property
    def labels(self) -> list[str]:
        """Distinct labels, sorted; empty when rows have none."""
        return [str(label) for label in self.info.get("labels", [])]

    @property
    def completions(self) -> dict[str, str]:
        """What each label's rows end with: the completion, or the text of the last message.

        Raises DataError if one label has several: then labels cannot be told apart by what the model would
        say.
        """
        if not self.labels:
            return {}
        found: dict[str, str] = {}
        said = self._answers()
        for label, answer in zip(self.rows["label"].to_list(), said, strict=True):
            if found.setdefault(str(label), answer) != answer:
                raise DataError(
                    f"Rows of the label `{label}` end in `{found[str(label)]}` and in `{answer}`.",
                    hint="To classify, a completion must be made of the label alone.",
                )
        return dict(sorted(found.items()))

    @property
    def conversations(self) -> list[list[dict[str, Any]]]:
        """The messages of each row, where rows are conversations."""
        return [json.loads(text) for text in self.rows["messages"]]

    @property
    def references(self) -> list[str]:
        """What each row's answer should be, without whitespace around it."""
        return [answer.strip() for answer in self._answers()]

    def _answers(self) -> list[str]:
        if self.chat:
            return [str(messages[-1]["content"]) for messages in self.conversations]
        return [str(text) for text in self.rows["completion"]]


def read_split(folder: Path) -> Split:
    """The split in `folder`. Raises DataError if it is not one."""
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        rows = pl.read_parquet(folder / "rows.parquet")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{folder} is not a prepared split: {error}.", hint="Run `prepare` again.") from error
    return Split(rows, info)


def examples(tokenizer: Tokenizer, split: Split, max_length: int) -> list[Example]:
    """Every row as ids, cut at `max_length` tokens. Rows with nothing left to learn are dropped.

    Raises ModelError if rows are conversations and the model has no chat template.
    """
    if split.chat:
        found = [encode_answer(tokenizer, messages) for messages in split.conversations]
    else:
        found = encode_pairs(tokenizer, split.rows["prompt"].to_list(), split.rows["completion"].to_list())
    cut = (Example(example.ids[:max_length], example.learned_from) for example in found)
    return [example for example in cut if example.learned_from < len(example.ids)]


def encode_pairs(
    tokenizer: Tokenizer, prompts: Sequence[str], completions: Sequence[str], *, end: bool = True
) -> list[Example]:
    """Prompts with their completions; with `end` false, without the end token."""
    eos = tokenizer.eos_token if end else ""
    texts = [
        prompt + (completion if completion.endswith(eos) else completion + eos)
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    wholes, contexts = tokenizer.encode_all(texts), tokenizer.encode_all(prompts)
    return [
        Example(tuple(whole), shared_length(context, whole))
        for context, whole in zip(contexts, wholes, strict=True)
    ]


def encode_answer(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> Example:
    """A conversation whose last message is learned, or asked for. Raises ModelError if the model has no chat
    template."""
    context = tokenizer.encode_chat(messages[:-1], generate=True)
    whole = tokenizer.encode_chat(messages, generate=False)
    return Example(tuple(whole), shared_length(context, whole))


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both start with."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
