"""A page of a list, found by key: SQL for a `plan.listing.Listing` over any table.

Usage: `rows, next_token = page(db, select(table), listing, columns, table.c.id)`. The next page begins after
the last row's (sort value, id), so page 10,000 costs what page one does if an index holds those two columns.

Limits: columns given must never be NULL; wrap one that may be in `func.coalesce`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
)

from tuneline.plan.listing import Interval, Listing, Predicate

Columns = Mapping[str, ColumnElement[Any]]
"""Field of a request -> the column, never NULL, that it means."""
Tagged = Callable[[str, str], ColumnElement[bool]]
"""(tag key, tag value) -> the condition that a row has this tag."""


def page(
    db: Connection,
    query: Select[Any],
    listing: Listing,
    columns: Columns,
    id: ColumnElement[str],
    tagged: Tagged | None = None,
) -> tuple[Sequence[RowMapping], str]:
    """Rows of `query` that fit, in order, at most `listing.size`, and the next page's token ("" if none)."""
    sort = columns[listing.sort]
    query = query.add_columns(sort.label("_sort"), id.label("_id"))
    query = query.where(*conditions(listing.predicates, columns, tagged))
    if listing.after is not None:
        here = tuple_(sort, id)
        query = query.where(here < listing.after if listing.descending else here > listing.after)
    order = (sort.desc(), id.desc()) if listing.descending else (sort, id)
    rows = db.execute(query.order_by(*order).limit(listing.size + 1)).mappings().all()
    if len(rows) <= listing.size:
        return rows, ""
    rows = rows[: listing.size]
    return rows, listing.token(rows[-1]["_sort"], rows[-1]["_id"])


def count(
    db: Connection, query: Select[Any], listing: Listing, columns: Columns, tagged: Tagged | None = None
) -> int:
    """How many rows of `query` fit the listing's filter, whatever the page."""
    fitting = query.where(*conditions(listing.predicates, columns, tagged)).subquery()
    return int(db.scalar(select(func.count()).select_from(fitting)) or 0)


def conditions(
    predicates: Sequence[Predicate], columns: Columns, tagged: Tagged | None = None
) -> list[ColumnElement[bool]]:
    """Each predicate as SQL."""
    found = []
    for predicate in predicates:
        if predicate.kind == "tag":
            assert tagged is not None, "Fields.tags is for lists whose rows have tags"
            found.append(tagged(predicate.key.removeprefix("tags."), predicate.value))
        else:
            found.append(_condition(columns[predicate.key], predicate))
    return found


def _condition(column: ColumnElement[Any], predicate: Predicate) -> ColumnElement[bool]:
    operation, value = predicate.operation, predicate.value
    if operation == "IS_SUBSTRING":
        return func.lower(column).contains(_lower(value), autoescape=True)
    if operation in ("EQUALS", "NOT_EQUALS", "IN"):
        wanted = value if operation == "IN" else (value,)
        equal = or_(false(), *(_equals(column, each, predicate.kind) for each in wanted))
        return not_(equal) if operation == "NOT_EQUALS" else equal
    low, high = (value.start, value.end) if isinstance(value, Interval) else (value, value)
    timed = isinstance(value, Interval)
    found: dict[str, ColumnElement[bool]] = {
        "GREATER_THAN": column >= high if timed else column > high,
        "GREATER_THAN_EQUALS": column >= low,
        "LESS_THAN": column < low,
        "LESS_THAN_EQUALS": column < high if timed else column <= high,
    }
    return found[operation]


def _equals(column: ColumnElement[Any], value: Any, kind: str) -> ColumnElement[bool]:
    if isinstance(value, Interval):
        return and_(column >= value.start, column < value.end)
    compared: ColumnElement[bool] = func.lower(column) == _lower(value) if kind == "text" else column == value
    return compared


def _lower(text: str) -> str:
    """As both databases do it: letters of ASCII alone."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
