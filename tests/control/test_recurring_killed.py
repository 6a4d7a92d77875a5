"""kill -9 of the server between and at ticks: every tick runs once, whatever it was doing."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneline.record.record import Record
from tuneline.record.recurring import NewRecurring

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("recurring_program.py")
SWEEP = Path(__file__).with_name("recurring_sweep.py")
SPEC = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "tick"},
    "components": {"comp-a": {"executorLabel": "exec-a"}},
    "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "host", "command": ["true"]}}}},
    "root": {"dag": {"tasks": {"a": {"componentRef": {"name": "comp-a"}, "taskInfo": {"name": "a"}}}}},
}
SPEED = 40
"""Ticks a second, as there is one a second of the server's time."""


@pytest.fixture
def record(tmp_path):
    record = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    record.migrate()
    yield record
    record.close()


def test_a_server_killed_at_any_moment_runs_every_tick_once(record, tmp_path):
    """Real processes, a real record, 4 kills: a lost or doubled tick is the fault that no double can show."""
    chance, since = random.Random(3), float(int(time.time()))
    new = NewRecurring("s", "s", {"cron": "* * * * * *"}, int(since), spec=SPEC, max_concurrency=10)
    record.recurring.create(new, since)
    for _ in range(4):
        command = [sys.executable, str(PROGRAM), str(tmp_path), str(since), str(SPEED)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout.readline() == b"up\n"
            time.sleep(0.2 + chance.random() * 0.3)
            server.kill()
    row = record.recurring.get("s")
    with record.runs._store.read() as db:
        made = db.exec_driver_sql("SELECT scheduled_at FROM runs WHERE recurring_run = 's'").scalars().all()
    assert sorted(made) == [since + number for number in range(1, row["made"] + 1)]
    assert row["mark"] == max(made)
    assert len(made) > 20


def test_a_server_killed_before_any_commit_of_a_tick_neither_loses_nor_doubles_it(record, tmp_path):
    """A real record and a process for each commit: a kill must find a moment that lasts microseconds."""
    start, tick = 1_800_000_000, 1_800_000_060
    record.recurring.create(NewRecurring("s", "s", {"every_s": 60}, start, spec=SPEC), float(start))
    record.close()
    swept = subprocess.run([sys.executable, str(SWEEP), str(tmp_path)], stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in swept.stdout.splitlines()]
    assert len(lines) > 3
    assert lines[-1]["ended"]
    assert {len(line["killed"]["runs"]) for line in lines} == {0, 1}
    for line in lines:
        killed = line["killed"]
        assert killed["mark"] == (tick if killed["runs"] else start), line
        assert line["after"] == {"runs": [[float(tick), "SUCCEEDED"]], "mark": tick}, line
