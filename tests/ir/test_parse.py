"""KFP's IR, read and checked as a whole."""

import contextlib
import copy
import json
from typing import Any

import pytest
import yaml

from tuneline_ir import (
    Constant,
    Container,
    DagOutput,
    FinalStatus,
    IRError,
    Iterator,
    Pipeline,
    PipelineInput,
    RetryPolicy,
    Selected,
    TaskOutput,
    parse,
)

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
    assert pipeline.graph.outputs == {"total": DagOutput((TaskOutput("first", "count"),))}
    assert _container(pipeline, "first").env == {"A": "b"}


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
    assert _container(parse(text), "first").timeout_s == 90
    assert _container(parse(text), "second").timeout_s == 0


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
        "root.dag.tasks.first: the input `n` of `comp-first` is not given",
    )


def test_a_parameter_may_be_given_that_only_placeholders_read() -> None:
    ir = copy.deepcopy(TWO_TASKS)
    given = ir["root"]["dag"]["tasks"]["first"]["inputs"]["parameters"]
    given["pipelinechannel--who"] = {"runtimeValue": {"constant": "you"}}
    assert parse(ir).tasks["first"].parameters["pipelinechannel--who"] == Constant("you")


def test_tasks_that_wait_for_each_other_are_named() -> None:
    ir = copy.deepcopy(TWO_TASKS)
    ir["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["second"]
    with pytest.raises(IRError, match="wait for each other in a circle: first, second"):
        parse(ir)


def _changed(place: str, value: Any) -> dict[str, Any]:
    ir = copy.deepcopy(TWO_TASKS)
    node: Any = {**ir["root"]["dag"], **ir, "executors": ir["deploymentSpec"]["executors"]}
    *path, last = place.split(".")
    for key in path:
        node = node.setdefault(key, {})
    node[last] = value
    return ir


READ = [
    ("tasks.second.triggerPolicy", {"condition": "true"}, lambda p: p.tasks["second"].condition, "true"),
    (
        "tasks.second.triggerPolicy",
        {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        lambda p: p.tasks["second"].whatever_happened,
        True,
    ),
    (
        "tasks.first.parameterIterator",
        {"items": {"raw": "[1]"}, "itemInput": "n"},
        lambda p: p.tasks["first"].iterator,
        Iterator("raw", "[1]", "n"),
    ),
    (
        "tasks.second.artifactIterator",
        {"items": {"inputArtifact": "rows"}, "itemInput": "rows"},
        lambda p: p.tasks["second"].iterator,
        Iterator("artifact", "rows", "rows"),
    ),
    (
        "tasks.second.inputs.parameters.text",
        {"taskFinalStatus": {"producerTask": "first"}},
        lambda p: p.tasks["second"].parameters["text"],
        FinalStatus("first"),
    ),
    (
        "tasks.first.inputs.parameters.n.parameterExpressionSelector",
        'parseJson(string_value)["a"]',
        lambda p: p.tasks["first"].parameters["n"],
        Selected(PipelineInput("n"), 'parseJson(string_value)["a"]'),
    ),
    (
        "components.comp-first.inputDefinitions.parameters.n.literals",
        [1.0, 2],
        lambda p: p.components["comp-first"].inputs.parameters["n"].literals,
        (1, 2),
    ),
    (
        "components.comp-first.outputDefinitions.artifacts.rows.isArtifactList",
        True,
        lambda p: p.components["comp-first"].outputs.artifacts["rows"].is_list,
        True,
    ),
    (
        "executors.exec-second",
        {"importer": {"artifactUri": {"runtimeParameter": "text"}, "reimport": True}},
        lambda p: p.executors["exec-second"].uri,
        PipelineInput("text"),
    ),
    (
        "executors.exec-first.container.resources",
        {"cpuLimit": 1.5},
        lambda p: p.executors["exec-first"].resources,
        {"cpuLimit": 1.5},
    ),
    (
        "outputs.parameters.total",
        {
            "valueFromOneof": {
                "parameterSelectors": [{"producerSubtask": "first", "outputParameterKey": "count"}]
            }
        },
        lambda p: p.graph.outputs["total"],
        DagOutput((TaskOutput("first", "count"),), one_of=True),
    ),
    (
        "tasks.second.cachingOptions",
        {},
        lambda p: (p.tasks["second"].uncached, p.tasks["first"].uncached),
        (True, False),
    ),
]


@pytest.mark.parametrize(("place", "value", "read", "expected"), READ)
def test_what_the_ir_says_is_read(place: str, value: Any, read: Any, expected: Any) -> None:
    ir = _changed(place, value)
    if "exec-second" in place:
        outputs = {"artifacts": {"artifact": {"artifactType": {"schemaTitle": "system.Dataset"}}}}
        ir["components"]["comp-second"]["outputDefinitions"] = outputs
    assert read(parse(ir)) == expected


REFUSED = [
    ("executors.exec-first", {"resolver": {}}, "a resolver"),
    ("executors.exec-first", {"customJob": {}}, "a custom job"),
    ("tasks.first.inputs.parameters.n", {"runtimeValue": {"runtimeParameter": "n"}}, "a runtime parameter"),
    ("executors.exec-first.container.args", ["{{$.inputs.artifacts['a'].name}}"], "placeholder"),
    ("tasks.first.triggerPolicy", {"strategy": "SOMETIMES"}, "`strategy` is SOMETIMES"),
    ("tasks.first.iteratorPolicy", {"parallelismLimit": -1}, "negative"),
    (
        "components.comp-endless",
        {"dag": {"tasks": {"again": {"componentRef": {"name": "comp-endless"}}}}},
        "without end",
    ),
    ("components.comp-first.inputDefinitions.parameters.n.parameterType", "COLOR", "COLOR"),
    ("root.dag.tasks", {"a/b": {"componentRef": {"name": "comp-first"}}}, "cannot be called `a/b`"),
]


@pytest.mark.parametrize(("place", "value", "name"), REFUSED)
def test_what_is_not_supported_is_refused_by_name(place: str, value: Any, name: str) -> None:
    with pytest.raises(IRError) as caught:
        parse(_changed(place, value))
    assert any(name in fault for fault in caught.value.faults), caught.value.faults


def test_what_the_first_sdk_compiled_is_refused_with_what_to_do() -> None:
    with pytest.raises(IRError, match="Argo Workflow.* compile the pipeline with SDK v2"):
        parse({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {"entrypoint": "x"}})


def _container(pipeline: Pipeline, task: str) -> Container:
    found = pipeline.executors[pipeline.component_of(pipeline.tasks[task]).executor]
    assert isinstance(found, Container)
    return found


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
