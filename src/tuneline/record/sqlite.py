"""The record in a SQLite file: the default, in the home.

WAL mode with a busy timeout; a write transaction takes the lock when it begins, so that it never fails half
way for another writer. Limits: one file on a local disk; a network file system does not keep SQLite's locks.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event

from tuneline.errors import InternalError, ResourceError, TransientError, TunelineError

BUSY_S = 15.0
"""How long a writer waits for another process's transaction, in seconds."""
ROOM_BYTES = 6_000_000
"""Kept free inside the files, for what must be written when the disk is full. More than the 1,000 pages after
which SQLite starts its log anew."""


class Sqlite:
    """One file. See `store.Database`."""

    shared = False

    def __init__(self, url: URL) -> None:
        self.place = url.database or str(url)
        self._folder = Path(url.database).parent if url.database else None
        # None leaves BEGIN to us; the sqlite3 module would begin late, and never for a read
        arguments = {"check_same_thread": False, "timeout": BUSY_S, "isolation_level": None}
        self.engine: Engine = create_engine(
            url, connect_args=arguments, pool_size=8, max_overflow=64, hide_parameters=True
        )
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)

    def prepare(self) -> None:
        """Make the file's folder. Raises ResourceError if it cannot be made."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"The record's folder {self._folder} cannot be made: {error.strerror}.",
                hint="Set TUNELINE_HOME to a folder you may write to.",
            ) from error

    def reading(self, connection: Connection) -> Connection:
        """As it is: a transaction sees one moment from its first read on."""
        return connection

    def writing(self, connection: Connection, durable: bool) -> Connection:
        """With the write lock, from BEGIN on."""
        return connection.execution_options(tuneline_write=True, tuneline_durable=durable)

    def settle(self, db: Connection) -> None:
        """Nothing: SQLite compares texts by their bytes."""

    def reserve(self) -> None:
        """Let the files grow now by what a full disk would refuse later: to record that it was full.

        What is written is deleted again: the space stays with the files, and is used before any other.
        """
        with suppress(Exception):  # no room for the reserve is no reason not to start
            self._write(
                "CREATE TABLE IF NOT EXISTS room (filler BLOB)", "INSERT INTO room VALUES (zeroblob(?))"
            )
            self._write("DROP TABLE room")
            with self.engine.connect() as plain:
                plain.connection.cursor().execute("PRAGMA wal_checkpoint(RESTART)").close()

    def claim(self) -> bool:
        """True: whoever has the home has the file in it."""
        return True

    def claimed(self) -> bool:
        """True, as above."""
        return True

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def fault(self, text: str, _code: str, _lost: bool) -> TunelineError | None:
        """Our error for what SQLite said; None if it is no trouble of the file."""
        low = text.lower()
        for words, make in _FAULTS:
            if any(word in low for word in words):
                return make(self.place, text)
        return None

    def _write(self, *statements: str) -> None:
        with self.engine.connect() as plain:
            connection = self.writing(plain, False)
            with connection.begin():
                for statement in statements:
                    connection.exec_driver_sql(statement, (ROOM_BYTES,) if "?" in statement else ())


def _full(place: str, text: str) -> TunelineError:
    return ResourceError(
        f"The record {place} could not be written: {text}.",
        hint="Free some space on that disk and do it again: what was recorded before is whole.",
    )


def _closed(place: str, text: str) -> TunelineError:
    return ResourceError(
        f"The record {place} cannot be opened for writing: {text}.",
        hint="Check who owns the file and its folder, or set TUNELINE_HOME to a folder you may write to.",
    )


def _busy(place: str, _: str) -> TunelineError:
    return TransientError(
        f"The record {place} was busy for more than {BUSY_S:.0f} s.",
        hint="Another program holds it open for writing; end that one, or try again.",
    )


def _damaged(place: str, text: str) -> TunelineError:
    return InternalError(
        f"The record {place} is damaged: {text}.",
        hint="Put a backup in its place, or move it away to start an empty one.",
    )


_FAULTS: tuple[tuple[tuple[str, ...], Callable[[str, str], TunelineError]], ...] = (
    (("disk is full", "disk i/o", "no space"), _full),
    (("readonly", "unable to open"), _closed),
    (("locked", "busy"), _busy),
    (("malformed", "not a database"), _damaged),
)
"""What SQLite says -> what it means; it has one exception for nearly everything."""


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
    wanted = "FULL" if options.get("tuneline_durable") else "NORMAL"
    if connection.info.get("synchronous", "NORMAL") != wanted:
        connection.exec_driver_sql(f"PRAGMA synchronous = {wanted}")
        connection.info["synchronous"] = wanted
    connection.exec_driver_sql("BEGIN IMMEDIATE")
