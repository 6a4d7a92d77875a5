"""A real PostgreSQL server for tests: its own data in a temporary folder, a unix socket, no port.

Tests get it by the fixture `postgres`; a test of the record by `database_url`, once for each kind.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from tuneline.record.record import Record

USER = "tuneline"
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
    "listen_addresses": "",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; None if they are not installed."""
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    return next((Path(path).parent for path in found if path), None)


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path
    bin: Path

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def run(self, *command: str) -> None:
        """Run one of its programs as the server's own user. Raises: CalledProcessError."""
        done = subprocess.run(
            [*_as_user(), str(self.bin / command[0]), *command[1:]],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            log = self.folder / "log"
            said = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}{said}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in _FAST.items())
        options += f" -c unix_socket_directories='{self.folder}'"
        self.run("pg_ctl", "start", "-w", "-s", "-D", "data", "-l", "log", "-o", options)

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `immediate` as a crash does, `fast` as an administrator does."""
        self.run("pg_ctl", "stop", "-w", "-s", "-D", "data", "-m", how)


@contextmanager
def server() -> Iterator[Server]:
    """A server that ends with the block."""
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="tuneline-postgres-"))
    try:
        if _as_user():
            shutil.chown(folder, "nobody")
        made = Server(folder, found)
        made.run(
            "initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions",
            *_sorting_like_people(found),
        )  # fmt: skip
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        # thousands of files: nobody waits for that
        subprocess.run(["sh", "-c", 'rm -rf "$0" &', folder], check=True, stdin=subprocess.DEVNULL)


def _as_user() -> list[str]:
    """PostgreSQL does not run as root: then it runs as `nobody`."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def _sorting_like_people(bin: Path) -> list[str]:
    """A database whose own order is not that of bytes, where this build can: ours must not depend on it."""
    said = subprocess.run([bin / "initdb", "--help"], capture_output=True, text=True, check=True).stdout
    if "--icu-locale" in said:
        return ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


class Databases:
    """Gives out records with today's schema and nothing in it, or with nothing at all.

    Each is a schema of one database: made in a millisecond, where a database takes fifty and 300 files.
    """

    def __init__(self, running: Server) -> None:
        self.server = running
        self._numbers = count()
        self._clean: str | None = None
        self._shape: str | None = None
        self._seeds: dict[str, list[tuple]] = {}
        """Rows that migrations make, by table."""

    def empty(self) -> str:
        """The URL of a new record without any table."""
        name = f"s{next(self._numbers)}"
        with self._connected(self.server.url("postgres")) as db:
            db.execute(f"CREATE SCHEMA {name}")
        return f"{self.server.url('postgres')}&options=-csearch_path%3D{name}"

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a record as `Record.migrate` leaves it.

        It is given out again, emptied (10 ms), unless the test changed the tables that were there.
        """
        url, self._clean = self._clean, None
        if url is None:
            url = self.empty()
            record = Record(url)
            record.migrate()
            record.close()
            with self._connected(url) as db:
                self._shape = self._shape or _one(db, _SHAPE)
                for (table,) in db.execute(_TABLES).fetchall():
                    self._seeds[table] = db.execute(f"SELECT * FROM {table}").fetchall()
        yield url
        with self._connected(url) as db:
            for (table,) in db.execute(_TABLES).fetchall():
                if table not in self._seeds:  # a test's own
                    db.execute(f"DROP TABLE {table} CASCADE")
            if _one(db, _SHAPE) == self._shape:
                self._empty(db)
                self._clean = url

    def _empty(self, db: psycopg.Connection) -> None:
        """Every row that a migration did not make goes: neither ledger nor foreign keys have a say."""
        db.execute("SET session_replication_role = replica")
        db.execute("; ".join(f"DELETE FROM {table}" for table in self._seeds))
        for table, rows in self._seeds.items():
            for row in rows:
                db.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)

    @contextmanager
    def _connected(self, url: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(url, autocommit=True) as db:
            yield db


def _one(db: psycopg.Connection, query: str) -> str:
    row = db.execute(query).fetchone()
    assert row is not None
    return str(row[0])


_TABLES = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname <> 'migrations'
"""
_SHAPE = """
SELECT concat_ws(' ',
  (SELECT string_agg(concat(relname, relkind), ',' ORDER BY relname) FROM pg_class
   WHERE relnamespace = current_schema()::regnamespace),
  (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
   WHERE relnamespace = current_schema()::regnamespace),
  (SELECT string_agg(name, ',' ORDER BY name) FROM migrations))
"""
"""One text for equal schemas."""
