"""`tuneline notify` and the followers of a run, with a real server and a real webhook."""

import json

import pytest
from tests.cli.test_server import found, pipeline
from tests.control.services import Answer, webhook

pytestmark = pytest.mark.slow
SECRET = "zK7qWvPs3cr3t"


def test_a_run_that_fails_is_told_listed_and_tried_again(tuneline, home, tmp_path, monkeypatch):
    """A real server, a run that fails, a webhook that says no and then yes: 6 s."""
    with webhook() as hook:
        monkeypatch.setenv("HOOK", f"{hook.url}/{SECRET}")
        monkeypatch.setenv("TUNELINE_PUBLIC_URL", "https://here.example/")
        tested = tuneline("notify", "test", "${HOOK}")
        assert (tested.code, hook.titles()) == (0, ["A test of tuneline's notices"])
        hook.answers = [Answer(404)]
        text = "name: reviews\nnotify: [{to: '${HOOK}', on: [run_failed]}, '${MISSING}']\n"
        with found() as client:
            project = {"name": "reviews", "text": text}
            spec = pipeline(data=str(tmp_path / "nothing.csv"))
            run = client.submit(spec, {}, project)["id"]
        followed = tuneline("runs", "show", "-f", run)
        assert followed.code == 1
        assert f"notice: reviews: run {run} failed" in followed.err
        listed = waited(tuneline, "failed")
        assert listed["title"] == f"reviews: run {run} failed"
        missing = "MISSING is not set in the server's environment"
        assert [each["missing"] for each in listed["deliveries"]] == [None, missing]
        table = tuneline("notify", "list").out
        assert "the service answered 404 Not Found" in table
        assert missing in table
        assert tuneline("notify", "retry", str(listed["id"])).code == 0
        waited(tuneline, "delivered")
        assert f"https://here.example/runs/{run}" in hook.seen[-1][1]["message"]
        assert "nothing.csv" in hook.seen[-1][1]["message"]
        refused = tuneline("notify", "test", "${MISSING}")
        assert (refused.code, missing in refused.err) == (2, True)
    assert SECRET not in followed.err + table + refused.err
    stored = [file for file in home.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
    assert stored == []


def waited(tuneline, state):
    """The one notice, once its first delivery is in that state."""
    for _ in range(200):
        (notice,) = json.loads(tuneline("notify", "list", "--json").out)
        if notice["deliveries"] and notice["deliveries"][0]["state"] == state:
            return notice
    raise AssertionError(notice)
