"""Secrets stay out of what errors quote, also where they are written otherwise or cut short."""

import json

import pytest

from tuneline.errors import SpecError
from tuneline.plan.decisions import decide
from tuneline.plan.events import AttemptFailed, RunStarted
from tuneline.plan.nodes import Context
from tuneline.plan.parameters import root_values
from tuneline.plan.schedule import fold
from tuneline.plan.secrets import Masker
from tuneline_ir import parse

KEY = '-----BEGIN KEY-----\nit\'s "quoted" \\n' + "0123456789abcdef" * 8


@pytest.mark.parametrize("length", [20, 57, 77, 300])
def test_a_secret_is_masked_as_it_is_as_json_as_python_quotes_it_and_cut_short(length: int) -> None:
    masker = Masker([KEY])
    for text in (KEY, json.dumps(KEY), repr(KEY), repr({"key": KEY})):
        cut = text if len(text) <= length else text[:length] + "..."
        said = masker.value(f"the value {cut} is no NUMBER")
        assert "***" in said
        assert not any(part in said for part in ("BEGIN", "0123"))
    assert masker.value("nothing of it...") == "nothing of it..."


def test_a_secret_of_another_type_than_declared_is_refused_without_it() -> None:
    declared = ir({})
    declared["root"]["inputDefinitions"]["parameters"]["api_token"] = {"parameterType": "NUMBER_INTEGER"}
    with pytest.raises(SpecError) as refused:
        root_values(parse(declared), {"api_token": "hunter-2"})
    assert "hunter" not in repr(refused.value.to_json())
    assert "`api_token`" in refused.value.details[0]


def ir(task: dict, *, type: str = "STRING", image: str = "i") -> dict:
    given = {"x": {"componentInputParameter": "api_token"}}
    return {
        "pipelineInfo": {"name": "p"},
        "components": {
            "c": {"executorLabel": "e", "inputDefinitions": {"parameters": {"x": {"parameterType": type}}}}
        },
        "deploymentSpec": {"executors": {"e": {"container": {"image": image}}}},
        "root": {
            "inputDefinitions": {"parameters": {"api_token": {"parameterType": "STRING"}}},
            "dag": {"tasks": {"a": {"componentRef": {"name": "c"}, "inputs": {"parameters": given}, **task}}},
        },
        "schemaVersion": "2.1.0",
    }


@pytest.mark.parametrize(
    "task, type",
    [
        ({"triggerPolicy": {"condition": "int(inputs.parameter_values['x']) > 1"}}, "STRING"),
        ({"triggerPolicy": {"condition": "inputs.parameter_values['x']"}}, "STRING"),
        ({"parameterIterator": {"items": {"inputParameter": "x"}, "itemInput": "x"}}, "STRING"),
        ({"triggerPolicy": {"condition": "true"}}, "NUMBER_INTEGER"),
    ],
)
def test_a_task_that_cannot_start_with_a_secret_says_so_without_it(task: dict, type: str) -> None:
    context = Context(parse(ir(task, type=type)), {"api_token": KEY})
    (event,) = decide(fold(context, [RunStarted()]), 1, 0.0, Masker([KEY])).events
    assert isinstance(event, AttemptFailed)
    assert "***" in event.error["message"]
    assert "BEGIN" not in json.dumps(event.error)
