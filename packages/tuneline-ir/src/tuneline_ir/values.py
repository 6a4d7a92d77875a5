"""Parameter values: what a declared type takes, and how a value is written in a command.

KFP's wire has only JSON numbers, and its SDK sends every one as a float; a NUMBER_INTEGER is made an int
here.
"""

import json
from typing import Any

TYPES = ("STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT", "TASK_FINAL_STATUS")


def convert(value: Any, type: str) -> Any:
    """The value as its declared type has it.

    STRING takes anything, and what is no text becomes its JSON text. LIST and STRUCT take JSON texts too.

    Raises: ValueError, naming value and type, if it does not fit.
    """
    if type == "STRING":
        return value if isinstance(value, str) else to_text(value)
    if type == "NUMBER_INTEGER" and _number(value) and float(value).is_integer():
        return int(value)
    if type == "NUMBER_DOUBLE" and _number(value):
        return float(value)
    if type == "BOOLEAN" and isinstance(value, bool):
        return value
    if type in ("LIST", "STRUCT"):
        value = _parsed(value) if isinstance(value, str) else value
        if isinstance(value, list if type == "LIST" else dict):
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
    """The value inside a command: a text as it is, a whole number without `.0`, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return json.dumps(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
