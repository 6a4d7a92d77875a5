"""A server killed before each single commit of a tick, one after another, and what the next one does.

python recurring_sweep.py FOLDER

FOLDER has a record `tuneline.db` with one recurring run `s`, one tick of which is due. A line of JSON for
each commit (nothing else changes the record): what is on record after the kill, and after the next server,
each `{"runs": [[scheduled, state], ...], "mark"}`.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sqlalchemy import event
from tests.control.instant import Instant

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.recurring import RecurringLoop
from tuneline.record.record import Record

NOW = 1_800_000_065.0


def serve(home: Path, killed_at: int) -> None:
    """What a server does at its start and at a tick; killed before commit `killed_at` (0: never)."""
    record = Record(f"sqlite:///{home / 'tuneline.db'}")
    if killed_at:
        left = iter(range(killed_at, 0, -1))

        def strike(*_: object) -> None:
            if next(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(record.runs._store.engine, "commit", strike)
    server = Server("127.0.0.1", 0, 1, home, "0.0.0", NOW, "ann")
    platform = Platform(record, Instant(record, lambda: NOW), server, lambda all: None, lambda: NOW)
    platform.adopt()
    loop = RecurringLoop(record.recurring, platform.recurring, lambda: NOW)
    while loop.look_once() == 0.0:
        pass


def in_a_child(home: Path, killed_at: int) -> bool:
    """Whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            serve(home, killed_at)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


def seen(home: Path) -> dict:
    with sqlite3.connect(home / "tuneline.db") as db:
        runs = db.execute("SELECT scheduled_at, state FROM runs ORDER BY created_at").fetchall()
        return {"runs": runs, "mark": db.execute("SELECT mark FROM recurring_runs").fetchone()[0]}


for number in count(1):
    home = Path(sys.argv[1]) / str(number)
    home.mkdir()
    shutil.copy(home.parent / "tuneline.db", home)
    ended = in_a_child(home, number)
    killed = seen(home)
    assert in_a_child(home, 0)
    sys.stdout.write(json.dumps({"ended": ended, "killed": killed, "after": seen(home)}) + "\n")
    shutil.rmtree(home)
    if ended:
        break
