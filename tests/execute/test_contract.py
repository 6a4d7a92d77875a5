"""What a task finds in the executor's input, and what is taken of what it leaves. Real processes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.execute.doubles import EventLog, pipeline, submitted

from tuneline.execute.runner import Runner
from tuneline.plan.events import Outputs, RunEnded, TaskSucceeded
from tuneline.types import RunId


def _outputs(runner: Runner, log: EventLog, task: dict[str, Any], **values: Any) -> Outputs:
    runner.start(submitted(RunId("r1"), pipeline({"t": task}), values), log.lease("r1"))
    assert runner.wait(20, RunId("r1"))
    assert log.of("r1")[-1] == RunEnded("SUCCEEDED"), log.of("r1")[-1]
    return next(event.outputs for event in log.of("r1") if isinstance(event, TaskSucceeded))


def test_a_constant_may_be_the_executors_own_input_or_the_path_of_an_output(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    task = {
        "given": {"whole": "{{$}}", "file": "{{$.outputs.output_file}}"},
        "command": ["sh", "-c", 'printf "%s" "$0" > "$2"; printf "%s" "$1" > "$3"']
        + ["{{$.inputs.parameters['whole']}}", "{{$.inputs.parameters['file']}}"]
        + ["{{$.outputs.parameters['seen'].output_file}}", "{{$.outputs.parameters['path'].output_file}}"],
        "out": ["seen", "path"],
    }
    seen = _outputs(runner, log, task).parameters
    assert seen["path"] == str(tmp_path / "runs/r1/t/1/executor_output.json")
    assert json.loads(seen["seen"])["outputs"]["outputFile"] == seen["path"]


@pytest.mark.parametrize("text", ["{{$}}", "{{$.outputs.output_file}}", "{{$.inputs.parameters['x']}}"])
def test_a_value_that_only_looks_like_a_placeholder_stays_as_it_is(
    runner: Runner, log: EventLog, text: str
) -> None:
    task = {
        "given": {"read": "{{$.inputs.parameters['text']}}"},
        "sh": "printf '%s' \"$0\" > {{$.outputs.parameters['out'].output_file}}",
        "out": ["out"],
    }
    ir = pipeline({"t": task})
    ir["components"]["comp-t"]["inputDefinitions"]["parameters"]["text"] = {"parameterType": "STRING"}
    ir["root"]["dag"]["tasks"]["t"]["inputs"]["parameters"]["text"] = {"componentInputParameter": "text"}
    ir["root"]["inputDefinitions"] = {"parameters": {"text": {"parameterType": "STRING"}}}
    command = ir["deploymentSpec"]["executors"]["exec-t"]["container"]["command"]
    command.append("{{$.inputs.parameters['read']}}")
    runner.start(submitted(RunId("r1"), ir, {"text": text}), log.lease("r1"))
    assert runner.wait(20, RunId("r1"))
    done = next(event for event in log.of("r1") if isinstance(event, TaskSucceeded))
    assert done.outputs.parameters == {"out": text}


def test_what_a_task_put_at_a_path_of_its_own_is_found_at_its_uri_too(
    runner: Runner, log: EventLog, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    body = {"artifacts": {"f": {"artifacts": [{"custom_path": str(own)}]}}}
    script = (
        f"mkdir {own}; echo rows > {own}/a; cat > {{{{$.outputs.output_file}}}} <<'E'\n{json.dumps(body)}\nE"
    )
    task = {"sh": script, "made": ["f"]}
    ref = _outputs(runner, log, task).artifacts["f"][0]
    assert (ref.custom_path, ref.size_bytes) == (str(own), 5)
    assert (Path(ref.uri) / "a").read_text() == "rows\n"
