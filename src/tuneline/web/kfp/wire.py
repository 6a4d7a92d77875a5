"""Values as Kubeflow Pipelines' JSON has them: times, 64-bit numbers, states, and numbers that JSON lacks.

Answers hold only what strict JSON readers take. A number that JSON has no word for becomes the text that
protobuf's JSON mapping gives it: `"Infinity"`, `"-Infinity"`, `"NaN"`. The record keeps the number itself.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tuneline.web.json import dumps as encoded

STATES = ("PENDING", "RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CANCELING", "CANCELED", "PAUSED")
"""KFP's RuntimeState. Ours are the same words, and CACHED, which is a way to succeed."""

Json = dict[str, Any]


def timestamp(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC: whole seconds where they are whole, else to the millisecond."""
    return None if at is None else _timestamp(at)


@lru_cache(8192)
def _timestamp(at: float) -> str:
    found = datetime.fromtimestamp(math.floor(at * 1000 + 1e-3) / 1000, UTC)
    part = "milliseconds" if found.microsecond else "seconds"
    return found.isoformat(timespec=part).replace("+00:00", "Z")


def runtime_state(state: str) -> str:
    """A task's or run's state as KFP names it."""
    return "SUCCEEDED" if state == "CACHED" else state if state in STATES else "RUNTIME_STATE_UNSPECIFIED"


def int64(number: int) -> str:
    """Protobuf's JSON writes 64-bit numbers as text."""
    return str(number)


def present(body: Mapping[str, Any]) -> Json:
    """`body` without what protobuf's JSON leaves out: null, empty text, 0, false, empty lists and objects."""
    return {key: value for key, value in body.items() if value}


def dumps(body: Any) -> str:
    """JSON text that strict readers take."""
    return encoded(body).decode()


def with_text(body: Mapping[str, Any], key: str, text: str) -> str:
    """`body` as JSON text with one key more, whose value is JSON text already; without it if that is ""."""
    if not text:
        return dumps(body)
    said = dumps(body)
    return f'{said[:-1]}{"," if body else ""}"{key}":{text}}}'


def listed(key: str, items: Sequence[str], total: int, token: str) -> str:
    """A list's answer: `{}` when there is nothing to say."""
    parts = [f'"{key}":[{",".join(items)}]'] if items else []
    rest = dumps(present({"total_size": total, "next_page_token": token}))
    return "{" + ",".join([*parts, *([rest[1:-1]] if rest != "{}" else [])]) + "}"
