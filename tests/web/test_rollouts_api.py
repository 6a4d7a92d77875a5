"""Rollouts over the wire and by the commands: begun, shown, promoted, taken back, forced past the gate."""

import json
import time

import pytest

from tuneline.cli.errors import guarded
from tuneline.cli.main import cli
from tuneline.errors import ConflictError, NotFoundError, SpecError, UserError
from tuneline.plan.rollout import Observed, look
from tuneline.plan.sequential import Counts
from tuneline.record.releases import Proposal
from tuneline.types import digest_json


@pytest.fixture
def release(platform):
    """Makes a release of content `n`; the first goes live."""

    def make(n, **changes):
        live = platform.record.endpoints.live("e")
        body = {
            "model": "m", "package_uri": "/", "package_digest": digest_json(n), "base_uri": "/",
            "base_digest": digest_json(""), "manifest": {"model": "m", "base": {}, "rows_digest": n},
            "verdict": {"passed": True, "rules": []}, "proof": {"passed": True}, "report": {},
            "deploy": {"endpoint": "e", "runtime": "pyfunc", "rollout": {"strategy": "canary"}},
            "live_digest": live.digest if live else "", "approved": True, "why": "the gate passed",
            "run": "", "project_digest": "", "by": "runner",
        }  # fmt: skip
        made = platform.record.releases.propose(Proposal(**{**body, **changes}), time.time()).release
        if live is None:
            platform.record.endpoints.went_live("e", made, "", "ready", "control", time.time())
        return made

    return make


@pytest.fixture
def command(url, monkeypatch, capsys):
    """`tuneline` as it is typed, asking the test's server; code, stdout, stderr."""
    monkeypatch.setenv("TUNELINE_URL", url)

    def run(*words):
        code = guarded(lambda: cli.main(list(words), prog_name="tuneline", standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def advance(platform, observed=None, at=None):
    """A look of the controller."""
    rollout = platform.record.rollouts.underway("e")
    at = time.time() if at is None else at
    assert platform.record.rollouts.save(
        rollout, look(rollout.plan, rollout.state, observed or Observed(), at), {}, at
    )


def revision(release, state, weight=0.0, ready_s=2.0):
    return {"id": release, "release": release, "state": state, "weight": weight, "ready_s": ready_s}


def test_a_rollout_is_begun_and_shown_with_weights_tests_and_what_is_next(client, platform, release, command):
    release(1)
    release(2, approved=True)
    advance(platform)
    advance(platform, Observed(({"errors": Counts(10, 1.0, 100, 0.0)},), 10, 100, 1))
    found = client.rollout("e")
    assert found["live"] == "m@1.0.0"
    one = found["rollout"]
    assert (one["release"], one["weights"]) == ("m@1.0.1", {"m@1.0.1": 5.0, "m@1.0.0": 95.0})
    assert one["numbers"]["tests"]["errors"]["candidate"] == {"n": 10, "mean": 0.1}
    assert [each["kind"] for each in one["decisions"]] == ["advance", "hold"]
    code, out, _ = command("rollout", "status", "e")
    assert code == 0
    assert "m@1.0.1 5 %, m@1.0.0 95 %" in out
    assert "10 requests of the candidate" in out
    assert "not before" in out
    (row,) = [line for line in command("status")[1].splitlines() if line.startswith("e-1")]
    assert row.split() == ["e-1", "m@1.0.1", "m@1.0.0", "5", "%", "time"]
    assert client.endpoint("e")["rollout"]["id"] == "e-1"
    assert json.loads(command("rollout", "status", "e", "--json")[1])["rollout"]["id"] == "e-1"


def test_options_of_the_command_are_the_plan(client, release, command):
    release(1)
    release(2, deploy={"endpoint": "e", "runtime": "pyfunc"}, approved=False)
    words = [
        "--canary",
        "5%,50%,100%",
        "--every",
        "1m",
        "--shadow",
        "--margin",
        "errors=0.01",
        "--slow-ms",
        "80",
    ]
    code, out, said = command(
        "rollout", "start", "e", "m@1.0.1", *words, "--force", "--why", "we saw it work"
    )
    assert (code, out) == (0, "e-1\n"), said
    one = client.rollout("e")["rollout"]
    plan = one["plan"]
    assert (plan["stages"], plan["every_s"], plan["shadow"]) == ([5.0, 50.0, 100.0], 60.0, True)
    assert (plan["margins"], plan["slow_ms"]) == ({"errors": 0.01}, 80.0)
    assert (one["forced"], one["why"]) == (True, "we saw it work")
    entry = [each for each in client.ledger() if each["kind"] == "rollout"][-1]["body"]
    assert (entry["forced"], entry["by"], entry["why"]) == (True, "ann", "we saw it work")


def test_a_release_that_was_rejected_is_not_tried_unless_it_is_forced(client, release, command):
    release(1)
    release(2, approved=False)
    with pytest.raises(ConflictError) as refused:
        client.start_rollout("e", "m@1.0.1", {})
    assert "--force" in refused.value.hint
    assert command("rollout", "start", "e", "m@1.0.1")[0] != 0
    assert client.rollout("e")["rollout"] is None


def test_a_release_is_forced_for_a_reason_alone_and_never_where_nothing_would_take_it_back(
    client, platform, release, command
):
    release(1)
    release(2, approved=False)
    for why in ("", "  "):
        with pytest.raises(UserError, match="no reason is given why it is forced"):
            client.start_rollout("e", "m@1.0.1", {}, force=True, why=why)
    assert client.rollout("e")["rollout"] is None
    waits = release(3, required=True)
    with pytest.raises(ConflictError, match="waits for approval"):
        client.start_rollout("e", waits, {}, force=True, why="I cannot wait")
    unproven = release(4, approved=False, proof={"passed": False})
    with pytest.raises(ConflictError, match="not proven to be what was trained"):
        client.start_rollout("e", unproven, {}, force=True, why="we saw it work")
    platform.record.endpoints.retire("e", "stopped", "ann", time.time())
    with pytest.raises(ConflictError, match="would go live untried"):
        client.start_rollout("e", "m@1.0.1", {}, force=True, why="we saw it work")


def test_wherever_a_forced_release_is_shown_it_says_who_forced_it_and_why(client, platform, release, command):
    release(1)
    release(2, approved=False)
    client.start_rollout("e", "m@1.0.1", {}, force=True, why="we saw it work")
    said = "past its gate at e by ann at "
    assert "m@1.0.1  rejected, forced" in command("releases", "list", "m")[1]
    assert [each["forced"] == [] for each in client.releases("m")] == [False, True]
    assert said in command("releases", "show", "m@1.0.1")[1]
    assert f"forced {said}" in command("lineage", "m@1.0.1", "--up")[1]
    assert "  forced" in command("rollout", "status", "e")[1].splitlines()[0]
    assert "begun, forced" in command("status")[1]
    client.promote("e", "they like it")
    desired = platform.record.endpoints.get("e")["why"]
    assert desired == "promoted, forced past its gate by ann (we saw it work): they like it"
    live = platform.record.endpoints.live("e")
    platform.record.endpoints.went_live("e", "m@1.0.1", live.digest, desired, "control", time.time())
    first, now = client.history("e")
    assert (first["forced"], now["forced"][0]["status"]) == ([], "promoted")
    assert "m@1.0.1 (forced)" in command("status")[1]
    assert (client.release("m@1.0.1")["state"], now["why"]) == ("rejected", desired)
    told = [each["body"] for each in client.ledger() if each["kind"] in ("rollout", "decision")]
    assert [each["forced"] for each in told] == [True, True]


def test_an_ab_takes_one_stage_whatever_the_project_says(client, release):
    release(1)
    release(2, approved=False)
    why = {"force": True, "why": "to see"}
    started = client.start_rollout("e", "m@1.0.1", {"strategy": "ab"}, **why)
    assert started["rollout"]["plan"]["stages"] == []
    with pytest.raises(SpecError):
        client.start_rollout("e", "m@1.0.1", {"stages": [50, 20]}, **why)
    with pytest.raises(SpecError):
        client.start_rollout("e", "m@1.0.1", {"speed": 1}, **why)


def test_what_is_tried_is_promoted_by_whoever_says_so(client, platform, release):
    release(1)
    release(2)
    platform.record.endpoints.observe("e", {"revisions": [revision("m@1.0.1", "ready")]}, 1.0)
    done = client.promote("e", "looks right")
    assert (done["release"], done["before"], done["warm"]) == ("m@1.0.1", "m@1.0.0", True)
    assert client.endpoint("e")["desired"] == "m@1.0.1"
    assert client.rollout("e")["rollout"]["status"] == "promoted"
    with pytest.raises(ConflictError):
        client.promote("e")


def test_a_rollback_says_how_long_it_takes(client, platform, release, command):
    release(1)
    release(2)
    platform.record.endpoints.observe("e", {"revisions": [revision("m@1.0.0", "live", 95.0)]}, 1.0)
    done = client.rollback("e")  # ends what is tried
    assert (done["release"], done["within_s"]) == ("m@1.0.0", 1.0)
    assert client.rollout("e")["rollout"]["status"] == "rolled_back"
    live = platform.record.endpoints.live("e")
    platform.record.endpoints.want("e", "m@1.0.1", live.digest, "now", "ann", 2.0)
    platform.record.endpoints.went_live("e", "m@1.0.1", live.digest, "ready", "control", 3.0)
    platform.record.endpoints.observe("e", {"revisions": [revision("m@1.0.1", "live", 100.0)]}, 3.0)
    code, out, said = command("rollback", "e", "--to", "1.0.0", "--no-wait", "--json")
    assert (code, json.loads(out)["warm"], json.loads(out)["within_s"]) == (0, False, 3.0)
    assert "m@1.0.0 is not running: it takes over when it has started, in about 3.0 s." in said
    assert client.endpoint("e")["desired"] == "m@1.0.0"


def test_unknown_names_are_said(client, release):
    with pytest.raises(NotFoundError):
        client.rollout("nowhere")
    release(1)
    with pytest.raises(NotFoundError):
        client.start_rollout("e", "m@9.0.0", {})
    with pytest.raises(ConflictError):
        client.rollback("e")
    assert client.rollout("e") == {"endpoint": "e", "live": "m@1.0.0", "rollout": None}
