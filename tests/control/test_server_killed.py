"""kill -9 of the server at random moments of a switch: what is wanted goes live once, no request fails."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tuneline.control.endpoints import Controller
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.types import digest_json

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("server_program.py")


@pytest.fixture
def record(tmp_path):
    record = Record(f"sqlite:///{tmp_path / 'record.db'}")
    record.migrate()
    yield record
    record.close()


def propose(record, number):
    """The release that is now wanted at endpoint `e`."""
    live = record.endpoints.live("e")
    proposal = Proposal(
        model="m", package_uri="/", package_digest=digest_json(number), base_uri="/",
        base_digest=digest_json(""),
        manifest={"model": "m", "base": {}, "rows_digest": number}, verdict={"passed": True, "rules": []},
        proof={"passed": True}, report={}, deploy={"endpoint": "e", "port": 0, "keep_s": 0},
        live_digest=live.digest if live else "", approved=True, why="asked for", run="",
        project_digest="", by="ann",
    )  # fmt: skip
    return record.releases.propose(proposal, time.time()).release


def test_a_server_killed_at_any_moment_of_a_switch_loses_nothing(world, record, tmp_path):
    """Real record, six kills: runtimes are neither lost nor doubled, and the history has no hole."""
    chance = random.Random(7)
    world.store = record.endpoints
    world.controller = controller = Controller(
        record.endpoints, world.folder, drain_s=5.0, launching=world.launching
    )
    releases = [propose(record, 0)]
    controller.start()
    world.until_live(releases[0])
    controller.stop()
    failed, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            status, body = world.ask("/stream?n=3&ms=5")
            if status != 200 or body.count(b"data:") != 3:
                failed.append((status, body))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in range(1, 7):
            releases.append(propose(record, number))
            url = f"sqlite:///{tmp_path / 'record.db'}"
            server = subprocess.Popen([sys.executable, str(PROGRAM), url, str(world.folder)])
            time.sleep(0.4 + chance.random())  # its imports alone take the 0.4 s
            server.kill()
            server.wait()
            world.controller = Controller(
                record.endpoints, world.folder, drain_s=5.0, launching=world.launching
            )
            world.controller.start()
            world.until_live(releases[-1])
            world.until(lambda: len(world.seen()["revisions"]) == 1)
            world.controller.stop()
            runtimes = [each for each in world.processes() if "runtime_program" in " ".join(each.cmdline())]
            assert [each.pid for each in runtimes] == [world.seen()["revisions"][0]["pid"]]
    finally:
        stop.set()
        thread.join()
    assert not failed
    history = record.endpoints.history("e")
    assert [f"m@{row['version']}" for row in history] == releases
    assert all(row["to_at"] == after["from_at"] for row, after in zip(history, history[1:], strict=False))
    assert not record.ledger.verify()
