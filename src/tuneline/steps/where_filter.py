"""`data.where` as a polars expression. Columns are text in a CSV, so the other side says how to compare: with
a number as numbers, with text as text. A row in which a compared column is empty, or is no number, is not
taken."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from tuneline.spec.where import Among, Both, Column, Compare, Either, Literal, Missing, Not, Where

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


def filter_of(where: Where) -> pl.Expr:
    """The boolean column that says which rows are taken; never null."""
    return _expr(where).fill_null(False)


def _expr(where: Where) -> pl.Expr:
    match where:
        case Compare(operator=sign, left=left, right=right):
            number = any(_is_number(side) for side in (left, right))
            number |= sign not in ("==", "!=") and not any(isinstance(side, str) for side in (left, right))
            compared: pl.Expr = _OPERATORS[sign](_side(left, number), _side(right, number))
            return compared
        case Among(column=column, values=values):
            numbers = [float(value) for value in values if _is_number(value)]
            texts = [_text(value) for value in values if not _is_number(value)]
            among = _side(column, False).is_in(texts) if texts or not numbers else pl.lit(False)
            return among | _side(column, True).is_in(numbers).fill_null(False) if numbers else among
        case Missing(column=column):
            return pl.col(column.name).is_null()
        case Not(inner=inner):
            return ~_expr(inner)
        case Both(parts=parts):
            return pl.all_horizontal([_expr(part) for part in parts])
        case Either(parts=parts):
            return pl.any_horizontal([_expr(part) for part in parts])


def _side(side: Column | Literal, number: bool) -> pl.Expr:
    if not isinstance(side, Column):
        return pl.lit(float(side)) if number else pl.lit(_text(side))
    if number:
        return pl.col(side.name).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.col(side.name).cast(pl.String)


def _is_number(side: object) -> bool:
    return isinstance(side, int | float) and not isinstance(side, bool)


def _text(value: Literal) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
