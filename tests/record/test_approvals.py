"""Candidates: a yes, a no, a base of comparison that moved; in the record, on both databases."""

import json

import pytest
from sqlalchemy import select

from tuneline.errors import ConflictError, NotFoundError
from tuneline.record.schema import releases
from tuneline.types import digest_json

VERDICT = {
    "passed": True,
    "rules": [
        {
            "rule": "noninferior(accuracy, live)",
            "passed": True,
            "values": {},
            "tests": [
                {"test": "noninferior(accuracy, live)", "passed": True, "metric": "accuracy", "margin": 0.04,
                 "alpha": 0.05, "rows": 400, "estimate": 0.01, "interval": [-0.02, 0.04], "p_value": 0.003}
            ],
        }
    ],
}  # fmt: skip
REFUSED = {"passed": False, "rules": [{"rule": "accuracy >= 0.9", "passed": False}]}


@pytest.fixture
def live(record, proposal):
    """`reviews@1.0.0` is live: content a."""
    record.releases.propose(proposal("a"), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 20.0)
    return digest_json("a")


@pytest.fixture
def candidate(record, proposal, live):
    """Proposes content against content a."""

    def make(content="b", **changes):
        given = {"live_digest": live, "required": True, "verdict": VERDICT, "run": "r2", **changes}
        return record.releases.propose(proposal(content, **given), 30.0)

    return make


def entries(record):
    return [(entry.kind, json.loads(entry.body)) for entry in record.ledger.entries()]


def switch(record, release, digest, at):
    """Another release is live from now on."""
    record.endpoints.went_live("reviews", release, digest, "ready", "control", at)


def row(record, name):
    return record.releases.get(name)


def test_a_candidate_is_wanted_nowhere_until_somebody_says_yes(record, candidate):
    done = candidate()
    assert (done.release, done.state, done.created) == ("reviews@1.0.1", "candidate", True)
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.0"
    said = record.approvals.approve("reviews@1.0.1", "looks good", "bob", 40.0)
    assert (said.state, said.again, said.serves, said.endpoint) == (
        "approved", False, "reviews@1.0.0", "reviews",
    )  # fmt: skip
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.1"
    assert record.endpoints.desired()[0].live_digest == digest_json("a")
    kept = row(record, "reviews@1.0.1")
    assert (kept["state"], kept["approval"]["by"], kept["approval"]["comment"]) == (
        "approved", "bob", "looks good",
    )  # fmt: skip
    assert kept["approval"]["at"] == 40.0


def test_every_decision_stands_in_the_ledger_with_its_numbers(record, candidate):
    candidate()
    record.approvals.approve("reviews@1.0.1", "looks good", "bob", 40.0)
    written = entries(record)[-4:]
    assert [kind for kind, _ in written] == ["proposed", "candidate", "approved", "desired"]
    for _, body in written[:3]:
        (test,) = body["verdict"]["rules"][0]["tests"]
        assert (test["estimate"], test["bound"], test["p"], test["rows"]) == (0.01, -0.02, 0.003, 400)
    assert (written[2][1]["by"], written[2][1]["why"]) == ("bob", "looks good")
    assert written[3][1]["why"] == "approved: looks good"


def test_a_no_leaves_what_is_live_and_stands_while_the_choice_is_the_same(record, candidate):
    candidate()
    assert record.approvals.reject("reviews@1.0.1", "too slow", "bob", 40.0).state == "rejected"
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.0"
    assert entries(record)[-1][0] == "rejected"
    again = candidate()
    assert (again.state, again.reason) == ("rejected", "identical to reviews@1.0.1, which bob rejected")
    with pytest.raises(ConflictError, match=r"cannot be approved: it is rejected by bob, and no candidate"):
        record.approvals.approve("reviews@1.0.1", "", "ann", 50.0)


def test_proposing_a_candidate_again_changes_nothing_and_says_that_it_waits(record, candidate):
    candidate()
    head = record.ledger.head()
    assert candidate().reason == "identical to reviews@1.0.1, which waits for approval"
    assert record.ledger.head() == head


def test_what_the_gate_refused_nobody_can_approve(record, candidate):
    candidate(verdict=REFUSED, approved=False)
    for say in (record.approvals.approve, record.approvals.reject):
        with pytest.raises(ConflictError, match=r"its gate refused \(accuracy >= 0\.9\)"):
            say("reviews@1.0.1", "please", "bob", 40.0)
    assert row(record, "reviews@1.0.1")["state"] == "rejected"


def test_what_is_no_candidate_cannot_be_approved(record, candidate):
    with pytest.raises(ConflictError, match=r"reviews@1\.0\.0 cannot be approved: it is approved, and no"):
        record.approvals.approve("reviews@1.0.0", "", "bob", 40.0)
    with pytest.raises(NotFoundError, match=r"no release reviews@9\.9\.9"):
        record.approvals.approve("reviews@9.9.9", "", "bob", 40.0)
    candidate()
    record.approvals.approve("reviews@1.0.1", "", "bob", 40.0)
    with pytest.raises(ConflictError, match="it is approved by bob"):
        record.approvals.reject("reviews@1.0.1", "", "ann", 41.0)


@pytest.fixture
def moved(record, candidate, proposal, live):
    """1.0.1 waits, compared with 1.0.0; meanwhile 1.0.2 went live; then somebody approved 1.0.1."""
    candidate("b")
    record.releases.propose(proposal("c", live_digest=live), 31.0)
    switch(record, "reviews@1.0.2", live, 32.0)
    return record.approvals.approve("reviews@1.0.1", "yes", "bob", 40.0)


def test_one_whose_base_of_comparison_is_live_no_more_waits_for_its_gate(record, moved):
    assert (moved.state, moved.again, moved.serves) == ("candidate", True, "reviews@1.0.2")
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.2"
    kind, body = entries(record)[-1]
    assert (kind, body["live"], body["compared_with"]) == ("gated_again", "reviews@1.0.2", digest_json("a"))
    (waiting,) = record.approvals.waiting()
    assert (waiting.release, waiting.live_digest, waiting.run_state) == (
        "reviews@1.0.1", digest_json("c"), "",
    )  # fmt: skip
    assert waiting.approval.run == "r2"
    with pytest.raises(ConflictError, match="was approved by bob already; a run is about to gate it again"):
        record.approvals.approve("reviews@1.0.1", "", "ann", 41.0)


def test_the_approval_holds_if_the_same_content_passes_against_what_is_live_now(record, moved, candidate):
    done = candidate("b", live_digest=digest_json("c"), run="r3")
    assert (done.release, done.state, done.created) == ("reviews@1.0.1", "approved", False)
    assert "which bob approved" in done.reason
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.1"
    assert record.endpoints.desired()[0].live_digest == digest_json("c")
    kind, body = entries(record)[-2]
    assert (kind, body["by"], body["why"], body["run"], body["approved_at"]) == (
        "approved", "bob", "approved: yes", "r3", 40.0,
    )  # fmt: skip
    assert (record.approvals.waiting(), row(record, "reviews@1.0.1")["compared_with"]) == (
        [], digest_json("c"),
    )  # fmt: skip


def test_the_gate_s_no_ends_an_approval(record, moved, candidate):
    done = candidate("b", live_digest=digest_json("c"), verdict=REFUSED, approved=False)
    assert (done.state, record.approvals.waiting()) == ("rejected", [])
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.2"
    kept = row(record, "reviews@1.0.1")
    assert (kept["verdict"], kept["approval"]["by"]) == (REFUSED, "bob")
    assert kept["approval"]["note"] == "the gate refused when it was gated again"
    with pytest.raises(ConflictError, match="its gate refused"):
        record.approvals.approve("reviews@1.0.1", "please", "bob", 50.0)


def test_going_back_to_an_earlier_release_asks_anew_with_the_new_comparison(record, proposal, live):
    record.releases.propose(proposal("c", live_digest=live), 31.0)
    switch(record, "reviews@1.0.1", live, 32.0)
    done = record.releases.propose(
        proposal("a", live_digest=digest_json("c"), required=True, verdict=VERDICT), 33.0
    )
    assert (done.release, done.state) == ("reviews@1.0.0", "candidate")
    assert record.endpoints.get("reviews")["desired"] == "reviews@1.0.1"
    said = record.approvals.approve("reviews@1.0.0", "back", "bob", 40.0)
    assert (said.state, said.again) == ("approved", False)
    assert row(record, "reviews@1.0.0")["verdict"] == VERDICT


def begin(record, new_run, run):
    (waiting,) = record.approvals.waiting()
    record.runs.create(new_run(run), 50.0, record.approvals.begins(waiting, run))
    return waiting


def test_other_content_of_the_run_that_gates_again_is_asked_about_anew(record, moved, candidate, new_run):
    begin(record, new_run, "again")
    done = candidate("d", live_digest=digest_json("c"), run="again")
    assert (done.release, done.state) == ("reviews@1.0.3", "candidate")
    old = row(record, "reviews@1.0.1")
    assert (old["state"], record.approvals.waiting()) == ("withdrawn", [])
    assert "gave other content: reviews@1.0.3" in old["approval"]["note"]
    with pytest.raises(ConflictError, match="it is withdrawn"):
        record.approvals.approve("reviews@1.0.1", "", "bob", 60.0)


def test_a_candidate_is_gated_again_by_one_run(record, moved, new_run):
    stale = begin(record, new_run, "again")
    with pytest.raises(ConflictError, match="waits for no run any more"):
        record.runs.create(new_run("twice", project="other"), 51.0, record.approvals.begins(stale, "twice"))
    with pytest.raises(NotFoundError):
        record.runs.get("twice")
    (waiting,) = record.approvals.waiting()
    assert (waiting.approval.again_run, waiting.run_state) == ("again", "PENDING")


def test_an_approval_that_could_not_be_tried_lapses_and_may_be_given_anew(record, moved, new_run):
    stale, _ = begin(record, new_run, "again"), record.approvals.waiting()
    record.approvals.lapse(stale, "never", 51.0)  # of before the run began: it says nothing now
    (waiting,) = record.approvals.waiting()
    record.approvals.lapse(waiting, "run again is failed", 52.0)
    assert (entries(record)[-1][0], record.approvals.waiting()) == ("approval_lapsed", [])
    kept = row(record, "reviews@1.0.1")
    assert (kept["state"], kept["approval"]["decision"], kept["approval"]["note"]) == (
        "candidate", "", "run again is failed",
    )  # fmt: skip
    assert record.approvals.approve("reviews@1.0.1", "", "ann", 60.0).again


def test_one_that_is_being_gated_again_can_still_be_rejected_for_good(record, moved, candidate):
    record.approvals.reject("reviews@1.0.1", "no after all", "ann", 41.0)
    done = candidate("b", live_digest=digest_json("c"), run="again")
    assert (done.state, done.reason) == ("rejected", "identical to reviews@1.0.1, which ann rejected")


def test_every_release_keeps_the_head_of_the_ledger_at_its_making_and_at_its_approval(record, candidate):
    candidate()
    seq, digest = record.ledger.head()
    assert row(record, "reviews@1.0.1")["ledger_head"] == f"{seq}:{digest}"
    record.approvals.approve("reviews@1.0.1", "", "bob", 40.0)
    seq, digest = record.ledger.head()
    with record.ledger._store.read() as db:
        heads = db.execute(select(releases.c.ledger_head, releases.c.approval)).all()
    assert (heads[1].approval["ledger"], heads[0].ledger_head.partition(":")[0]) == (f"{seq}:{digest}", "3")
