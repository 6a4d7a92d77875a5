"""What the database refuses becomes one clear error of ours."""

import threading

import pytest
from sqlalchemy import text

from tuneline.errors import InternalError, ResourceError, TransientError
from tuneline.plan.events import RunStarted
from tuneline.record.record import Record
from tuneline.record.store import ROOM_BYTES


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


def test_a_writer_waits_for_another_one_and_gives_up_with_a_hint(record, new_run):
    other = Record(str(record._store.url))
    with other._store.read() as db:
        db.execute(text("PRAGMA busy_timeout = 10"))
    with record._store.write(), pytest.raises(TransientError, match="busy"):
        other.runs.create(new_run(), 1.0)
    other.close()


def test_a_failed_transaction_leaves_nothing_and_lets_the_next_one_in(record, new_run):
    with pytest.raises(ZeroDivisionError):
        fail_half_way(record)
    assert record.releases.models() == []
    record.runs.create(new_run(), 1.0)


def fail_half_way(record):
    with record._store.write() as db:
        db.execute(text("INSERT INTO models VALUES ('reviews', 1.0)"))
        raise ZeroDivisionError


def test_many_threads_write_and_read_at_once(record, new_run):
    record.runs.create(new_run(), 1.0)
    lease = record.runs.lease("r1")
    failed = []

    def work(n: int) -> None:
        try:
            for _ in range(10):
                record.runs.append(lease, [RunStarted()], 2.0)
                record.runs.series("r1", "fetch", [{"n": n}])
                assert record.runs.get("r1")["last_seq"] > 0
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [item.seq for item in record.runs.events("r1")] == list(range(1, 61))
    assert len(record.runs.points("r1", "fetch")) == 60
