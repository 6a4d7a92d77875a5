"""A project's pipeline: deterministic, complete, and read by the parser."""

import json
from pathlib import Path
from typing import Any

from tuneline.plan.compile import compile_project, input_name
from tuneline.plan.components import LINE
from tuneline.spec.project import load
from tuneline_ir import PipelineInput, TaskOutput, parse

EXAMPLE = Path(__file__).parents[2] / "examples" / "movie-reviews"


def _compiled() -> dict[str, Any]:
    return compile_project(load(EXAMPLE).project)


def test_the_same_project_gives_the_same_bytes() -> None:
    assert json.dumps(_compiled()) == json.dumps(_compiled())


def test_every_step_is_a_container_of_our_own_image() -> None:
    executors = _compiled()["deploymentSpec"]["executors"]
    assert executors["exec-tune"] == {
        "container": {
            "image": "tuneline",
            "command": ["tuneline", "step", "tune"],
            "args": ["--executor-input", "{{$}}"],
        }
    }
    assert [name.removeprefix("exec-") for name in executors] == [step.name for step in LINE]


def test_fields_of_the_project_are_root_inputs_with_its_values_as_defaults() -> None:
    inputs = _compiled()["root"]["inputDefinitions"]["parameters"]
    assert inputs["train_r"] == {"parameterType": "NUMBER_INTEGER", "defaultValue": 8, "isOptional": True}
    assert inputs["data_split_test"]["defaultValue"] == 0.05
    assert inputs["data_map"]["defaultValue"] == {"label": {"0": "negative", "1": "positive"}}
    assert inputs["gate"]["defaultValue"][0] == "accuracy >= 0.80"
    assert "train_init_adapter" in inputs


def test_the_parser_reads_it_and_every_declared_input_and_output_is_there() -> None:
    pipeline = parse(_compiled())
    assert set(pipeline.tasks) == {step.name for step in LINE}
    for step in LINE:
        task, component = pipeline.tasks[step.name], pipeline.component_of(pipeline.tasks[step.name])
        for param in step.params:
            source = (
                TaskOutput(param.task, param.output) if param.task else PipelineInput(input_name(param.field))
            )
            assert task.parameters[param.name] == source
        assert {key: given.task for key, given in task.artifacts.items()} == {
            i.name: i.task for i in step.inputs
        }
        assert {key: spec.type for key, spec in component.outputs.artifacts.items()} == {
            out.name: out.type for out in step.outputs
        }
        assert (task.cached, task.retry.retries) == (step.cached, step.retries)
    assert pipeline.tasks["propose"].needs == ("base", "evaluate", "gate", "live", "package", "verify")


class _Kept:
    """A project of which only values are known."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def value(self, dotted: str) -> Any:
        return self.values[dotted]


def test_the_line_is_the_one_kept_here() -> None:
    """The kept file shows what a change of the line changes; write it anew where that is meant."""
    kept = json.loads((Path(__file__).parent / "fixtures" / "line.json").read_text(encoding="utf-8"))
    assert compile_project(_Kept(kept["values"])) == kept["ir"]
