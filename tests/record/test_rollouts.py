"""Rollouts in the record: every change in one transaction with the ledger, and never two at an endpoint."""

import json
from dataclasses import replace

import pytest

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.rollout import Observed, look
from tuneline.plan.rollout_plan import RolloutPlan
from tuneline.plan.sequential import Counts
from tuneline.record.rollouts import Asked
from tuneline.types import digest_json

CANARY = {"strategy": "canary", "stages": ["25%"], "every_s": 0.0, "min_requests": 50, "metrics": ["errors"]}
ANN = Asked("ann", "asked for", 100.0)


@pytest.fixture
def tried(record, proposal):
    """1.0.0 is live, 1.0.1 was approved with a canary as its project's way."""
    record.releases.propose(proposal("a"), 10.0)
    record.endpoints.went_live("reviews", "reviews@1.0.0", "", "ready", "control", 20.0)
    deploy = {"endpoint": "reviews", "rollout": CANARY}
    again = proposal("b", live_digest=digest_json("a"), deploy=deploy)
    assert record.releases.propose(again, 30.0).release == "reviews@1.0.1"
    return record


def step(record, observed, at=40.0):
    rollout = record.rollouts.underway("reviews")
    done = look(rollout.plan, rollout.state, observed, at)
    assert record.rollouts.save(rollout, done, {"read": at}, at)
    return done


def entries(record, kind):
    return [json.loads(entry.body) for entry in record.ledger.entries() if entry.kind == kind]


def test_an_approved_release_is_tried_beside_the_live_one_as_its_project_says(tried):
    (desired,) = tried.endpoints.desired()
    assert desired.release == "reviews@1.0.0"
    assert (desired.trial.release, desired.trial.weight) == ("reviews@1.0.1", 0.0)
    assert tried.rollouts.underway("reviews").plan.steps[0].weight == 25.0
    assert entries(tried, "rollout")[0]["release"] == "reviews@1.0.1"


def test_a_decision_its_numbers_and_what_it_changes_are_written_together(tried):
    step(tried, Observed())
    (desired,) = tried.endpoints.desired()
    assert desired.trial.weight == 25.0
    done = step(tried, Observed(({"errors": Counts(20, 0.0, 60, 0.0)},) * 30, 600, 1800), 50.0)
    assert done.kind == "promote"
    (desired,) = tried.endpoints.desired()
    assert (desired.release, desired.trial) == ("reviews@1.0.1", None)
    assert desired.live_digest == digest_json("a")
    last = entries(tried, "decision")[-1]
    assert (last["kind"], last["numbers"]["tests"]["errors"]["promote"]) == ("promote", True)
    assert tried.rollouts.latest("reviews")["status"] == "promoted"
    assert len(tried.endpoints.history("reviews")) == 1  # until it took over, the stable one is live
    assert [row["kind"] for row in tried.rollouts.decisions("reviews-1")] == ["advance", "promote"]
    assert not tried.ledger.verify()


def test_a_look_that_another_one_overtook_is_not_kept(tried):
    rollout = tried.rollouts.underway("reviews")
    done = look(rollout.plan, rollout.state, Observed(), 40.0)
    assert tried.rollouts.save(rollout, done, {}, 40.0)
    assert not tried.rollouts.save(rollout, done, {}, 41.0)
    tried.rollouts.end("reviews", "rollback", ANN)
    assert not tried.rollouts.save(replace(rollout, looks=1), done, {}, 42.0)
    assert tried.rollouts.underway("reviews") is None


def test_a_look_without_news_keeps_what_was_counted_and_leaves_the_ledger(tried):
    step(tried, Observed(ready=False))
    before = tried.ledger.head()
    step(tried, Observed(ready=False))
    assert tried.ledger.head() == before
    assert tried.rollouts.underway("reviews").looks == 2
    assert tried.rollouts.underway("reviews").cursor == {"read": 40.0}


def test_whoever_ends_a_rollout_is_on_record(tried):
    tried.rollouts.end("reviews", "promote", ANN)
    last = entries(tried, "decision")[-1]
    assert (last["kind"], last["by"], last["reason"]) == ("promote", "ann", "asked for")
    assert tried.endpoints.get("reviews")["desired"] == "reviews@1.0.1"
    with pytest.raises(ConflictError):
        tried.rollouts.end("reviews", "promote", ANN)


def test_what_was_rolled_back_is_not_tried_again_by_itself(tried, proposal):
    tried.rollouts.end("reviews", "rollback", ANN)
    deploy = {"endpoint": "reviews", "rollout": CANARY}
    tried.releases.propose(proposal("b", live_digest=digest_json("a"), deploy=deploy), 120.0)
    assert tried.rollouts.underway("reviews") is None
    plan = RolloutPlan(stages=(5.0,))
    assert tried.rollouts.start("reviews", "reviews@1.0.1", plan, ANN, False) == "reviews-2"


def test_another_wish_ends_what_is_under_way(tried):
    tried.endpoints.want("reviews", "reviews@1.0.1", digest_json("a"), "now", "ann", 60.0)
    assert tried.rollouts.latest("reviews")["status"] == "replaced"
    assert entries(tried, "decision")[-1]["kind"] == "replaced"


def test_going_back_wants_what_was_live_before(tried):
    with pytest.raises(ConflictError):  # nothing was
        tried.rollouts.go_back("reviews", None, ANN)
    tried.rollouts.end("reviews", "promote", ANN)
    tried.endpoints.went_live("reviews", "reviews@1.0.1", digest_json("a"), "ready", "control", 110.0)
    assert tried.rollouts.go_back("reviews", None, ANN) == "reviews@1.0.0"
    assert tried.endpoints.get("reviews")["desired"] == "reviews@1.0.0"
    with pytest.raises(NotFoundError):
        tried.rollouts.go_back("reviews", "reviews@9.0.0", ANN)


def test_a_rollout_needs_something_live_and_something_else(tried):
    with pytest.raises(ConflictError):
        tried.rollouts.start("reviews", "reviews@1.0.0", RolloutPlan(), ANN, False)
