"""Values and placeholders: what a task sees in its command."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline_ir import convert, from_file, resolve, to_text

EXECUTOR_INPUT: dict[str, Any] = {
    "inputs": {
        "parameterValues": {
            "s": "a 'b' {{$}}",
            "i": 3,
            "f": 3.0,
            "d": 0.5,
            "l": [1, "x"],
            "m": {"k": 1},
            "b": True,
        },
        "artifacts": {"data": {"artifacts": [{"name": "data", "uri": "/in/data"}]}},
    },
    "outputs": {
        "parameters": {"out": {"outputFile": "/o/out"}},
        "artifacts": {"model": {"artifacts": [{"name": "model", "uri": "/o/model"}]}},
        "outputFile": "/o/executor_output.json",
    },
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("x={{$.inputs.parameters['i']}}", "x=3"),
        ("{{$.inputs.parameters['f']}}", "3"),
        ("{{$.inputs.parameters['d']}}", "0.5"),
        ("{{$.inputs.parameters['b']}}", "true"),
        ("{{$.inputs.parameters['l']}}", '[1, "x"]'),
        ('{{$.inputs.parameters["m"]}}', '{"k": 1}'),
        ("{{$.inputs.parameters['s']}}", "a 'b' {{$}}"),  # a value is not looked at again
        ("{{$.inputs.artifacts['data'].uri}} {{$.inputs.artifacts['data'].path}}", "/in/data /in/data"),
        ("{{$.outputs.artifacts['model'].path}}", "/o/model"),
        ("{{$.outputs.parameters['out'].output_file}}", "/o/out"),
        ("{{$.outputs.output_file}}{{$.outputMetadataUri}}", "/o/executor_output.json" * 2),
        ("{{$.pipeline_task_name}}", "train"),
        ("{ {$} }", "{ {$} }"),
    ],
)
def test_placeholders_are_replaced(text: str, result: str) -> None:
    assert resolve(text, EXECUTOR_INPUT, {"pipeline_task_name": "train"}) == result


def test_the_executor_input_is_put_in_as_json() -> None:
    assert json.loads(resolve("{{$}}", EXECUTOR_INPUT, {})) == EXECUTOR_INPUT


@pytest.mark.parametrize(
    "text",
    [
        "{{$.inputs.parameters['none']}}",
        "{{$.inputs.artifacts['data'].name}}",
        "{{$.nonsense}}",
        "{{$.pipeline_root}}",
    ],
)
def test_a_placeholder_without_a_value_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="placeholder") as caught:
        resolve(text, EXECUTOR_INPUT, {})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("value", "type", "result"),
    [
        (3.0, "NUMBER_INTEGER", 3),
        (3, "NUMBER_DOUBLE", 3.0),
        ("[1]", "LIST", [1]),
        ('{"a": 1}', "STRUCT", {"a": 1}),
        ({"a": 1}, "STRING", '{"a": 1}'),
        (2.0, "STRING", "2"),
    ],
)
def test_values_become_what_their_type_says(value: Any, type: str, result: Any) -> None:
    converted = convert(value, type)
    assert converted == result
    assert isinstance(converted, type_of(result))


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (3.5, "NUMBER_INTEGER"),
        (True, "NUMBER_INTEGER"),
        ("x", "BOOLEAN"),
        (1, "BOOLEAN"),
        ("{}", "LIST"),
        (1, "STRUCT"),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Any, type: str) -> None:
    with pytest.raises(ValueError, match=f"is no {type}"):
        convert(value, type)


def test_what_a_task_writes_to_a_file_is_read_by_its_type() -> None:
    assert from_file(" a\n", "STRING") == " a\n"
    assert from_file("3\n", "NUMBER_INTEGER") == 3
    assert from_file("True\n", "BOOLEAN") is True
    with pytest.raises(ValueError, match="'many' is no NUMBER_DOUBLE"):
        from_file("many", "NUMBER_DOUBLE")


@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.lists(st.integers())
)
def test_a_value_written_into_a_command_reads_back(value: Any) -> None:
    assert json.loads(to_text(value)) == value


def type_of(value: Any) -> type:
    return type(value)
