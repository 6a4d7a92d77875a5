"""Drift from Parquet files to an alert and a run: real files, record, platform and runner; the test's clock."""

import json
import random
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import polars as pl
import pytest
from tests.execute.doubles import IMAGES

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.drift import DriftLoop, scores_of
from tuneline.execute.runner import Runner
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
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
    "root": {"dag": {"tasks": {"note": {"componentRef": {"name": "comp-note"}, "taskInfo": {"name": "note"}}}}},
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
        chance, rows = random.Random(self.count), []
        for place in range(count):
            self.count += 1
            said = {"choices": [{"index": 0, "message": {"content": chance.choice((" good", " bad"))}}]}
            text = f"{chance.choice(texts)} {chance.choice(texts)}"
            rows.append(
                {
                    "at": self.now - 3000 + 2900 * place / count, "id": f"q{self.count}", "release": release,
                    "revision": "r", "method": "POST", "path": "/v1/chat/completions", "status": 200, "ms": 9.0,
                    "bytes_in": 1, "bytes_out": 1, "sticky": "", "retries": 0,
                    "request": json.dumps({"messages": [{"role": "user", "content": text}]}),
                    "response": json.dumps(said), **changes,
                }
            )  # fmt: skip
        self.write(rows)
        return rows

    def write(self, rows):
        day = datetime.fromtimestamp(rows[0]["at"], UTC).date().isoformat()
        folder = self.home / "endpoints" / "reviews" / "requests" / day
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows).write_parquet(folder / f"{len(list(folder.iterdir())):08d}.parquet")

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


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


def verdicts(view):
    return {each["detector"]: each["verdict"] for each in view["window"]["findings"]}


def test_drifted_requests_lead_to_an_alert_and_one_run_of_the_project(world):
    """The whole way, about 1 s: the run is a real one."""
    made = world.trained()
    world.go_live(run=made)
    assert world.hour()["state"] | {"after": 0} == {"after": 0, "phase": "reference", "have": 200, "of": 400}
    calm = world.hour()
    assert calm["reference"]["requests"] == 400
    calm = world.hour()
    assert verdicts(calm)["prompt_words"] == "none"
    assert verdicts(calm)["confidence"] == "too few"
    assert (calm["alert"], world.runs()) == (None, [made])

    drifted = world.hour(OTHER)
    assert verdicts(drifted)["prompt_words"] == verdicts(drifted)["prompt_new_words"] == "drift"
    assert verdicts(drifted)["output_label"] == "none"
    alert = drifted["alert"]
    assert "prompt_words" in alert["why"]
    assert alert["run"] == world.runs()[0] != made
    assert world.ended(alert["run"]) == "SUCCEEDED"
    again = world.platform.run(alert["run"])
    assert again["project"] == "reviews"
    assert world.record.runs.ir(alert["run"]) == world.record.runs.ir(made)

    still = world.hour(OTHER)
    assert still["alert"]["id"] == alert["id"]
    assert len(world.runs()) == 2
    words = next(each for each in still["window"]["findings"] if each["detector"] == "prompt_words")
    assert words["since"] == drifted["window"]["from"]
    assert world.hour()["alert"] is None
    assert world.kinds()[-3:] == ["drift", "retrain", "drift_ended"]
    assert world.platform.verify_ledger()["ok"]


def test_a_second_alert_within_the_day_waits_and_says_why(world):
    world.go_live(run=world.trained())
    for texts in (CALM, CALM, OTHER, CALM):
        world.hour(texts)
    waiting = world.hour(OTHER)["alert"]
    assert (waiting["run"], len(world.runs())) == (None, 2)
    assert "the next may be from 2026-03-02T" in waiting["note"]
    world.ended(world.runs()[0])
    for _ in range(23):
        world.hour(OTHER, 0)
    assert world.view()["alert"]["run"] == world.runs()[0]
    assert len(world.runs()) == 3


def test_no_run_is_started_while_one_of_the_project_is_under_way(world):
    made = world.trained()
    world.go_live(run=made)
    world.hour(), world.hour()
    slow = json.loads(json.dumps(IR).replace("echo trained", "while ! test -e go; do sleep 0.05; done"))
    slow = json.loads(json.dumps(slow).replace("test -e go", f"test -e {world.home}/go"))
    busy = world.platform.submit(slow, {}, {"name": "reviews", "text": "", "path": "", "digest": ""})["id"]
    alert = world.hour(OTHER)["alert"]
    assert (alert["run"], world.runs()) == (None, [busy, made])
    assert busy in alert["note"]
    (world.home / "go").touch()
    assert world.ended(busy) == "SUCCEEDED"
    world.loop.look_once()
    assert world.view()["alert"]["run"] == world.runs()[0]
    assert len(world.runs()) == 3


def test_a_server_killed_between_looks_goes_on_and_looks_at_nothing_twice(world):
    world.go_live(run="", retrain=False)
    world.hour(), world.hour(), world.hour()
    world.loop = world.new_loop()
    world.loop.look_once()
    assert len(world.view()["windows"]) == 1
    view = world.hour(OTHER)
    assert [window["drifted"] for window in view["windows"]] == [False, True]
    assert view["windows"][1]["from"] > view["windows"][0]["to"]
    assert view["alert"]["run"] is None


def test_a_new_release_has_a_reference_of_its_own_and_ends_the_alert(world):
    world.go_live(retrain=False)
    for texts in (CALM, CALM, OTHER):
        world.hour(texts)
    assert world.view()["alert"]
    release = world.go_live("b", retrain=False)
    view = world.hour(OTHER, release=release)
    assert (view["release"], view["alert"], view["reference"]) == (release, None, None)
    world.hour(OTHER, release=release)
    assert world.hour(OTHER, release=release)["window"]["n"] == 1
    assert world.view()["alert"] is None


def test_copies_overrides_other_releases_and_further_requests_of_a_session_do_not_count(world):
    world.go_live(retrain=False)
    world.now += 3600
    rows = world.ask(CALM, 300)
    world.write([row | {"shadow_of": "r"} for row in rows])
    world.ask(CALM, 100, release="reviews@9.9.9")
    world.ask(CALM, 100, override=True)
    world.ask(CALM, 100, sticky="one")
    world.ask(CALM, 100, method="GET")
    world.loop.look_once()
    assert world.view()["state"]["have"] == 301


def test_a_lost_reference_is_said_and_made_anew(world):
    world.go_live(retrain=False)
    world.hour(), world.hour()
    (world.home / "endpoints/reviews/drift/1.json.gz").write_bytes(b"changed")
    view = world.hour()
    assert "was changed" in view["state"]["lost"]
    assert (view["reference"], view["window"]) == (None, None)
    world.hour(), world.hour()
    assert world.hour()["window"]["n"] == 1


def test_worse_feedback_and_errors_are_drift_and_better_ones_are_not(world):
    world.go_live(retrain=False)
    for share in (0.9, 0.9, 0.5, 1.0):
        first = world.count
        world.scores |= {f"q{first + n + 1}": float(n < share * WINDOW) for n in range(WINDOW)}
        view = world.hour(status=200 if share != 0.5 else 503)
        if share == 0.5:
            assert (verdicts(view)["feedback"], verdicts(view)["errors"]) == ("drift", "drift")
            assert verdicts(view)["output_label"] == "too few"
    assert (verdicts(view)["feedback"], verdicts(view)["errors"]) == ("none", "none")


def test_a_damaged_file_is_left_out(world):
    world.go_live(retrain=False)
    world.now += 3600
    world.ask(CALM, 100)
    folder = world.home / "endpoints/reviews/requests/2026-03-01"
    (folder / "broken.parquet").write_bytes(b"PAR1 no")
    world.loop.look_once()
    assert world.view()["state"]["have"] == 100


def test_scores_are_the_mean_of_a_request_s_over_all_pages_of_the_table():
    given = [("a", 1.0), ("b", 0.0), ("a", 0.0), ("c", 1.0)]
    rows = [SimpleNamespace(n=n, request_id=id, score=score) for n, (id, score) in enumerate(given, 1)]
    store = SimpleNamespace(since=lambda endpoint, n, limit: [row for row in rows if row.n > n][:limit])
    assert scores_of(store, limit=2)("e", ["a", "b"]) == {"a": 0.5, "b": 0.0}
