"""Parameters of a pipeline: each type from its text, every fault at once, no value in any of them."""

import pytest

from tuneline.cli.parameters import read_values, typed
from tuneline.errors import SpecError

DECLARED = {
    "n": {"parameterType": "NUMBER_INTEGER"},
    "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5, "isOptional": True},
    "rows": {"parameterType": "LIST", "isOptional": True},
    "conf": {"parameterType": "STRUCT", "isOptional": True},
    "on": {"parameterType": "BOOLEAN", "isOptional": True},
    "name": {"parameterType": "STRING", "defaultValue": "x", "isOptional": True},
    "mode": {"parameterType": "STRING", "isOptional": True, "literals": ["fast", "slow"]},
    "old": {"type": "INT", "isOptional": True},
}


@pytest.mark.parametrize(
    "name, text, value",
    [("n", "3", 3), ("n", "3.0", 3), ("rate", "1e-3", 0.001), ("rows", "[1, \"a\"]", [1, "a"]),
     ("conf", '{"a": {"b": 1}}', {"a": {"b": 1}}), ("on", "true", True), ("on", "False", False),
     ("name", "3", "3"), ("name", "a=b", "a=b"), ("name", "", ""), ("mode", "slow", "slow"), ("old", "7", 7)],
)  # fmt: skip
def test_a_text_becomes_what_is_declared(name, text, value):
    found = typed(DECLARED, {"n": "1", name: text}, {})[name]
    assert (found, type(found)) == (value, type(value))


def test_every_fault_is_told_at_once_and_no_value_is():
    with pytest.raises(SpecError) as wrong:
        typed(DECLARED, {"rtae": "1", "rows": "s3cret", "on": "s3cret", "mode": "s3cret"}, {})
    assert wrong.value.details == [
        "unknown parameter `rtae`; nearest: `rate`",
        "`rows` must be a LIST, e.g. -p rows='[1, 2]'",
        "`on` must be a BOOLEAN, e.g. -p on=true",
        "`mode` must be one of fast, slow",
        "`n` (NUMBER_INTEGER) must be given: -p n=3",
    ]
    assert "s3cret" not in str(wrong.value.to_json())
    assert wrong.value.hint.startswith("Parameters: n (NUMBER_INTEGER), rate (NUMBER_DOUBLE)")


def test_a_wrong_value_is_not_said_to_be_missing_too():
    with pytest.raises(SpecError) as wrong:
        typed(DECLARED, {"n": "many"}, {})
    assert wrong.value.details == ["`n` must be a NUMBER_INTEGER, e.g. -p n=3"]


def test_a_file_gives_values_and_the_command_overrides_them(tmp_path):
    (tmp_path / "p.yaml").write_text("n: 3\nrows: [1, 2]\nname: abc\n")
    assert typed(DECLARED, {"n": "4"}, read_values(tmp_path / "p.yaml")) == {
        "n": 4,
        "rows": [1, 2],
        "name": "abc",
    }


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "1: 2\n", ""])
def test_a_file_of_parameters_that_is_none_is_told(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"p\.yaml"):
        read_values(tmp_path / "p.yaml")
