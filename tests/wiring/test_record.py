"""A record on PostgreSQL has one server, whatever the home: real sessions of a real database."""

import logging
import os
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tuneline.errors import ConflictError
from tuneline.record.record import Record
from tuneline.settings import Settings
from tuneline.wiring.record import open_record, watch


@pytest.fixture
def homes(tmp_path, postgres):
    """Two homes on one database; its URL holds a password, which this database does not ask for."""
    with postgres.migrated() as url:
        url = url.replace("//tuneline@", "//tuneline:s3cret@")
        one = Settings(home=tmp_path / "one", database_url=url)
        yield one, replace(one, home=tmp_path / "two")


def test_a_second_server_of_a_database_is_refused_and_the_first_is_named(homes):
    with ExitStack() as first, ExitStack() as second:
        open_record(homes[0], True, 1.0, first)
        with pytest.raises(ConflictError) as wrong:
            open_record(homes[1], True, 2.0, second)
    said = wrong.value.message
    assert said.startswith("The record postgresql://tuneline@/postgres")
    assert said.endswith(f"already has a server: process {os.getpid()} on {socket.gethostname()}.")
    assert "TUNELINE_DATABASE_URL" in wrong.value.hint
    assert "s3cret" not in str(wrong.value.to_json())


def test_a_server_whose_home_is_taken_touches_nothing_and_names_the_holder(homes):
    with ExitStack() as first, ExitStack() as second:
        open_record(homes[0], True, 1.0, first)
        with pytest.raises(ConflictError, match=f"home .*one already has a server: process {os.getpid()}"):
            open_record(homes[0], False, 2.0, second)


def test_the_next_server_says_from_where_the_record_was_served_last(homes, caplog):
    with ExitStack() as first:
        open_record(homes[0], True, 1.0, first)
        first.pop_all().close()  # a killed one: it lets go of nothing but its connections
    with ExitStack() as first:
        left = open_record(homes[0], True, 1.0, first)
        left.close()
        with ExitStack() as second, caplog.at_level(logging.WARNING):
            record = open_record(homes[1], True, 2.0, second)
            assert record.holders.holder(f"home {homes[0].home}") is None
    assert f"last served from home {homes[0].home} on {socket.gethostname()}" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.slow
def test_a_server_that_lost_its_record_to_another_one_stops(homes, postgres, caplog):
    stopped = threading.Event()
    with ExitStack() as first, caplog.at_level(logging.INFO):
        record = open_record(homes[0], True, 1.0, first)
        other = Record(homes[1].database_url)
        first.callback(other.close)
        postgres.server.stop("immediate")
        watch(record, stopped.set, first, every_s=0.05)
        while "Runs wait for it" not in caplog.text:
            assert not stopped.wait(0.02)
        record.claimed = other.claim  # the other one is faster
        postgres.server.start()
        while "answers again" not in caplog.text:
            assert not stopped.wait(0.02)
        record.claimed = lambda: Record.claimed(record)
        assert stopped.wait(5)
    assert "Another server has the record postgresql://tuneline@/postgres" in caplog.text
    assert "s3cret" not in caplog.text
