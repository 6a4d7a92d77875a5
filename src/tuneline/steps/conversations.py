"""Chat rows, whatever their shape, as one list of messages: OpenAI's `messages`, ShareGPT's `conversations`,
Alpaca.

One row at a time, in plain Python: these shapes nest, and what is wrong with one should be said by name. The
last message must be the assistant's: it is what is learned.
"""

import json
from collections.abc import Mapping
from typing import Any

Message = dict[str, str]

_SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "model": "assistant", "bing": "assistant", "bard": "assistant", "system": "system",
}  # fmt: skip

COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "messages": (("messages",), ()),
    "sharegpt": (("conversations",), ("system",)),
    "alpaca": (("instruction", "output"), ("input", "system", "history")),
}
"""By format: the columns a row needs, and those it may have."""


class Unfit(Exception):
    """Why a row is dropped: `null`, `blank` or `shape`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def messages_of(row: Mapping[str, Any], format: str) -> list[Message]:
    """The row's messages, `role` and `content` alone. Raises Unfit if it is no conversation that ends with an
    answer."""
    found = {"messages": _openai, "sharegpt": _sharegpt, "alpaca": _alpaca}[format](row)
    if (
        not found
        or found[-1]["role"] != "assistant"
        or not any(message["role"] == "user" for message in found[:-1])
    ):
        raise Unfit("shape")
    if any(message["role"] == "system" for message in found[1:]):
        raise Unfit("shape")
    if any(not message["content"].strip() for message in found):
        raise Unfit("blank")
    return found


def _openai(row: Mapping[str, Any]) -> list[Message]:
    return [_message(entry, "role", "content", _OPENAI_ROLES) for entry in _list(row["messages"])]


_OPENAI_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def _sharegpt(row: Mapping[str, Any]) -> list[Message]:
    turns = [_message(entry, "from", "value", _SHAREGPT_ROLES) for entry in _list(row["conversations"])]
    return _system(row) + turns


def _alpaca(row: Mapping[str, Any]) -> list[Message]:
    if row["instruction"] is None or row["output"] is None:
        raise Unfit("null")
    turns = _system(row)
    for asked, answered in _pairs(row.get("history")):
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    more = str(row.get("input") or "")
    asked = str(row["instruction"]) + (f"\n{more}" if more.strip() else "")
    return [*turns, {"role": "user", "content": asked}, {"role": "assistant", "content": str(row["output"])}]


def _system(row: Mapping[str, Any]) -> list[Message]:
    text = str(row.get("system") or "")
    return [{"role": "system", "content": text}] if text.strip() else []


def _pairs(history: Any) -> list[tuple[str, str]]:
    pairs = [] if history is None or history == "" else _list(history)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Unfit("shape")
    return [(str(asked), str(answered)) for asked, answered in pairs]


def _list(value: Any) -> list[Any]:
    """A list, also where a CSV has it as JSON text."""
    if value is None:
        raise Unfit("null")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise Unfit("shape") from None
    if not isinstance(value, list):
        raise Unfit("shape")
    return value


def _message(entry: Any, role_key: str, text_key: str, roles: Mapping[str, str]) -> Message:
    if not isinstance(entry, Mapping):
        raise Unfit("shape")
    role, content = roles.get(str(entry.get(role_key))), entry.get(text_key)
    if content is None:
        raise Unfit("null")
    if role is None or not isinstance(content, str):
        raise Unfit("shape")
    return {"role": role, "content": content}
