"""Steps as components: every parameter and file of the step, with the project file's own defaults."""

import pytest
import yaml

from tuneline.errors import NotFoundError
from tuneline.export.components import STEPS, component_yaml


@pytest.mark.parametrize("name", STEPS)
def test_a_component_declares_what_its_step_reads_and_puts_out(name):
    body, step = yaml.safe_load(component_yaml(name)), STEPS[name]
    read = [*(each.name for each in step.params), *(each.name for each in step.inputs)]
    made = [*(key for key, _ in step.returns), *(each.name for each in step.outputs)]
    assert [each["name"] for each in body.get("inputs", [])] == read
    assert [each["name"] for each in body.get("outputs", [])] == made
    container = body["implementation"]["container"]
    assert container["command"] == ["tuneline", "step", name]
    assert container["args"] == ["--executor-input", {"executorInput": None}]


def test_defaults_are_those_of_the_project_file_as_text():
    inputs = {each["name"]: each for each in yaml.safe_load(component_yaml("tune"))["inputs"]}
    assert (inputs["r"]["type"], inputs["r"]["default"]) == ("Integer", "8")
    assert (inputs["learning_rate"]["type"], inputs["learning_rate"]["default"]) == ("Float", "0.0002")
    assert inputs["init"] == {"name": "init", "type": "Model"}
    inputs = {each["name"]: each for each in yaml.safe_load(component_yaml("prepare"))["inputs"]}
    assert (inputs["map"]["default"], inputs["keep"]["default"], inputs["where"]["default"]) == (
        "{}",
        "[]",
        "",
    )
    assert (
        "default"
        not in {each["name"]: each for each in yaml.safe_load(component_yaml("fetch"))["inputs"]}["source"]
    )


def test_an_unknown_step_is_said_with_the_known_ones():
    with pytest.raises(NotFoundError, match="no step `tuen`") as wrong:
        component_yaml("tuen")
    assert "tune" in wrong.value.hint
