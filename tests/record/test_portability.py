"""Every table holds the same on SQLite and on PostgreSQL, whatever users' code puts into it.

A table or column that is added to `schema.py` is in these tests by itself.
"""

import pytest
from sqlalchemy import BigInteger, Double, Integer, insert, inspect, select, text

from tuneline.errors import InternalError
from tuneline.record import migrations
from tuneline.record.record import Record
from tuneline.record.schema import JsonText, Text, tables

INFINITE = float("inf")
NASTY = {
    "infinite": [INFINITE, -INFINITE, 1e-308],
    "nul": "a\0b",
    "half": "\ud83d",
    "whole": "Zürich \U0001f600",
    "key\0": 2**53 + 1,
    "none": None,
    "flags": [True, False],
}
KINDS = {
    Text: "Zürich 'n' %s \U0001f600\n\\",
    JsonText: NASTY,
    Double: 1_800_000_000.123_456_7,
    BigInteger: 2**53 + 1,
    Integer: 1,
}
"""Kind of a column -> what goes into it here. A column of another kind is not portable."""


def kind(column):
    return next((kind for kind in KINDS if type(column.type) is kind or isinstance(column.type, kind)), None)


def hostile_row(table, made):
    """One row; what refers to another table takes that table's values."""
    return {
        column.name: made[next(iter(column.foreign_keys)).column]
        if column.foreign_keys
        else KINDS[kind(column)]
        for column in table.columns
    }


def test_every_column_is_of_a_kind_that_both_have():
    wrong = [
        str(column) for table in tables.sorted_tables for column in table.columns if kind(column) is None
    ]
    assert wrong == []


def test_every_column_of_every_table_gives_back_what_was_put_in(record):
    made = {}
    for table in tables.sorted_tables:
        row = hostile_row(table, made)
        with record._store.write() as db:
            db.execute(insert(table).values(row))
        made |= {column: row[column.name] for column in table.columns}
        keys = [column == row[column.name] for column in table.primary_key]
        with record._store.read() as db:
            found = db.execute(select(table).where(*keys)).mappings().one()
        assert dict(found) == row, table.name


def test_every_column_that_may_be_null_gives_back_none(record):
    made = {}
    for table in tables.sorted_tables:
        row = hostile_row(table, made)
        for column in table.columns:
            if column.nullable and not column.foreign_keys:
                row[column.name] = None
        with record._store.write() as db:
            db.execute(insert(table).values(row))
            keys = [column == row[column.name] for column in table.primary_key]
            assert dict(db.execute(select(table).where(*keys)).mappings().one()) == row, table.name
        made |= {column: row[column.name] for column in table.columns}


@pytest.mark.parametrize(
    "given, kept", [("a\0b", "a\u2400b"), ("a\ud83d", "a\ufffd"), ("\U0001f600", "\U0001f600")]
)
def test_a_text_that_a_database_cannot_hold_is_kept_readable_and_found_again(record, new_run, given, kept):
    record.runs.create(new_run("r1", project=given), 1.0)
    assert [row["project"] for row in record.runs.newest(1, given)] == [kept]


def test_texts_are_in_the_order_of_their_bytes_whatever_the_databases_language(record, proposal):
    names = ["Zebra", "a", "b-a", "b_a", "ba", "é", "B"]
    for name in names:
        record.releases.propose(proposal(model=name, deploy={"endpoint": name}), 1.0)
    assert record.releases.models() == sorted(names, key=str.encode)


def test_a_table_that_is_not_in_the_schema_is_not_there_either(record):
    with record._store.read() as db:
        assert set(inspect(db).get_table_names()) == set(tables.tables)


def test_a_migration_that_breaks_leaves_nothing_of_any(new_database, monkeypatch, database_url):
    def m998_breaks(db):
        db.execute(text("CREATE TABLE half (x TEXT)"))
        db.execute(text("INSERT INTO nowhere VALUES (1)"))

    made = Record(new_database("half"))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m998_breaks))
    with pytest.raises(InternalError, match="nowhere"):
        made.migrate()
    with made._store.read() as db:
        assert inspect(db).get_table_names() == []
    made.close()
