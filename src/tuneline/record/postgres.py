"""The record on a PostgreSQL server, through psycopg 3 (the extra `postgres`).

Writers are one at a time here too, by an advisory lock that a transaction takes when it begins: the record
was made for one writer (the next ordinal, the ledger's head, the one live interval), the writer is one
server, and its transactions take a millisecond, so row locks would buy nothing and cost the proof that no two
of them ever wait for each other. A session holds another such lock for the one server that may serve the
record; it ends with that server's process, or its machine.

Limits: session locks do not live behind a pooler that shares sessions (PgBouncer in transaction mode). The
key holds the schema's name, so records in different schemas of a database do not meet.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from tuneline.errors import (
    MissingPartError,
    ResourceError,
    SettingError,
    TransientError,
    TunelineError,
)

BUSY_S = 15.0
"""How long a transaction waits for a lock, and a thread for a connection, in seconds."""
CONNECT_S = 10
"""How long a connection may take."""
CONNECTIONS = 24
"""At most, of one server; PostgreSQL has 100 for everybody unless told otherwise."""
_DRIVER = "postgresql+psycopg"
_WRITER, _SERVER = 0x74756E65, 0x74756E66
"""First halves of the keys of the two locks; the second is the schema's name, hashed."""
_ALIVE: Mapping[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "tuneline",
}
"""Find out within a minute that the server's machine is gone. The URL's own options win."""


class Postgres:
    """One schema of one database. See `store.Database`."""

    shared = True

    def __init__(self, url: URL) -> None:
        """Opens nothing yet. Raises: MissingPartError without psycopg; SettingError for a bad option."""
        self.place = _place(url)
        given = url.translate_connect_args(username="user", database="dbname")
        options = {
            key: value if isinstance(value, str) else ",".join(value) for key, value in url.query.items()
        }
        try:
            self.engine: Engine = create_engine(
                f"{_DRIVER}://",  # an engine shows its URL, options and all
                connect_args={**_ALIVE, **given, **options},
                pool_size=8,
                max_overflow=CONNECTIONS - 8,
                pool_timeout=BUSY_S,
                pool_pre_ping=True,  # a server that was restarted meanwhile costs nobody an error
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise MissingPartError(
                f"The record {self.place} needs the driver psycopg, which is not installed.",
                hint="Install it with: pip install 'tuneline[postgres]'",
            ) from error
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        self._server: Connection | None = None

    def prepare(self) -> None:
        """Nothing: the database must be there."""

    def reading(self, connection: Connection) -> Connection:
        """In a transaction that sees one moment, and cannot write."""
        return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def writing(self, connection: Connection, durable: bool) -> Connection:
        """With the write lock. READ COMMITTED: a snapshot taken before the lock was had would be old."""
        return connection.execution_options(tuneline_write=True, tuneline_durable=durable)

    def settle(self, db: Connection) -> None:
        """Let every text column compare by bytes, whatever the database's language: as SQLite does.

        Lists are then in the same order on both, and an index serves `LIKE 'x%'`.
        """
        found = db.exec_driver_sql(
            "SELECT c.table_name, c.column_name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
            " AND c.data_type = 'text' AND c.collation_name IS DISTINCT FROM 'C' ORDER BY 1, 2"
        ).all()
        columns: dict[str, list[str]] = {}
        for table, column in found:
            columns.setdefault(table, []).append(f'ALTER COLUMN "{column}" TYPE text COLLATE "C"')
        for table, changes in columns.items():
            db.exec_driver_sql(f'ALTER TABLE "{table}" {", ".join(changes)}')

    def reserve(self) -> None:
        """Nothing: the server's disk is its own."""

    def claim(self) -> bool:
        """Become the one server of this record until this process ends; False if another process is."""
        if self._server is None:
            plain = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            plain.detach()  # it is no connection of the pool's: it lives as long as the claim
            self._server = plain
        with self._server.begin():
            mine: bool = self._server.exec_driver_sql(
                "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", (_SERVER,)
            ).scalar_one()
        if not mine:
            self._drop()
        return mine

    def claimed(self) -> bool:
        """Whether the claim still holds; it is made anew where the database's server was restarted."""
        if self._server is not None:
            with suppress(DBAPIError), self._server.begin():
                self._server.exec_driver_sql("SELECT 1")
                return True
            self._drop()
        return self.claim()

    def close(self) -> None:
        """Give up the claim and close all connections."""
        self._drop()
        self.engine.dispose()

    def fault(self, text: str, code: str, lost: bool) -> TunelineError | None:
        """Our error for what the server said. code: SQLSTATE, or empty; lost: the connection is gone."""
        for codes, words, kind, what, hint in _FAULTS:
            if code.startswith(codes) if code else any(word in text for word in words):
                return kind(f"The record {self.place} {what}: {text}.", hint=hint)
        if lost or not code:
            return TransientError(f"The record {self.place} does not answer: {text}.", hint=_UNREACHED)
        return None

    def _drop(self) -> None:
        held, self._server = self._server, None
        if held is None:
            return
        if not held.invalidated:
            # at once; the server would take a moment to see that the session ended
            with suppress(DBAPIError), held.begin():
                held.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        held.close()


_UNREACHED = "Check that the database's server runs and can be reached from here; nothing was lost."
_CHECK = "Check TUNELINE_DATABASE_URL."
_FAULTS: tuple[
    tuple[tuple[str, ...], tuple[str, ...], type[TunelineError], str, str], ...
] = (
    (("53100", "58030"), (), ResourceError, "could not be written",
     "Free some space on the database's disk and do it again: what was recorded before is whole."),
    (("53200",), (), ResourceError, "could not be used", "The database's server has not enough memory."),
    (("53300",), ("too many clients", "remaining connection slots"), TransientError,
     "takes no more connections", "Raise max_connections, or close other programs' connections."),
    (("55P03", "57014"), (), TransientError, f"was busy for more than {BUSY_S:.0f} s",
     "Another program holds its tables locked; end that one, or try again."),
    (("40",), (), TransientError, "could not do both at once", "Try again."),
    (("25006",), (), ResourceError, "cannot be written",
     "It is a standby, or was made read-only: point TUNELINE_DATABASE_URL at the primary."),
    (("42501",), ("permission denied",), SettingError, "refuses this user",
     "Grant the user the right to create tables in its schema: GRANT USAGE, CREATE ON SCHEMA ... TO ..."),
    (("28", "3D", "3F"), ("authentication failed", "no password", "does not exist", "no pg_hba"),
     SettingError, "refuses the connection",
     f"{_CHECK} A password may also stand in ~/.pgpass or PGPASSWORD."),
    (("08", "57P"), (), TransientError, "does not answer", _UNREACHED),
    ((), ("invalid", "missing \"=\"", "could not translate"), SettingError, "cannot be found", _CHECK),
)  # fmt: skip
"""SQLSTATEs, by their beginning; words, for what libpq says without one; what they mean."""


def _place(url: URL) -> str:
    """The URL without password and options, either of which may be a secret."""
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{user}{url.host or ''}{port}/{url.database or ''}"


def _configure(connection: Any, _record: object) -> None:
    before, connection.autocommit = connection.autocommit, True
    connection.execute(f"SET lock_timeout = {int(BUSY_S * 1000)}")
    connection.autocommit = before


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("tuneline_write"):
        return
    durable = ", set_config('synchronous_commit', 'on', true)" if options.get("tuneline_durable") else ""
    connection.exec_driver_sql(
        f"SELECT pg_advisory_xact_lock(%s, hashtext(current_schema())){durable}", (_WRITER,)
    )
