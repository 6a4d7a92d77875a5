"""Asks a running runtime about held-out prompts, as `verify` does: token ids first, then the greedy answer.

Only public routes are used, so what is proven is what clients reach.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tuneline.errors import ModelError


@dataclass(frozen=True)
class Question:
    """One held-out prompt."""

    prompt: str
    """The text the trainer's model reads; empty for a conversation."""
    messages: tuple[Mapping[str, str], ...]
    """The conversation that must become that very text in the runtime: what a chat client sends."""
    max_tokens: int


@dataclass(frozen=True)
class Reply:
    """What the runtime made of it."""

    prompt_ids: tuple[int, ...]
    """Of the text, as /v1/completions reads it."""
    chat_ids: tuple[int, ...]
    """Of the conversation, as /v1/chat/completions reads it."""
    answer: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    """Nat, one a token; None where the runtime reports none, for a token that ends inside a character."""


def ask_all(url: str, questions: Sequence[Question], parallel: int = 8) -> list[Reply]:
    """The replies, in order. Raises: ModelError if the runtime refuses a prompt or stops answering."""
    limits = httpx.Limits(max_connections=parallel)
    with (
        httpx.Client(base_url=url, timeout=300, limits=limits) as client,
        ThreadPoolExecutor(parallel) as pool,
    ):
        return list(pool.map(lambda question: _ask(client, question), questions))


def _ask(client: httpx.Client, question: Question) -> Reply:
    chat = _post(client, "/tokenize", {"messages": list(question.messages)})["tokens"]
    body = {"prompt": question.prompt or chat, "max_tokens": question.max_tokens, "temperature": 0}
    found = _post(client, "/v1/completions", {**body, "logprobs": 0, "return_token_ids": True})["choices"][0]
    said = zip(found["logprobs"]["token_ids"], found["logprobs"]["token_logprobs"], strict=True)
    answer = tuple(found["token_ids"])
    return Reply(tuple(found["prompt_token_ids"]), tuple(chat), answer, aligned(answer, list(said)))


def aligned(answer: Sequence[int], said: Sequence[tuple[int, float]]) -> tuple[float | None, ...]:
    """The log-probability of each token of `answer`; the pairs (id, log-probability) may leave some out.

    Where it cannot be told which of two equal tokens was left out, neither has one: read from both ends, they
    part.
    """
    forward = _greedily(answer, said)
    backward = _greedily(answer[::-1], said[::-1])[::-1]
    return tuple(one if one == other else None for one, other in zip(forward, backward, strict=True))


def _greedily(answer: Sequence[int], said: Sequence[tuple[int, float]]) -> list[float | None]:
    found: list[float | None] = []
    at = 0
    for token in answer:
        here = at < len(said) and said[at][0] == token
        found.append(said[at][1] if here else None)
        at += here
    return found


def _post(client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = client.post(path, json=body)
    except httpx.HTTPError as error:
        raise ModelError(f"The runtime stopped answering at {path}: {error}") from error
    if answer.status_code != 200:
        raise ModelError(f"The runtime refused a held-out prompt at {path}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found
