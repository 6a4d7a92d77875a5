"""What a list request asks for: filter, order, page. Pure: text in, a frozen value out; no SQL, no HTTP.

The words are Kubeflow Pipelines' (`filter`, `sort_by`, `page_size`, `page_token`). A page token is opaque to
clients: it holds the whole request and the last row seen, so the next page is found by key and costs what the
first one does. `record/listing.py` makes SQL of a `Listing`.

Limits: predicates are joined by AND; one sort field, with the id as the tie-breaker.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote_plus

from tuneline.errors import UserError
from tuneline.plan.listing_values import Interval, listed, scalar, stored

DEFAULT_PAGE, MAX_PAGE = 20, 200

OPERATIONS: Mapping[int, str] = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
"""KFP's numbers; there is no 4."""

Kind = Literal["text", "id", "enum", "time", "tag"]
"""How a field compares: `text` ignores case, `id` is exact in lower case, `enum` in upper case, `time` is
Unix seconds, `tag` is exact and knows EQUALS only."""

_SCALARS = ("string_value", "int_value", "long_value", "timestamp_value")
_LISTS = ("string_values", "int_values", "long_values")
_KEYS = {"operation": "operation", "op": "operation", "key": "key"} | {
    spelled: name
    for name in (*_SCALARS, *_LISTS)
    for spelled in (name, name.partition("_")[0] + name.partition("_")[2].capitalize())
}


@dataclass(frozen=True)
class Fields:
    """What one kind of thing can be sorted and filtered by."""

    thing: str
    """For messages and tokens, e.g. `runs`."""
    kinds: Mapping[str, Kind]
    """Name in a request -> how it compares."""
    tags: bool = False
    """Whether `tags.<key>` may be filtered by."""
    default: str = "created_at"
    """What is sorted by where nothing is said."""

    def kind(self, key: str) -> Kind:
        """Raises: UserError for a key that is not known."""
        if self.tags and key.startswith("tags.") and len(key) > 5:
            return "tag"
        if key not in self.kinds:
            known = ", ".join(sorted(self.kinds))
            raise UserError(
                f"no support for filtering on unrecognized field {key!r}", hint=f"Known: {known}."
            )
        return self.kinds[key]


@dataclass(frozen=True)
class Predicate:
    """One condition. `value`: a text, an `Interval` for a time, or a tuple of them for IN."""

    key: str
    operation: str
    value: Any
    kind: Kind


@dataclass(frozen=True)
class Listing:
    """One page of one list."""

    thing: str
    size: int
    sort: str
    kind: Kind
    descending: bool
    predicates: tuple[Predicate, ...] = ()
    after: tuple[Any, str] | None = None
    """(value of the sort field, id) of the last row of the page before; None for the first page."""
    filter: str = ""
    """The filter as it came, canonical: what a token carries."""

    def token(self, value: Any, id: str) -> str:
        """The token of the page after the row with this value of the sort field and this id."""
        body = [self.thing, self.sort, self.descending, self.filter, value, id]
        text = json.dumps(body, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")


def parse(
    fields: Fields, *, page_token: str = "", page_size: int = 0, sort_by: str = "", filter: str = ""
) -> Listing:
    """The page that a request asks for.

    With a token, `sort_by` and `filter` may be left out; given, they must be what the token was made with.

    Raises: UserError, naming the field or value, for anything that cannot be understood.
    """
    if page_size < 0:
        raise UserError(f"The page size should be greater than 0. Got {page_size}", hint="At most 200.")
    size = min(page_size, MAX_PAGE) or DEFAULT_PAGE
    asked = _first_page(fields, size, sort_by, filter)
    if not page_token:
        return asked
    sort, descending, text, after = _from_token(fields, page_token)
    held = _first_page(fields, size, f"{sort} {'desc' if descending else 'asc'}", text)
    same_sort = not sort_by.strip() or (asked.sort, asked.descending) == (held.sort, held.descending)
    if not same_sort or (filter.strip() and asked.filter != held.filter):
        raise UserError(
            "page token does not match the supplied sort by and/or filtering criteria. Either specify the "
            "same criteria or leave the latter empty if page token is specified.",
            hint="Start again without a page token.",
        )
    return replace(held, after=after)


def _first_page(fields: Fields, size: int, sort_by: str, filter: str) -> Listing:
    sort, descending = _sorting(fields, sort_by)
    kind = fields.kinds[sort]
    body = _filter_body(filter)
    text = json.dumps({"predicates": body}, sort_keys=True, separators=(",", ":")) if body else ""
    predicates = tuple(_predicate(fields, item) for item in body)
    return Listing(fields.thing, size, sort, kind, descending, predicates, None, text)


def _sorting(fields: Fields, sort_by: str) -> tuple[str, bool]:
    words = sort_by.lower().split()
    if len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
        raise UserError(
            f"Received invalid sort by format {sort_by!r}. Supported format: "
            '"field_name", "field_name desc", or "field_name asc"'
        )
    if words and words[0] not in fields.kinds:
        known = ", ".join(sorted(fields.kinds))
        raise UserError(f"Invalid sorting field: {words[0]!r} of {fields.thing}", hint=f"Known: {known}.")
    return (words[0] if words else fields.default), words[1:] == ["desc"]


def _filter_body(text: str) -> list[dict[str, Any]]:
    """The predicates of a filter's JSON, each key in its one spelling. It may be URL-encoded once more."""
    if not text.strip():
        return []
    try:
        body = json.loads(text)
    except ValueError:
        try:
            body = json.loads(unquote_plus(text))
        except (ValueError, RecursionError) as error:
            raise UserError(f"failed to parse valid filter from {text!r}: {error}") from error
    except RecursionError as error:
        raise UserError("failed to parse valid filter: it is nested too deeply") from error
    if not isinstance(body, dict) or set(body) - {"predicates"}:
        raise UserError(f"failed to parse valid filter from {text!r}: it must be {{'predicates': [...]}}")
    predicates = body.get("predicates")
    if predicates is not None and not isinstance(predicates, list):
        raise UserError(f"failed to parse valid filter from {text!r}: `predicates` must be a list")
    return [_spelled(item, text) for item in predicates or ()]


def _spelled(item: Any, text: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UserError(f"failed to parse valid filter from {text!r}: a predicate must be an object")
    for key in item:
        if key not in _KEYS:
            raise UserError(f"failed to parse valid filter from {text!r}: unknown field {key!r}")
    return {_KEYS[key]: value for key, value in item.items() if value is not None}


def _predicate(fields: Fields, item: Mapping[str, Any]) -> Predicate:
    operation = _operation(item.get("operation", 0))
    key = item.get("key")
    if not isinstance(key, str) or not key:
        raise UserError(f"Predicate key cannot be empty for operation {operation}")
    kind = fields.kind(stored(key, key))
    given = [name for name in (*_SCALARS, *_LISTS) if name in item]
    if len(given) != 1:
        raise UserError(f"The predicate on {key!r} must have one value; it has {given or 'none'}")
    name, value = given[0], item[given[0]]
    _check(operation, name, kind, key)
    if name in _LISTS:
        return Predicate(
            key, operation, tuple(scalar(key, name, part, kind) for part in listed(key, value)), kind
        )
    if operation == "IS_SUBSTRING" and isinstance(value, str):
        return Predicate(key, operation, stored(key, value), kind)
    return Predicate(key, operation, scalar(key, name, value, kind), kind)


def _operation(value: Any) -> str:
    name = OPERATIONS.get(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if name not in OPERATIONS.values():
        raise UserError(
            f"invalid predicate operation: {value!r}", hint=f"Known: {', '.join(OPERATIONS.values())}."
        )
    return str(name)


def _check(operation: str, name: str, kind: Kind, key: str) -> None:
    if operation == "IN" and name not in _LISTS:
        raise UserError(f"cannot use IN operator with scalar type {name} on {key!r}")
    if operation != "IN" and name in _LISTS:
        raise UserError(f"cannot use scalar operator {operation} on array type {name} on {key!r}")
    if operation == "IS_SUBSTRING" and (name != "string_value" or kind == "time"):
        raise UserError(f"cannot use non string value type {name} with operator {operation} on {key!r}")
    if kind == "tag" and operation != "EQUALS":
        raise UserError(f"{key!r} can be filtered with EQUALS only, not with {operation}")


def _from_token(fields: Fields, token: str) -> tuple[str, bool, str, tuple[Any, str]]:
    try:
        padded = token + "=" * (-len(token) % 4)
        body = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
        thing, sort, descending, filter, value, id = body
    except (ValueError, TypeError, binascii.Error, RecursionError, UnicodeError) as error:
        raise UserError("Invalid page token", hint="Use the token as it was answered.") from error
    known = thing == fields.thing and isinstance(sort, str) and sort in fields.kinds
    wanted = float if known and fields.kinds[sort] == "time" else str
    fits = isinstance(value, wanted) and isinstance(id, str) and isinstance(filter, str)
    if not (known and fits):
        raise UserError(
            f"Invalid page token: it is not one of a list of {fields.thing}",
            hint="Use the token as it was answered, in the same list.",
        )
    for text in (value, id):
        stored(sort, text if isinstance(text, str) else "")
    return sort, bool(descending), filter, (value, id)


__all__ = ["OPERATIONS", "Fields", "Interval", "Kind", "Listing", "Predicate", "parse"]
