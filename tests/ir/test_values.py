"""Parameter values: what a declared type takes, and how a value is written."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline_ir import convert, from_file, to_text, whole


@pytest.mark.parametrize(
    ("value", "type", "result"),
    [
        (3.0, "NUMBER_INTEGER", 3),
        (3, "NUMBER_DOUBLE", 3.0),
        ("[1]", "LIST", [1]),
        ('{"a": 1}', "STRUCT", {"a": 1}),
        ({"a": 1}, "STRING", '{"a": 1}'),
        (2.0, "STRING", "2"),
        ({"state": "SUCCEEDED"}, "TASK_FINAL_STATUS", {"state": "SUCCEEDED"}),
        ("{}", "TASK_CONFIG", {}),
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
        ([], "TASK_FINAL_STATUS"),
        (1, "UNKNOWN"),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Any, type: str) -> None:
    with pytest.raises(ValueError, match=f"is no {type}"):
        convert(value, type)


def test_null_is_a_value_of_an_optional_parameter_alone() -> None:
    assert convert(None, "NUMBER_INTEGER", optional=True) is None
    assert convert(None, "STRING", ["a"], optional=True) is None
    for type in ("STRING", "NUMBER_INTEGER", "STRUCT"):
        with pytest.raises(ValueError, match=f"null is no {type}"):
            convert(None, type)


@pytest.mark.parametrize(
    ("value", "type", "literals"),
    [("b", "STRING", ["a", "b"]), (2, "NUMBER_INTEGER", [1.0, 2.0]), (2.5, "NUMBER_DOUBLE", [2.5])],
)
def test_a_value_must_be_one_of_the_literals(value: Any, type: str, literals: list[Any]) -> None:
    assert convert(value, type, literals) == value
    with pytest.raises(ValueError, match=r"is none of the allowed values \["):
        convert(value * 2, type, literals)


def test_true_is_not_the_literal_one() -> None:
    with pytest.raises(ValueError, match="True is no NUMBER_INTEGER"):
        convert(True, "NUMBER_INTEGER", [1])
    assert convert([1], "LIST", [[1.0]]) == [1]


def test_whole_floats_of_the_wire_become_integers_again_at_any_depth() -> None:
    value = {"a": [1.0, 2.5, True, "3.0", None, {"b": -0.0, "c": 1e18}], "d": 1e300}
    assert json.dumps(whole(value)) == (
        '{"a": [1, 2.5, true, "3.0", null, {"b": 0, "c": 1000000000000000000}], "d": 1e+300}'
    )
    assert json.dumps(value["a"][0]) == "1.0"  # type: ignore[index]  # the given value is left as it is


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_what_went_through_protobufs_json_comes_back(value: Any) -> None:
    assert _typed(whole(_floated(value))) == _typed(value)


def _floated(value: Any) -> Any:
    if isinstance(value, list):
        return [_floated(item) for item in value]
    if isinstance(value, dict):
        return {key: _floated(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _typed(value: Any) -> Any:
    return json.dumps(value)


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


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    assert convert(nested(100), "LIST") == json.loads(nested(100))
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        convert(json.loads(nested(101)), "LIST")
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        convert({"a": json.loads(nested(400))}, "STRUCT")
    with pytest.raises(ValueError, match="is no LIST"):
        convert(nested(100_000), "LIST")


def test_a_small_number_has_no_exponent_in_a_command() -> None:
    assert [to_text(value) for value in (1e-05, -2.5e-7, 0.1, 1e22)] == [
        "0.00001", "-0.00000025", "0.1", "10000000000000000000000",
    ]  # fmt: skip


def type_of(value: Any) -> type:
    return type(value)


def test_a_number_that_passed_as_a_text_is_a_number_again_where_one_is_asked_for() -> None:
    text = convert(3, "STRING")
    assert (text, json.dumps([text])) == ("3", '["3"]')
    assert convert(text, "NUMBER_INTEGER") == 3
    assert convert(copy.deepcopy(convert([1], "STRING")), "LIST") == [1]
    with pytest.raises(ValueError, match="no NUMBER_INTEGER"):
        convert("3", "NUMBER_INTEGER")
