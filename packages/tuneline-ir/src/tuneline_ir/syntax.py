"""The tree of a condition, as frozen values, and the error that names what is wrong with one."""

from dataclasses import dataclass
from typing import Union


class ConditionError(ValueError):
    """A condition or selector that cannot be read or evaluated; the message says where and why."""


@dataclass(frozen=True)
class Literal:
    """A value written in the condition."""

    value: bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """`inputs.parameter_values['name']`."""

    name: str


@dataclass(frozen=True)
class Cast:
    """`int(of)`, `double(of)`, or the `text` of a value."""

    to: str
    of: "Expression"


@dataclass(frozen=True)
class Json:
    """`parseJson(of)["key"][0]`."""

    of: "Expression"
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Not:
    """`!of`."""

    of: "Expression"


@dataclass(frozen=True)
class Logic:
    """Terms between `&&` (`decided_by` false: one false term decides) or `||` (`decided_by` true)."""

    decided_by: bool
    terms: tuple["Expression", ...]


@dataclass(frozen=True)
class Comparison:
    """`left operator right`."""

    operator: str
    left: "Expression"
    right: "Expression"


Expression = Union[Literal, Parameter, Cast, Json, Not, Logic, Comparison]  # noqa: UP007 - names come later


def short(text: str, most: int = 120) -> str:
    """The text, cut after `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
