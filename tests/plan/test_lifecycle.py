"""A switch, decided: what is done next in every situation, with plain values."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.plan.endpoints import Desired, Live, Trial
from tuneline.plan.lifecycle import blocked, decide, failed
from tuneline.plan.revisions import (
    WHOLE,
    Begin,
    Check,
    Drop,
    Fail,
    Hold,
    Job,
    Kill,
    Launch,
    Policy,
    Ready,
    RecordLive,
    Retire,
    Revision,
    Role,
    Route,
    Seen,
    Split,
    State,
    Stop,
    Unhold,
    WarmUp,
)  # fmt: skip

WANTED = Desired("e", 2, "m@1.0.1", "digest of m@1.0.0", keep_s=100.0)
OLD = Revision("old", "m@1.0.0", 1, Role.LIVE, State.READY, since=0.0)
NEW = Revision("new", "m@1.0.1", 2, since=50.0)
LIVE = Live("m@1.0.0", "digest of m@1.0.0")


def seen(*revisions, dead=(), **more):
    alive = frozenset(each.id for each in revisions if each.state not in (State.CHECKING, State.DOWN)) - set(
        dead
    )
    facts = {"live": LIVE, "holding": True, "acknowledged": True, "routed": "old"} | more
    return Seen(revisions=revisions, alive=alive, **facts)


def at(state, **more):
    return replace(NEW, state=state, **more)


def test_a_release_that_is_wanted_is_begun_once():
    assert decide(WANTED, seen(OLD), 60.0) == [Begin("m@1.0.1")]
    assert decide(WANTED, seen(OLD, NEW, jobs={"new": Job(False)}), 60.0) == []


def test_the_socket_is_held_before_anything_else():
    assert decide(WANTED, Seen(None, holding=False), 60.0) == [Hold(), Begin("m@1.0.1")]


@pytest.mark.parametrize(
    "revision, more, action",
    [
        (NEW, {"jobs": {"new": Job(True)}}, Launch("new")),
        (at(State.STARTING), {"healthy": frozenset({"new"})}, WarmUp("new")),
        (at(State.WARMING), {"jobs": {"new": Job(True)}}, Ready("new")),
        (at(State.READY), {}, Route("new")),
    ],
)
def test_a_candidate_goes_one_step_after_another(revision, more, action):
    assert decide(WANTED, seen(OLD, revision, **more), 60.0) == [action]


def test_a_candidate_takes_over_only_what_it_was_compared_with():
    moved = Live("m@1.0.5", "another digest")
    other = replace(OLD, release="m@1.0.5")
    assert decide(WANTED, seen(other, at(State.READY), live=moved), 60.0) == []
    assert "m@1.0.5" in blocked(WANTED, seen(other, live=moved))
    assert decide(WANTED, seen(other, live=moved), 60.0) == []
    assert blocked(WANTED, seen(live=None)) == ""


def test_the_record_is_told_once_the_router_has_said_so():
    kept, taken = replace(OLD, role=Role.KEPT, since=60.0), at(State.READY, role=Role.LIVE)
    assert decide(WANTED, seen(kept, taken, routed="new", acknowledged=False), 61.0) == []
    assert decide(WANTED, seen(kept, taken, routed="new"), 61.0) == [RecordLive("new")]
    now = Live("m@1.0.1", "x")
    assert decide(WANTED, seen(kept, taken, routed="new", live=now), 61.0) == []


def test_what_was_kept_is_stopped_when_its_time_is_over_and_it_has_drained():
    kept, taken = replace(OLD, role=Role.KEPT, since=60.0), at(State.READY, role=Role.LIVE)
    facts = {"live": Live("m@1.0.1", "x"), "routed": "new"}
    assert decide(WANTED, seen(kept, taken, **facts), 159.0) == []
    assert decide(WANTED, seen(kept, taken, **facts), 160.0) == [Stop("old")]
    assert decide(WANTED, seen(kept, taken, in_flight={"old": 1}, **facts), 160.0) == []
    assert decide(WANTED, seen(kept, taken, dead=["old"], **facts), 61.0) == [Drop("old")]


def test_going_back_takes_the_kept_one_if_it_is_healthy():
    kept, taken = replace(OLD, role=Role.KEPT, since=60.0), at(State.READY, role=Role.LIVE)
    back = Desired("e", 3, "m@1.0.0", "x")
    facts = {"live": Live("m@1.0.1", "x"), "routed": "new"}
    assert decide(back, seen(kept, taken, healthy=frozenset({"old"}), **facts), 1e6) == [Route("old")]
    assert decide(back, seen(kept, taken, **facts), 1e6) == []


def test_a_candidate_is_tried_three_times_further_and_further_apart():
    dead = at(State.STARTING)
    waits = []
    for failures in range(3):
        (action,) = decide(WANTED, seen(OLD, replace(dead, failures=failures), dead=["new"]), 60.0)
        waits.append(action.retry_in_s)
    assert waits == [1.0, 4.0, 16.0]
    down = at(State.DOWN, failures=2, retry_at=70.0)
    assert decide(WANTED, seen(OLD, down), 69.0) == []
    assert decide(WANTED, seen(OLD, down), 70.0) == [Check("new")]
    given_up = replace(down, failures=3)
    assert decide(WANTED, seen(OLD, given_up), 1e9) == []
    assert failed(WANTED, seen(OLD, given_up)) == given_up


def test_what_cannot_change_is_tried_once():
    refused = Job(True, "never proven", final=True)
    (action,) = decide(WANTED, seen(OLD, NEW, jobs={"new": refused}), 60.0)
    assert action == Fail("new", "never proven", 1.0, final=True)
    late = at(State.STARTING, since=0.0)
    (action,) = decide(WANTED, seen(OLD, late), 121.0, Policy(start_timeout_s=120.0))
    assert action.final


def test_asking_again_for_what_failed_begins_anew():
    given_up = at(State.DOWN, failures=3)
    again = replace(WANTED, generation=3)
    assert decide(again, seen(OLD, given_up), 60.0) == [Stop("new")]
    assert decide(again, seen(OLD), 60.0) == [Begin("m@1.0.1")]


def test_a_live_runtime_is_started_again_for_ever_and_the_router_learns_its_new_port():
    here = replace(WANTED, release="m@1.0.0")
    (first,) = decide(here, seen(OLD, dead=["old"]), 10.0)
    assert (first.retry_in_s, first.final) == (0.0, False)
    (tenth,) = decide(here, seen(replace(OLD, failures=9, since=9.0), dead=["old"]), 10.0)
    assert tenth.retry_in_s == 60.0
    assert decide(here, seen(replace(OLD, state=State.DOWN, failures=10, retry_at=70.0)), 70.0) == [
        Check("old")
    ]
    warmed = replace(OLD, state=State.WARMING)
    assert decide(here, seen(warmed, jobs={"old": Job(True)}), 80.0) == [Ready("old"), Route("old")]


def test_a_candidate_nobody_wants_any_more_is_stopped():
    other = replace(WANTED, release="m@1.0.2", generation=3)
    assert decide(other, seen(OLD, at(State.STARTING)), 60.0) == [Stop("new")]
    assert decide(other, seen(OLD, at(State.STOPPING, since=60.0)), 61.0) == []
    assert decide(other, seen(OLD, at(State.STOPPING, since=60.0)), 96.0) == [Kill("new")]
    assert decide(other, seen(OLD), 62.0) == [Begin("m@1.0.2")]


def test_nothing_wanted_ends_requests_then_runtimes_then_the_socket():
    nothing = replace(WANTED, release=None)
    kept = replace(OLD, role=Role.KEPT, since=60.0)
    assert decide(nothing, seen(OLD), 60.0) == [Route(None)]
    assert decide(nothing, seen(kept, routed=None, in_flight={"old": 1}), 61.0) == [Retire()]
    assert decide(nothing, seen(kept, routed=None), 61.0) == [Stop("old"), Retire()]
    assert decide(nothing, seen(kept, routed=None, in_flight={"old": 1}, live=None), 91.0) == [Stop("old")]
    assert decide(nothing, seen(routed=None, live=None), 92.0) == [Unhold()]
    assert decide(nothing, seen(routed=None, live=None, holding=False), 92.0) == []


REVISIONS = st.lists(
    st.builds(
        Revision,
        id=st.sampled_from("abcd"),
        release=st.sampled_from(["m@1.0.0", "m@1.0.1"]),
        generation=st.integers(1, 3),
        role=st.sampled_from(Role),
        state=st.sampled_from(State),
        since=st.floats(0, 100),
        failures=st.integers(0, 5),
        final=st.booleans(),
    ),
    max_size=4,
    unique_by=(lambda each: each.id, lambda each: each.role if each.role is Role.LIVE else each.id),
)


@settings(max_examples=300, deadline=None)
@given(
    REVISIONS, st.booleans(), st.booleans(), st.sets(st.sampled_from("abcd")), st.sampled_from([LIVE, None])
)
@pytest.mark.slow
def test_the_healthy_live_release_is_never_stopped_and_nothing_unready_gets_requests(
    revisions, holding, acknowledged, dead, live
):
    found = seen(*revisions, dead=dead, holding=holding, acknowledged=acknowledged, live=live)
    by_id = {each.id: each for each in revisions}
    for action in decide(WANTED, found, 50.0):
        if isinstance(action, Stop | Kill | Drop):
            stopped = by_id[action.id]
            serving = stopped.role is Role.LIVE and stopped.state is not State.STOPPING
            assert not serving
        if isinstance(action, Route):
            chosen = by_id[action.id]
            assert action.id in found.alive
            assert chosen.state in (State.READY, State.WARMING)


TRIED = replace(WANTED, release="m@1.0.0", trial=Trial("r1", "m@1.0.1", 5.0))
PART = Split("new", 5.0)


def test_a_release_on_trial_is_begun_beside_the_live_one_and_gets_its_part_when_it_is_ready():
    assert decide(TRIED, seen(OLD), 60.0) == [Begin("m@1.0.1")]
    assert decide(TRIED, seen(OLD, at(State.STARTING)), 60.0) == []
    assert decide(TRIED, seen(OLD, at(State.READY)), 60.0) == [Route("old", PART)]
    assert decide(TRIED, seen(OLD, at(State.READY), split=PART), 60.0) == []


def test_the_part_follows_the_rollout():
    more = replace(TRIED, trial=Trial("r1", "m@1.0.1", 25.0))
    assert decide(more, seen(OLD, at(State.READY), split=PART), 60.0) == [Route("old", Split("new", 25.0))]
    copies = replace(TRIED, trial=Trial("r1", "m@1.0.1", 0.0, shadow=True))
    assert decide(copies, seen(OLD, at(State.READY)), 60.0) == [Route("old", Split("new", 0.0, True))]


def test_a_candidate_that_dies_loses_its_part_in_the_same_look():
    actions = decide(TRIED, seen(OLD, at(State.READY), split=PART, dead=["new"]), 60.0)
    assert actions == [Fail("new", "Its runtime ended.", 1.0), Route("old", WHOLE)]


def test_a_candidate_that_was_rolled_back_is_stopped_once_nothing_reaches_it():
    over = replace(TRIED, trial=None)
    facts = {"split": PART, "in_flight": {"new": 1}}
    assert decide(over, seen(OLD, at(State.READY), **facts), 60.0) == [Route("old", WHOLE)]
    facts = {"in_flight": {"new": 1}}
    assert decide(over, seen(OLD, at(State.READY), **facts), 61.0) == []
    assert decide(over, seen(OLD, at(State.READY), acknowledged=False), 61.0) == []
    assert decide(over, seen(OLD, at(State.READY)), 62.0) == [Stop("new")]


def test_a_promoted_candidate_takes_over_as_it_runs():
    assert decide(WANTED, seen(OLD, at(State.READY), split=PART), 60.0) == [Route("new")]


def test_a_warm_release_may_be_tried_again():
    kept = replace(NEW, role=Role.KEPT, state=State.READY, since=0.0)
    healthy = frozenset({"new"})
    assert decide(TRIED, seen(OLD, kept, healthy=healthy), 1e6) == [Route("old", PART)]
    assert decide(TRIED, seen(OLD, kept), 1e6) == []


def test_a_live_runtime_that_comes_back_leaves_the_candidate_its_part():
    warmed = replace(OLD, state=State.WARMING)
    facts = {"jobs": {"old": Job(True)}, "split": PART}
    assert decide(TRIED, seen(warmed, at(State.READY), **facts), 80.0) == [Ready("old"), Route("old", PART)]


@settings(max_examples=300, deadline=None)
@given(
    REVISIONS, st.booleans(), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")),
    st.floats(0, 99), st.booleans(), st.sampled_from([None, *"abcd"]),
)  # fmt: skip
def test_a_trial_never_stops_the_live_release_and_gives_nothing_to_what_is_not_ready(
    revisions, acknowledged, dead, healthy, weight, shadow, split
):
    live = next((each for each in revisions if each.role is Role.LIVE), None)
    tried = replace(TRIED, trial=Trial("r1", "m@1.0.1", weight, shadow))
    found = seen(
        *revisions, dead=dead, acknowledged=acknowledged, healthy=frozenset(healthy),
        routed=live.id if live else None, split=Split(split, 5.0) if split else WHOLE,
    )  # fmt: skip
    by_id = {each.id: each for each in revisions}
    for action in decide(tried, found, 50.0):
        if isinstance(action, Stop | Kill | Drop):
            stopped = by_id[action.id]
            assert not (stopped.role is Role.LIVE and stopped.state is not State.STOPPING)
        if isinstance(action, Route) and action.split.candidate is not None:
            chosen = by_id[action.split.candidate]
            assert (chosen.state, chosen.release) == (State.READY, "m@1.0.1")
            assert chosen.id in found.alive
            assert action.id != chosen.id
