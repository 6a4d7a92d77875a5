"""What the database refuses becomes one clear error of ours."""

import sys
import threading

import pytest
from sqlalchemy import insert, text

from tuneline.errors import MissingPartError, SettingError, TransientError
from tuneline.plan.events import RunStarted
from tuneline.record import postgres, sqlite
from tuneline.record.record import Record
from tuneline.record.schema import models


def test_a_writer_waits_for_another_one_and_gives_up_with_a_hint(database_url, record, new_run, monkeypatch):
    for kind in (sqlite, postgres):
        monkeypatch.setattr(kind, "BUSY_S", 0.05)
    other = Record(database_url)
    with record._store.write(), pytest.raises(TransientError, match="busy for more than"):
        other.runs.create(new_run(), 1.0)
    other.runs.create(new_run(), 1.0)
    other.close()


def test_readers_do_not_wait_for_a_writer_and_see_one_moment(record, new_run):
    record.runs.create(new_run("r1"), 1.0)
    with record._store.read() as db:
        assert db.scalar(text("SELECT count(*) FROM runs")) == 1
        record.runs.create(new_run("r2", project="other"), 2.0)
        assert db.scalar(text("SELECT count(*) FROM runs")) == 1
    assert len(record.runs.newest(10)) == 2


@pytest.mark.parametrize(
    "url", ["mysql://u:hidden@h/d", "nothing at all hidden", "postgresql://h:port-hidden/d"]
)
def test_a_url_that_names_no_record_is_refused_without_showing_it(url):
    with pytest.raises(SettingError) as wrong:
        Record(url)
    assert "postgresql://user@host:5432/database" in wrong.value.hint
    assert "hidden" not in wrong.value.message


def test_without_the_driver_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPartError, match="needs the driver psycopg") as wrong:
        Record("postgresql://ann:hidden@h/d")
    assert "tuneline[postgres]" in wrong.value.hint
    assert "hidden" not in str(wrong.value.to_json())


def test_a_failed_transaction_leaves_nothing_and_lets_the_next_one_in(record, new_run):
    with pytest.raises(ZeroDivisionError):
        fail_half_way(record)
    assert record.releases.models() == []
    record.runs.create(new_run(), 1.0)


def fail_half_way(record):
    with record._store.write() as db:
        db.execute(insert(models).values(name="reviews", created_at=1.0))
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
