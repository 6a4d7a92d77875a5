"""The language of `data.where`: which rows to take. Parsed and checked here; `steps` makes polars of it.

    where      = all {"or" all}
    all        = one {"and" one}
    one        = "not" one | "(" where ")" | comparison
    comparison = value (== != < <= > >=) value | column ["not"] "in" [literal, ...] | column "is" ["not"] None
    value      = column | "text" | number | True | False

Python's own parser reads it; whatever is not in the list above is refused by name, with its position. No
calls, attributes or arithmetic. A row in which a compared column is empty is not taken.
"""

import ast
from dataclasses import dataclass

from tuneline.errors import SpecError

Literal = str | int | float | bool


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str


@dataclass(frozen=True)
class Compare:
    """`left operator right`, the operator one of `== != < <= > >=`."""

    operator: str
    left: Column | Literal
    right: Column | Literal


@dataclass(frozen=True)
class Among:
    """Whether a column's value is one of `values`."""

    column: Column
    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Missing:
    """Whether a column has no value."""

    column: Column


@dataclass(frozen=True)
class Not:
    """Negation."""

    inner: "Where"


@dataclass(frozen=True)
class Both:
    """`and`."""

    parts: "tuple[Where, ...]"


@dataclass(frozen=True)
class Either:
    """`or`."""

    parts: "tuple[Where, ...]"


Where = Compare | Among | Missing | Not | Both | Either

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


def parse_where(text: str) -> Where:
    """The expression of a `where` text. Raises: SpecError, naming what is not allowed and its column in the
    text."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = f" at position {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise _refusal(f"it cannot be read{at}") from None
    return _where(tree.body)


def columns_of(where: Where) -> tuple[str, ...]:
    """The columns an expression reads, each once."""
    match where:
        case Compare(left=left, right=right):
            names = [side.name for side in (left, right) if isinstance(side, Column)]
        case Among(column=column) | Missing(column=column):
            names = [column.name]
        case Not(inner=inner):
            names = list(columns_of(inner))
        case Both(parts=parts) | Either(parts=parts):
            names = [name for part in parts for name in columns_of(part)]
    return tuple(dict.fromkeys(names))


def _where(node: ast.expr) -> Where:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return Both(tuple(_where(value) for value in values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return Either(tuple(_where(value) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(_where(operand))
        case ast.Compare(left=left, ops=operators, comparators=rights):
            sides = [left, *rights]
            parts = tuple(
                _comparison(sides[at], operator, sides[at + 1]) for at, operator in enumerate(operators)
            )
            return parts[0] if len(parts) == 1 else Both(parts)
        case ast.Name() | ast.Constant():
            raise _refusal(f"`{ast.unparse(node)}` at position {_at(node)} is not compared with anything")
    raise _refusal(f"{_called(node)} at position {_at(node)} is not part of the language")


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Where:
    match operator:
        case ast.In() | ast.NotIn():
            among = Among(_column(left), _literals(right))
            return Not(among) if isinstance(operator, ast.NotIn) else among
        case ast.Is() | ast.IsNot():
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise _refusal(f"`is` at position {_at(right)} can only be followed by `None` or `not None`")
            return Not(Missing(_column(left))) if isinstance(operator, ast.IsNot) else Missing(_column(left))
    made = Compare(_OPERATORS[type(operator)], _value(left), _value(right))
    if not isinstance(made.left, Column) and not isinstance(made.right, Column):
        raise _refusal(f"`{ast.unparse(left)}` at position {_at(left)} is compared with no column")
    return made


def _column(node: ast.expr) -> Column:
    found = _value(node)
    if isinstance(found, Column):
        return found
    raise _refusal(f"`{ast.unparse(node)}` at position {_at(node)} should be a column")


def _value(node: ast.expr) -> Column | Literal:
    match node:
        case ast.Name(id=name):
            return Column(name)
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Constant(value=None):
            raise _refusal(f"`None` at position {_at(node)}: write `column is None`")
    raise _refusal(f"{_called(node)} at position {_at(node)} is not part of the language")


def _literals(node: ast.expr) -> tuple[Literal, ...]:
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        raise _refusal(f'`{ast.unparse(node)}` at position {_at(node)} should be a list, e.g. `["a", "b"]`')
    found = [_value(entry) for entry in node.elts]
    if any(isinstance(entry, Column) for entry in found):
        raise _refusal(f"the list at position {_at(node)} has a column in it; put text in quotes")
    return tuple(entry for entry in found if not isinstance(entry, Column))


def _called(node: ast.expr) -> str:
    names: dict[type[ast.expr], str] = {
        ast.Call: "a call", ast.Attribute: "an attribute", ast.BinOp: "arithmetic", ast.Subscript: "an index",
        ast.Lambda: "a lambda", ast.IfExp: "`if`", ast.JoinedStr: "an f-string",
    }  # fmt: skip
    shown = ast.unparse(node)
    return f"{names.get(type(node), type(node).__name__)} (`{shown[:40]}`)"


def _at(node: ast.expr) -> int:
    return node.col_offset + 1


def _refusal(what: str) -> SpecError:
    return SpecError(
        f"`data.where`: {what}",
        hint='Compare columns with text and numbers, with and, or, not: `source == "imdb" and stars >= 3`.',
    )
