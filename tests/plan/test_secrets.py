"""Secrets stay out of what errors quote, also where they are written otherwise or cut short."""

import json

import pytest

from tuneline.plan.decisions import decide
from tuneline.plan.events import AttemptFailed, RunStarted
from tuneline.plan.nodes import Context
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
        assert "BEGIN" not in said and "0123" not in said and "***" in said
    assert masker.value("nothing of it...") == "nothing of it..."


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
