"""Parameter values: what a declared type takes, and how a value is written in a command.

KFP's wire has only JSON numbers, and its SDK sends every one as a float; a NUMBER_INTEGER is made an int
here, and `whole` does it for what stands inside lists and structs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_STRUCTS = ("STRUCT", "TASK_FINAL_STATUS", "TASK_CONFIG")
_DEEPEST = 100
"""Lists and structs in each other: as much as protobuf reads."""
TYPES = ("STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", *_STRUCTS)


class Written(str):
    """The text of a value that stands where the IR says STRING; the value itself is kept.

    KFP's SDK says STRING of a loop's item if its list says nothing of its items, and lets a task that takes
    numbers have it.
    """

    value: Any

    def __new__(cls, text: str, value: Any = None) -> "Written":
        """The text, and what it was."""
        self = super().__new__(cls, text)
        self.value = value
        return self


def convert(value: Any, type: str, literals: Sequence[Any] = (), *, optional: bool = False) -> Any:
    """The value as its declared type has it.

    STRING takes anything, and what is no text becomes its JSON text. LIST and STRUCT take JSON texts too, and
    TASK_FINAL_STATUS and TASK_CONFIG are structs. If there are `literals`, the value must be one of them.
    Null is a value of `optional` parameters alone.

    Raises: ValueError, naming value and type, if it does not fit.
    """
    if value is None and optional:
        return None
    converted = _typed(value, type)
    if literals and not any(_same(converted, _typed(literal, type)) for literal in literals):
        allowed = _short([_typed(literal, type) for literal in literals])
        raise ValueError(f"{_short(converted)} is none of the allowed values {allowed}")
    return converted


def whole(value: Any) -> Any:
    """The value with every float that is a whole 64-bit number made an int, also inside lists and structs.

    For what the IR and the API carry, where protobuf's JSON has made every number a float. What a task wrote
    itself stays as it wrote it.
    """
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def _typed(value: Any, type: str) -> Any:
    if value is None:
        raise ValueError(f"null is no {type}")
    if type == "STRING":
        return value if isinstance(value, str) else Written(to_text(value), value)
    value = value.value if isinstance(value, Written) else value
    if type == "NUMBER_INTEGER" and _number(value) and float(value).is_integer():
        return int(value)
    if type == "NUMBER_DOUBLE" and _number(value):
        return float(value)
    if type == "BOOLEAN" and isinstance(value, bool):
        return value
    if type == "LIST" or type in _STRUCTS:
        value = _parsed(value) if isinstance(value, str) else value
        if isinstance(value, list if type == "LIST" else dict):
            if _is_deep(value):
                raise ValueError(f"a {type} is nested more than {_DEEPEST} deep")
            return value
    raise ValueError(f"{_short(value)} is no {type}")


def from_file(text: str, type: str) -> Any:
    """The value that a task wrote to an output parameter's file. A STRING is taken as it is.

    Raises: ValueError if it does not fit.
    """
    if type == "STRING":
        return text
    words = text.strip()
    if type == "BOOLEAN":
        if words.lower() in ("true", "false"):
            return words.lower() == "true"
        raise ValueError(f"{_short(words)} is no BOOLEAN")
    return convert(_parsed(words), type)


def to_text(value: Any) -> str:
    """The value inside a command: a text as it is, a whole number without `.0`, another without an exponent,
    anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(float.__repr__(value)), "f")
    return json.dumps(value)


def _same(value: Any, literal: Any) -> bool:
    return isinstance(value, bool) is isinstance(literal, bool) and bool(value == literal)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for some in inner for each in some if isinstance(each, list | dict)]
        if not level:
            return False
    return True


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
