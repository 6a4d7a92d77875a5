"""Rollouts, decided: what each observation leads to, and what no sequence of them may lead to."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.errors import SpecError
from tuneline.plan.rollout import Observed, RolloutState, begin, look
from tuneline.plan.rollout_plan import RolloutPlan, Step, percents
from tuneline.plan.sequential import Counts

PLAN = RolloutPlan(stages=(5.0, 25.0, 100.0), every_s=60.0, min_requests=100, metrics=("errors",), watched=())


def seen(candidate, failed=0, stable=None, stable_failed=0, **more):
    """One batch of requests, by the metric `errors`."""
    stable = candidate if stable is None else stable
    counts = Counts(candidate, failed, stable, stable_failed)
    return Observed(({"errors": counts},), candidate, stable, failed, **more)


def looks(plan, *observations, every_s=61.0):
    """The decisions of looks `every_s` apart."""
    state, found = begin(plan, 0.0), []
    for number, observed in enumerate(observations):
        found.append(look(plan, state, observed, number * every_s))
        state = found[-1].state
    return found


def test_a_good_candidate_goes_through_every_stage_and_is_promoted():
    rows = looks(PLAN, Observed(ready=False), Observed(), *[seen(200)] * 2)
    assert [(each.kind, each.weight) for each in rows] == [
        ("hold", 0.0), ("advance", 5.0), ("advance", 25.0), ("promote", 25.0),
    ]  # fmt: skip
    assert rows[-1].numbers["tests"]["errors"]["promote"]
    assert rows[1].weights == {"candidate": 5.0, "stable": 95.0}


def test_copies_come_first_where_they_are_asked_for():
    assert replace(PLAN, shadow=True).steps == (Step(0.0, True), Step(5.0), Step(25.0))
    assert RolloutPlan("shadow").steps == (Step(0.0, True),)
    assert RolloutPlan("ab").steps == (Step(50.0),)
    assert RolloutPlan("switch").steps == ()
    (first,) = looks(replace(PLAN, shadow=True), Observed())
    assert (first.weight, first.shadow) == (0.0, True)


@pytest.mark.parametrize(
    "observed, code",
    [
        (seen(40, failed=20), "worse"),
        (Observed(ready=False, down="It was not ready within 120 seconds."), "never_ready"),
        (Observed(ready=False, crashes=3), "crashes"),
        (Observed(ready=False, crashes=1, problem="Exit code 1. MemoryError"), "memory"),
    ],
)
def test_a_bad_candidate_is_rolled_back_at_once(observed, code):
    *_, last = looks(PLAN, Observed(), observed, every_s=0.1)
    assert (last.kind, last.code, last.weight) == ("rollback", code, 0.0)


def test_the_error_budget_ends_what_the_tests_would_let_pass():
    both_fail = seen(100, failed=5, stable=100, stable_failed=5)
    assert looks(PLAN, Observed(), both_fail)[-1].kind == "advance"
    assert looks(replace(PLAN, error_budget=5), Observed(), both_fail)[-1].code == "budget"


def test_a_runtime_that_ended_gets_nothing_until_it_is_back():
    rows = looks(PLAN, Observed(), Observed(ready=False, crashes=1), Observed(crashes=1), every_s=1.0)
    assert [(each.kind, each.code, each.weight) for each in rows[1:]] == [
        ("hold", "restarting", 0.0), ("hold", "time", 5.0),
    ]  # fmt: skip


def test_time_alone_alerts_once_and_never_promotes():
    *_, due, again = looks(PLAN, Observed(), *[seen(1)] * 3, every_s=50_000.0)
    assert (due.kind, due.code, due.alert) == ("hold", "undecided", True)
    assert due.news
    assert not again.news
    assert "tuneline promote" in due.reason


def test_metrics_that_are_only_watched_are_not_waited_for_but_roll_back():
    plan = replace(PLAN, watched=("feedback",))
    assert looks(plan, Observed(), *[seen(300)] * 2)[-1].kind == "promote"
    bad = Observed(({"feedback": Counts(60, 6.0, 60, 54.0)},))
    assert looks(plan, Observed(), bad)[-1].code == "worse"
    needed = replace(PLAN, metrics=("errors", "feedback"))
    assert looks(needed, Observed(), *[seen(300)] * 9)[-1].kind == "hold"


def test_one_alpha_is_split_over_all_metrics_that_are_tested():
    plan = replace(PLAN, metrics=("errors", "slow"), watched=("feedback",), alpha=0.06)
    tests = begin(plan, 0.0).tests.values()
    assert [each.hypothesis.alpha_promote for each in tests] == pytest.approx([0.02] * 3)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"strategy": "fast"}, "it can be switch, canary, shadow, ab"),
        ({"stages": (25.0, 5.0)}, "must grow"),
        ({"stages": (100.0,)}, "needs a stage under 100%"),
        ({"metrics": ("speed",)}, "no metric `speed`"),
        ({"metrics": ("agreement",)}, "needs shadow"),
        ({"margins": {"errors": 0.0}}, "between 0 and 1"),
        ({"alpha": 1.0}, "alpha is 1.0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(given, said):
    with pytest.raises(SpecError) as refused:
        RolloutPlan(**given)
    assert said in " ".join(refused.value.details)


def test_plans_and_stages_are_read():
    assert RolloutPlan.from_json(PLAN.to_json()) == PLAN
    assert percents(["5%", " 25 %", "100"]) == (5.0, 25.0, 100.0)
    with pytest.raises(SpecError):
        percents(["half"])
    with pytest.raises(SpecError):
        RolloutPlan.from_json({"stage": [5]})
    for wrong in ({"stages": "5%"}, {"every_s": None}, {"shadow": 1}, {"margins": [1]}):
        with pytest.raises(SpecError):
            RolloutPlan.from_json(wrong)


COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.floats(0, 1)).map(
    lambda n: Counts(n[0], round(n[0] * n[2] ** 4), n[1], round(n[1] * n[3] ** 4))
)
OBSERVED = st.builds(
    lambda counts, ready, crashes, behind: Observed(
        ({"errors": counts},), counts.candidate_n, counts.stable_n, int(counts.candidate_sum),
        ready=ready, crashes=crashes, behind=behind,
    ),
    COUNTS, st.booleans() | st.just(True), st.integers(0, 4) | st.just(0), st.booleans(),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(OBSERVED, st.floats(0, 100_000)), max_size=25), st.booleans())
def test_no_sequence_promotes_with_too_few_or_weighs_what_is_not_ready(rows, shadow):
    plan = replace(PLAN, shadow=shadow)
    state, now, candidate, stable = begin(plan, 0.0), 0.0, 0, 0
    for observed, passed in rows:
        now += passed
        done = look(plan, state, observed, now)
        stored = RolloutState.from_json(json.loads(json.dumps(state.to_json())))
        assert look(plan, stored, observed, now) == done  # a server that was killed decides the same
        candidate, stable = candidate + observed.candidate, stable + observed.stable
        if not observed.ready:
            assert (done.weight, done.shadow) == (0.0, False)
            assert done.kind in ("hold", "rollback")
        assert done.weight < 100
        if done.kind == "promote":
            assert min(candidate, stable) >= plan.min_requests
            assert done.state.step == len(plan.steps) - 1
            assert done.numbers["tests"]["errors"]["promote"]
            assert not observed.behind
        if done.kind in ("promote", "rollback"):
            return
        assert done.state.step - state.step in (0, 1)
        state = done.state
