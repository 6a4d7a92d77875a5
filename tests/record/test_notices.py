"""The outbox on both databases: a notice is there if and only if what it tells of is."""

from functools import partial

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.events import AttemptFailed, RunEnded, RunRetried, RunStarted
from tuneline.plan.notices import message
from tuneline.plan.rollout import Observed, look
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.plan.sequential import Counts
from tuneline.record import ledger, notices
from tuneline.record.drift import NewWindow
from tuneline.record.rollouts import Asked
from tuneline.types import digest_json

TEXT = "name: reviews\nnotify: ${SLACK_URL}\n"


def kinds(record):
    return [row["kind"] for row in reversed(record.notices.newest())]


def put(record, key, at=1.0, **about):
    with record._store.write() as db:
        notices.put(db, at, "drift", key, about)


def test_one_key_is_told_once(record):
    put(record, "a", endpoint="e")
    put(record, "a", endpoint="other")
    put(record, "b")
    assert [row["key"] for row in record.notices.newest()] == ["b", "a"]
    assert record.notices.newest()[1]["about"] == {"endpoint": "e"}


def test_what_is_rolled_back_is_told_to_nobody(record):
    def broken(db):
        notices.put(db, 1.0, "drift", "a", {})
        raise ZeroDivisionError

    with record._store.write() as db, pytest.raises(ZeroDivisionError), db.begin_nested():
        broken(db)
    assert record.notices.newest() == []


def test_a_failed_run_of_a_project_is_told_once_a_time_it_was_asked_to_go_on(record, new_run):
    run = new_run()
    record.runs.create(type(run)(**{**vars(run), "project_text": TEXT}), 1.0)
    lease = record.runs.lease("r1")
    wrong = {"message": "Out of memory.", "code": "no_resource"}
    failed = RunEnded("FAILED", {"message": "A task failed."})
    record.runs.append(lease, [RunStarted(), AttemptFailed("tune", 1, 1, wrong), failed], 2.0)
    record.runs.append(lease, [failed], 3.0)  # as a server does that was killed meanwhile
    (notice,) = record.notices.newest()
    assert (notice["kind"], notice["project"], notice["run"], notice["at"]) == (
        "run_failed",
        "reviews",
        "r1",
        2.0,
    )
    assert notice["about"]["tasks"] == [{"task": "tune", "message": "Out of memory."}]
    record.runs.append(lease, [RunRetried("ann", ("tune",)), failed], 4.0)
    assert kinds(record) == ["run_failed", "run_failed"]
    assert record.notices.project_text("reviews") == TEXT


@pytest.mark.parametrize("state", ["SUCCEEDED", "CANCELED", "FAILED"])
def test_other_ends_and_other_peoples_pipelines_are_not_told(record, new_run, state):
    record.runs.create(new_run(), 1.0)  # without a project's text
    record.runs.append(record.runs.lease("r1"), [RunStarted(), RunEnded(state)], 2.0)
    assert record.notices.newest() == []


def test_verdicts_and_what_goes_live_are_told_with_their_facts(record, proposal):
    verdict = {"passed": True, "live_release": None, "rules": [{"rule": "accuracy >= 0.8", "passed": True}]}
    report = {"rows": 400, "candidate": {"accuracy": 0.84}}
    record.releases.propose(proposal(verdict=verdict, report=report), 10.0)
    record.releases.propose(proposal(), 11.0)  # identical: nothing was decided
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 12.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 13.0)
    verdict_told, live_told = reversed(record.notices.newest())
    assert verdict_told["about"]["metrics"] == {"candidate": {"accuracy": 0.84}}
    assert verdict_told["about"]["rules"][0]["rule"] == "accuracy >= 0.8"
    assert (live_told["kind"], live_told["about"]["before"], live_told["project"]) == (
        "rolled_out",
        None,
        "reviews",
    )


def test_a_proposal_that_is_refused_is_not_told(record, proposal):
    record.releases.propose(proposal("a"), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 12.0)
    before = kinds(record)
    with pytest.raises(ConflictError):
        record.releases.propose(proposal("b", live_digest=""), 13.0)
    assert kinds(record) == before
    record.releases.propose(proposal("b", live_digest=digest_json("a"), approved=False, run="r2"), 14.0)
    assert record.notices.newest()[0]["about"]["state"] == "rejected"


def test_whose_it_is_is_found_by_release_or_endpoint(record, proposal):
    record.releases.propose(proposal(), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 12.0)
    put(record, "by release", release="other@1.0.0")
    put(record, "by endpoint", endpoint="reviews")
    put(record, "by nothing", endpoint="nowhere")
    assert [row["project"] for row in record.notices.newest(3)] == ["", "reviews", "other"]


def test_a_target_is_told_in_order_and_a_delivery_is_made_once(record):
    for key in "abc":
        put(record, key)
    for n in (1, 2, 3):
        record.notices.address(n, ["x", "y", "x"], 5.0)
        record.notices.address(n, ["z"], 5.0)
    assert record.notices.to_address() == []
    assert [(head["notice"], head["target"]) for head in record.notices.heads()] == [(1, "x"), (1, "y")]
    assert record.notices.begin(1, "x", 9.0)
    record.notices.delivered(1, "x", 6.0)
    assert not record.notices.begin(1, "x", 9.0)
    record.notices.refused(1, "y", "no", None)
    record.notices.refused(2, "y", "busy", 20.0)
    heads = [(head["notice"], head["target"], head["next_at"]) for head in record.notices.heads()]
    assert heads == [(2, "x", 5.0), (2, "y", 20.0)]
    assert record.notices.retry(None, 7.0) == 5
    assert record.notices.heads()[0]["notice"] == 1
    with pytest.raises(NotFoundError, match="no notice 99"):
        record.notices.retry(99, 7.0)


def test_what_was_settled_long_ago_is_forgotten_and_its_number_not_given_again(record):
    for at, key in enumerate("abcd"):
        put(record, key, float(at))
    for n in (1, 2, 4):
        record.notices.address(n, ["x"], 0.0)
        record.notices.delivered(n, "x", 1.0)
    record.notices.address(3, ["x"], 0.0)
    assert record.notices.forget(100.0) == 2
    assert [row["n"] for row in record.notices.newest()] == [4, 3]
    put(record, "e")
    assert record.notices.newest()[0]["n"] == 5


def unwritable(*_, **__):
    raise ZeroDivisionError


def told_or_nothing(record, kind, happen, monkeypatch):
    """`happen` fails where it writes the ledger: nothing is told. Then it happens; the one notice of it."""
    before, head = len(record.notices.newest(100)), record.ledger.head()
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write", unwritable)
        with pytest.raises(ZeroDivisionError):
            happen()
    assert (len(record.notices.newest(100)), record.ledger.head()) == (before, head)
    happen()
    (notice,) = [row for row in record.notices.newest(100) if row["kind"] == kind]
    assert record.ledger.head() != head
    return notice


def test_that_somebody_must_approve_is_told_once_with_the_commands(record, proposal, monkeypatch):
    rules = [{"rule": "accuracy >= 0.8", "passed": True, "estimate": 0.84}]
    waits = proposal(required=True, verdict={"passed": True, "rules": rules})
    propose = partial(record.releases.propose, waits, 10.0)
    notice = told_or_nothing(record, "approval_wanted", propose, monkeypatch)
    propose()  # it goes on waiting
    assert kinds(record) == ["verdict", "approval_wanted"]
    said = message(notice["kind"], notice["about"])
    assert (said.title, notice["project"]) == ("reviews@1.0.0 waits for approval", "reviews")
    assert "the gate passed (by ann)" in said.text
    assert "accuracy >= 0.8  holds  0.84" in said.text
    assert 'tuneline releases approve reviews@1.0.0 --comment "..."' in said.text


@pytest.fixture
def tried(record, proposal):
    """1.0.0 is live; 1.0.1, which the gate refused, is tried all the same."""
    record.releases.propose(proposal("a"), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 20.0)
    record.releases.propose(proposal("b", live_digest=digest_json("a"), approved=False), 30.0)
    plan = RolloutPlan(stages=(25.0,), every_s=0.0, min_requests=50, metrics=("errors",))
    record.rollouts.start("reviews", "reviews@1.0.1", plan, Asked("ann", "I am sure", 35.0), True)
    return record


def test_that_a_test_took_a_release_back_is_told_once_with_its_numbers_and_who_forced_it(tried, monkeypatch):
    rollout = tried.rollouts.underway("reviews")
    worse = Observed(({"errors": Counts(10, 10.0, 30, 0.0)},) * 3, 30, 90, 30)
    done = look(rollout.plan, rollout.state, worse, 40.0)
    assert done.kind == "rollback"
    save = partial(tried.rollouts.save, rollout, done, {}, 40.0)
    notice = told_or_nothing(tried, "rolled_back", save, monkeypatch)
    assert not save()
    assert kinds(tried).count("rolled_back") == 1
    said = message(notice["kind"], notice["about"])
    assert (said.title, said.tone) == ("reviews@1.0.1 was rolled back at reviews", "failure")
    assert "reviews@1.0.0 serves again." in said.text
    assert "The candidate is worse in errors" in said.text
    assert "It was forced past its gate by ann: I am sure" in said.text
    assert notice["about"]["numbers"][0]["candidate"] == 1.0


def test_that_somebody_went_back_is_told_once_with_the_reason(tried, monkeypatch):
    tried.rollouts.end("reviews", "promote", Asked("ann", "asked for", 50.0))
    tried.endpoints.went_live("reviews", "reviews@1.0.1", digest_json("a"), "ready", "control", 60.0)
    back = partial(tried.rollouts.go_back, "reviews", None, Asked("bob", "users complain", 70.0))
    notice = told_or_nothing(tried, "rolled_back", back, monkeypatch)
    said = message(notice["kind"], notice["about"])
    assert said.title == "reviews@1.0.1 was rolled back at reviews"
    assert "reviews@1.0.0 serves again.\n\nWhy: users complain (by bob)." in said.text
    assert "tuneline history reviews" in said.text


def test_drift_is_told_once_an_alert_with_its_detectors(record, proposal, monkeypatch):
    record.releases.propose(proposal("a"), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 20.0)
    (watched,) = record.drift.watched()
    finding = {"detector": "prompt_length", "value": 0.4, "p": 1e-9, "threshold": 6.3e-6, "reference_n": 200,
               "window_n": 100, "verdict": "drift", "said": "median 42 -> 65"}  # fmt: skip
    window = NewWindow(30.0, 21.0, 29.0, 100, [finding], ["prompt_length"], "prompts are longer")
    looked = partial(record.drift.looked, watched, 30.0, {}, {}, {}, window)
    notice = told_or_nothing(record, "drift", looked, monkeypatch)
    looked()  # it goes on
    assert kinds(record).count("drift") == 1
    said = message(notice["kind"], notice["about"])
    assert (said.title, notice["project"]) == ("Drift at reviews", "reviews")
    assert "Why: prompts are longer." in said.text
    assert "prompt_length  0.4    1e-09  6.3e-06" in said.text
    assert "tuneline drift reviews" in said.text
