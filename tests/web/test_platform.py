"""What the Platform makes sure of when the runner below it says no, or was killed at a bad moment."""

import pytest

from tuneline.errors import SpecError
from tuneline.plan.events import RunEnded, RunStarted


def refuse(*_) -> None:
    raise SpecError("no such image")


def test_a_run_that_the_runner_refuses_leaves_nothing_behind(platform, runner, ir, monkeypatch):
    monkeypatch.setattr(runner, "start", refuse)
    with pytest.raises(SpecError, match="no such image"):
        platform.submit(ir, {}, {"name": "greet"})
    assert platform.runs() == []


def test_the_secrets_of_a_refused_run_are_not_kept(platform, runner, ir, monkeypatch, tmp_path):
    text = {"parameters": {"api_token": {"parameterType": "STRING"}}}
    monkeypatch.setattr(runner, "start", refuse)
    with pytest.raises(SpecError):
        platform.submit({**ir, "root": {**ir["root"], "inputDefinitions": text}}, {"api_token": "s3"}, {})
    assert not list(tmp_path.glob("runs/*"))


def test_a_run_goes_on_though_the_one_that_it_retries_was_deleted(platform, runner, ir):
    first = platform.submit(ir, {}, {"name": "greet"})["id"]
    platform.cancel(first)
    second = platform.retry(first, ir=ir)["id"]
    platform.kfp.runs.delete(first)
    assert platform.adopt() == [second]
    assert platform.run(second)["state"] == "RUNNING"


def test_a_retry_that_the_runner_refuses_leaves_the_run_ended(platform, runner, ir, monkeypatch):
    run = platform.submit(ir, {}, {"name": "greet"})["id"]
    platform.cancel(run)
    monkeypatch.setattr(runner, "retry", refuse)
    with pytest.raises(SpecError):
        platform.retry(run)
    assert platform.run(run)["state"] == "CANCELED"
    assert platform.run(run)["error"]["message"] == "no such image"


@pytest.mark.parametrize("error", [SpecError("no such image"), KeyError("root")])
def test_unfinished_runs_are_taken_up_again_and_one_that_cannot_go_on_fails_alone(
    platform, runner, ir, monkeypatch, error
):
    first = platform.submit(ir, {}, {"name": "first"})["id"]
    second = platform.submit(ir, {}, {"name": "second"})["id"]
    start, taken = runner.start, []

    def start_or_refuse(new, lease) -> None:
        if new.run == first:
            raise error
        taken.append(new.run)
        start(new, lease)

    monkeypatch.setattr(runner, "start", start_or_refuse)
    assert platform.adopt() == [first, second]
    assert taken == [second]
    assert [platform.run(run)["state"] for run in (first, second)] == ["FAILED", "RUNNING"]


def test_a_run_whose_retry_was_cut_off_by_a_kill_is_ended_again(platform, runner, ir):
    run = platform.submit(ir, {}, {"name": "greet"})["id"]
    runner.record.runs.append(runner.leases[run], [RunStarted(), RunEnded("FAILED")], 5.0)
    runner.record.runs.reopen(run)
    platform.adopt()
    assert platform.run(run)["state"] == "FAILED"
    assert platform.status()["runs"] == []


def test_a_waiting_follower_is_let_go_when_the_server_closes(platform, ir):
    run = platform.submit(ir, {}, {"name": "greet"})["id"]
    platform.close()
    assert platform.events(run, after=1, wait_s=30)["state"] == "RUNNING"
