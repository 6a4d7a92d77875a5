"""Conditions and selectors of KFP's IR, read and evaluated without `eval`.

A condition decides whether a task runs; a selector takes a part of a parameter's value. What their text may
hold is said in `expressions.py`.

Limits: values are compared as CEL compares them: integers and doubles by their value, `&&` and `||` decided
by one side whatever is wrong with the other, two values of different kinds never equal (a text is not a
number) and an error for `<` and its like. Null equals null alone; an input without a value is an error.
"""

import json
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneline_ir.expressions import parse_expression, parse_path
from tuneline_ir.syntax import (
    Cast,
    Comparison,
    ConditionError,
    Expression,
    Json,
    Literal,
    Logic,
    Not,
    Parameter,
    short,
)
from tuneline_ir.values import to_text

__all__ = [
    "Condition",
    "ConditionError",
    "Selector",
    "evaluate",
    "parse_condition",
    "parse_selector",
    "reads",
    "select",
]

_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """A condition that has been read. `text`: as it was written."""

    text: str
    tree: Expression


@dataclass(frozen=True)
class Selector:
    """A selector that has been read: `field` of protobuf's Value, taken as JSON or as it is, then `path`."""

    text: str
    field: str
    parsed: bool
    path: tuple[str | int, ...]


def parse_condition(text: str) -> Condition:
    """The condition that a text says. Raises: ConditionError, naming the place and what is not supported."""
    return Condition(text, parse_expression(text))


def evaluate(condition: Condition, parameters: Mapping[str, Any]) -> bool:
    """What the condition comes to with these input parameters of its task.

    Raises: ConditionError if a value is missing or of a kind that does not fit.
    """
    try:
        return _truth(_value(condition.tree, parameters))
    except ConditionError as error:
        raise ConditionError(f"the condition {short(condition.text)} cannot be decided: {error}") from None


def reads(condition: Condition) -> frozenset[str]:
    """The input parameters that the condition looks at."""
    return frozenset(_names(condition.tree))


def parse_selector(text: str) -> Selector:
    """The selector that a text says. Raises: ConditionError, naming the place and what is not supported."""
    return Selector(text, *parse_path(text))


def select(selector: Selector, value: Any) -> Any:
    """The part of a parameter's value that the selector names.

    `string_value` is the JSON text of the value; a value that is a text is that JSON text.

    Raises: ConditionError if there is no such part.
    """
    try:
        if selector.parsed:
            return _at(_json(value) if isinstance(value, str) else value, selector.path)
        if selector.field == "string_value":
            return _at("" if value is None else to_text(value), selector.path)
        if selector.field != _FIELDS.get(_kind(value)):
            raise ConditionError(f"{_about(value)} has no `{selector.field}`")
        return _at(value, selector.path)
    except ConditionError as error:
        raise ConditionError(f"the selector {short(selector.text)} finds nothing: {error}") from None


def _names(tree: Expression) -> list[str]:
    match tree:
        case Parameter():
            return [tree.name]
        case Literal():
            return []
        case Logic():
            return [name for term in tree.terms for name in _names(term)]
        case Comparison():
            return _names(tree.left) + _names(tree.right)
        case Cast() | Json() | Not():
            return _names(tree.of)


def _value(tree: Expression, parameters: Mapping[str, Any]) -> Any:
    match tree:
        case Literal():
            return tree.value
        case Parameter():
            if tree.name not in parameters:
                raise ConditionError(f"the input `{tree.name}` has no value")
            return parameters[tree.name]
        case Cast():
            return _CASTS[tree.to](_value(tree.of, parameters))
        case Json():
            return _at(_json(_value(tree.of, parameters)), tree.path)
        case Not():
            return not _truth(_value(tree.of, parameters))
        case Logic():
            return _joined(tree, parameters)
        case Comparison():
            return _compared(tree.operator, _value(tree.left, parameters), _value(tree.right, parameters))


def _joined(tree: Logic, parameters: Mapping[str, Any]) -> bool:
    wrong = None
    for term in tree.terms:
        try:
            if _truth(_value(term, parameters)) is tree.decided_by:
                return tree.decided_by
        except ConditionError as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong
    return not tree.decided_by


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConditionError(f"{_about(value)} is neither true nor false")
    return value


def _compared(sign: str, left: Any, right: Any) -> bool:
    if sign in ("==", "!="):
        return _equal(left, right) is (sign == "==")
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1 or kinds & {"null", "LIST", "STRUCT"}:
        raise ConditionError(f"{_about(left)} and {_about(right)} cannot be compared with `{sign}`")
    return bool(_OPERATORS[sign](left, right))


def _equal(left: Any, right: Any) -> bool:
    """Values of different kinds are never equal, as for today's CEL."""
    if _kind(left) != _kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _integer(value: Any) -> int:
    found: int | None = None
    if _kind(value) == "number":
        found = int(value) if math.isfinite(value) else None
    elif isinstance(value, str) and _INTEGER.fullmatch(value):
        found = int(value)
    if found is None or found not in _INT64:
        raise ConditionError(f"{_about(value)} is no integer (`int`)")
    return found


def _double(value: Any) -> float:
    try:
        if _kind(value) == "number" or (isinstance(value, str) and _DOUBLE.fullmatch(value)):
            return float(value)
    except OverflowError:
        pass
    raise ConditionError(f"{_about(value)} is no number (`double`)")


def _text(value: Any) -> str | None:
    return None if value is None else to_text(value)


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        raise ConditionError(f"{_about(value)} is no text (`parseJson`)")
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ConditionError(f"{_about(value)} is no JSON (`parseJson`)") from None


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        if isinstance(value, list) and isinstance(key, int):
            if key >= len(value):
                raise ConditionError(f"there is no index {key} in {_about(value)} of length {len(value)}")
        elif isinstance(value, Mapping) and isinstance(key, str):
            if key not in value:
                known = ", ".join(sorted(map(str, value))) or "none"
                raise ConditionError(f"there is no key {key!r}; the keys are: {short(known)}")
        else:
            raise ConditionError(f"{_about(value)} has no {key!r}")
        value = value[key]
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "STRING"
    if isinstance(value, list):
        return "LIST"
    return "STRUCT" if isinstance(value, Mapping) else type(value).__name__


def _about(value: Any) -> str:
    return "null" if value is None else f"the {_kind(value)} {short(repr(value), 60)}"


_CASTS = {"int": _integer, "double": _double, "text": _text}
_FIELDS = {
    "STRING": "string_value",
    "number": "number_value",
    "BOOLEAN": "bool_value",
    "STRUCT": "struct_value",
    "LIST": "list_value",
}
