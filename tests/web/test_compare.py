"""Runs side by side."""

import re

import pytest
from fastapi.testclient import TestClient
from tests.web.nested import told

from tuneline.web import create_app
from tuneline.web.compare import rows


@pytest.fixture
def http(platform):
    with TestClient(create_app(platform), base_url="http://localhost") as made:
        yield made


def test_two_runs_stand_side_by_side_and_what_differs_is_marked(http, platform, runner, tmp_path):
    first = told(platform, runner, tmp_path / "runs", {"title": "one", "n": 3})
    second = told(platform, runner, tmp_path / "runs", {"title": "<two>", "n": 3})
    for query in (f"runs={first.id},{second.id}", f"runs={first.id}&runs={second.id}"):
        text = http.get(f"/compare?{query}").text
        assert re.search(r'<tr class="differs"><td>title</td><td class="value">one</td>', text)
        assert "&lt;two&gt;" in text
        assert '<tr><td>n</td><td class="value">3</td><td class="value">3</td></tr>' in text
        assert "<td>train.scores: accuracy</td>" in text


@pytest.mark.parametrize("query", ["", "runs=a", "runs=a,a", "runs=" + ",".join("abcdefghijk")])
def test_one_run_or_very_many_are_not_compared(http, query):
    assert http.get(f"/compare?{query}").status_code == 400


def test_a_run_that_is_not_there_is_told(http):
    assert http.get("/compare?runs=a,b").status_code == 404


def test_what_one_run_lacks_differs():
    assert rows([{"a": "1"}, {"b": "2"}]) == [("a", ["1", None], True), ("b", [None, "2"], True)]
    assert rows([{"a": "1"}, {"a": "1"}]) == [("a", ["1", "1"], False)]
