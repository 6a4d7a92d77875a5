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
        shutil.rmtree(folder, ignore_errors=True)


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
    """Gives out databases with today's schema and nothing in it, or with nothing at all."""

    def __init__(self, running: Server) -> None:
        self.server = running
        self._numbers = count()
        self._clean: str | None = None
        self._shape: str | None = None

    def empty(self) -> str:
        """The URL of a new database without any table: 50 ms."""
        name = f"db{next(self._numbers)}"
        self._do("postgres", f"CREATE DATABASE {name} STRATEGY FILE_COPY")
        return self.server.url(name)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a database as `Record.migrate` leaves it.

        It is given out again, emptied (5 ms), unless the test changed more than rows.
        """
        name, self._clean = self._clean, None
        if name is None:
            name = self.empty().partition("@/")[2].partition("?")[0]
            record = Record(self.server.url(name))
            record.migrate()
            record.close()
            self._shape = self._shape or self._do(name, _SHAPE)
        yield self.server.url(name)
        if self._do(name, _SHAPE) == self._shape:
            self._do(name, _EMPTY)
            self._clean = name

    def _do(self, name: str, statement: str) -> str | None:
        with psycopg.connect(self.server.url(name), autocommit=True) as db:
            found = db.execute(statement)
            row = found.fetchone() if found.description else None
        return None if row is None else str(row[0])


_SHAPE = """
SELECT concat_ws(' ',
  (SELECT string_agg(concat(relname, relkind), ',' ORDER BY relname) FROM pg_class
   WHERE relnamespace = 'public'::regnamespace),
  (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger),
  (SELECT string_agg(name, ',' ORDER BY name) FROM migrations))
"""
"""One text for equal schemas."""
_EMPTY = """
DO $$ DECLARE each regclass; BEGIN
  SET session_replication_role = replica;  -- neither the ledger's triggers nor foreign keys
  FOR each IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
    IF each <> 'migrations'::regclass THEN EXECUTE format('DELETE FROM %s', each); END IF;
  END LOOP;
  SET session_replication_role = origin;
END $$
"""
