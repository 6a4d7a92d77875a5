"""A writer killed at any moment leaves a record that is whole: real processes, real `kill -9`."""

import random
import signal
import subprocess
import sys
import time

import pytest

from tuneline.plan.events import from_json, to_json
from tuneline.record.record import Record

WRITER = """
import itertools, sys
from tuneline.plan import events as e
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.record import ledger
record = Record(sys.argv[1]); record.migrate()
ir, both = {}, (e.Child("a", "task", "a"), e.Child("b", "task", "b"))
start = len(record.runs.newest(10_000))
for n in itertools.count(start):
    id = f"r{n}"
    record.runs.create(NewRun(id, id, id, ir, {}, tasks=both), float(n))
    lease = record.runs.lease(id)
    print(id, flush=True)
    record.runs.append(lease, [e.RunStarted(), e.AttemptStarted("a", 1, 1, 1.0, "/a")], 1.0)
    done = e.TaskSucceeded("a", 1, e.Outputs({"n": n}))
    record.runs.append(lease, [done, e.AttemptStarted("b", 1, 1, 1.0, "/b")], 2.0)
    with record._store.write(durable=True) as db:
        ledger.write(db, 3.0, "live", {"n": n})
    record.runs.append(lease, [e.AttemptFailed("b", 1, 1, {"code": "x"}), e.RunEnded("FAILED")], 4.0)
"""


@pytest.mark.slow
def test_a_record_whose_writer_is_killed_at_any_moment_stays_whole(database_url: str) -> None:
    """Five kills, about a second each for the children's start."""
    chance = random.Random(7)
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, database_url]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            said = child.stdout.readline().strip()
            time.sleep(chance.uniform(0.0, 0.05))
        finally:
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split() if child.stdout else []
            child.wait()
            child.stdout.close()
        record = Record(database_url)
        assert record.migrate() == []
        check(record, [said, *rest])
        record.close()


def check(record: Record, announced: list[str]) -> None:
    """Every announced run is there, its views are what its events say, and the ledger is whole."""
    assert announced[0]
    assert record.ledger.verify() == []
    for id in announced:
        row = record.runs.get(id)
        stored = list(record.runs.events(id))
        assert [item.seq for item in stored] == list(range(1, row["last_seq"] + 1))
        assert all(from_json(to_json(item.event)) == item.event for item in stored)
        kinds = [item.event.kind for item in stored]
        states = {task["name"]: task["state"] for task in record.runs.tasks(id)}
        assert row["state"] == ("FAILED" if "run_ended" in kinds else "RUNNING" if kinds else "PENDING")
        assert (states["a"] == "SUCCEEDED") == ("task_succeeded" in kinds)
        assert (states["b"] == "FAILED") == ("attempt_failed" in kinds)
