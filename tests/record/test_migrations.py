"""Any earlier record becomes today's; a later one is refused."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from tuneline.errors import ConflictError
from tuneline.record import schema
from tuneline.record.migrations import MIGRATIONS
from tuneline.record.record import Record
from tuneline.record.schema_v1 import LEDGER_TRIGGERS_POSTGRESQL, LEDGER_TRIGGERS_SQLITE

OLDEST = Path(__file__).parent / "oldest.sql"
"""A record as the first migration left it, with one run in it. Never changed."""

TRIGGERS = {"sqlite": LEDGER_TRIGGERS_SQLITE, "postgresql": LEDGER_TRIGGERS_POSTGRESQL}


def shape(store):
    """Tables, columns with kind and nullability, keys and indexes of a database."""
    with store.read() as db:
        seen = inspect(db)
        return {
            table: (
                [(c["name"], str(c["type"]).split()[0], c["nullable"]) for c in seen.get_columns(table)],
                seen.get_pk_constraint(table)["constrained_columns"],
                sorted(
                    (i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in seen.get_indexes(table)
                ),
                sorted(tuple(key["constrained_columns"]) for key in seen.get_foreign_keys(table)),
            )
            for table in seen.get_table_names()
        }


def build(db, statements):
    """Run them all, each after what it refers to: the dump has them by name, which only SQLite takes."""
    while statements:
        waiting = []
        for statement in statements:
            try:
                with db.begin_nested():
                    db.execute(text(statement))
            except DBAPIError:
                waiting.append(statement)
        assert len(waiting) < len(statements), waiting
        statements = waiting


def test_migrations_make_the_schema_that_the_code_uses(record, new_database):
    fresh = Record(new_database("fresh"))
    with fresh.runs._store.write() as db:
        schema.tables.create_all(db)
    assert shape(record.runs._store) == shape(fresh.runs._store)
    fresh.close()


def test_migrating_twice_does_nothing_the_second_time(record):
    assert record.migrate() == []


def test_the_oldest_record_becomes_todays_and_keeps_what_it_had(record, new_database):
    old = Record(new_database("old"))
    with old.runs._store.write() as db:
        dump = OLDEST.read_text(encoding="utf-8").split(";\n\n")
        build(db, [part.replace(":", "\\:") for part in dump if part.strip() and "SELECT RAISE" not in part])
        build(db, list(TRIGGERS[db.dialect.name]))
    assert old.migrate() == [migration.__name__ for migration in MIGRATIONS[1:]]
    assert shape(old.runs._store) == shape(record.runs._store)
    assert old.runs.get("r1")["project"] == "reviews"
    assert [item.event.kind for item in old.runs.events("r1")] == ["run_started"]
    old.close()


def test_a_record_of_a_newer_program_is_refused_and_left_alone(record):
    with record.runs._store.write() as db:
        db.execute(schema.migrations.insert().values(name="m999_later", applied_at=1.0))
    with pytest.raises(ConflictError, match="newer tuneline: it has m999_later") as wrong:
        record.migrate()
    assert "Upgrade tuneline" in wrong.value.hint
