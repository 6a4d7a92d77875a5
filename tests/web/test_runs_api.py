"""Runs over the real wire, with the real client."""

import threading
import time

import httpx
import pytest

from tuneline.errors import ConflictError, NotFoundError, SpecError
from tuneline.plan.events import ArtifactRef, AttemptStarted, Outputs, RunEnded, TaskSucceeded

INTEGER = {"parameterType": "NUMBER_INTEGER"}
PROJECT = {"name": "greet", "text": "name: greet", "path": "/p", "digest": "sha256:0"}


def test_a_submitted_run_is_stored_started_and_shown(client, ir):
    ir = {**ir, "root": {**ir["root"], "inputDefinitions": {"parameters": {"train_r": INTEGER}}}}
    run = client.submit(ir, {"train_r": 8}, PROJECT)
    assert (run["state"], run["project"], run["parameters"]) == ("RUNNING", "greet", {"train_r": 8})
    assert [(task["name"], task["state"]) for task in run["tasks"]] == [("hello", "PENDING")]
    assert run["report"] == {"metrics": None, "verdict": None, "proof": None, "data": None, "release": None}
    assert client.run(run["id"])["created_at"].endswith("Z")
    assert [item["id"] for item in client.runs(project="greet")] == [run["id"]]
    assert client.runs(project="other") == []
    assert [item["id"] for item in client.status()["runs"]] == [run["id"]]


def test_a_second_run_of_the_project_is_refused_and_the_first_is_named(client, ir):
    first = client.submit(ir, {}, PROJECT)
    with pytest.raises(ConflictError, match=first["id"]) as wrong:
        client.submit(ir, {}, PROJECT)
    assert f"tuneline runs cancel {first['id']}" in wrong.value.hint


def test_a_pipeline_that_cannot_be_run_is_refused_with_every_fault_before_anything_is_stored(client):
    with pytest.raises(SpecError) as wrong:
        client.submit({"pipelineInfo": {"name": "x"}}, {}, PROJECT)
    assert wrong.value.details
    assert client.runs() == []


def test_a_long_poll_answers_at_once_when_something_happens(client, runner, ir):
    run = client.submit(ir, {}, PROJECT)["id"]
    assert [event["kind"] for event in client.events(run)["events"]] == ["run_started"]
    written = []

    def later() -> None:
        time.sleep(0.15)
        written.append(time.monotonic())
        runner.record.runs.append(runner.leases[run], [RunEnded("SUCCEEDED")], time.time())

    thread = threading.Thread(target=later)
    thread.start()
    answer = client.events(run, after=1, wait=20)
    took = time.monotonic() - written[0]
    thread.join()
    assert [event["kind"] for event in answer["events"]] == ["run_ended"]
    assert (answer["next"], answer["state"]) == (2, "SUCCEEDED")
    assert took < 0.2
    assert client.events(run, after=2, wait=20)["events"] == []  # it has ended: nothing to wait for


def test_a_long_poll_ends_after_its_time(client, ir):
    run = client.submit(ir, {}, PROJECT)["id"]
    assert client.events(run, after=1, wait=0.05) == {"events": [], "next": 1, "state": "RUNNING"}


def test_sixty_followers_wait_without_keeping_anybody_else_waiting(url, client, platform, ir):
    run = client.submit(ir, {}, PROJECT)["id"]
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(base_url=url, limits=limits, timeout=30) as http:
        asks = [
            threading.Thread(target=http.get, args=(f"/api/v1/runs/{run}/events?after=1&wait=20",))
            for _ in range(60)
        ]
        for ask in asks:
            ask.start()
        begin = time.monotonic()
        client.status()
        assert time.monotonic() - begin < 2
        client.cancel(run)
        for ask in asks:
            ask.join(10)
        assert not any(ask.is_alive() for ask in asks)


def test_cancel_and_retry_say_when_there_is_nothing_to_do(client, ir):
    run = client.submit(ir, {}, PROJECT)["id"]
    with pytest.raises(ConflictError, match="RUNNING"):
        client.retry(run)
    assert client.cancel(run)["state"] == "CANCELED"
    with pytest.raises(ConflictError, match="has ended"):
        client.cancel(run)
    assert client.retry(run)["state"] == "RUNNING"


def test_an_unknown_run_or_task_is_not_found(client, ir):
    for ask in (client.run, client.events, client.cancel, client.retry):
        with pytest.raises(NotFoundError, match="no run nowhere"):
            ask("nowhere")
    run = client.submit(ir, {}, PROJECT)["id"]
    with pytest.raises(NotFoundError, match="no task `bye`"):
        client.logs(run, "bye")


def test_curves_come_in_pieces(client, runner, ir):
    run = client.submit(ir, {}, PROJECT)["id"]
    runner.record.runs.series(run, "hello", [{"type": "progress", "done": n, "loss": 1 / n} for n in (1, 2)])
    first = client.series(run, "hello")
    assert [point["done"] for point in first["points"]] == [1, 2]
    assert client.series(run, "hello", first["next"]) == {"points": [], "next": 2}
    assert client.run(run)["tasks"][0]["progress"]["done"] == 2


def test_a_log_comes_in_pieces_that_never_split_a_character(client, runner, ir, tmp_path):
    run = client.submit(ir, {}, PROJECT)["id"]
    assert client.logs(run, "hello") == {"text": "", "next": 0, "done": False}
    folder = tmp_path / "hello" / "1"
    folder.mkdir(parents=True)
    text = "é€😀x" * 50
    (folder / "log.txt").write_text(text, encoding="utf-8")
    runner.record.runs.append(runner.leases[run], [AttemptStarted("hello", 1, 1, 1.0, str(folder))], 5.0)
    found, offset = "", 0
    for _ in range(1000):
        piece = client.logs(run, "hello", offset=offset, limit=7)
        assert not piece["done"]
        if piece["next"] == offset:
            break
        found, offset = found + piece["text"], piece["next"]
    assert found == text
    runner.record.runs.append(runner.leases[run], [TaskSucceeded("hello", 1, Outputs())], 6.0)
    assert client.logs(run, "hello", offset=offset)["done"]
    assert client.logs(run, "hello", attempt=1)["text"] == text
    with pytest.raises(NotFoundError, match="no attempt 2"):
        client.logs(run, "hello", attempt=2)


def test_a_finished_tasks_seconds_outputs_and_report_are_shown(client, runner, ir, tmp_path):
    ir = {
        **ir,
        "root": {
            "dag": {"tasks": {"gate": {"componentRef": {"name": "comp-hello"}, "taskInfo": {"name": "gate"}}}}
        },
    }
    run = client.submit(ir, {}, PROJECT)["id"]
    (tmp_path / "verdict").write_text('{"passed": true}')
    ref = ArtifactRef("verdict", "system.Artifact", str(tmp_path / "verdict"), "sha256:1", 16)
    lease, given = runner.leases[run], {"passed": True, "api_token": "s3cret"}
    runner.record.runs.append(lease, [AttemptStarted("gate", 1, 1, 1.0, "/f/1")], 100.0)
    done = TaskSucceeded("gate", 1, Outputs(given, {"verdict": (ref,)}))
    runner.record.runs.append(lease, [done], 102.5)
    shown = client.run(run)
    assert shown["tasks"][0]["outputs"]["parameters"] == {"passed": True, "api_token": "***"}
    assert client.events(run)["events"][-1]["outputs"]["parameters"]["api_token"] == "***"
    assert shown["tasks"][0]["seconds"] == 2.5
    assert shown["tasks"][0]["outputs"]["artifacts"]["verdict"][0]["digest"] == "sha256:1"
    assert shown["report"]["verdict"] == {"passed": True}
