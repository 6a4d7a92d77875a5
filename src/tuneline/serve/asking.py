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
    logprobs: tuple[float, ...]


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
    ids = _post(client, "/tokenize", {"prompt": question.prompt})["tokens"] if question.prompt else chat
    body = {"prompt": ids, "max_tokens": question.max_tokens, "temperature": 0, "logprobs": 0}
    found = _post(client, "/v1/completions", body)["choices"][0]["logprobs"]
    return Reply(tuple(ids), tuple(chat), tuple(found["token_ids"]), tuple(found["token_logprobs"]))


def _post(client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer = client.post(path, json=body)
    except httpx.HTTPError as error:
        raise ModelError(f"The runtime stopped answering at {path}: {error}") from error
    if answer.status_code != 200:
        raise ModelError(f"The runtime refused a held-out prompt at {path}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found
