"""Answers that strict readers of JSON take, whatever a task put out."""

import json

import httpx
import pytest

from tuneline.web.json import dumps

INFINITE, NONE = float("inf"), float("nan")


def strict(text):
    """JSON as the standard has it: Python's own reader takes more."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    "value, said",
    [
        (INFINITE, "Infinity"),
        ([-INFINITE, (NONE, 1.5)], ["-Infinity", ["NaN", 1.5]]),
        ({"a": {"b": [{"threshold": INFINITE}]}}, {"a": {"b": [{"threshold": "Infinity"}]}}),
        ({"a": None, "b": True, "c": "NaN", "d": 1e308}, {"a": None, "b": True, "c": "NaN", "d": 1e308}),
        ("Zürich \u2028 \U0001f600 \x00", "Zürich \u2028 \U0001f600 \x00"),
        ({"half": "\ud83d", "x": INFINITE}, {"half": "\ud83d", "x": "Infinity"}),
    ],
)  # fmt: skip
def test_what_json_has_no_word_for_is_said_as_protobuf_says_it(value, said):
    assert strict(dumps(value)) == said


def test_what_is_no_json_at_all_is_an_error():
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_every_route_answers_so(client, url, runner, ir):
    numbers = dict.fromkeys(("rate", "_sauce"), {"parameterType": "NUMBER_DOUBLE"})
    ir = {**ir, "root": {**ir["root"], "inputDefinitions": {"parameters": numbers}}}
    run = client.submit(
        ir, {"rate": INFINITE, "_sauce": 1}, {"name": "greet", "text": "", "path": "", "digest": ""}
    )["id"]
    runner.record.runs.series(run, "hello", [{"loss": NONE, "half": "\ud83d"}])
    with httpx.Client(trust_env=False) as http:
        answers = [
            http.get(f"{url}/api/v1/runs{path}").text for path in ("", f"/{run}", f"/{run}/series?task=hello")
        ]
    runs, shown, points = (strict(answer) for answer in answers)
    assert runs[0]["parameters"] == shown["parameters"] == {"rate": "Infinity", "_sauce": 1}
    assert points["points"] == [{"loss": "NaN", "half": "\ud83d"}]
