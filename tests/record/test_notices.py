"""The outbox on both databases: a notice is there if and only if what it tells of is."""

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.events import AttemptFailed, RunEnded, RunRetried, RunStarted
from tuneline.record import notices
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
