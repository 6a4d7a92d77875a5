"""The database: one writer at a time, readers beside it, every driver error made ours at this one seam.

`sqlite.py` and `postgres.py` are the two kinds; the tables and all statements are the same on both
(`schema.py` has the rules for that).
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tuneline.errors import InternalError, SettingError, TransientError, TunelineError
from tuneline.record.postgres import Postgres
from tuneline.record.sqlite import Sqlite

Beside = Callable[[Connection], None]
"""Writes what must be on record if and only if something else is, in its transaction."""

_EXAMPLE = "Write TUNELINE_DATABASE_URL=postgresql://user@host:5432/database, or unset it."


class Database(Protocol):
    """What one kind of database does in its own way."""

    place: str
    """Where the record is, for messages: a path, or a URL without what may be secret."""
    engine: Engine
    shared: bool
    """Whether servers of different homes can reach it."""

    def prepare(self) -> None:
        """Make what can be made before the first connection. Raises: ResourceError."""
        ...

    def reading(self, connection: Connection) -> Connection:
        """For a transaction that sees one moment."""
        ...

    def writing(self, connection: Connection, durable: bool) -> Connection:
        """For a transaction that has the write lock from its beginning on."""
        ...

    def settle(self, db: Connection) -> None:
        """Called at the end of a migration's transaction."""
        ...

    def reserve(self) -> None:
        """Keep room for what must be written when the disk is full."""
        ...

    def claim(self) -> bool:
        """Become the one server of this record; False if another process is."""
        ...

    def claimed(self) -> bool:
        """Whether the claim still holds, or could be made anew."""
        ...

    def close(self) -> None:
        """Give up the claim and all connections."""
        ...

    def fault(self, text: str, code: str, lost: bool) -> TunelineError | None:
        """Our error for the driver's. code: SQLSTATE or empty; lost: the connection is gone."""
        ...


_KINDS: Mapping[str, Callable[[URL], Database]] = {
    "sqlite": Sqlite,
    "postgresql": Postgres,
    "postgres": Postgres,
}


class Store:
    """The connections of one record. Thread-safe."""

    def __init__(self, url: str) -> None:
        """`url`: `sqlite:////home/me/.tuneline/tuneline.db` or `postgresql://user@host/database`.

        Opens nothing yet. Raises: SettingError if it is neither; MissingPartError without the driver.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # whose text may quote the password
            raise SettingError("The record's URL cannot be read.", hint=_EXAMPLE) from None
        kind = _KINDS.get(parsed.get_backend_name())
        if kind is None:
            raise SettingError(f"A record cannot be kept on `{parsed.get_backend_name()}`.", hint=_EXAMPLE)
        self.database: Database = kind(parsed)
        self.engine = self.database.engine
        self._writing = threading.RLock()

    @property
    def place(self) -> str:
        """Where the record is, for messages."""
        return self.database.place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment of the record. Raises: see `ours`."""
        try:
            with self.engine.connect() as plain:
                yield self.database.reading(plain)
        except SQLAlchemyError as error:
            raise ours(error, self.database) from error

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction that holds the write lock; committed at the end, rolled back if anything is raised.

        Every commit survives the death of this process; a `durable` one also the loss of power. Raises: see
        `ours`.
        """
        try:
            with self._writing, self.engine.connect() as plain:
                connection = self.database.writing(plain, durable)
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise ours(error, self.database) from error

    def claim(self) -> bool:
        """Become the one server of this record; False if another process is. Raises: see `ours`."""
        try:
            return self.database.claim()
        except SQLAlchemyError as error:
            raise ours(error, self.database) from error

    def claimed(self) -> bool:
        """Whether the claim still holds, or could be made anew. Raises: see `ours`."""
        try:
            return self.database.claimed()
        except SQLAlchemyError as error:
            raise ours(error, self.database) from error

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()


def ours(error: SQLAlchemyError, database: Database) -> TunelineError:
    """Our error for one of the driver's: ResourceError (disk), TransientError (busy, unreachable),
    SettingError (refused) or InternalError. Never with a statement's values, which may be secret."""
    driver = error.orig if isinstance(error, StatementError) else None
    primary = getattr(getattr(driver, "diag", None), "message_primary", None)
    # the primary message alone: the server's details quote the row
    text = " ".join((primary or str(driver or error)).split()).rstrip(".")
    if isinstance(error, DBAPIError):
        code = getattr(driver, "sqlstate", None) or ""
        fault = database.fault(text, code, error.connection_invalidated)
        if fault is not None:
            return fault
    elif isinstance(error, PoolTimeout):
        return TransientError(
            f"The record {database.place} has no connection free.",
            hint="Too much is asked at once; try again.",
        )
    return InternalError(
        f"The record {database.place} refused: {type(error).__name__}: {text}", hint="Please report this."
    )
