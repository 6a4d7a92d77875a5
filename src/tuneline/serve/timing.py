"""Times running runtimes as clients find them: the same prompts to each, one at a time, by turns.

Who is asked first changes with every prompt, so that what the machine does meanwhile falls on both alike.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from tuneline.errors import ModelError
from tuneline.serve.asking import Question
from tuneline.serve.event_stream import lines

PATIENCE_S = 300.0
"""How long one answer may take."""


@dataclass(frozen=True)
class Timed:
    """One answer, timed."""

    seconds: float
    """From the request to the answer's last byte."""
    first_s: float | None = None
    """To the first token of a stream; None where answers come whole."""
    tokens: int | None = None
    """Of the answer, as the runtime counts them."""


Ask = Callable[[httpx.Client], Timed]
"""Sends one prompt."""


@dataclass(frozen=True)
class Plan:
    """How long is measured."""

    warmup: int = 4
    """Prompts sent to each first, which do not count."""
    least: int = 20
    """Prompts measured however long they take."""
    budget_s: float = 120.0
    """No further prompt is sent after this; those sent are what is reported."""


def time_all(
    urls: Mapping[str, str],
    asks: Sequence[Ask],
    plan: Plan,
    clock: Callable[[], float],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Timed]]:
    """The answers' times of each runtime (name -> its URL), one a prompt, in order.

    clock: seconds, as `time.perf_counter`. Raises: ModelError if a runtime refuses or stops answering.
    """
    found: dict[str, list[Timed]] = {who: [] for who in urls}
    with ExitStack() as stack:
        clients = {
            who: stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False))
            for who, url in urls.items()
        }
        for ask in asks[: plan.warmup]:
            for who, client in clients.items():
                _told(who, ask, client)
        began = clock()
        for number, ask in enumerate(asks):
            if number >= plan.least and clock() - began > plan.budget_s:
                break
            order = list(clients.items())
            for who, client in order if number % 2 == 0 else reversed(order):
                found[who].append(_told(who, ask, client))
            progress(number + 1, len(asks))
    return found


def chat(question: Question, clock: Callable[[], float]) -> Ask:
    """A conversation, streamed, as a chat client sends it."""
    body = {
        "messages": list(question.messages),
        "max_tokens": question.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }

    def ask(client: httpx.Client) -> Timed:
        began, first, tokens = clock(), None, None
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            _accept(answer)
            for line in lines(answer.iter_bytes()):
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                first = clock() - began if first is None else first
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise ModelError(f"it broke off: {str(event['error'])[:500]}")
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        return Timed(clock() - began, first, tokens)

    return ask


def invocation(row: Mapping[str, Any], clock: Callable[[], float]) -> Ask:
    """One row to a `pyfunc` runtime."""
    body = {"dataframe_records": [dict(row)]}

    def ask(client: httpx.Client) -> Timed:
        began = clock()
        answer = client.post("/invocations", json=body)
        took = clock() - began
        _accept(answer)
        return Timed(took)

    return ask


def _told(who: str, ask: Ask, client: httpx.Client) -> Timed:
    try:
        return ask(client)
    except (httpx.HTTPError, ModelError) as error:
        said = error.message if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        raise ModelError(
            f"The runtime of the {who} could not be measured: {said}",
            hint="The log has what it wrote.",
        ) from error


def _accept(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        answer.read()
        raise ModelError(f"it refused a held-out prompt ({answer.status_code}): {answer.text[:500]}")
