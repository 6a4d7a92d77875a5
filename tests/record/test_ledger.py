"""The ledger finds what was done to it, and refuses to be changed."""

import pytest
from sqlalchemy import text

from tuneline.errors import InternalError, UserError
from tuneline.record import ledger
from tuneline.record.ledger import START, Entry, faults


@pytest.fixture
def written(record):
    """Six entries."""
    for n in range(6):
        with record.ledger._store.write() as db:
            ledger.write(db, 100.0 + n / 3, "live", {"release": f"reviews@1.{n}.0"})
    return record


def break_it(record, *statements):
    """What somebody with the file and enough will can do."""
    with record.ledger._store.write() as db:
        if db.dialect.name == "sqlite":
            db.execute(text("DROP TRIGGER ledger_no_update"))
            db.execute(text("DROP TRIGGER ledger_no_delete"))
        else:  # no trigger fires; only a superuser may
            db.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            db.execute(text(statement))


def found(record):
    return [(fault.seq, fault.kind) for fault in record.ledger.verify()]


def test_an_untouched_ledger_is_whole_and_chained(written):
    entries = written.ledger.entries()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[0].prev == START
    assert all(after.prev == before.hash for before, after in zip(entries, entries[1:], strict=False))
    assert written.ledger.head() == (6, entries[-1].hash)
    assert found(written) == []


def test_an_empty_ledger_is_whole(record):
    assert (record.ledger.head(), found(record)) == ((0, START), [])


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger SET body = '{}' WHERE seq = 2", "DELETE FROM ledger WHERE seq = 2"]
)
def test_the_database_itself_refuses_to_change_an_entry(written, statement):
    with pytest.raises(InternalError, match="append-only"), written.ledger._store.write() as db:
        db.execute(text(statement))
    assert found(written) == []


@pytest.mark.parametrize(
    "column, value", [("body", "'{}'"), ("kind", "'retired'"), ("at", "1.0"), ("prev", "'x'")]
)
def test_a_changed_entry_is_found_whatever_was_changed(written, column, value):
    break_it(written, f"UPDATE ledger SET {column} = {value} WHERE seq = 3")
    assert found(written)[0] == (3, "tampered")


def test_an_entry_changed_together_with_its_hash_is_found_at_the_next_one(written):
    entry = written.ledger.entries()[2]
    forged = ledger.entry_hash(3, entry.at, "live", "{}", entry.prev)
    break_it(written, f"UPDATE ledger SET body = '{{}}', hash = '{forged}' WHERE seq = 3")
    assert found(written) == [(4, "tampered")]


def test_the_last_entry_changed_together_with_its_hash_is_found_by_the_head(written):
    entry = written.ledger.entries()[5]
    forged = ledger.entry_hash(6, entry.at, "live", "{}", entry.prev)
    break_it(written, f"UPDATE ledger SET body = '{{}}', hash = '{forged}' WHERE seq = 6")
    assert found(written) == [(6, "tampered")]


@pytest.mark.parametrize(
    "gone, first", [("seq = 1", 1), ("seq = 3", 3), ("seq IN (2, 3, 4)", 2), ("seq >= 5", 5), ("1 = 1", 1)]
)
def test_deleted_entries_are_named(written, gone, first):
    break_it(written, f"DELETE FROM ledger WHERE {gone}")
    assert found(written) == [(first, "deleted")]


def test_a_range_of_deleted_entries_is_said_in_one_sentence(written):
    break_it(written, "DELETE FROM ledger WHERE seq IN (2, 3, 4)")
    assert written.ledger.verify()[0].message == "Entries 2 to 4 are missing."


def test_entries_that_changed_places_are_named(written):
    break_it(
        written,
        "UPDATE ledger SET seq = -1 WHERE seq = 3",
        "UPDATE ledger SET seq = 3 WHERE seq = 4",
        "UPDATE ledger SET seq = 4 WHERE seq = -1",
    )
    assert found(written) == [(3, "reordered"), (4, "reordered")]


def test_every_single_deletion_and_swap_is_found(written):
    entries = written.ledger.entries()
    head = written.ledger.head()
    for n in range(6):
        assert faults(entries[:n] + entries[n + 1 :], head)
        for m in range(n):
            swapped = list(entries)
            swapped[n] = Entry(**{**vars(entries[m]), "seq": entries[n].seq})
            swapped[m] = Entry(**{**vars(entries[n]), "seq": entries[m].seq})
            kinds = {(fault.seq, fault.kind) for fault in faults(swapped, head)}
            assert {(entries[n].seq, "reordered"), (entries[m].seq, "reordered")} <= kinds


@pytest.fixture
def released(record, proposal):
    """Two releases; the ledger has six entries, and their rows the heads 3 and 6."""
    record.releases.propose(proposal("a"), 10.0)
    record.releases.propose(proposal("b"), 20.0)
    return record


def cut(record, last):
    """Cut the tail after entry `last`, and the head with it: what is left is a chain that is whole."""
    kept = record.ledger.entries()[last - 1]
    head = f"UPDATE ledger_head SET seq = {last}, hash = '{kept.hash}'"
    break_it(record, f"DELETE FROM ledger WHERE seq > {last}", head)


@pytest.mark.parametrize(
    "last, missing", [(5, "Entry 6 is"), (3, "Entries 4 to 6 are"), (1, "Entries 2 to 6")]
)
def test_a_tail_that_was_cut_together_with_the_head_is_found_by_the_releases(released, last, missing):
    cut(released, last)
    (fault,) = released.ledger.verify()
    assert (fault.seq, fault.kind) == (last + 1, "deleted")
    assert fault.message.startswith(missing)
    assert "The ledger reached 6 when reviews@1.0.1 was made." in fault.message


def test_a_tail_that_was_cut_and_written_anew_is_found_by_the_releases(released):
    cut(released, 4)
    for n in range(4):
        with released.ledger._store.write() as db:
            ledger.write(db, 30.0 + n, "live", {"release": "reviews@1.0.0"})
    (fault,) = released.ledger.verify()
    assert (fault.seq, fault.kind) == (6, "replaced")
    assert "the head when reviews@1.0.1 was made" in fault.message


def test_a_head_that_was_kept_elsewhere_finds_what_the_record_itself_cannot(released):
    seq, digest = released.ledger.head()
    with released.ledger._store.write() as db:
        ledger.write(db, 30.0, "live", {"release": "reviews@1.0.1"})
    later = "{}:{}".format(*released.ledger.head())
    assert released.ledger.verify(later) == released.ledger.verify(f"{seq}:{digest}") == []
    cut(released, 6)
    assert released.ledger.verify() == [], "no release was made since"
    (fault,) = released.ledger.verify(later)
    assert (fault.seq, fault.kind) == (7, "deleted")
    (wrong,) = released.ledger.verify(f"6:sha256:{'0' * 64}")
    assert (wrong.seq, wrong.kind) == (6, "replaced")


@pytest.mark.parametrize("text", ["6", "x:sha256:" + "0" * 64, "6:abc", "6:sha256:" + "g" * 64, ":"])
def test_what_is_no_head_is_refused(released, text):
    with pytest.raises(UserError, match="is no head of a ledger"):
        released.ledger.verify(text)


def test_a_head_that_somebody_changed_in_a_release_is_a_fault(released):
    break_it(released, "UPDATE releases SET ledger_head = 'nonsense' WHERE version = '1.0.1'")
    assert found(released) == [(1, "replaced")]


def test_every_cut_and_every_kind_of_damage_to_a_chain_with_kept_heads_is_found(released):
    entries, (seq, digest) = released.ledger.entries(), released.ledger.head()
    kept = [ledger.Kept(entry.seq, entry.hash, "somebody looked") for entry in entries]
    assert faults(entries, (seq, digest), kept) == []
    for last in range(len(entries)):
        head = (entries[last - 1].seq, entries[last - 1].hash) if last else (0, START)
        assert [fault.kind for fault in faults(entries[:last], head, kept)] == ["deleted"]
