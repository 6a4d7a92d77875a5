"""Pipelines drawn at random end as a DAG as they end on the local runner, task by task."""

import zlib
from random import Random

import pytest
from tests.airflow.simulated import Scheduler
from tests.plan.random_runs import pipeline

from tuneline.plan.decisions import decide, unfit
from tuneline.plan.events import AttemptFailed, AttemptStarted, Outputs, RunStarted, TaskSucceeded
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import RunState
from tuneline.plan.secrets import Masker
from tuneline_airflow.outline import outline
from tuneline_ir import Status, given, parse

SEEDS = range(400)


def outcome(path: str, seed: int) -> str | None:
    """How a task ends: always the same for one path."""
    drawn = zlib.crc32(f"{seed}/{path}".encode()) % 10
    return None if drawn == 0 else "v" if drawn < 7 else "root"


def ended(ir: dict, seed: int) -> RunState:
    """The run on the local runner's schedule."""
    state = RunState.new(Context(parse(ir), {"item": "root"}))
    state.apply(RunStarted())
    while state.ended is None:
        state.advance(0.0)
        decision = decide(state, 5, 0.0)
        for event in decision.events:
            state.apply(event)
        for path in decision.start:
            node = state.tasks[path]
            try:
                given(state.context, state.tasks, node)
            except ValueError as error:
                state.apply(unfit(node, error, Masker()))
                continue
            number = node.attempts + 1
            state.apply(AttemptStarted(path, number, 1, 0.0, "/f"))
            said = outcome(path, seed)
            if said is None:
                state.apply(AttemptFailed(path, number, 1, {"message": "no"}))
            else:
                state.apply(TaskSucceeded(path, number, Outputs({"out": said})))
    return state


def without_retries(ir: dict) -> dict:
    """Graphs that are tried again Airflow does not have, and what is drawn here fails each time."""
    for component in (ir["root"], *ir["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["retryPolicy"] = {}
    return ir


@pytest.mark.parametrize("first", SEEDS[::50])
def test_a_random_pipeline_ends_the_same_task_by_task(first):
    for seed in range(first, first + 50):
        ir = without_retries(pipeline(Random(seed)))
        local = ended(ir, seed)
        scheduler = Scheduler(outline(parse(ir)), {"item": "root"}, lambda sight: outcome(sight.path, seed))  # noqa: B023
        state = scheduler.go()
        seen = scheduler.seen()
        for path, node in local.tasks.items():
            if path:
                assert seen[path].status is node.status, f"seed {seed}: {path}"
                if node.status is Status.SUCCEEDED:
                    assert dict(seen[path].outputs.parameters) == dict(node.outputs.parameters), path
        assert (state == "success") is (local.ended.state == "SUCCEEDED"), f"seed {seed}"
