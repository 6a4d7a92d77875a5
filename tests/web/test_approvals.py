"""A candidate over the wire and on its page: approved, rejected, gated again, by those who may."""

import time
from html import unescape

import pytest
from fastapi.testclient import TestClient
from tests.web.test_releases_api import offer

from tuneline.actions.proposing import Offer
from tuneline.errors import ConflictError, NotFoundError, UserError
from tuneline.plan.events import RunEnded
from tuneline.web import create_app

__all__ = ["offer"]
RULE = {
    "rule": "noninferior(accuracy, live, margin=0.04)", "passed": True, "reason": "not worse",
    "estimate": 0.0125, "interval": [-0.02, 0.05], "values": {},
    "tests": [{"test": "noninferior", "passed": True, "metric": "accuracy", "estimate": 0.0125,
               "interval": [-0.02, 0.05], "p_value": 0.0031, "margin": 0.04, "alpha": 0.05, "rows": 400}],
}  # fmt: skip
VERDICT = {"passed": True, "reason": "the rule holds", "rules": [RULE], "rows": 400}


@pytest.fixture
def far(platform):
    """A browser on another machine."""
    app = create_app(platform)
    with TestClient(
        app, base_url="http://tuneline.test:8080", client=("192.0.2.7", 50_000), follow_redirects=False
    ) as http:
        yield http


@pytest.fixture
def ask(platform, offer, ir):
    """Proposes content of a run of its own that needs approval."""

    def make(rows="two", run="", **changes):
        run = run or platform.submit(ir, {}, {"name": rows, "digest": "sha256:p", "commit": "c0ffee"})["id"]
        values = {"verdict": VERDICT, "approval": "required", "run": run, **changes}
        return platform.propose(Offer(**offer(rows, **values)))

    return make


def end(runner, run, state="SUCCEEDED"):
    runner.record.runs.append(runner.leases[run], [RunEnded(state)], time.time())


def go_live(platform, release):
    live = platform.record.endpoints.live("reviews")
    digest = live.digest if live else ""
    platform.record.endpoints.went_live("reviews", release, digest, "ready", "control", time.time())
    return platform.record.endpoints.live("reviews").digest


def test_a_candidate_is_approved_over_the_wire_and_says_by_whom_when_and_why(client, ask):
    assert ask()["state"] == "candidate"
    assert client.endpoints() == []
    before = client.release("reviews@1.0.0")
    assert (before["state"], before["approval"]["decision"], before["compared_with"]) == (
        "candidate", None, "",
    )  # fmt: skip
    done = client.approve("reviews@1.0.0", "looks good")
    assert done == {
        "release": "reviews@1.0.0", "state": "approved", "endpoint": "reviews", "again": False,
        "serves": None, "run": None, "waits": "",
    }  # fmt: skip
    assert client.endpoint("reviews")["desired"] == "reviews@1.0.0"
    said = client.release("reviews@1.0.0")["approval"]
    assert (said["decision"], said["by"], said["comment"]) == ("approved", "ann", "looks good")
    assert said["at"].startswith("20")
    assert client.verify_ledger(said["ledger_head"])["ok"]
    with pytest.raises(ConflictError, match="it is approved by ann"):
        client.reject("reviews@1.0.0")
    with pytest.raises(NotFoundError):
        client.approve("reviews@7.0.0")
    with pytest.raises(UserError, match="is no head"):
        client.verify_ledger("seven")


def test_an_approval_bears_the_name_of_its_token_and_a_reading_token_gives_none(platform, far, ask):
    ask()
    tokens = platform.record.tokens
    reads = {"Authorization": f"Bearer {tokens.create('watch', time.time(), read_only=True)}"}
    for way in ("approve", "reject"):
        for path in (f"/api/v1/releases/reviews@1.0.0/{way}", f"/releases/reviews@1.0.0/{way}"):
            assert far.post(path, headers=reads).status_code == 403
            assert far.post(path).status_code == 401
    assert "<form" not in far.get("/releases/reviews@1.0.0", headers=reads).text
    assert platform.release("reviews@1.0.0")["state"] == "candidate"
    writes = {"Authorization": f"Bearer {tokens.create('carol', time.time())}"}
    answer = far.post("/api/v1/releases/reviews@1.0.0/reject", json={"comment": "too slow"}, headers=writes)
    assert answer.json()["state"] == "rejected"
    said = platform.release("reviews@1.0.0")["approval"]
    assert (said["by"], said["comment"]) == ("carol", "too slow")
    assert platform.ledger()[-1]["body"]["by"] == "carol"


def test_the_page_of_a_candidate_shows_its_verdict_and_takes_a_yes_from_its_own_form_alone(platform, ask):
    ask()
    with TestClient(create_app(platform), base_url="http://localhost", follow_redirects=False) as http:
        assert "/releases/reviews@1.0.0" in http.get("/releases").text
        text = unescape(http.get("/releases/reviews@1.0.0").text)
        for shown in ("0.0125", "-0.0200 to 0.0500", "0.0031", RULE["rule"], "c0ffee", "Approve", "Reject"):
            assert shown in text
        path, form = "/releases/reviews@1.0.0/approve", {"comment": "<b>fine</b>"}
        evil = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert http.post(path, data=form, headers=evil).status_code == 403
        assert platform.release("reviews@1.0.0")["state"] == "candidate"
        answer = http.post(path, data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/releases/reviews@1.0.0")
        text = http.get("/releases/reviews@1.0.0").text
        assert "&lt;b&gt;fine&lt;/b&gt;" in text
        assert "<b>fine" not in text
        assert "<form" not in text
        assert http.post(path, data=form).status_code == 409


@pytest.fixture
def moved(platform, runner, ask, offer):
    """1.0.1 waits, compared with 1.0.0; 1.0.2 went live meanwhile."""
    ask("one", approval="auto")
    first = go_live(platform, "reviews@1.0.0")
    ask("two", live_digest=first)
    ask("three", live_digest=first, approval="auto")
    for run in list(runner.leases):
        end(runner, run)
    return go_live(platform, "reviews@1.0.2")


def test_one_that_was_compared_with_what_is_live_no_more_is_gated_again_by_its_own_run(
    platform, runner, moved, ask
):
    before = platform.run(platform.release("reviews@1.0.1")["run"])
    done = platform.approvals.approve("reviews@1.0.1", "yes")
    assert (done["state"], done["again"], done["serves"]) == ("candidate", True, "reviews@1.0.2")
    run = platform.record.runs.get(done["run"])
    assert (run["project"], run["project_commit"]) == ("two", "c0ffee")
    assert platform.record.runs.ir(done["run"]) == platform.record.runs.ir(before["id"])
    assert "gates reviews@1.0.1 again" in run["description"]
    platform.approvals.look()  # it is under way: nothing to do
    assert platform.release("reviews@1.0.1")["approval"]["gated_again_by"] == done["run"]
    assert platform.endpoint("reviews")["desired"] == "reviews@1.0.2"
    judged = ask("two", run=done["run"], live_digest=moved)
    assert (judged["release"], judged["state"]) == ("reviews@1.0.1", "approved")
    assert platform.endpoint("reviews")["desired"] == "reviews@1.0.1"


def test_it_waits_while_its_project_has_another_run_and_begins_when_that_has_ended(
    platform, runner, moved, ir
):
    other = platform.submit(ir, {}, {"name": "two"})["id"]
    done = platform.approvals.approve("reviews@1.0.1")
    assert (done["run"], other in done["waits"]) == (None, True)
    platform.approvals.look()
    assert platform.release("reviews@1.0.1")["approval"]["gated_again_by"] is None
    end(runner, other)
    platform.approvals.look()  # as the server's loop does, also after a restart
    run = platform.release("reviews@1.0.1")["approval"]["gated_again_by"]
    assert platform.record.runs.get(run)["state"] == "RUNNING"


def test_a_run_that_fails_ends_the_approval_unless_live_moved_again_meanwhile(platform, runner, moved, ask):
    first = platform.approvals.approve("reviews@1.0.1", "yes")["run"]
    ask("four", live_digest=moved, approval="auto")
    go_live(platform, "reviews@1.0.3")
    end(runner, first, "FAILED")  # as `propose` does when live moved
    platform.approvals.look()
    second = platform.release("reviews@1.0.1")["approval"]["gated_again_by"]
    assert second not in (None, first)
    end(runner, second, "FAILED")
    platform.approvals.look()
    release = platform.release("reviews@1.0.1")
    assert (release["state"], release["approval"]["decision"]) == ("candidate", None)
    assert f"run {second}, which was to gate it again, is failed" in release["approval"]["note"]
    assert platform.ledger()[-1]["kind"] == "approval_lapsed"


def test_one_whose_run_is_no_more_cannot_be_gated_again_and_says_so(platform, moved, ask):
    ask("five", run="20200101-000000-aaaaaa", live_digest=moved)
    go_live(platform, "reviews@1.0.1")
    with pytest.raises(ConflictError, match="is not on record here") as wrong:
        platform.approvals.approve("reviews@1.0.3")
    assert "Run its project again" in wrong.value.hint
    assert platform.release("reviews@1.0.3")["approval"]["decision"] is None
