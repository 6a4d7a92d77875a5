"""A home with one live release, its requests as Parquet files, and a clock that the test holds."""

import json
import random
import time
from datetime import UTC, datetime

import polars as pl
from tests.execute.doubles import IMAGES

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.drift import DriftLoop
from tuneline.execute.runner import Runner
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.record.request_files import State, read_state, write_part, write_state
from tuneline.settings import Settings
from tuneline.types import Digest, digest_json

START = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
WINDOW = 200
DRIFT = {"every_s": 3600.0, "window": WINDOW, "retrain": True, "retrain_every_s": 86_400.0}
IR = {
    "schemaVersion": "2.1.0",
    "pipelineInfo": {"name": "reviews"},
    "components": {"comp-note": {"executorLabel": "exec-note"}},
    "deploymentSpec": {
        "executors": {"exec-note": {"container": {"image": "host", "command": ["sh", "-c", "echo trained"]}}}
    },
    "root": {
        "dag": {"tasks": {"note": {"componentRef": {"name": "comp-note"}, "taskInfo": {"name": "note"}}}}
    },
}
CALM = ("the film was good fun", "a dull and slow film", "we liked the cast", "bad sound but fine story")
OTHER = ("refund my order now", "where is the parcel", "invoice is wrong again please help me with it")


class World:
    """A home with one live release, its requests, and a clock."""

    def __init__(self, home):
        self.now, self.home, self.count = START, home, 0
        self.record = Record(f"sqlite:///{home / 'tuneline.db'}")
        self.record.migrate()
        settings = Settings(home=home, task_slots=2)
        runs = self.record.runs
        self.runner = Runner(runs, runs, runs, settings, images=IMAGES)
        self.runner.start_thread()
        server = Server("127.0.0.1", 0, 1, home, "0.0.0", START, "ann")
        self.platform = Platform(self.record, self.runner, server, lambda all: None, self.clock)
        self.scores = {}
        self.loop = self.new_loop()

    def new_loop(self):
        given = lambda endpoint, ids: {id: self.scores[id] for id in ids if id in self.scores}  # noqa: E731
        folder = self.home / "endpoints"
        return DriftLoop(self.record.drift, self.platform.drift, folder, given, self.clock)

    def clock(self):
        return self.now

    def close(self):
        self.runner.stop()
        self.record.close()

    def go_live(self, content="a", run="", **drift):
        monitor = {"monitor": {"drift": {**DRIFT, **drift}}}
        live = self.record.endpoints.live("reviews") if content != "a" else None
        digest = live.digest if live else ""
        made = self.record.releases.propose(
            Proposal(
                model="reviews", package_uri=f"/p/{content}", package_digest=digest_json(content),
                base_uri="/b", base_digest=Digest("sha256:" + "1" * 64), manifest={"rows_digest": content},
                verdict={"passed": True, "rules": []}, proof={"passed": True}, report={},
                deploy={"endpoint": "reviews", "runtime": "llamacpp", **monitor}, live_digest=digest,
                approved=True, why="the gate passed", run=run, project_digest="p", by="ann",
            ),
            self.now,
        )  # fmt: skip
        self.record.endpoints.went_live("reviews", made.release, digest, "approved", "ann", self.now)
        return made.release

    def trained(self):
        """A run of the project, ended; its id."""
        project = {"name": "reviews", "text": "name: reviews\n", "path": "/p", "digest": "d"}
        id = self.platform.submit(IR, {}, project)["id"]
        self.ended(id)
        return id

    def ended(self, id):
        deadline = time.monotonic() + 30
        while (state := self.platform.run(id)["state"]) not in ("SUCCEEDED", "FAILED"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return state

    def runs(self):
        return [run["id"] for run in self.platform.runs()]

    def ask(self, texts, count, release="reviews@1.0.0", **changes):
        """`count` requests over the hour before now, written as one Parquet file."""
        rows = self.rows(texts, count, release, **changes)
        self.write(rows)
        return rows

    def rows(self, texts, count, release="reviews@1.0.0", **changes):
        """Their lines."""
        chance, rows = random.Random(self.count), []
        for place in range(count):
            self.count += 1
            said = {"choices": [{"index": 0, "message": {"content": chance.choice((" good", " bad"))}}]}
            text = f"{chance.choice(texts)} {chance.choice(texts)}"
            rows.append(
                {
                    "at": self.now - 3000 + 2900 * place / count, "id": f"q{self.count}", "release": release,
                    "revision": "r", "method": "POST", "path": "/v1/chat/completions",
                    "status": 200, "ms": 9.0,
                    "bytes_in": 1, "bytes_out": 1, "sticky": "", "retries": 0,
                    "request": json.dumps({"messages": [{"role": "user", "content": text}]}),
                    "response": json.dumps(said), **changes,
                }
            )  # fmt: skip
        return rows

    def write(self, rows):
        day = datetime.fromtimestamp(rows[0]["at"], UTC).date().isoformat()
        folder = self.home / "endpoints" / "reviews" / "requests"
        number = read_state(folder).next
        path = write_part(folder, day, (number, number), pl.DataFrame(rows), 1)
        write_state(folder, State(number + 1))
        return path

    def hour(self, texts=CALM, count=WINDOW, **changes):
        """An hour passes, with requests; then a look."""
        self.now += 3600
        if count:
            self.ask(texts, count, **changes)
        self.loop.look_once()
        return self.view()

    def view(self):
        return self.platform.drift.of("reviews")

    def kinds(self):
        return [entry.kind for entry in self.record.ledger.entries()]
