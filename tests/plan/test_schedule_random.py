"""Whatever a pipeline is, whatever happens to its run: it ends by the rules, and its events tell it all."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.plan.random_runs import Run, pipeline

from tuneline.plan.schedule import ROOT
from tuneline_ir import GOOD, OPEN, Status, path_of

SEEDS = st.integers(0, 2**32 - 1)
RATES = st.sampled_from([0.0, 0.1, 0.4])
_settings = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_settings
@given(SEEDS, RATES, st.sampled_from([0.0, 0.0, 0.05]), st.sampled_from([0.0, 0.05]))
@pytest.mark.slow
def test_every_run_ends_by_the_rules_and_its_events_replay_to_the_same(seed, failures, cancel, crash):
    random = Random(seed)
    run = Run(pipeline(random), random, failures=failures, cancel=cancel, crash=crash)
    ended = run.go()
    nodes = run.state.tasks.values()
    assert not [node.path for node in nodes if node.leaf and node.status is Status.RUNNING]
    if run.state.canceled_by is None:
        assert not [node.path for node in nodes if node.status in OPEN and node.path != ROOT]
        _rules_hold(run)
    failed = [node.path for node in nodes if node.status is Status.FAILED and node.parent == ROOT]
    if ended == "SUCCEEDED":
        assert not failed
    if ended == "CANCELED":
        assert run.state.canceled_by == "ann"
    run._replay()


def _rules_hold(run):
    """Of a run that was not canceled."""
    for node in run.state.tasks.values():
        if node.path == ROOT or node.index is not None:
            continue
        needs = [run.state.tasks[path_of(node.parent, name)] for name in node.task.needs]
        if node.task.whatever_happened:
            assert node.status is not Status.SKIPPED, f"{node.path} must run whatever happened"
        elif node.status is Status.SKIPPED and not node.task.condition:
            assert any(need.status not in GOOD for need in needs), f"{node.path} was skipped for nothing"
        elif node.status is not Status.SKIPPED:
            assert all(need.status in GOOD for need in needs), f"{node.path} is {node.status}"


@_settings
@given(SEEDS, st.sampled_from([0.0, 0.05]))
def test_a_run_that_did_not_succeed_can_be_retried_until_it_does(seed, cancel):
    random = Random(seed)
    run = Run(pipeline(random, size=3), random, failures=0.4, cancel=cancel, crash=0.02)
    if run.go() != "SUCCEEDED":
        ended = run.retry()
        error = run.state.ended.error or {}
        # an input or output that is not there is the pipeline's own fault: no retry makes it be there
        assert ended == "SUCCEEDED" or error["code"] in ("invalid_input", "invalid_output"), error
        assert not [n.path for n in run.state.tasks.values() if n.status in OPEN and n.path != ROOT]
