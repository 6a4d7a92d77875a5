"""The story of a model's releases, as users live it: by the commands, under load from another process.

1.0.0 is live. A better 1.1.0 is mirrored, then promoted by an A/B on what users say. 1.2.0, of flipped
labels, is stopped by the gate; forced past it, users' scores take it back. Users ask about something else:
drift starts a run, and 1.3.0 takes over. An auditor asks which version gave an answer, and what it was made
of. No request fails, from the first to the last. Once with own code, once with a tiny language model; each
about two minutes on two idle cores.
"""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from tests.e2e import story
from tests.e2e.world import World, wait_for
from tests.kubeflow import TASK_ENV

from tuneline.record.request_files import requests_of

pytestmark = pytest.mark.slow
LOAD = Path(__file__).with_name("story_load.py")
WHY = "the vendor says that its labels are right"


class Story:
    """The project, its world and its users."""

    def __init__(self, folder: Path, kind: story.Kind) -> None:
        self.kind = kind
        self.world = World(folder / "home", TUNELINE_TASK_ENV=str(TASK_ENV))
        self.project = story.write_project(folder / "moods", kind)
        self.asked = story.write_rows(folder / "asked.jsonl", story.rows(kind.films, 400, 2000))
        self.users: subprocess.Popen[str] | None = None

    def command(self, *words: str, expect: int = 0):
        """A command's JSON on stdout; fails unless it exits with `expect`."""
        ended = self.world.cli(*words, "--json")
        said = f"{ended.stdout}\n{ended.stderr}\n{self.world.logs()}"
        assert ended.returncode == expect, said
        return json.loads(ended.stdout) if ended.stdout else ended.stderr

    def live(self) -> str:
        with self.world.server() as client:
            return client.endpoint("moods")["live"]

    def follow(self, expect: int = 0) -> dict:
        """`tuneline rollout status -w`, to the rollout's end; the rollout."""
        ended = self.world.cli("rollout", "status", "moods", "-w")
        assert ended.returncode == expect, f"{ended.stdout}\n{ended.stderr}\n{self.world.logs()}"
        return self.command("rollout", "status", "moods")["rollout"]

    def ask(self) -> None:
        """Users begin."""
        with self.world.server() as client:
            words = [client.endpoint("moods")["url"], client.url, "moods", str(self.asked), self.kind.name]
        command = [sys.executable, str(LOAD), *words]
        self.users = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.users.stdout is not None
        assert self.users.stdout.readline() == "asking\n"

    def ask_about(self, rows) -> None:
        """Users go on with other texts."""
        assert self.users is not None
        story.write_rows(self.asked, rows)
        self.users.send_signal(signal.SIGUSR1)

    def asked_so_far(self) -> dict:
        """Users end; what came of it."""
        assert self.users is not None
        self.users.send_signal(signal.SIGTERM)
        return json.loads(self.users.communicate()[0].splitlines()[-1])

    def close(self) -> None:
        if self.users is not None:
            self.users.kill()
            self.users.wait()
        self.world.close()


@pytest.fixture(params=story.KINDS, ids=lambda kind: kind.name)
def told(tmp_path, request):
    made = Story(tmp_path, request.param)
    yield made
    made.close()


def test_the_story_of_a_model_s_releases_under_load_without_one_failed_request(told):
    first = told.world.run(told.project, "-p", f"data.limit={told.kind.few}")
    assert first["release"]["release"] == told.live() == "moods@1.0.0"
    head = told.command("ledger", "verify")
    told.ask()
    better_is_promoted_by_what_users_say(told)
    worse_is_stopped_by_the_gate(told)
    forced_past_the_gate_it_is_taken_back(told)
    drift_starts_a_run_whose_release_takes_over(told)
    said = told.asked_so_far()
    assert said["failures"] == []
    assert set(said["answers"]) == {"moods@1.0.0", "moods@1.1.0", "moods@1.2.0", "moods@1.3.0"}
    every_answer_is_on_record(told, said["answers"])
    an_auditor_asks(told, {release: ids[-1] for release, ids in said["answers"].items()})
    now = told.command("ledger", "verify", "--head", f"{head['entries']}:{head['head']}")
    assert (now["ok"], now["faults"]) == (True, [])
    assert now["entries"] > head["entries"]


def better_is_promoted_by_what_users_say(told):
    """First copies alone, then half of the requests, until the scores decide."""
    second = told.world.run(told.project)
    assert (second["release"]["release"], second["release"]["state"]) == ("moods@1.1.0", "approved")
    done = told.follow()
    assert (done["release"], done["stable"], done["status"]) == ("moods@1.1.0", "moods@1.0.0", "promoted")
    assert (done["code"], done["forced"]) == ("shown", False)
    stages = [(each["weight"], each["shadow"]) for each in done["decisions"] if each["kind"] == "advance"]
    assert stages == [(0.0, True), (50.0, False)]
    tests = done["numbers"]["tests"]
    assert tests["feedback"]["promote"]
    assert tests["feedback"]["candidate"]["mean"] > tests["feedback"]["stable"]["mean"] + 0.1
    assert tests["errors"]["candidate"]["mean"] == tests["errors"]["stable"]["mean"] == 0.0
    wait_for(lambda: told.live() == "moods@1.1.0", said=told.world.logs)
    before, now = told.command("history", "moods")
    assert (before["release"], before["to"], now["release"], now["to"]) == (
        *("moods@1.0.0", now["from"]),
        *("moods@1.1.0", None),
    )
    assert now["why"].startswith("promoted: It is shown that the candidate is not worse")
    copies_were_compared_and_reached_nobody(told, done)


def copies_were_compared_and_reached_nobody(told, done):
    """While it was mirrored, whoever asked was answered by the stable release; the better one differs."""

    def copied():
        since, until = 0.0, time.time()
        lines = requests_of(told.world.settings.endpoints, "moods", since, until).collect().to_dicts()
        return [line for line in lines if line["shadow_of"]]

    copies = wait_for(copied, said=told.world.logs)
    assert {line["release"] for line in copies} == {"moods@1.1.0"}
    assert {line["status"] for line in copies} == {200}
    assert {line["agrees"] for line in copies} == {True, False}
    traced = told.command("trace", copies[0]["id"])
    assert (traced["request"]["release"], traced["was_live"]) == ("moods@1.0.0", True)
    assert [each["release"] for each in traced["shadows"]] == ["moods@1.1.0"]


def worse_is_stopped_by_the_gate(told):
    """Whoever turned the codes round turned those of the held-out rows too: only checked rows know better."""
    file = told.project / "tuneline.yaml"
    text = file.read_text()
    file.write_text(text.replace('"0": bad, "1": good', '"0": good, "1": bad'))
    third = told.world.run(told.project, expect=3)
    file.write_text(text)
    assert (third["release"]["release"], third["release"]["state"]) == ("moods@1.2.0", "rejected")
    rules = {rule["rule"]: rule["passed"] for rule in third["verdict"]["rules"]}
    assert rules == {
        "accuracy >= 0.4": True,
        "noninferior(accuracy, live, margin=0.1)": True,
        "noninferior(sets.checked.accuracy, live, margin=0.1)": False,
    }
    assert told.command("rollout", "status", "moods")["rollout"]["release"] == "moods@1.1.0"
    assert told.live() == "moods@1.1.0"


def forced_past_the_gate_it_is_taken_back(told):
    """Not without a reason; then users' scores decide, and it never was live."""
    start = ("rollout", "start", "moods", "moods@1.2.0", "--ab", "30%", "--every", "1s", "--force")
    assert "no reason is given why it is forced" in told.command(*start, expect=1)
    told.command(*start, "--why", WHY)
    done = told.follow(expect=5)
    assert (done["release"], done["status"], done["forced"]) == ("moods@1.2.0", "rolled_back", True)
    assert (done["code"], done["numbers"]["tests"]["feedback"]["rollback"]) == ("worse", True)
    assert done["reason"].startswith("The candidate is worse in feedback")
    assert told.live() == "moods@1.1.0"
    assert [each["release"] for each in told.command("history", "moods")] == ["moods@1.0.0", "moods@1.1.0"]
    shown = told.command("releases", "show", "moods@1.2.0")
    assert (shown["state"], [each["why"] for each in shown["forced"]]) == ("rejected", [WHY])
    assert "moods@1.2.0  rejected, forced" in told.world.cli("releases", "list", "moods").stdout


def drift_starts_a_run_whose_release_takes_over(told):
    """Users talk of parcels. The run that drift starts finds rows about them at the source."""
    wait_for(lambda: told.command("drift", "moods")["reference"], every_s=1, said=told.world.logs)
    assert told.command("drift", "moods")["alerts"] == []
    known = [json.loads(line) for line in (told.project / "rows.jsonl").read_text().splitlines()]
    story.write_rows(
        told.project / "rows.jsonl", known + story.coded(story.rows(told.kind.parcels, 600, 3000))
    )
    told.ask_about(story.rows(told.kind.parcels, 400, 5000))
    alert = wait_for(
        lambda: next((each for each in told.command("drift", "moods")["alerts"] if each["run"]), None),
        every_s=1, timeout_s=300, said=told.world.logs,
    )  # fmt: skip
    assert (alert["release"], "prompt_words" in alert["detectors"]) == ("moods@1.1.0", True)
    ended = told.world.cli("runs", "show", "-f", alert["run"])
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{told.world.logs()}"
    done = told.follow()
    assert (done["release"], done["status"], done["code"]) == ("moods@1.3.0", "promoted", "shown")
    wait_for(lambda: told.live() == "moods@1.3.0", said=told.world.logs)
    kinds = [entry["kind"] for entry in told.command("ledger", "list")]
    assert [kinds.count(kind) for kind in ("drift", "retrain", "rollout")] == [1, 1, 3]


def every_answer_is_on_record(told, answers):
    """Each of them once, as of the release that its header named. A busy disk may keep the last ones back."""
    given = sorted((id, release) for release, ids in answers.items() for id in ids)

    def kept():
        lines = requests_of(told.world.settings.endpoints, "moods", 0.0, time.time())
        return sorted(lines.filter(pl.col("shadow_of").is_null()).select("id", "release").collect().rows())

    wait_for(lambda: len(kept()) >= len(given), every_s=1, said=told.world.logs)
    assert kept() == given


def an_auditor_asks(told, ids):
    """Which version gave this answer, was it live, who let it, and what was it trained on?"""
    found = told.command("trace", ids["moods@1.2.0"])
    assert (found["request"]["release"], found["live"]["release"]) == ("moods@1.2.0", "moods@1.1.0")
    assert (found["was_live"], found["feedback"][0]["score"] in (0.0, 1.0)) == (False, True)
    made = found["release"]
    assert (made["state"], made["verdict"]["passed"]) == ("rejected", False)
    assert [(each["why"], each["status"]) for each in made["forced"]] == [(WHY, "rolled_back")]
    assert made["parameters"]["data_map"]["label"]["0"] == "good"
    assert found["live"]["from"] <= found["request"]["at"]
    at = told.command("history", "moods", "--at", found["request"]["at"])
    assert [each["release"] for each in at] == ["moods@1.1.0"]

    latest = told.world.cli("lineage", "moods@1.3.0", "--up").stdout
    assert re.search(r"  from \S*rows\.jsonl, \d+ bytes, sha256:", latest)
    assert f"by code {told.kind.step} " in latest
    sources = [sources_of(told.command("trace", ids[f"moods@{each}"])) for each in ("1.1.0", "1.3.0")]
    assert [set(each) for each in sources] == [{"rows.jsonl"}] * 2
    assert sources[0]["rows.jsonl"] != sources[1]["rows.jsonl"]


def sources_of(traced) -> dict[str, str]:
    """The digest of every file that the release behind an answer was made of, by the file's name."""
    return {each["source"].rpartition("/")[2]: each["digest"] for each in traced["release"]["source"]}
