"""One attempt: what its executor is told, and what is left of it for the tasks behind it."""

import json

import pytest
from tests.airflow.simulated import Scheduler

from tuneline_airflow.attempt import Instance, finished, launch_of, record
from tuneline_airflow.described import Described
from tuneline_airflow.outline import outline
from tuneline_airflow.seen import unpacked
from tuneline_ir import parse

DATASET = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
IR = {
    "pipelineInfo": {"name": "p"},
    "components": {
        "write": {
            "executorLabel": "write",
            "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}},
            "outputDefinitions": {
                "parameters": {"rows": {"parameterType": "NUMBER_INTEGER"}},
                "artifacts": {"data": DATASET},
            },
        },
        "read": {"executorLabel": "read", "inputDefinitions": {"artifacts": {"data": DATASET}}},
    },
    "deploymentSpec": {
        "executors": {
            "write": {
                "container": {
                    "image": "i:{{$.inputs.parameters['n']}}",
                    "command": ["w", "{{$.outputs.artifacts['data'].path}}"],
                    "args": ["{{$.outputs.parameters['rows'].output_file}}", "{{$.pipeline_task_name}}"],
                    "env": [{"name": "N", "value": "{{$.inputs.parameters['n']}}"}],
                }
            },
            "read": {"container": {"image": "i", "command": ["r", "{{$.inputs.artifacts['data'].path}}"]}},
        }
    },
    "root": {
        "dag": {
            "tasks": {
                "write": {
                    "componentRef": {"name": "write"},
                    "inputs": {"parameters": {"n": {"componentInputParameter": "n"}}},
                },
                "read": {
                    "componentRef": {"name": "read"},
                    "inputs": {
                        "artifacts": {
                            "data": {
                                "taskOutputArtifact": {"producerTask": "write", "outputArtifactKey": "data"}
                            }
                        }
                    },
                },
            }
        },
        "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3}}},
    },
    "schemaVersion": "2.1.0",
}
RUN = Instance("p", "manual__2026-11-26T18:00:00+00:00", -1, 2)
KEPT = "gs://b/runs/p/manual__2026-11-26T18_00_00_00_00"


@pytest.fixture
def described():
    return Described(outline(parse(IR)), "gs://b/runs/", {"write": {"gpus": 1}})


@pytest.fixture
def scheduler(described):
    return Scheduler(described.outline, described.parameters({}), lambda sight: "")


def launch(described, scheduler, path):
    seen = scheduler.seen()
    return launch_of(described, seen, seen[path], RUN, lambda kept: "/work"), seen[path]


def test_every_placeholder_is_resolved_to_where_the_task_sees_it(described, scheduler):
    made, _ = launch(described, scheduler, "write")
    assert made.image == "i:3"
    assert made.command == ("w", "/work/outputs/data")
    assert made.args == ("/work/parameters/rows", "write")
    assert dict(made.env) == {"N": "3"}
    assert [(each.uri, each.path) for each in made.outputs] == [
        (f"{KEPT}/write/2/outputs/data", "/work/outputs/data")
    ]
    assert dict(made.on) == {"gpus": 1}
    assert made.attempt == 2


def test_what_a_task_put_out_is_found_where_it_is_kept_by_the_next(described, scheduler):
    made, sight = launch(described, scheduler, "write")
    body = {"artifacts": {"data": {"artifacts": [{"uri": "/work/outputs/data", "metadata": {"k": 1}}]}}}
    found = finished(sight, made, json.dumps(body), {"rows": "12\n"})
    assert found.parameters == {"rows": 12}
    assert found.artifacts["data"][0]["uri"] == f"{KEPT}/write/2/outputs/data"
    scheduler.xcoms["write", -1, "return_value"] = record(found, -1)
    after, _ = launch(described, scheduler, "read")
    assert after.command == ("r", "/work/inputs/data/0/data")
    assert after.inputs[0].uri == f"{KEPT}/write/2/outputs/data"


def test_an_artifact_that_is_elsewhere_stays_there(described, scheduler):
    made, sight = launch(described, scheduler, "write")
    body = {"artifacts": {"data": {"artifacts": [{"uri": "s3://other/place"}]}}}
    found = finished(sight, made, json.dumps(body), {"rows": "1"})
    assert found.artifacts["data"][0]["uri"] == "s3://other/place"


@pytest.mark.parametrize(
    "body, files, said",
    [
        (None, {}, "without its output parameter `rows`"),
        (None, {"rows": "many"}, "its output parameter `rows`: 'many' is no NUMBER_INTEGER"),
        ("[]", {"rows": "1"}, "no ExecutorOutput"),
    ],
)
def test_an_output_that_does_not_fit_is_named(described, scheduler, body, files, said):
    made, sight = launch(described, scheduler, "write")
    with pytest.raises(ValueError, match=said):
        finished(sight, made, body, files)


def test_a_metric_without_end_survives_airflows_json(described, scheduler):
    made, sight = launch(described, scheduler, "write")
    body = {"artifacts": {"data": {"artifacts": [{"metadata": {"loss": float("inf")}}]}}}
    left = record(finished(sight, made, json.dumps(body), {"rows": "1"}), 4)
    json.dumps(left, allow_nan=False)
    assert left["index"] == 4
    assert unpacked(left)["artifacts"]["data"][0]["metadata"] == {"loss": float("inf")}


def test_parameters_of_a_run_are_converted_or_named(described):
    assert described.parameters({"n": 4.0}) == {"n": 4}
    assert described.parameters({"n": None}) == {"n": 3}
    with pytest.raises(ValueError, match="parameter `n`"):
        described.parameters({"n": "x"})
