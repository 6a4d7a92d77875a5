"""The database: one writer at a time, readers beside it, every driver error made ours at this one seam.

SQLite runs in WAL mode with a busy timeout; a write transaction takes the lock when it begins, so that it
never fails half way for another writer. Limits: one file on a local disk; a network file system does not keep
SQLite's locks.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tuneline.errors import InternalError, ResourceError, TransientError, TunelineError

BUSY_S = 15.0
"""How long a writer waits for another process's transaction, in seconds."""
ROOM_BYTES = 6_000_000
"""Kept free inside the files, for what must be written when the disk is full. More than the 1,000 pages after
which SQLite starts its log anew."""


class Store:
    """The connection pool of one record. Thread-safe."""

    def __init__(self, url: str) -> None:
        """`url` as SQLAlchemy says it, e.g. `sqlite:////home/me/.tuneline/tuneline.db`. Opens nothing yet."""
        self.url = make_url(url)
        self._writing = threading.RLock()
        arguments: dict[str, Any] = {}
        if self.url.get_backend_name() == "sqlite":
            # None leaves BEGIN to us; the sqlite3 module would begin late, and never for a read
            arguments = {"check_same_thread": False, "timeout": BUSY_S, "isolation_level": None}
        self.engine = create_engine(url, connect_args=arguments, pool_size=8, max_overflow=64)
        if arguments:
            event.listen(self.engine, "connect", _configure)
            event.listen(self.engine, "begin", _begin)

    @property
    def place(self) -> str:
        """Where the record is, for messages: a path, or a URL without its password."""
        return (
            self.url.database or str(self.url) if self.url.get_backend_name() == "sqlite" else repr(self.url)
        )

    def prepare(self) -> None:
        """Make the folder of a SQLite file. Raises ResourceError if it cannot be made."""
        if self.url.get_backend_name() != "sqlite" or not self.url.database:
            return
        try:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"The record's folder {Path(self.url.database).parent} cannot be made: {error.strerror}.",
                hint="Set TUNELINE_HOME to a folder you may write to.",
            ) from error

    def reserve(self) -> None:
        """Let SQLite's files grow now by what a full disk would refuse later: to record that it was full.

        What is written is deleted again: the space stays with the files, and is used before any other.
        """
        if self.url.get_backend_name() != "sqlite":
            return
        with suppress(TunelineError):  # no room for the reserve is no reason not to start
            with self.write() as db:
                db.exec_driver_sql("CREATE TABLE IF NOT EXISTS room (filler BLOB)")
                db.exec_driver_sql("INSERT INTO room VALUES (zeroblob(?))", (ROOM_BYTES,))
            with self.write() as db:
                db.exec_driver_sql("DROP TABLE room")
            with self.engine.connect() as plain:
                plain.connection.cursor().execute("PRAGMA wal_checkpoint(RESTART)").close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment of the record. Raises: see `ours`."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise ours(error, self.place) from error

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction that holds the write lock; committed at the end, rolled back if anything is raised.

        Every commit survives the death of this process; a `durable` one also the loss of power. Raises: see
        `ours`.
        """
        try:
            with self._writing, self.engine.connect() as plain:
                connection = plain.execution_options(tuneline_write=True, tuneline_durable=durable)
                with connection.begin():
                    yield connection
        except SQLAlchemyError as error:
            raise ours(error, self.place) from error

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def ours(error: SQLAlchemyError, place: str) -> TunelineError:
    """Our error for one of the driver's: ResourceError (disk), TransientError (locked) or InternalError."""
    text = str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
    low = text.lower()
    if "disk is full" in low or "disk i/o" in low or "no space" in low:
        return ResourceError(
            f"The record {place} could not be written: {text}.",
            hint="Free some space on that disk and do it again: what was recorded before is whole.",
        )
    if "readonly" in low or "unable to open" in low:
        return ResourceError(
            f"The record {place} cannot be opened for writing: {text}.",
            hint="Check who owns the file and its folder, or set TUNELINE_HOME to a folder you may write to.",
        )
    if "locked" in low or "busy" in low:
        return TransientError(
            f"The record {place} was busy for more than {BUSY_S:.0f} s.",
            hint="Another program holds it open for writing; end that one, or try again.",
        )
    if "malformed" in low or "not a database" in low:
        return InternalError(
            f"The record {place} is damaged: {text}.",
            hint="Put a backup in its place, or move it away to start an empty one.",
        )
    return InternalError(
        f"The record {place} refused: {type(error).__name__}: {text}", hint="Please report this."
    )


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("tuneline_write"):
        connection.exec_driver_sql("BEGIN")
        return
    # In WAL mode NORMAL loses no committed transaction when a process dies, only when the power does.
    connection.exec_driver_sql(
        f"PRAGMA synchronous = {'FULL' if options.get('tuneline_durable') else 'NORMAL'}"
    )
    connection.exec_driver_sql("BEGIN IMMEDIATE")
