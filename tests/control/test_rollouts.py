"""Rollouts with real routers, runtimes and record, under load from another process: good, bad, killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tuneline.control.endpoints import Controller
from tuneline.errors import ConflictError
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.record.record import Record
from tuneline.record.releases import Proposal
from tuneline.record.rollouts import Asked
from tuneline.types import digest_json

pytestmark = pytest.mark.slow
SERVER, LOAD = (Path(__file__).with_name(name) for name in ("server_program.py", "load_program.py"))
PLAN = RolloutPlan(stages=(20.0, 50.0, 100.0), every_s=0.2, min_requests=40, metrics=("errors",),
                   margins={"errors": 0.1})  # fmt: skip


@dataclass(frozen=True)
class Score:
    n: int
    request_id: str
    score: float
    at: float


class Judge:
    """A double of our Protocol `FeedbackSource`: scores every answer by who gave it, as the lines tell."""

    def __init__(self, segments, **by_release):
        self.segments, self.by_release = segments, by_release

    def since(self, endpoint, n, limit=10_000):
        lines = [json.loads(line) for line in request_lines(self.segments)]
        rows = [
            Score(number, line["id"], self.by_release[line["release"].partition("@")[2]], line["at"])
            for number, line in enumerate(lines, 1)
            if line["release"]
        ]
        return [row for row in rows if row.n > n][:limit]


def request_lines(segments):
    texts = [path.read_text() for path in sorted(segments.glob("*.jsonl"))]
    return [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]


class Line:
    """A world with a real record, 1.0.0 live, and releases to try."""

    def __init__(self, world, folder):
        self.world, self.url = world, f"sqlite:///{folder / 'record.db'}"
        self.record = Record(self.url)
        self.record.migrate()
        world.store = self.record.endpoints
        self.feedback = None

    def up(self):
        self.world.controller = Controller(
            self.record.endpoints, self.world.folder, drain_s=5.0, start_timeout_s=1.5,
            launching=self.world.launching, rollouts=self.record.rollouts, feedback=self.feedback,
        )  # fmt: skip
        self.world.controller.start()

    def release(self, number, rejected=False):
        live = self.record.endpoints.live("e")
        proposal = Proposal(
            model="m", package_uri="/", package_digest=digest_json(number), base_uri="/",
            base_digest=digest_json(""), manifest={"model": "m", "base": {}, "rows_digest": number},
            verdict={"passed": not rejected, "rules": []}, proof={"passed": True}, report={},
            deploy={"endpoint": "e", "port": 0, "keep_s": 60.0}, live_digest=live.digest if live else "",
            approved=number == 0, why="asked for", run="", project_digest="", by="ann",
        )  # fmt: skip
        return self.record.releases.propose(proposal, time.time()).release

    def start(self, release, plan=PLAN):
        asked = Asked("ann", "to see", time.time())
        return self.record.rollouts.start("e", release, plan, asked, forced=False)

    def latest(self):
        return self.record.rollouts.latest("e")

    def until(self, status):
        self.world.until(lambda: self.latest()["status"] == status, 40.0)
        return self.latest()

    def until_weight(self, weight):
        self.world.until(lambda: weight in self.weights(), 40.0)

    def weights(self):
        return [each["weight"] for each in self.world.seen()["revisions"]]

    def live(self):
        return self.record.endpoints.live("e").release

    @property
    def segments(self):
        return self.world.folder / "e" / "segments"


@pytest.fixture
def line(world, tmp_path):
    line = Line(world, tmp_path)
    line.release(0)
    line.up()
    world.until_live("m@1.0.0")
    yield line
    line.record.close()


class Load:
    """Requests from a process of its own, until the block ends."""

    def __init__(self, line, path="/v1/ask", threads=4):
        self.words = [str(LOAD), str(line.world.seen()["port"]), str(threads), path]

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, *self.words], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "asking\n"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        body = json.loads(self.process.communicate()[0].splitlines()[-1])
        self.answers, self.failures = body["answers"], body["failures"]

    def nothing_failed(self):
        bad = {key: n for key, n in self.answers.items() if not key.endswith(" 200")}
        return (self.failures, bad) == ([], {})


def test_a_good_candidate_is_promoted_and_no_request_fails(line):
    release = line.release(1)
    with Load(line) as load:
        line.start(release)
        line.until_weight(20.0)
        assert line.live() == "m@1.0.0"  # the stable one stays live while another is tried
        assert len(line.record.endpoints.history("e")) == 1
        line.until("promoted")
        line.world.until_live(release)
    assert load.nothing_failed(), load.failures
    assert {key.split()[0] for key in load.answers} == {"m@1.0.0", "m@1.0.1"}
    decisions = line.record.rollouts.decisions(line.latest()["id"])
    kinds = [row["kind"] for row in decisions if row["kind"] != "hold"]
    assert kinds == ["advance", "advance", "promote"]
    before, after = line.record.endpoints.history("e")
    assert (before["to_at"], after["to_at"]) == (after["from_at"], None)
    assert after["why"].startswith("promoted: It is shown")
    assert not line.record.ledger.verify()


@pytest.mark.parametrize(
    "options, plan, code",
    [
        (["--status", "500"], {}, "worse"),
        (["--status", "500"], {"error_budget": 2}, "budget"),
        (["--slow-ms", "60"], {"metrics": ("errors", "slow"), "slow_ms": 40.0}, "worse"),
        (["--dies-after", "30"], {"max_crashes": 2}, "crashes"),
        (["--never-ready"], {}, "never_ready"),
    ],
)
def test_a_bad_candidate_is_rolled_back_by_itself(line, options, plan, code):
    release = line.release(1)
    line.world.launching.more[release] = options
    with Load(line) as load:
        line.start(release, PLAN.changed(**plan))
        ended = line.until("rolled_back")
        line.world.until(lambda: line.world.revision(release) is None)
    assert (ended["code"], line.live()) == (code, "m@1.0.0")
    assert line.weights() == [100.0]
    if options[0] != "--status":
        assert load.nothing_failed(), (load.failures, load.answers)
    else:
        assert not load.failures
    assert len(line.record.endpoints.history("e")) == 1
    last = json.loads([entry for entry in line.record.ledger.entries() if entry.kind == "decision"][-1].body)
    assert (last["kind"], last["code"], last["by"]) == ("rollback", code, "control")


def test_wrong_answers_are_rolled_back_by_what_users_say(line):
    line.world.controller.stop()
    line.feedback = Judge(line.segments, **{"1.0.0": 0.9, "1.0.1": 0.2})
    line.up()
    with Load(line) as load:
        line.start(line.release(1), PLAN.changed(watched=("feedback",), min_requests=100_000))
        ended = line.until("rolled_back")
    assert "feedback" in ended["reason"]
    assert load.nothing_failed()
    assert line.live() == "m@1.0.0"


def test_too_few_requests_are_told_of_and_promote_nothing(line):
    line.start(line.release(1), PLAN.changed(max_duration_s=1.0))
    line.world.until(lambda: line.latest()["alert"] == 1)
    assert (line.latest()["status"], line.live()) == ("running", "m@1.0.0")
    kinds = [row["kind"] for row in line.record.rollouts.decisions(line.latest()["id"])]
    assert "promote" not in kinds


def test_a_server_killed_in_the_middle_of_a_canary_loses_and_doubles_nothing(line):
    """Three kills; in the end what was counted is what the router wrote, request for request."""
    release = line.release(1)
    with Load(line) as load:
        line.start(release, PLAN.changed(min_requests=100_000))  # it never ends by itself
        line.until_weight(20.0)
        line.world.controller.stop()
        for wait_s in (1.0, 1.3, 1.7):
            words = [sys.executable, str(SERVER), line.url, str(line.world.folder)]
            server = subprocess.Popen(words)
            looks = line.latest()["looks"]
            line.world.until(lambda looks=looks: line.latest()["looks"] > looks)
            time.sleep(wait_s - 1.0)  # somewhere between two looks, or in one
            server.kill()
            server.wait()
        line.up()
    assert load.nothing_failed(), (load.failures, load.answers)

    def counted():
        return sum(line.latest()["state"]["candidate" if arm else "stable"] for arm in (0, 1))

    since = line.latest()["state"]["since"]

    def written():
        rows = [json.loads(text) for text in request_lines(line.segments)]
        return sum(row["at"] >= since and row["release"] != "" for row in rows)

    line.world.until(lambda: counted() == written())
    assert counted() > 300
    assert line.weights().count(20.0) == 1


def test_a_killed_candidate_gets_nothing_until_it_is_back_and_then_its_part_again(line):
    release = line.release(1)
    with Load(line) as load:
        line.start(release, PLAN.changed(min_requests=100_000))
        line.until_weight(20.0)
        os.kill(line.world.revision(release)["pid"], signal.SIGKILL)
        line.world.until(lambda: line.weights().count(0.0) == 1)
        line.until_weight(20.0)
        os.kill(
            json.loads((line.world.folder / "e" / "holder.json").read_text())["router_pid"], signal.SIGKILL
        )
        line.world.until(lambda: line.latest()["status"] == "running" and 20.0 in line.weights())
    bad = {key for key in load.answers if not key.endswith(" 200")}
    assert not bad
    codes = [row["code"] for row in line.record.rollouts.decisions(line.latest()["id"])]
    assert "restarting" in codes


def test_whoever_says_so_promotes_and_goes_back_at_once_while_the_other_is_warm(line):
    release = line.release(1)
    asked = Asked("ann", "I looked at it", time.time())
    with Load(line) as load:
        line.start(release, PLAN.changed(min_requests=100_000))
        line.until_weight(20.0)
        line.record.rollouts.end("e", "promote", asked)
        line.world.until_live(release)
        begun = list(line.world.launching.started)
        assert line.record.rollouts.go_back("e", None, asked) == "m@1.0.0"
        line.world.until_live("m@1.0.0")
        assert line.world.launching.started == begun  # nothing was started: it was warm
    assert load.nothing_failed(), (load.failures, load.answers)
    history = [f"m@{row['version']}" for row in line.record.endpoints.history("e")]
    assert history == ["m@1.0.0", release, "m@1.0.0"]
    with pytest.raises(ConflictError):
        line.record.rollouts.end("e", "promote", asked)


def test_a_warm_release_is_tried_again_as_it_runs_and_a_rollback_by_hand_stops_it(line):
    release = line.release(1)
    asked = Asked("ann", "no", time.time())
    line.start(release)
    line.until_weight(20.0)
    line.record.rollouts.end("e", "rollback", asked)
    line.world.until(lambda: line.world.revision(release) is None)
    assert line.live() == "m@1.0.0"
    assert line.start(release) == "e-2"
    line.until_weight(20.0)


def test_copies_are_asked_for_in_traffic_json_while_the_candidate_has_no_weight(line):
    release = line.release(1)
    line.start(release, PLAN.changed(shadow=True))
    line.world.until(lambda: line.latest()["shadow"] == 1)
    path = line.world.folder / "e" / "traffic.json"
    line.world.until(lambda: json.loads(path.read_text())["shadow"])
    traffic, candidate = json.loads(path.read_text()), line.world.revision(release)["id"]
    assert (traffic["shadow"]["revision"], traffic["candidate"]) == (candidate, candidate)
    weights = {each["release"]: each["weight"] for each in traffic["revisions"]}
    assert weights == {"m@1.0.0": 100.0, release: 0.0}
    assert line.world.answered_by() == "m@1.0.0"
    line.record.rollouts.end("e", "rollback", Asked("ann", "enough", time.time()))
    line.world.until(lambda: json.loads(path.read_text())["shadow"] is None)
    assert line.world.answered_by() == "m@1.0.0"


def test_everything_stopped_and_started_again_goes_on_with_the_rollout(line):
    release = line.release(1)
    line.start(release, PLAN.changed(min_requests=100_000))
    line.until_weight(20.0)
    line.world.controller.stop(all=True)
    assert line.world.processes() == []
    line.up()
    line.until_weight(20.0)
    assert line.latest()["status"] == "running"
    assert line.live() == "m@1.0.0"
    codes = [row["code"] for row in line.record.rollouts.decisions(line.latest()["id"])]
    assert "restarting" in codes
