"""MLflow's scoring protocol, read: each form, and what is wrong named."""

import json

import pytest

from tuneline.serve.openai import RequestRefused
from tuneline.serve.scoring import parse_scoring

ROWS = [{"a": 1, "b": "x"}, {"a": 2.5, "b": None}]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"index": [0, 1], "columns": ["a", "b"], "data": [[1, "x"], [2.5, None]]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {"a": [1, 2.5], "b": ["x", None]}},
    ],
)
def test_every_form_of_a_table_is_the_same_rows(body):
    found = parse_scoring(json.dumps(body).encode(), "application/json; charset=utf-8")
    assert (found.rows, found.params, found.count) == (ROWS, None, 2)


@pytest.mark.parametrize("body", [{"instances": [[1, 2], [3, 4]]}, {"inputs": [[1, 2], [3, 4]]}])
def test_tensors_are_given_on(body):
    assert parse_scoring(json.dumps(body).encode(), "").rows == [[1, 2], [3, 4]]


def test_named_tensors_and_single_values_are_given_on():
    assert parse_scoring(b'{"inputs": {"a": 1}, "params": {"k": 2}}', "").rows == {"a": 1}
    assert parse_scoring(b'{"inputs": {"a": 1}, "params": {"k": 2}}', "").params == {"k": 2}
    assert parse_scoring(b'{"inputs": "text"}', "").rows == "text"


@pytest.mark.parametrize(
    "body, said",
    [
        (b"{", "The body is not JSON"),
        (b"[]", "must be a JSON object with one of dataframe_split"),
        (b"{}", "it has none (but nothing)"),
        (b'{"rows": []}', "it has none (but rows)"),
        (b'{"instances": [], "inputs": []}', "it has instances and inputs"),
        (b'{"instances": 1}', "`instances` must be a list"),
        (b'{"dataframe_records": [1]}', "`dataframe_records` must be a list of objects"),
        (b'{"dataframe_split": []}', "an object with `columns` and `data`"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}', "data[1]` has 2 values for 1"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": []}}', "has a name twice"),
        (b'{"inputs": {"a": [1], "b": []}}', "of unequal length: a 1, b 0"),
        (b'{"inputs": [], "params": 3}', "`params` must be an object"),
        (b"[" * 100_000, "The body is not JSON"),
    ],
)
def test_what_is_wrong_is_named(body, said):
    with pytest.raises(RequestRefused) as caught:
        parse_scoring(body, "application/json")
    assert said in caught.value.message


def test_another_type_of_body_is_refused():
    with pytest.raises(RequestRefused) as caught:
        parse_scoring(b"a,b\n1,2\n", "text/csv")
    assert caught.value.http_status == 415
