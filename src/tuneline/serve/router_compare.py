"""Whether a copy's answer equals the live one. Pure.

The class of the status must be the same, and the body: of OpenAI's answers the text of each choice and the
functions it calls; of other JSON all but what differs from call to call; of event streams the texts of their
deltas, put together; of all else every byte. None where that cannot be told.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VOLATILE = frozenset(("id", "created", "timings", "usage", "system_fingerprint"))
"""Keys of an answer's outermost object that differ from call to call."""
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side answered. status: 0 if the answer was cut off."""

    status: int
    event_stream: bool
    body: bytes | None
    """None: longer than what is kept."""


def agree(live: Answer, shadow: Answer) -> bool | None:
    """Whether both answers are equal; None: that cannot be told."""
    if live.status // 100 != shadow.status // 100:
        return False
    if live.status == 0 or live.body is None or shadow.body is None:
        return None
    if live.event_stream or shadow.event_stream:
        texts = [_deltas(each.body or b"") if each.event_stream else None for each in (live, shadow)]
        if texts[0] is None or texts[1] is None:
            return None
        return texts[0] == texts[1]
    return live.body == shadow.body or _equal_json(live.body, shadow.body)


def _equal_json(live: bytes, shadow: bytes) -> bool:
    try:
        one, other = json.loads(live), json.loads(shadow)
    except (ValueError, RecursionError):
        return False
    return bool(_lasting(one) == _lasting(other))


def _lasting(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    choices = body.get("choices")
    if isinstance(choices, list) and all(isinstance(each, dict) for each in choices):
        return [_said(each, each.get("message")) for each in choices]
    return {key: value for key, value in body.items() if key not in VOLATILE}


def _said(choice: dict[str, Any], message: Any) -> tuple[Any, list[Any]]:
    if not isinstance(message, dict):
        return choice.get("text"), []
    return message.get("content"), [_function(each) for each in message.get("tool_calls") or []]


def _function(call: Any) -> Any:
    return call.get("function") if isinstance(call, dict) else call


def _deltas(body: bytes) -> dict[Any, str] | None:
    """The text of each choice of a stream as OpenAI has it; None if it is none, or calls functions."""
    texts: dict[Any, str] = {}
    for data in _events(body):
        if data == _DONE:
            continue
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return None
        choices = event.get("choices") if isinstance(event, dict) else None
        if not isinstance(choices, list):
            return None
        for choice in choices:
            text = _delta(choice)
            if text is None:
                return None
            texts[choice.get("index", 0)] = texts.get(choice.get("index", 0), "") + text
    return texts or None


def _delta(choice: Any) -> str | None:
    if not isinstance(choice, dict):
        return None
    delta = choice.get("delta")
    if isinstance(delta, dict):
        text = None if delta.get("tool_calls") else delta.get("content") or ""
    else:
        text = choice.get("text")
    return text if isinstance(text, str) else None


def _events(body: bytes) -> Sequence[bytes]:
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    return [line[5:].strip() for line in lines if line.startswith(b"data:")]
