"""Pipelines in pipelines, conditions, loops, exit tasks and importers, with real processes."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.execute.doubles import EventLog, submitted

from tuneline.execute.runner import Runner
from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    GraphStarted,
    RunEnded,
    TaskCached,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.types import RunId

pytestmark = pytest.mark.slow

Y = "{{$.outputs.parameters['y'].output_file}}"
STRING, INTEGER = {"parameterType": "STRING"}, {"parameterType": "NUMBER_INTEGER"}


def container(script: str, given: dict[str, Any] | None = None, out: dict[str, Any] | None = None) -> Any:
    """A component that runs a shell script, and its executor."""
    component = {
        "executorLabel": "",
        "inputDefinitions": {"parameters": given or {}},
        "outputDefinitions": {"parameters": out or {}},
    }
    return component, {"container": {"image": "host", "command": ["sh", "-c", script]}}


def build(
    tasks: dict[str, Any], components: dict[str, Any], *, outputs: Any = None, inputs: Any = None
) -> dict[str, Any]:
    """A pipeline of containers (`container`) and graphs (plain mappings)."""
    found: dict[str, Any] = {}
    executors: dict[str, Any] = {}
    for name, body in components.items():
        if isinstance(body, tuple):
            found[name] = {**body[0], "executorLabel": name}
            executors[name] = body[1]
        else:
            found[name] = body
    root: dict[str, Any] = {"dag": {"tasks": tasks, "outputs": outputs or {}}}
    if inputs:
        root["inputDefinitions"] = {"parameters": inputs}
    return {
        "pipelineInfo": {"name": "graphs"},
        "components": found,
        "deploymentSpec": {"executors": executors},
        "root": root,
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    }


def task(component: str, after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A task; `given`: {input: constant, or (task, output), or "<surrounding input"}."""
    given = {key: _source(value) for key, value in more.pop("given", {}).items()}
    body = {"componentRef": {"name": component}, "dependentTasks": list(after), **more}
    return {**body, "inputs": {"parameters": given}} if given else body


def _source(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple):
        return {"taskOutputParameter": {"producerTask": value[0], "outputParameterKey": value[1]}}
    if isinstance(value, str) and value.startswith("<"):
        return {"componentInputParameter": value[1:]}
    return {"runtimeValue": {"constant": value}}


def run(runner: Runner, log: EventLog, ir: dict[str, Any], values: Any = None, id: str = "r1") -> RunEnded:
    runner.start(submitted(id, ir, values), log.lease(id))
    assert runner.wait(30, RunId(id)), log.of(id)
    ended = log.of(id)[-1]
    assert isinstance(ended, RunEnded)
    return ended


def outputs(log: EventLog, id: str = "r1") -> dict[str, Any]:
    """Output parameters of every task that succeeded, by path."""
    done = (event for event in log.of(id) if isinstance(event, TaskSucceeded | TaskCached))
    return {event.task: event.outputs.parameters for event in done}


ECHO = container(
    "printf %s '{{$.inputs.parameters['x']}}' >{{$.outputs.parameters['y'].output_file}}",
    {"x": STRING},
    {"y": STRING},
)
DOUBLE = container(
    "echo $((2 * {{$.inputs.parameters['n']}})) >{{$.outputs.parameters['y'].output_file}}",
    {"n": INTEGER},
    {"y": INTEGER},
)


def test_a_pipeline_in_a_pipeline_takes_and_gives_parameters(runner: Runner, log: EventLog) -> None:
    inner = {
        "inputDefinitions": {"parameters": {"word": STRING}},
        "outputDefinitions": {"parameters": {"said": STRING}},
        "dag": {
            "tasks": {"say": task("echo", given={"x": "<word"})},
            "outputs": {
                "parameters": {
                    "said": {"valueFromParameter": {"producerSubtask": "say", "outputParameterKey": "y"}}
                }
            },
        },
    }
    total = {"valueFromParameter": {"producerSubtask": "last", "outputParameterKey": "y"}}
    ir = build(
        {
            "part": task("inner", given={"word": "<w"}),
            "last": task("echo", given={"x": ("part", "said")}),
        },
        {"echo": ECHO, "inner": inner},
        outputs={"parameters": {"total": total}},
        inputs={"w": STRING},
    )
    ended = run(runner, log, ir, {"w": "hello"})
    assert (ended.state, ended.outputs.parameters) == ("SUCCEEDED", {"total": "hello"})
    assert outputs(log) == {"part/say": {"y": "hello"}, "part": {"said": "hello"}, "last": {"y": "hello"}}
    (opened,) = [event for event in log.of("r1") if isinstance(event, GraphStarted)]
    assert [(child.path, child.kind) for child in opened.children] == [("part/say", "task")]
    assert opened.read.parameters == {"word": "hello"}


def loop(items: Any, limit: int = 0) -> dict[str, Any]:
    return {
        "parameterIterator": {"items": items, "itemInput": "item"},
        "iteratorPolicy": {"parallelismLimit": limit},
    }


BODY = {
    "inputDefinitions": {"parameters": {"item": INTEGER}},
    "outputDefinitions": {"parameters": {"y": INTEGER}},
    "dag": {
        "tasks": {
            "double": task("double", given={"n": "<item"}),
            "big": task(
                "only-big", ("double",), given={"d": ("double", "y")},
                triggerPolicy={"condition": "int(inputs.parameter_values['d']) > 2"},
            ),
        },
        "outputs": {
            "parameters": {"y": {"valueFromParameter": {"producerSubtask": "big", "outputParameterKey": "y"}}}
        },
    },
}  # fmt: skip
ONLY_BIG = {
    "inputDefinitions": {"parameters": {"d": INTEGER}},
    "outputDefinitions": {"parameters": {"y": INTEGER}},
    "dag": {
        "tasks": {"again": task("double", given={"n": "<d"})},
        "outputs": {
            "parameters": {
                "y": {"valueFromParameter": {"producerSubtask": "again", "outputParameterKey": "y"}}
            }
        },
    },
}


def test_a_loop_collects_in_the_order_of_its_items_and_leaves_out_what_was_skipped(
    runner: Runner, log: EventLog
) -> None:
    ir = build(
        {
            "each": task("body", **loop({"raw": "[3, 1, 2]"}, limit=2)),
            "none": task("body", **loop({"raw": "[]"})),
            "all": task("list", given={"x": ("each", "y")}),
        },
        {
            "body": BODY, "only-big": ONLY_BIG, "double": DOUBLE,
            "list": container("printf %s '{{$.inputs.parameters['x']}}' >" + Y,
                              {"x": {"parameterType": "LIST"}}, {"y": STRING}),
        },
    )  # fmt: skip
    assert run(runner, log, ir).state == "SUCCEEDED"
    found = outputs(log)
    assert found["each"] == {"y": [12, 8]}
    assert found["none"] == {"y": []}
    assert found["all"] == {"y": "[12, 8]"}
    skipped = [event for event in log.of("r1") if isinstance(event, TaskSkipped)]
    assert [(event.task, "does not hold" in event.reason) for event in skipped] == [("each/1/big", True)]


def branches(value: str) -> dict[str, Any]:
    said = {"producerSubtask": "say", "outputParameterKey": "y"}
    interface = {
        "inputDefinitions": {"parameters": {"v": STRING}},
        "outputDefinitions": {"parameters": {"y": STRING}},
    }
    one = {
        **interface,
        "dag": {
            "tasks": {"say": task("echo", given={"x": "<v"})},
            "outputs": {"parameters": {"y": {"valueFromParameter": said}}},
        },
    }
    is_a = "inputs.parameter_values['v'] == 'a'"
    either = [{"producerSubtask": name, "outputParameterKey": "y"} for name in ("if", "else")]
    both = {
        **interface,
        "dag": {
            "tasks": {
                "if": task("one", given={"v": "<v"}, triggerPolicy={"condition": is_a}),
                "else": task("one", given={"v": "<v"}, triggerPolicy={"condition": f"!({is_a})"}),
            },
            "outputs": {"parameters": {"y": {"valueFromOneof": {"parameterSelectors": either}}}},
        },
    }
    return build(
        {"choose": task("both", given={"v": value}), "use": task("echo", given={"x": ("choose", "y")})},
        {"echo": ECHO, "one": one, "both": both},
    )


@pytest.mark.parametrize(("value", "ran", "not_ran"), [("a", "if", "else"), ("b", "else", "if")])
def test_one_of_two_branches_runs_and_gives_the_output(
    runner: Runner, log: EventLog, value: str, ran: str, not_ran: str
) -> None:
    assert run(runner, log, branches(value)).state == "SUCCEEDED"
    assert outputs(log)["use"] == {"y": value}
    assert f"choose/{ran}" in outputs(log)
    skipped = [event.task for event in log.of("r1") if isinstance(event, TaskSkipped)]
    assert skipped == [f"choose/{not_ran}"]


def test_a_condition_that_cannot_be_evaluated_fails_its_task_and_says_why(
    runner: Runner, log: EventLog
) -> None:
    holds = {"condition": "int(inputs.parameter_values['x']) > 3"}
    ended = run(
        runner, log, build({"t": task("echo", given={"x": "many"}, triggerPolicy=holds)}, {"echo": ECHO})
    )
    assert ended.state == "FAILED"
    assert ended.error is not None
    assert "many" in ended.error["message"]


def exiting(script: str) -> dict[str, Any]:
    status = {"status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}
    report = container(
        "printf %s '{{$.inputs.parameters['status']}}' >" + Y, status, {"y": STRING}
    )  # fmt: skip
    return build(
        {
            "body": task("work"),
            "exit": task(
                "report", ("body",),
                given={"status": {"taskFinalStatus": {"producerTask": "body"}}},
                triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            ),
            "later": task("report", ("body",)),
        },
        {"work": {"dag": {"tasks": {"step": task("shell")}}}, "shell": container(script), "report": report},
    )  # fmt: skip


def test_an_exit_task_runs_whatever_happened_and_is_told_how_it_ended(runner: Runner, log: EventLog) -> None:
    ended = run(runner, log, exiting("exit 3"))
    assert ended.state == "FAILED"
    assert ended.error is not None
    assert ended.error["task"] == "body/step"
    status = json.loads(outputs(log)["exit"]["y"])
    assert (status["state"], status["pipelineTaskName"]) == ("FAILED", "body")
    assert "exit code 3" in status["error"]["message"]
    assert [event.task for event in log.of("r1") if isinstance(event, TaskSkipped)] == ["later"]
    run(runner, log, exiting("true"), id="r2")
    assert json.loads(outputs(log, "r2")["exit"]["y"])["state"] == "SUCCEEDED"


def test_a_nested_pipeline_that_fails_is_tried_again_as_a_whole(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    ir = build(
        {"part": task("inner", retryPolicy={"maxRetryCount": 2, "backoffDuration": "0s"})},
        {
            "inner": {"dag": {"tasks": {"first": task("ok"), "second": task("once", ("first",))}}},
            "ok": container("true"),
            "once": container(f"test -e {flag} || {{ touch {flag}; exit 1; }}"),
        },
    )
    assert run(runner, log, ir).state == "SUCCEEDED"
    begun = [(event.task, event.attempt) for event in log.of("r1") if isinstance(event, AttemptStarted)]
    assert begun == [("part/first", 1), ("part/second", 1), ("part/first", 2), ("part/second", 2)]
    failed = [event for event in log.of("r1") if isinstance(event, AttemptFailed) and event.task == "part"]
    assert [event.retry_at is not None for event in failed] == [True]


def test_a_retry_goes_into_a_graph_and_runs_only_what_did_not_succeed(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    ir = build(
        {"each": task("body", **loop({"raw": "[1, 2]"})), "end": task("ok", ("each",))},
        {
            "body": {
                "inputDefinitions": {"parameters": {"item": INTEGER}},
                "dag": {"tasks": {"one": task("check", given={"n": "<item"})}},
            },
            "ok": container("true"),
            "check": container(
                f"test $(({{{{$.inputs.parameters['n']}}}})) = 1 || test -e {flag}", {"n": INTEGER}
            ),
        },
    )
    assert run(runner, log, ir).state == "FAILED"
    flag.touch()
    runner.retry(submitted("r1", ir), log.lease("r1"), by="ann")
    assert runner.wait(20)
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED")
    begun = [(event.task, event.attempt) for event in log.of("r1") if isinstance(event, AttemptStarted)]
    assert sorted(begun) == [("each/0/one", 1), ("each/1/one", 1), ("each/1/one", 2), ("end", 1)]


def test_an_importer_names_what_exists_and_is_asked_again_only_if_it_says_so(
    make_runner: Any, log: EventLog, tmp_path: Path
) -> None:
    runner = make_runner()
    data = tmp_path / "data.csv"
    data.write_text("a,b\n")
    artifact = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}

    def ir(reimport: bool) -> dict[str, Any]:
        importer = {
            "artifactUri": {"runtimeParameter": "uri"},
            "typeSchema": {"schemaTitle": "system.Dataset"},
            "metadata": {"from": "{{$.inputs.parameters['uri']}}", "n": 2.0},
            "reimport": reimport,
        }
        imported = {
            "inputDefinitions": {"parameters": {"uri": STRING}},
            "outputDefinitions": {"artifacts": {"artifact": artifact}},
        }
        path, source = (f"{{{{$.inputs.artifacts['data'].{what}}}}}" for what in ("path", "metadata['from']"))
        reading, executor = container(f"cat {path}; echo {source}")
        reading["inputDefinitions"] = {"artifacts": {"data": artifact}}
        body = build(
            {"import": task("importer", given={"uri": str(data)}), "read": task("read")},
            {"importer": (imported, {"importer": importer}), "read": (reading, executor)},
        )
        read = {"taskOutputArtifact": {"producerTask": "import", "outputArtifactKey": "artifact"}}
        body["root"]["dag"]["tasks"]["read"]["inputs"] = {"artifacts": {"data": read}}
        return body

    assert run(runner, log, ir(False)).state == "SUCCEEDED"
    assert (tmp_path / "runs/r1/read/1/log.txt").read_text() == f"a,b\n{data}\n"
    assert run(runner, log, ir(False), id="r2").state == "SUCCEEDED"
    assert [event.task for event in log.of("r2") if isinstance(event, TaskCached)] == ["import"]
    data.write_text("a,c\n")  # as long as before
    os.utime(data, (1, 1))
    assert run(runner, log, ir(False), id="changed").state == "SUCCEEDED"
    assert not [event for event in log.of("changed") if isinstance(event, TaskCached)]
    assert run(runner, log, ir(True), id="r3").state == "SUCCEEDED"
    assert not [event for event in log.of("r3") if isinstance(event, TaskCached)]
    shutil.move(data, tmp_path / "gone.csv")
    ended = run(runner, log, ir(True), id="r4")
    assert (ended.state, str(data) in (ended.error or {})["message"]) == ("FAILED", True)


def test_a_retry_with_a_changed_component_runs_it_and_what_reads_it_again_and_nothing_else(
    runner: Runner, log: EventLog
) -> None:
    def ir(word: str) -> dict[str, Any]:
        say = container(f"printf {word} >{Y}", out={"y": STRING})
        return build(
            {
                "first": task("echo", given={"x": "1"}),
                "say": task("say"),
                "reads": task("echo", given={"x": ("say", "y")}),
                "also": task("echo", ("say",), given={"x": ("first", "y")}),
                "fails": task("fails", ("reads",)),
            },
            {"echo": ECHO, "say": say, "fails": container("exit 1" if word == "one" else "true")},
        )

    assert run(runner, log, ir("one")).state == "FAILED"
    changed = replace(submitted("r2", ir("two")), retries=RunId("r1"), retries_ir=ir("one"))
    runner.start(changed, log.lease("r2"))
    assert runner.wait(20)
    assert log.of("r2")[-1] == RunEnded("SUCCEEDED")
    kept = [(event.task, event.source_run) for event in log.of("r2") if isinstance(event, TaskCached)]
    assert sorted(kept) == [("also", "r1"), ("first", "r1")]
    again = [event.task for event in log.of("r2") if isinstance(event, AttemptStarted)]
    assert again == ["say", "reads", "fails"]


def test_a_retry_with_a_changed_pipeline_reads_the_earlier_run_by_its_own_defaults(
    runner: Runner, log: EventLog
) -> None:
    inner = {
        "inputDefinitions": {"parameters": {"word": STRING}},
        "dag": {"tasks": {"say": task("echo", given={"x": "<word"}), "also": task("fails", ("say",))}},
    }

    def ir(given: str, end: str, inputs: dict[str, Any]) -> dict[str, Any]:
        parts = {"echo": ECHO, "inner": inner, "fails": container(end)}
        return build({"part": task("inner", given={"word": given})}, parts, inputs=inputs)

    before = ir("<w", "exit 1", {"w": {**STRING, "defaultValue": "hello"}})
    assert run(runner, log, before).state == "FAILED"
    new = submitted("r2", ir("hello", "true", {}))
    runner.start(replace(new, retries=RunId("r1"), retries_ir=before), log.lease("r2"))
    assert runner.wait(20)
    assert log.of("r2")[-1] == RunEnded("SUCCEEDED")
    assert [event.task for event in log.of("r2") if isinstance(event, TaskCached)] == ["part/say"]
