"""Runs that are canceled, retried, and that outlive their server."""

import pytest
from tests.conformance.harness import Server
from tests.e2e.world import wait_for

pytestmark = pytest.mark.slow


def _states(run):
    return {task["name"]: task["state"] for task in run["tasks"]}


def _started(server, cases, name, folder):
    answer = server.submit(name, cases[name]["ir"], {"folder": str(folder)})
    assert answer.is_success, answer.text
    return answer.json()["id"]


def test_a_canceled_run_stops_what_runs_and_its_exit_task_does_not_run(server, cases, tmp_path):
    run = _started(server, cases, "life-canceled", tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("running-*"))) == 2)
    assert server.post(f"/api/v1/runs/{run}:cancel").is_success
    ended = server.ended(run)
    assert ended["state"] == "CANCELED"
    states = _states(ended)
    loop = "exit-handler-1/for-loop-3"
    assert {states[f"{loop}/{n}/wait"] for n in (0, 1)} == {"CANCELED"}
    assert states["echo"] != "SUCCEEDED"
    assert not {"RUNNING", "PENDING", "SUCCEEDED"} & set(states.values()), states


def test_a_retried_run_goes_on_from_what_failed(server, cases, tmp_path):
    ended = server.ended(_started(server, cases, "life-retried", tmp_path))
    assert ended["state"] == "FAILED"
    first = {task["name"]: task for task in ended["tasks"]}["add"]
    assert server.post(f"/api/v1/runs/{ended['id']}:retry").is_success
    again = server.ended(ended["id"])
    assert again["state"] == "SUCCEEDED", again["error"]
    tasks = {task["name"]: task for task in again["tasks"]}
    assert tasks["add"]["finished_at"] == first["finished_at"], "a task that had succeeded ran again"
    assert {tasks[f"for-loop-2/{n}/flaky"]["attempts"] for n in (0, 1)} == {2}
    assert set(_states(again).values()) == {"SUCCEEDED"}
    assert again["outputs"]["parameters"] == {"Output": 3}


def test_a_run_goes_on_after_its_server_was_killed_and_no_task_runs_twice(cases, tmp_path):
    server = Server(tmp_path / "home")
    try:
        run = _started(server, cases, "life-of-a-killed-server", tmp_path)
        wait_for(lambda: len(list(tmp_path.glob("running-*"))) == 2)
        server.kill()
        (tmp_path / "go").touch()
        server.restart()
        ended = server.ended(run)
        assert ended["state"] == "SUCCEEDED", ended["error"]
        assert ended["outputs"]["parameters"] == {"Output": ["a went on", "b went on"]}
        assert {(tmp_path / f"running-{name}").read_text() for name in "ab"} == {"x"}
    finally:
        server.close()
