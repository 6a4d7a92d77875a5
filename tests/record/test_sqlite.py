"""What only a SQLite file can do to a record: a full disk, a damaged file, a folder that cannot be made."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tuneline.errors import InternalError, ResourceError
from tuneline.plan.events import RunStarted
from tuneline.record.record import Record
from tuneline.record.sqlite import ROOM_BYTES


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A file, as no server is a file."""
    return f"sqlite:///{tmp_path / 'tuneline.db'}"


def test_a_full_disk_is_a_resource_error_and_what_was_written_stays_whole(record, new_run):
    """SQLite's own limit on pages gives the very error of a full disk, without one."""
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    with record.runs._store.write() as db:
        pages = db.execute(text("PRAGMA page_count")).scalar()
    record.close()  # the limit is of one connection: let there be only one
    with record.runs._store.read() as db:
        db.execute(text(f"PRAGMA max_page_count = {pages + 1}"))
    with pytest.raises(ResourceError, match="disk is full") as wrong:
        record.runs.series("r1", "fetch", [{"text": "x" * 4000, "n": n} for n in range(1000)])
    assert "Free some space" in wrong.value.hint
    with record.runs._store.read() as db:
        db.execute(text("PRAGMA max_page_count = 1000000"))
        assert db.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    record.runs.append(lease, [RunStarted()], 2.0)
    assert record.runs.get("r1")["state"] == "RUNNING"


def test_room_is_kept_for_what_is_written_on_a_full_disk(tmp_path):
    """In the file, as free pages, and in its log, which starts anew within what it has grown to."""
    made = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    made.migrate()
    made.reserve()
    made.reserve()
    with made.runs._store.read() as db:
        free = (
            db.execute(text("PRAGMA freelist_count")).scalar() * db.execute(text("PRAGMA page_size")).scalar()
        )
        assert db.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'room'")).scalar() == 0
    assert ROOM_BYTES <= free < 2 * ROOM_BYTES
    assert (tmp_path / "tuneline.db-wal").stat().st_size > ROOM_BYTES
    made.close()


def test_a_folder_that_cannot_be_made_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be made") as wrong:
        Record(f"sqlite:///{tmp_path / 'file' / 'tuneline.db'}").migrate()
    assert "TUNELINE_HOME" in wrong.value.hint


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path):
    (tmp_path / "tuneline.db").write_bytes(b"not a database at all" * 100)
    broken = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    with pytest.raises(InternalError, match="is damaged"):
        broken.migrate()
    broken.close()
