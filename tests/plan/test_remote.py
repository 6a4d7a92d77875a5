"""What another engine reports becomes events: each fact once, in order, and they replay to the same."""

import itertools
import random

import pytest
from tests.execute.doubles import pipeline

from tuneline.errors import SettingError
from tuneline.plan.engine import engine_of
from tuneline.plan.events import Outputs, RunHandedOver, from_json, to_json
from tuneline.plan.nodes import Context
from tuneline.plan.remote import Made, Seen, SeenTask, State, known, newly_succeeded, news
from tuneline.plan.schedule import RunState, fold
from tuneline_ir import parse

IR = pipeline({"a": {}, "b": {"after": ["a"]}, "c": {"after": ["b"]}})
PIPELINE = parse(IR)
CONTEXT = Context(PIPELINE, {})


def followed(*looks: Seen, made=None):
    """The events of some looks, and the state they lead to."""
    state, events = RunState.new(CONTEXT), []
    for now, seen in enumerate(looks, 100):
        found = known(seen, PIPELINE)
        told = made or {name: Made() for name in newly_succeeded(state, found)}
        for at, event in news(state, found, told, "/runs/r", float(now), "kubeflow"):
            state.apply(event)
            events.append((at, event))
    return events, state


def task(name, state, attempt=0, since=None, until=None, error=""):
    return SeenTask(name, State(state), attempt, since, until, error)


def kinds(events):
    return [event.kind for _, event in events]


def statuses(state):
    return {path: str(node.status) for path, node in state.tasks.items() if path}


def test_a_run_that_was_never_looked_at_is_told_whole_with_the_engines_own_times():
    seen = Seen(
        State.SUCCEEDED,
        tasks=(task("b", "SUCCEEDED", since=12, until=15), task("a", "SUCCEEDED", since=10, until=12),
               task("c", "SUCCEEDED", since=15, until=20)),
        started_at=9, finished_at=21,
    )  # fmt: skip
    made = {"a": Made(Outputs({"x": 1})), "b": Made(missing="nobody knows"), "c": Made()}
    events, state = followed(seen, made=made)
    assert [(at, event.kind, getattr(event, "task", "")) for at, event in events] == [
        (9, "run_started", ""),
        (10, "attempt_started", "a"), (12, "attempt_started", "b"), (12, "task_succeeded", "a"),
        (15, "task_succeeded", "b"), (15, "attempt_started", "c"), (20, "task_succeeded", "c"),
        (21, "run_ended", ""),
    ]  # fmt: skip
    assert state.tasks["a"].outputs.parameters == {"x": 1}
    (note,) = [event.notes for _, event in events if event.kind == "attempt_started" and event.task == "b"]
    assert note == ("nobody knows",)
    assert events[1][1].folder == "/runs/r/a/1"


def test_each_fact_is_told_once():
    running = Seen(State.RUNNING, tasks=(task("a", "RUNNING", since=1), task("b", "PENDING")))
    events, state = followed(running, running, running)
    assert kinds(events) == ["run_started", "attempt_started"]
    assert statuses(state) == {"a": "RUNNING", "b": "WAITING", "c": "WAITING"}


def test_a_task_that_is_tried_again_has_attempts_of_its_own():
    events, state = followed(
        Seen(State.RUNNING, tasks=(task("a", "RUNNING", 1, 1),)),
        Seen(State.RUNNING, tasks=(task("a", "PENDING", 1, 1, 2, "exit 1"),)),
        Seen(State.RUNNING, tasks=(task("a", "RUNNING", 2, 5),)),
        Seen(State.RUNNING, tasks=(task("a", "SUCCEEDED", 3, 8, 9),)),
    )
    assert kinds(events)[1:] == [
        "attempt_started", "attempt_failed", "attempt_started", "attempt_failed", "attempt_started",
        "task_succeeded",
    ]  # fmt: skip
    assert state.tasks["a"].attempts == 3
    assert events[2][1].retry_at == 2
    assert events[2][1].error["message"] == "exit 1"


def test_what_an_engine_never_ran_is_skipped_and_what_it_left_open_is_said():
    failed = Seen(
        State.FAILED,
        tasks=(task("a", "FAILED", since=1, until=2, error="boom"), task("b", "RUNNING", since=2)),
    )
    events, state = followed(failed)
    assert statuses(state) == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED"}
    said = {event.task: event.reason for _, event in events if event.kind == "task_skipped"}
    assert said == {"b": "kubeflow did not say how it ended", "c": "kubeflow did not run it"}
    assert state.ended.error["message"] == "Task a failed."
    assert state.tasks["a"].error["message"] == "boom"


def test_a_canceled_run_leaves_nothing_to_say_of_what_had_not_begun():
    events, state = followed(
        Seen(State.CANCELED, tasks=(task("a", "CANCELED", since=1, until=2), task("b", "CANCELED")))
    )
    assert kinds(events) == ["run_started", "attempt_started", "task_canceled", "run_ended"]
    assert (state.ended.state, state.ended.error) == ("CANCELED", None)


def test_pods_and_titles_that_are_no_task_are_left_out():
    seen = Seen(
        State.RUNNING,
        tasks=(task("root-driver", "SUCCEEDED"), task("a", "RUNNING", since=1), task("executor", "RUNNING")),
    )
    assert [each.name for each in known(seen, PIPELINE).tasks] == ["a"]
    titled = pipeline({"a": {}})
    titled["root"]["dag"]["tasks"]["a"]["taskInfo"] = {"name": "The first"}
    assert [
        t.name for t in known(Seen(State.RUNNING, tasks=(task("The first", "RUNNING"),)), parse(titled)).tasks
    ] == ["a"]


def test_whatever_is_reported_the_events_replay_to_the_state_and_every_task_ends():
    chance = random.Random(7)
    words = [state.value for state in State]
    for _ in range(300):
        looks = [
            Seen(
                State(chance.choice(["PENDING", "RUNNING", "RUNNING"])),
                tasks=tuple(
                    task(
                        name,
                        chance.choice(words),
                        chance.randrange(4),
                        chance.choice([None, 1, 5]),
                        chance.choice([None, 6]),
                    )
                    for name in chance.sample("abc", chance.randrange(4))
                ),
            )
            for _ in range(chance.randrange(6))
        ]
        end = chance.choice(["SUCCEEDED", "FAILED"])
        events, state = followed(*looks, Seen(State(end)), Seen(State(end)))
        assert state.ended is not None
        assert kinds(events).count("run_ended") == 1
        replayed = fold(CONTEXT, (from_json(to_json(event)) for _, event in events))
        assert statuses(replayed) == statuses(state)
        assert {node.status for path, node in state.tasks.items() if path}.isdisjoint({"WAITING", "RUNNING"})
        for name, told in itertools.groupby(
            sorted(event.task for _, event in events if event.kind == "task_succeeded")
        ):
            assert len(list(told)) == 1, name


def test_a_hand_over_changes_nothing_in_the_state_of_tasks():
    state = fold(CONTEXT, [RunHandedOver("kubeflow", "http://kfp:8888", "7d1", "")])
    assert statuses(state) == {"a": "WAITING", "b": "WAITING", "c": "WAITING"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "jenkins", "url": "http://x"}, "`jenkins` is no runner"),
        ({"kind": "kubeflow", "url": "kfp:8888"}, "no http address"),
        ({"kind": "kubeflow", "url": ""}, "no http address"),
        ({"kind": "airflow", "url": "http://ann:hunter2@x"}, "more than a place"),
        ({"kind": "airflow", "url": "http://x?token=hunter2"}, "more than a place"),
        ({"kind": "airflow", "url": "ftp://ann:hunter2@x"}, "no http address"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_without_quoting_a_secret(body, said):
    with pytest.raises(SettingError) as refused:
        engine_of(body)
    assert said in refused.value.message
    assert refused.value.hint
    assert "hunter2" not in refused.value.message + refused.value.hint
