"""Values of a filter, as the field they are compared with has them. Pure; see `plan/listing.py`."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tuneline.errors import UserError

_WHOLE = {"int_value", "int_values", "long_value", "long_values"}
_BITS = {"int_value": 31, "int_values": 31, "long_value": 63, "long_values": 63}


@dataclass(frozen=True)
class Interval:
    """A time as written names an interval, `start <= t < end`, in Unix seconds: its second, or millisecond.

    Answers are written to the millisecond and records kept finer, so what was read must find its row again.
    """

    start: float
    end: float


def scalar(key: str, name: str, value: Any, kind: str) -> "str | Interval":
    """One value for a field of this kind. name: of the JSON field it came in. Raises: UserError."""
    if kind == "time":
        return _time(key, name, value)
    text = str(_whole(key, name, value)) if name in _WHOLE else value
    if name == "timestamp_value" or not isinstance(text, str):
        raise UserError(f"{key!r} is compared with text, not with {name} {value!r}")
    stored(key, text)
    return {"id": text.lower(), "enum": text.upper()}.get(kind, text)


def listed(key: str, value: Any) -> list[Any]:
    """The values of `{"values": [...]}`. Raises: UserError."""
    if (
        not isinstance(value, dict)
        or set(value) - {"values"}
        or not isinstance(value.get("values", []), list)
    ):
        raise UserError(f"the values of {key!r} must be given as {{'values': [...]}}")
    return list(value.get("values", []))


def stored(key: str, text: str) -> str:
    """The text, if every database takes it: one with a NUL or half of a surrogate pair is in none.

    Raises: UserError.
    """
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{key!r} is compared with {text!r}, which no record can hold")
    return text


def moment(text: str) -> datetime:
    """An RFC 3339 time; without a zone it is UTC. Raises: UserError."""
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{text!r} is no time", hint="Write it as 2026-11-21T12:00:00Z.") from error


def _time(key: str, name: str, value: Any) -> Interval:
    if name in _WHOLE:
        start = float(_whole(key, name, value))
        return Interval(start, start + 1)
    if not isinstance(value, str):
        raise UserError(f"{key!r} is compared with a time, not with {value!r}")
    found = moment(value)
    exact = found.microsecond != 0
    start = found.timestamp()
    if exact:
        start = math.floor(start * 1000 + 1e-3) / 1000
    return Interval(start, start + (0.001 if exact else 1.0))


def _whole(key: str, name: str, value: Any) -> int:
    """A whole number: protobuf's JSON has it as a number or as a text."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the {name} of {key!r} is {value!r}, which is no whole number") from error
    if not -(2 ** _BITS[name]) <= number < 2 ** _BITS[name]:
        raise UserError(f"the {name} of {key!r} is {number}, which is out of range")
    return number
