"""kill -9 of the server while it sends notices: none is lost, and a kill repeats at most one a target."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.control.services import webhook

from tuneline.record import notices
from tuneline.record.record import Record
from tuneline.record.runs import NewRun

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("notices_program.py")
MANY, KILLS = 6, 3


def test_a_server_killed_while_it_sends_loses_nothing_and_repeats_at_most_one_notice_a_kill(tmp_path):
    """Real processes, a real record, 3 kills, 4 s: only a killed process can lose or repeat."""
    record = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    record.migrate()
    text, ir = "notify: ${HOOK}\n", {"root": {"dag": {"tasks": {}}}}
    record.runs.create(NewRun("r1", "r1", "m", ir, {}, project_text=text), 1.0)
    now = time.time()
    for n in range(MANY):
        with record._store.write() as db:
            notices.put(db, now, "rolled_out", f"{n}", {"endpoint": "e", "release": f"m@1.0.{n}"})
    with webhook() as hook:
        env = {**os.environ, "HOOK": f"{hook.url}/a"}
        for turn in range(KILLS + 1):
            before = len(hook.seen)
            command = [sys.executable, str(PROGRAM), str(tmp_path), str(turn * 600)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as server:
                assert server.stdout.readline() == b"up\n"
                if turn < KILLS:  # in the middle: at a request, between its sending and its record
                    while len(hook.seen) == before:
                        time.sleep(0.001)
                else:
                    while any(row["state"] != "delivered" for row in deliveries(record)):
                        time.sleep(0.02)
                server.kill()
    titles = hook.titles()
    assert list(dict.fromkeys(titles)) == [f"m@1.0.{n} is live at e" for n in range(MANY)]
    assert len(titles) <= MANY + KILLS
    record.close()


def deliveries(record):
    found = record.notices.deliveries([row["n"] for row in record.notices.newest()])
    return found or [{"state": "none yet"}]
