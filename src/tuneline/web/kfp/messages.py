"""Request bodies, read as protobuf's JSON mapping reads them: unknown fields refused, both spellings taken.

A message is a mapping of field -> how to read it, e.g. `{"display_name": text, "max_concurrency": int64}`. A
field may be written `display_name` or `displayName`; null counts as absent; a 64-bit number may be a text.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tuneline.errors import UserError
from tuneline.plan.listing_values import moment

Reader = Callable[[Any, str], Any]
"""(value, its place for messages) -> the value, checked. Raises: UserError."""
Message = Mapping[str, Reader]


def read(body: Any, message: Message, place: str = "") -> dict[str, Any]:
    """The fields that were given, by their own names. Raises: UserError naming the first that is wrong."""
    if not isinstance(body, Mapping):
        raise UserError(f"{place or 'The request'} must be an object, not {_kind(body)}.")
    known = {spelled: name for name in message for spelled in (name, _camel(name))}
    found: dict[str, Any] = {}
    for key, value in body.items():
        name = known.get(key)
        where = f"{place}.{key}" if place else str(key)
        if name is None:
            raise UserError(
                f'proto: unknown field "{key}"' + (f" in {place}" if place else ""),
                hint=f"Known: {', '.join(message)}.",
            )
        if name in found:
            raise UserError(f'proto: duplicate field "{key}"')
        if value is not None:
            found[name] = message[name](value, where)
    return found


def text(value: Any, place: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise UserError(f"`{place}` must be a text, not {_kind(value)}.")
    return plain(value, place)


def plain(value: str, place: str) -> str:
    """A text that every database takes. Raises: UserError."""
    if "\x00" in value:
        raise UserError(f"`{place}` holds a NUL character.")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"`{place}` holds half of a surrogate pair.")
    return value


def flag(value: Any, place: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UserError(f"`{place}` must be true or false, not {_kind(value)}.")
    return value


def int64(value: Any, place: str) -> int:
    """A whole number, or its text."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"`{place}` must be a whole number, not {value!r}.") from error
    if not -(2**63) <= number < 2**63:
        raise UserError(f"`{place}` is {number}, which does not fit 64 bits.")
    return number


def time(value: Any, place: str) -> float:
    """An RFC 3339 time as Unix seconds."""
    return moment(text(value, place)).timestamp()


def struct(value: Any, place: str) -> dict[str, Any]:
    """Any JSON object, as it is."""
    if not isinstance(value, dict):
        raise UserError(f"`{place}` must be an object, not {_kind(value)}.")
    return value


def texts_by_key(value: Any, place: str) -> dict[str, str]:
    """An object of texts."""
    return {plain(key, place): text(part, f"{place}.{key}") for key, part in struct(value, place).items()}


def anything(value: Any, place: str) -> Any:
    """Whatever it is: for fields that only answers fill."""
    return value


def one_of(*names: str) -> Reader:
    """An enum: one of the names, or its place (the first is 0), as protobuf numbers it."""

    def reader(value: Any, place: str) -> str:
        whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if whole and float(value).is_integer() and 0 <= value < len(names):
            return names[int(value)]
        if value in names:
            return str(value)
        raise UserError(f"`{place}` is {value!r}.", hint=f"Known: {', '.join(names)}.")

    return reader


def message(fields: Message) -> Reader:
    """A message inside a message."""
    return lambda value, place: read(value, fields, place)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
