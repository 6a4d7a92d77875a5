"""What only a server can do to a record: end, refuse, be full, be somebody else's. A real one each time."""

import threading

import pytest
from sqlalchemy import text

from tuneline.errors import ResourceError, SettingError, TransientError
from tuneline.plan.events import RunStarted
from tuneline.record.record import Record

pytestmark = pytest.mark.slow


@pytest.fixture
def database_url(postgres):
    """Only a server's."""
    with postgres.migrated() as url:
        yield url


def start(record, new_run):
    record.runs.create(new_run(), 1.0)
    return record.runs.lease("r1")


def test_a_server_that_was_restarted_costs_nobody_an_error(record, new_run, postgres):
    lease = start(record, new_run)
    postgres.server.stop("fast")
    with pytest.raises(TransientError, match="does not answer") as wrong:
        record.runs.append(lease, [RunStarted()], 2.0)
    assert "runs and can be reached" in wrong.value.hint
    postgres.server.start()
    record.runs.append(lease, [RunStarted()], 2.0)
    assert record.runs.get("r1")["state"] == "RUNNING"


def test_a_server_that_crashes_in_the_middle_leaves_nothing_half_written(record, new_run, postgres):
    start(record, new_run)

    def write_through_a_crash():
        with record._store.write() as db:
            db.execute(text("UPDATE runs SET state = 'HALF'"))
            postgres.server.stop("immediate")
            postgres.server.start()
            db.execute(text("UPDATE runs SET state = 'MORE'"))

    with pytest.raises(TransientError, match="does not answer"):
        write_through_a_crash()
    assert record.runs.get("r1")["state"] == "PENDING"


def test_two_writers_take_turns_so_no_number_is_given_twice(database_url, record, new_run):
    """Two pools, as two processes have: the lock is the database's, not Python's."""
    other, failed = Record(database_url), []

    def work(mine, name):
        try:
            for n in range(15):
                mine.runs.create(new_run(f"{name}{n}", project=f"{name}{n}"), 1.0)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=each) for each in ((record, "a"), (other, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert failed == []
    assert [row["ordinal"] for row in record.runs.newest(100)] == list(range(30, 0, -1))


@pytest.mark.parametrize(
    "code, kind, words",
    [
        ("53100", ResourceError, "could not be written"),
        ("53200", ResourceError, "could not be used"),
        ("53300", TransientError, "takes no more connections"),
        ("40P01", TransientError, "could not do both at once"),
        ("40001", TransientError, "could not do both at once"),
        ("57014", TransientError, "busy for more than"),
        ("57P01", TransientError, "does not answer"),
        ("25006", ResourceError, "cannot be written"),
        ("42501", SettingError, "refuses this user"),
    ],
)
def test_what_the_server_reports_becomes_one_clear_error_of_ours(record, code, kind, words):
    """The server itself raises it, with the code it has for a full disk, a deadlock, a standby ..."""
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(kind, match=words) as wrong, record._store.write() as db:
        db.execute(text(raising))
    assert "said so" in wrong.value.message
    assert wrong.value.hint


def test_reading_never_writes(record):
    with pytest.raises(ResourceError, match="read-only"), record._store.read() as db:
        db.execute(text("DELETE FROM runs"))


def test_an_error_tells_no_values_of_a_row(record, new_run):
    start(record, new_run)
    with pytest.raises(Exception, match="refused: IntegrityError: duplicate key") as wrong:
        record.runs.create(new_run(project="other s3cret"), 1.0)
    assert "s3cret" not in f"{wrong.value} {wrong.value.__cause__}"
    assert "(r1)" not in str(wrong.value)


@pytest.mark.parametrize(
    "change, kind, words",
    [
        ({"dbname": "nowhere"}, SettingError, "nowhere"),
        ({"user": "nobody-here"}, SettingError, "refuses the connection"),
        ({"host": "/tmp/no-such-folder"}, TransientError, "does not answer"),
        ({"host": "127.0.0.1", "port": "1"}, TransientError, "does not answer"),
        ({"sslmode": "upside-down"}, SettingError, "cannot be found"),
    ],
)
def test_a_database_that_cannot_be_opened_says_why_and_no_password(postgres, change, kind, words):
    given = {"user": "tuneline", "host": str(postgres.server.folder), "dbname": "postgres", **change}
    query = "&".join(f"{key}={value}" for key, value in given.items() if key in ("host", "port", "sslmode"))
    url = f"postgresql://{given['user']}:s3cret@/{given['dbname']}?{query}&passfile=/s3cret"
    record = Record(url)
    with pytest.raises(kind, match=words) as wrong:
        record.migrate()
    assert "s3cret" not in str(wrong.value.to_json())
    assert "s3cret" not in record.place
    record.close()


def test_the_password_is_shown_by_nothing(postgres):
    record = Record("postgresql://ann:s3cret@db.example:5433/line?sslpassword=s3cret&options=s3cret")
    assert record.place == "postgresql://ann@db.example:5433/line"
    assert "s3cret" not in repr(vars(record)) + repr(record._store.engine)
    record.close()


def test_the_ledger_refuses_to_be_emptied(record):
    with pytest.raises(Exception, match="append-only"), record._store.write() as db:
        db.execute(text("TRUNCATE ledger"))


def test_records_in_two_schemas_of_a_database_do_not_meet(postgres, new_run):
    one, two = (Record(postgres.empty()) for _ in range(2))
    for record in (one, two):
        record.migrate()
        assert record.claim()
    with one._store.write():
        two.runs.create(new_run(), 1.0)
    assert (one.runs.newest(1), len(two.runs.newest(1))) == ([], 1)
    one.close()
    two.close()


def test_only_one_server_has_a_record_and_its_end_gives_it_back(database_url, record):
    other = Record(database_url)
    assert record.claim()
    assert record.claim()
    assert (other.claim(), other.claimed(), record.claimed()) == (False, False, True)
    record.close()
    assert other.claim()
    assert not record.claim()
    other.close()


def test_a_claim_that_ended_with_the_databases_server_is_made_anew_by_the_first_to_come(
    database_url, record, postgres
):
    other = Record(database_url)
    assert record.claim()
    postgres.server.stop("immediate")
    with pytest.raises(TransientError, match="does not answer"):
        record.claimed()
    postgres.server.start()
    assert record.claimed()
    assert not other.claim()
    postgres.server.stop("fast")
    postgres.server.start()
    assert other.claim()
    assert not record.claimed()
    other.close()


def test_claims_do_not_use_up_the_pools_connections(database_url, record):
    other = Record(database_url)
    assert record.claim()
    for _ in range(60):
        assert not other.claim()
    assert other.runs.newest(1) == []
    other.close()
