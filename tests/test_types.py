"""Digests of values."""

from tuneline.types import canonical_json, digest_json


def test_equal_values_have_one_text_and_one_digest():
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


def test_what_a_users_task_may_put_out_has_a_digest_too():
    values = [float("inf"), float("-inf"), float("nan"), "\ud83d", "\0", 1.0, 2**70]
    assert len({digest_json({"x": [value]}) for value in values}) == len(values)
