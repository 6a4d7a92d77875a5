"""Which tasks of any pipeline an earlier task's outputs may stand in for."""

import pytest

from tuneline.execute.images import OwnImage
from tuneline.execute.jobs import job_of
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import fold
from tuneline.plan.secrets import Masker
from tuneline_ir import parse


def pipeline(step: str):
    """One task that runs `step` of ours, its cache on, as the SDK has it where nobody says otherwise."""
    command = {"command": ["tuneline", "step", step], "args": ["--executor-input", "{{$}}"]}
    return parse(
        {
            "schemaVersion": "2.1.0",
            "pipelineInfo": {"name": "p"},
            "components": {"comp-a": {"executorLabel": "exec-a"}},
            "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "tuneline", **command}}}},
            "root": {
                "dag": {
                    "tasks": {
                        "a": {
                            "componentRef": {"name": "comp-a"},
                            "taskInfo": {"name": "a"},
                            "cachingOptions": {"enableCache": True},
                        }
                    }
                }
            },
        }
    )


@pytest.mark.parametrize(
    "step, cached", [("prepare", True), ("live", False), ("fetch", False), ("propose", False), ("app", False)]
)
def test_a_step_that_asks_or_changes_the_world_is_never_taken_from_the_cache(step, cached, tmp_path):
    state = fold(Context(pipeline(step), {}), ())
    job = job_of(state, "a", "r1", {"tuneline": OwnImage()}, tmp_path, Masker())
    assert (job.key is not None) == cached
