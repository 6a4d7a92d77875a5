"""Statements that are built once: an event changes few rows, and building the SQL for each anew costs
more than running it.

A statement is known by its table and the names of its columns; values are bound when it runs.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Select, Table, Update, bindparam, insert, select, update

_WHERE = "where_"
"""Begins the names of bound values that say which rows."""


def add(db: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert one row."""
    db.execute(_insert(table, tuple(values)), dict(values))


def change(db: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows whose columns are those of `key`. Returns how many there were."""
    bound = {f"{_WHERE}{name}": value for name, value in key.items()}
    return db.execute(_update(table, tuple(key), tuple(values)), {**bound, **values}).rowcount


def value(db: Connection, table: Table, key: Mapping[str, Any], column: str) -> Any:
    """One column of the row whose columns are those of `key`; None if there is no row."""
    bound = {f"{_WHERE}{name}": value for name, value in key.items()}
    return db.scalar(_select(table, tuple(key), column), bound)


@lru_cache(maxsize=256)
def _insert(table: Table, names: tuple[str, ...]) -> Insert:
    return insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in names})


@lru_cache(maxsize=256)
def _update(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    values = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return update(table).where(*_rows(table, key)).values(values)


@lru_cache(maxsize=256)
def _select(table: Table, key: tuple[str, ...], column: str) -> Select[Any]:
    return select(table.c[column]).where(*_rows(table, key))


def _rows(table: Table, key: tuple[str, ...]) -> list[Any]:
    return [table.c[name] == bindparam(f"{_WHERE}{name}", type_=table.c[name].type) for name in key]
