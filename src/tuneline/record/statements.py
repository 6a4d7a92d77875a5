"""Statements that are built once: an event changes few rows, and building the SQL for each anew costs
more than running it.

A statement is known by its table and the names of its columns. Its text is compiled once for a database, and
values are made what the driver takes by their columns' own types, as SQLAlchemy does it. The driver's cursor
executes it, in SQLAlchemy's transaction; its errors are raised as SQLAlchemy's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, bindparam, insert, select, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from tuneline.record.schema import JsonText

_WHERE = "where_"
"""Begins the names of bound values that say which rows."""


def add(db: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert one row."""
    _insert(db.dialect, table, tuple(values)).run(db, values)


def change(db: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows whose columns are those of `key`. Returns how many there were."""
    statement = _update(db.dialect, table, tuple(key), tuple(values))
    return statement.run(db, {**_rows_of(key), **values})


def value(db: Connection, table: Table, key: Mapping[str, Any], column: str) -> Any:
    """One column of the row whose columns are those of `key`; None without one."""
    row = _select(db.dialect, table, tuple(key), column).first(db, _rows_of(key))
    found = None if row is None else row[0]
    kind = table.c[column].type
    return kind.process_result_value(found, db.dialect) if isinstance(kind, JsonText) else found


def first(db: Connection, statement: ClauseElement, values: Mapping[str, Any]) -> Sequence[Any] | None:
    """The first row of a statement that is a constant of its module, known by being that object."""
    return _prepared(db.dialect, statement).first(db, values)


class Statement:
    """SQL text of one dialect, and how its values become the driver's."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self._text = str(compiled)
        names: Iterable[str] = compiled.positiontup or compiled.binds
        self._binds = [(name, _processor(compiled.binds[name].type, dialect)) for name in names]
        self._positional = bool(compiled.positional)

    def run(self, db: Connection, values: Mapping[str, Any]) -> int:
        """Execute it; how many rows it changed. values: by the names of its bound parameters."""
        with self._executed(db, values) as cursor:
            return int(cursor.rowcount)

    def first(self, db: Connection, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """The first row that it gives, as the driver has it; None without one."""
        with self._executed(db, values) as cursor:
            row: Sequence[Any] | None = cursor.fetchone()
            return row

    @contextmanager
    def _executed(self, db: Connection, values: Mapping[str, Any]) -> Iterator[DBAPICursor]:
        bound = ((name, values[name] if make is None else make(values[name])) for name, make in self._binds)
        given: Any = tuple(item for _, item in bound) if self._positional else dict(bound)
        driver, cursor = db.dialect.loaded_dbapi.Error, db.connection.cursor()
        try:
            cursor.execute(self._text, given)
            yield cursor
        except driver as error:
            lost = db.dialect.is_disconnect(error, db.connection, cursor)
            wrapped = DBAPIError.instance(
                self._text,
                None,
                error,
                driver,
                hide_parameters=True,
                connection_invalidated=lost,
                dialect=db.dialect,
            )
            if lost:
                db.invalidate(error)
            raise wrapped from error
        finally:
            cursor.close()


def _processor(type: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    found: Callable[[Any], Any] | None = type.dialect_impl(dialect).bind_processor(dialect)
    return found


def _rows_of(key: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_WHERE}{name}": item for name, item in key.items()}


@lru_cache(maxsize=64)
def _prepared(dialect: Dialect, statement: ClauseElement) -> Statement:
    return Statement(statement, dialect)


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: Table, names: tuple[str, ...]) -> Statement:
    values = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return Statement(insert(table).values(values), dialect)


@lru_cache(maxsize=256)
def _update(dialect: Dialect, table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Statement:
    values = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return Statement(update(table).where(*_rows(table, key)).values(values), dialect)


@lru_cache(maxsize=256)
def _select(dialect: Dialect, table: Table, key: tuple[str, ...], column: str) -> Statement:
    return Statement(select(table.c[column]).where(*_rows(table, key)), dialect)


def _rows(table: Table, key: tuple[str, ...]) -> list[Any]:
    return [table.c[name] == bindparam(f"{_WHERE}{name}", type_=table.c[name].type) for name in key]
