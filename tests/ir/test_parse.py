"""KFP's IR, read and checked as a whole."""

import contextlib
import copy
import json
from typing import Any

import pytest
import yaml

from tuneline_ir import Constant, IRError, PipelineInput, RetryPolicy, TaskOutput, parse

TWO_TASKS: dict[str, Any] = {
    "pipelineInfo": {"name": "two", "description": "one after the other"},
    "components": {
        "comp-first": {
            "executorLabel": "exec-first",
            "inputDefinitions": {
                "parameters": {
                    "n": {"parameterType": "NUMBER_INTEGER"},
                    "mode": {"parameterType": "STRING", "isOptional": True, "defaultValue": "fast"},
                }
            },
            "outputDefinitions": {
                "parameters": {"count": {"parameterType": "NUMBER_INTEGER"}},
                "artifacts": {
                    "rows": {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
                },
            },
        },
        "comp-second": {
            "executorLabel": "exec-second",
            "inputDefinitions": {
                "parameters": {
                    "text": {"parameterType": "STRING"},
                    "count": {"parameterType": "NUMBER_INTEGER"},
                },
                "artifacts": {"rows": {"artifactType": {"schemaTitle": "system.Dataset"}}},
            },
        },
    },
    "deploymentSpec": {
        "executors": {
            "exec-first": {
                "container": {
                    "image": "alpine",
                    "command": ["sh", "-c", "echo {{$.inputs.parameters['n']}}"],
                    "env": [{"name": "A", "value": "b"}],
                }
            },
            "exec-second": {"container": {"image": "alpine", "args": ["{{$}}"]}},
        }
    },
    "root": {
        "dag": {
            "outputs": {
                "parameters": {
                    "total": {
                        "valueFromParameter": {"producerSubtask": "first", "outputParameterKey": "count"}
                    }
                }
            },
            "tasks": {
                "second": {
                    "componentRef": {"name": "comp-second"},
                    "cachingOptions": {"enableCache": True},
                    "inputs": {
                        "parameters": {
                            "text": {"runtimeValue": {"constant": "n is {{$.inputs.parameters['count']}}"}},
                            "count": {
                                "taskOutputParameter": {
                                    "producerTask": "first",
                                    "outputParameterKey": "count",
                                }
                            },
                        },
                        "artifacts": {
                            "rows": {
                                "taskOutputArtifact": {"producerTask": "first", "outputArtifactKey": "rows"}
                            }
                        },
                    },
                },
                "first": {
                    "componentRef": {"name": "comp-first"},
                    "inputs": {"parameters": {"n": {"componentInputParameter": "n"}}},
                    "retryPolicy": {
                        "maxRetryCount": 3,
                        "backoffDuration": "2s",
                        "backoffFactor": 3,
                        "backoffMaxDuration": "10s",
                    },
                },
            },
        },
        "inputDefinitions": {
            "parameters": {"n": {"parameterType": "NUMBER_INTEGER", "defaultValue": 4.0, "isOptional": True}}
        },
    },
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
}


def test_a_pipeline_is_read_with_edges_from_its_inputs_and_its_tasks_in_running_order() -> None:
    pipeline = parse(TWO_TASKS)
    assert (pipeline.name, list(pipeline.tasks)) == ("two", ["first", "second"])
    first, second = pipeline.tasks["first"], pipeline.tasks["second"]
    assert second.needs == ("first",)  # no dependentTasks are written
    assert second.after == ()
    assert first.parameters == {"n": PipelineInput("n")}
    assert second.parameters["count"] == TaskOutput("first", "count")
    assert second.parameters["text"] == Constant("n is {{$.inputs.parameters['count']}}")
    assert second.artifacts == {"rows": TaskOutput("first", "rows")}
    assert (first.cached, second.cached) == (False, True)
    assert first.retry == RetryPolicy(3, 2.0, 3.0, 10.0)
    assert pipeline.outputs == {"total": TaskOutput("first", "count")}
    assert pipeline.container_of("first").env == {"A": "b"}


def test_a_whole_number_stays_one_although_the_wire_has_only_floats() -> None:
    default = parse(TWO_TASKS).inputs.parameters["n"].default
    assert default == 4
    assert isinstance(default, int)


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump, lambda ir: {"pipeline_spec": ir}])
def test_text_mapping_and_wrapped_form_mean_the_same(write: Any) -> None:
    assert parse(write(TWO_TASKS)) == parse(TWO_TASKS)


def test_a_second_document_gives_a_task_its_timeout() -> None:
    platform = {
        "kubernetes": {"deploymentSpec": {"executors": {"exec-first": {"activeDeadlineSeconds": "90"}}}}
    }
    text = yaml.safe_dump_all([TWO_TASKS, {"platforms": platform}])
    assert parse(text).container_of("first").timeout_s == 90
    assert parse(text).container_of("second").timeout_s == 0


def test_all_faults_are_reported_at_once_each_with_its_place() -> None:
    ir = copy.deepcopy(TWO_TASKS)
    tasks = ir["root"]["dag"]["tasks"]
    tasks["second"]["inputs"]["parameters"]["count"]["taskOutputParameter"]["outputParameterKey"] = "number"
    tasks["second"]["dependentTasks"] = ["third"]
    tasks["first"]["inputs"]["parameters"] = {"m": {"componentInputParameter": "n"}}
    tasks["first"]["componentRef"]["name"] = "comp-first"
    with pytest.raises(IRError) as caught:
        parse(ir)
    assert caught.value.faults == (
        "root.dag.tasks.second: `dependentTasks`: there is no task `third`",
        "root.dag.tasks.second: `count`: `first` does not put out `number`; its parameters: count",
        "root.dag.tasks.first: `comp-first` has no input `m` in its parameters",
        "root.dag.tasks.first: the input `n` of `comp-first` is not given",
    )


def test_tasks_that_wait_for_each_other_are_named() -> None:
    ir = copy.deepcopy(TWO_TASKS)
    ir["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["second"]
    with pytest.raises(IRError, match="wait for each other in a circle: first, second"):
        parse(ir)


LATER = [
    ("tasks.first.triggerPolicy", {"condition": "true"}, "condition"),
    ("tasks.first.triggerPolicy", {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}, "strategy"),
    ("tasks.first.parameterIterator", {"items": {"raw": "[1]"}, "itemInput": "n"}, "a loop over parameters"),
    ("tasks.first.artifactIterator", {"itemInput": "n"}, "a loop over artifacts"),
    ("tasks.first.inputs.parameters.n", {"taskFinalStatus": {"producerTask": "second"}}, "final status"),
    (
        "tasks.first.inputs.parameters.n.parameterExpressionSelector",
        'parseJson(string_value)["a"]',
        "selector",
    ),
    ("components.comp-first.dag", {"tasks": {}}, "a nested pipeline"),
    ("components.comp-first.inputDefinitions.parameters.n.literals", [1], "allowed literals"),
    (
        "components.comp-first.outputDefinitions.artifacts.rows.isArtifactList",
        True,
        "a list of artifacts",
    ),
    ("executors.exec-first", {"importer": {"artifactUri": {"constant": "x"}}}, "an importer"),
    ("executors.exec-first.container.resources", {"cpuLimit": 1}, "resource limits"),
    ("executors.exec-first.container.args", ['{"IfPresent": {"InputName": "n", "Then": "x"}}'], "IfPresent"),
    ("executors.exec-first.container.args", ["{{$.inputs.artifacts['a'].name}}"], "placeholder"),
    ("outputs.parameters.total", {"valueFromOneof": {"parameterSelectors": []}}, "OneOf"),
]


@pytest.mark.parametrize(("place", "value", "name"), LATER)
def test_what_is_not_supported_is_refused_by_name(place: str, value: Any, name: str) -> None:
    ir = copy.deepcopy(TWO_TASKS)
    node: Any = {**ir["root"]["dag"], **ir, "executors": ir["deploymentSpec"]["executors"]}
    *path, last = place.split(".")
    for key in path:
        node = node.setdefault(key, {})
    node[last] = value
    with pytest.raises(IRError) as caught:
        parse(ir)
    assert any(name in fault and "not supported" in fault for fault in caught.value.faults), (
        caught.value.faults
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "42", "root: 3", '{"pipeline_spec": 1}', "components: [1]"]
)
def test_what_is_no_pipeline_is_an_error_and_nothing_else(text: str) -> None:
    with pytest.raises(IRError):
        parse(text)


def test_another_schema_version_is_refused() -> None:
    with pytest.raises(IRError, match=r"`schemaVersion` is 2\.0\.0; only 2\.1\.0"):
        parse({**TWO_TASKS, "schemaVersion": "2.0.0"})


def test_a_constant_of_another_type_is_refused() -> None:
    ir = copy.deepcopy(TWO_TASKS)
    ir["root"]["dag"]["tasks"]["first"]["inputs"]["parameters"]["n"] = {"runtimeValue": {"constant": "many"}}
    with pytest.raises(IRError, match="`n`: 'many' is no NUMBER_INTEGER"):
        parse(ir)


def _places(node: Any, place: tuple[Any, ...] = ()) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from _places(inner, (*place, key))


@pytest.mark.parametrize(
    "wrong", [None, 1, True, "x", [], {}, [1], {"a": 1}, "{{$.x}}", float("inf"), [None], {"": {}}], ids=str
)
def test_a_wrong_value_anywhere_is_an_error_of_ours_or_harmless(wrong: Any) -> None:
    for *path, last in _places(TWO_TASKS):
        ir = copy.deepcopy(TWO_TASKS)
        node: Any = ir
        for key in path:
            node = node[key]
        node[last] = wrong
        with contextlib.suppress(IRError):
            parse(ir)
