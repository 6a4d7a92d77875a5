"""The schedule: decisions are facts when they are replayed, and no run is left unfinished."""

import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.plan.decisions import Decision, to_retry
from tuneline.plan.decisions import decide as decide_at
from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    Event,
    Outputs,
    RunEnded,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskCanceled,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.plan.nodes import Context, Node
from tuneline.plan.retries import LOST_LIMIT, after_failure
from tuneline.plan.schedule import RunState, fold
from tuneline_ir import GOOD, Component, Interface, Kind, RetryPolicy, Status, Task, parse


def _plan(needs: dict[str, Iterable[str]], retry: RetryPolicy | None = None) -> Context:
    """A flat pipeline of tasks that do nothing."""
    policy = retry or RetryPolicy()
    again = {"maxRetryCount": policy.retries, "backoffDuration": f"{policy.backoff_s}s"}
    tasks = {
        name: {"componentRef": {"name": "c"}, "dependentTasks": list(found), "retryPolicy": again}
        for name, found in needs.items()
    }
    ir = {
        "pipelineInfo": {"name": "p"},
        "components": {"c": {"executorLabel": "e"}},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0",
    }
    return Context(parse(ir), {})


def decide(state: RunState, slots: int, now: float = 0.0) -> Decision:
    return decide_at(state, slots, now)


def leaves(state: RunState) -> dict[str, Node]:
    return {name: task for name, task in state.tasks.items() if name}


def _node(**values: Any) -> Node:
    component = Component("c", Interface(), Interface(), "e")
    return Node("a", Kind.TASK, Task("a", "c"), component, "", **values)


DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def _started(name: str, attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(name, attempt, 1, 0.0, "/f")


def _done(name: str) -> TaskSucceeded:
    return TaskSucceeded(name, 1, Outputs())


def _failed(
    name: str, retry_at: float | None = None, *, lost: bool = False, attempt: int = 1
) -> AttemptFailed:
    return AttemptFailed(name, attempt, 1, {"message": "no", "retry": True}, lost, retry_at)


def test_a_task_is_ready_when_all_it_needs_has_succeeded_and_not_before() -> None:
    state = fold(_plan(DIAMOND), [RunStarted()])
    assert decide(state, 9).start == ("a",)
    for event in (_started("a"), _done("a")):
        state.apply(event)
    assert decide(state, 9).start == ("b", "c")
    assert decide(state, 1).start == ("b",)
    assert decide(state, 0).start == ()
    for event in (_started("b"), _started("c"), _done("c")):
        state.apply(event)
    assert decide(state, 9).start == ()
    state.apply(TaskCached("b", Outputs(), "key", "r0", "b"))
    assert decide(state, 9).start == ("d",)


def test_what_needs_a_failed_task_is_skipped_with_the_reason_and_the_run_fails_with_its_error() -> None:
    state = fold(_plan(DIAMOND), [RunStarted(), _started("a"), _done("a"), _started("b"), _failed("b")])
    assert decide(state, 0).events == (TaskSkipped("d", "`b` failed"),)
    for event in (_started("c"), _done("c")):
        state.apply(event)
    (skipped,) = decide(state, 9).events
    assert skipped == TaskSkipped("d", "`b` failed")
    state.apply(skipped)
    (end,) = decide(state, 9).events
    assert end == RunEnded("FAILED", {"message": "no", "retry": True, "task": "b"})


def test_a_failed_attempt_waits_for_its_time_and_is_tried_again() -> None:
    state = fold(_plan({"a": ()}), [RunStarted(), _started("a"), _failed("a", retry_at=10.0)])
    state.advance(9.9)
    assert decide(state, 9).start == ()
    assert decide(state, 9).wake_at == 10.0
    state.advance(10.0)
    assert decide(state, 9).start == ("a",)
    assert state.tasks["a"].attempts == 1


def test_a_canceled_run_stops_what_runs_starts_nothing_and_ends() -> None:
    state = fold(_plan(DIAMOND), [RunStarted(), _started("a"), CancelRequested("ann")])
    assert decide(state, 9) == decide(state, 0)
    assert decide(state, 9).stop == ("a",)
    state.apply(TaskCanceled("a", 1))
    assert decide(state, 9).events == (RunEnded("CANCELED"),)


def test_a_run_that_was_canceled_too_late_has_succeeded() -> None:
    state = fold(_plan({"a": ()}), [RunStarted(), _started("a"), CancelRequested("ann"), _done("a")])
    assert decide(state, 9).events == (RunEnded("SUCCEEDED"),)


def test_a_retry_keeps_what_succeeded_and_runs_the_rest_again_in_new_attempts() -> None:
    events = [RunStarted(), _started("a"), _done("a"), _started("b"), _failed("b"), _started("c"), _done("c")]
    state = fold(_plan(DIAMOND), [*events, TaskSkipped("d", "`b` failed"), RunEnded("FAILED")])
    assert decide(state, 9).start == ()
    assert to_retry(state) == ("b", "d")
    state.apply(RunRetried("ann", to_retry(state)))
    assert decide(state, 9).start == ("b",)
    assert state.tasks["b"].attempts == 1  # the next is number 2: it gets its own folder
    state.apply(_started("b", 2))
    state.apply(_done("b"))
    assert decide(state, 9).start == ("d",)


def test_items_made_of_an_input_without_a_value_fail_the_loop_and_say_why() -> None:
    text = {"parameterType": "STRING"}
    items = {"raw": "[\"{{$.inputs.parameters['x']}}\"]"}
    ir = {
        "pipelineInfo": {"name": "p"},
        "components": {
            "c": {
                "executorLabel": "e",
                "inputDefinitions": {"parameters": {"item": text, "x": {**text, "isOptional": True}}},
            }
        },
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {
            "inputDefinitions": {"parameters": {"x": {**text, "isOptional": True}}},
            "dag": {
                "tasks": {
                    "each": {
                        "componentRef": {"name": "c"},
                        "inputs": {"parameters": {"x": {"componentInputParameter": "x"}}},
                        "parameterIterator": {"items": items, "itemInput": "item"},
                    }
                }
            },
        },
        "schemaVersion": "2.1.0",
    }
    (event,) = decide(fold(Context(parse(ir), {}), [RunStarted()]), 1).events
    assert isinstance(event, AttemptFailed)
    assert "made of `x`, which has no value" in event.error["message"]


POLICY = RetryPolicy(retries=2, backoff_s=1.0, factor=3.0, max_s=5.0)


@pytest.mark.parametrize(
    ("task", "error", "lost", "retry_at"),
    [
        (_node(), {"retry": True}, False, 101.0),
        (_node(failures=1), {"retry": True}, False, 103.0),
        (_node(failures=2), {"retry": True}, False, None),
        (_node(), {"retry": False}, False, None),
        (_node(), {}, False, None),
        (_node(failures=2), {}, True, 100.0),  # a lost attempt uses up no retry
        (_node(lost=9), {}, True, 100.0),
        (_node(lost=10), {}, True, 101.0),
        (_node(lost=99), {}, True, 110.0),
        (_node(lost=LOST_LIMIT), {}, True, None),
    ],
)
def test_who_is_tried_again_and_when(task: Node, error: Any, lost: bool, retry_at: float | None) -> None:
    assert after_failure(POLICY, task, error, 100.0, lost=lost) == retry_at


def test_the_wait_between_retries_has_a_limit() -> None:
    policy = RetryPolicy(retries=10**6, backoff_s=1.0, factor=3.0, max_s=5.0)
    assert after_failure(policy, _node(failures=10**5), {"retry": True}, 0.0, lost=False) == 5.0


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = [f"t{n}" for n in range(draw(st.integers(1, 12)))]
    return {
        name: tuple(sorted(draw(st.sets(st.sampled_from(names[:place]), max_size=4)) if place else ()))
        for place, name in enumerate(names)
    }


OUTCOMES = st.sampled_from(
    ["done", "done", "done", "cached", "fail", "fail_retry", "lost", "nothing", "cancel", "late"]
)


def _play(
    plan: Context, slots: int, draw: Any, *, calm: bool = False, state: RunState | None = None
) -> tuple[RunState, list[Event]]:
    """Run a plan in time without processes: whoever is chosen ends as is drawn. Returns state and events."""
    state = state or fold(plan, [RunStarted()])
    log: list[Event] = [RunStarted()]
    now = 0.0

    def emit(event: Event) -> None:
        log.append(event)
        state.apply(event)

    for step in range(5000):
        state.advance(now)
        decision = decide(state, slots - len(state.running), now)
        assert len(decision.start) <= max(0, slots - len(state.running))
        for event in decision.events:
            emit(event)
        if state.ended:
            return state, log
        what = "done" if calm or step > 300 else draw(OUTCOMES)
        for name in decision.start:
            if what == "cached":
                emit(TaskCached(name, Outputs(), "k", "r", name))
            else:
                emit(_started(name, state.tasks[name].attempts + 1))
        for name in decision.stop:
            emit(TaskCanceled(name, state.tasks[name].attempts))
        if state.running and not decision.stop and what not in ("nothing", "cancel", "late", "cached"):
            names = list(state.running)
            name = names[0 if calm or step > 300 else draw(st.integers(0, len(names) - 1))]
            emit(_outcome(plan, state, name, what, now))
        elif what == "cancel" and state.canceled_by is None and step > 3:
            emit(CancelRequested("ann"))
        now += 1.0
    raise AssertionError(f"unfinished: {state}")


def _outcome(plan: Context, state: RunState, name: str, what: str, now: float) -> Event:
    number = state.tasks[name].attempts
    if what == "done":
        return TaskSucceeded(name, number, Outputs({"n": number}))
    error = {"message": what, "retry": what == "fail_retry"}
    lost = what == "lost"
    retry_at = after_failure(state.tasks[name].task.retry, state.tasks[name], error, now, lost=lost)
    return AttemptFailed(name, number, None, error, lost, retry_at)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(0, 3), st.data())
def test_whatever_happens_in_whatever_order_a_run_ends(
    needs: dict[str, tuple[str, ...]], slots: int, retries: int, data: st.DataObject
) -> None:
    plan = _plan(needs, RetryPolicy(retries, 1.0))
    state, log = _play(plan, slots, data.draw)
    assert state.ended is not None
    statuses = {name: task.status for name, task in leaves(state).items()}
    canceled = state.canceled_by is not None
    assert (state.ended.state == "SUCCEEDED") == all(status in GOOD for status in statuses.values())
    assert canceled or all(status not in (Status.WAITING, Status.RUNNING) for status in statuses.values())
    began = [event.task for event in log if isinstance(event, AttemptStarted | TaskCached)]
    for name, status in statuses.items():
        if status in GOOD:
            assert all(statuses[need] in GOOD for need in needs[name])
        if status is Status.SKIPPED:
            assert name not in began
            assert any(statuses[need] in (Status.FAILED, Status.SKIPPED) for need in needs[name])


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 4), st.data())
def test_replay_gives_the_same_state_as_living_through_it(
    needs: dict[str, tuple[str, ...]], slots: int, data: st.DataObject
) -> None:
    plan = _plan(needs, RetryPolicy(2, 1.0))
    _, log = _play(plan, slots, data.draw)
    lived = RunState.new(plan)
    for place, event in enumerate(log):
        lived.apply(event)
        replayed = fold(plan, log[: place + 1])
        assert lived.tasks == replayed.tasks
        assert set(lived.running) == set(replayed.running)
        lived.advance(1e9)
        replayed.advance(1e9)
        assert set(decide(lived, 99).start) == set(decide(replayed, 99).start)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 4), st.data())
def test_a_run_that_did_not_succeed_does_when_it_is_retried_and_all_goes_well(
    needs: dict[str, tuple[str, ...]], slots: int, data: st.DataObject
) -> None:
    plan = _plan(needs)
    state, log = _play(plan, slots, data.draw)
    before = {name for name, task in leaves(state).items() if task.status in GOOD}
    if len(before) == len(needs):
        return
    state.apply(RunRetried("ann", to_retry(state)))
    ended, later = _play(plan, slots, data.draw, calm=True, state=state)
    assert ended.ended == RunEnded("SUCCEEDED")
    assert before.isdisjoint(e.task for e in later if isinstance(e, AttemptStarted))


@pytest.mark.parametrize("shape", ["independent", "chain", "fan"])
@pytest.mark.slow
def test_the_cost_of_a_run_grows_with_its_tasks_and_not_with_their_square(shape: str) -> None:
    def seconds(count: int) -> float:
        names = [f"t{n}" for n in range(count)]
        needs: dict[str, tuple[str, ...]] = {
            name: () if shape == "independent" or place == 0 else (names[0 if shape == "fan" else place - 1],)
            for place, name in enumerate(names)
        }
        plan = _plan(needs)
        started = time.process_time()
        ended, _ = _play(plan, 3, None, calm=True)
        assert ended.ended
        return time.process_time() - started

    small, large = min(seconds(500) for _ in range(3)), min(seconds(2000) for _ in range(2))
    assert large < 4 * small * 3 + 0.05  # four times the tasks; a square would be sixteen
