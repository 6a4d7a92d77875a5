"""Any earlier record becomes today's; a later one is refused."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tuneline.errors import ConflictError
from tuneline.record import schema
from tuneline.record.migrations import MIGRATIONS
from tuneline.record.record import Record

OLDEST = Path(__file__).parent / "oldest.sql"
"""A record as the first migration left it, with one run in it. Never changed."""


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


def test_migrations_make_the_schema_that_the_code_uses(record, tmp_path):
    fresh = Record(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.runs._store.write() as db:
        schema.tables.create_all(db)
    assert shape(record.runs._store) == shape(fresh.runs._store)
    fresh.close()


def test_migrating_twice_does_nothing_the_second_time(record):
    assert record.migrate() == []


def test_the_oldest_record_becomes_todays_and_keeps_what_it_had(database_url, record):
    old = Record(database_url.replace("tuneline.db", "old.db"))
    with old.runs._store.write() as db:
        for statement in OLDEST.read_text(encoding="utf-8").split(";\n\n"):
            if statement.strip():
                db.execute(text(statement.replace(":", "\\:")))
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
