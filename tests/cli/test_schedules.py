"""`tuneline schedule` and `tuneline schedules ...`, with a real server where there is something to show."""

import json
import time

import pytest

PROJECT = """\
name: demo
data:
  source: rows.csv
  prompt: "R: {text}"
  completion: " {label}"
base_model: gemma-3-270m
"""
YEARLY = 'schedule: {cron: "30 5 1 1 *", timezone: America/New_York}\n'


@pytest.fixture
def served(tuneline):
    """The server that a command starts ends with the test."""
    yield tuneline
    tuneline("down")


def test_a_project_without_a_schedule_is_told_how_to_write_one(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT)
    ended = tuneline("schedule")
    assert (ended.code, ended.out) == (2, "")
    assert "The project demo has no `schedule:`" in ended.err
    assert "timezone: Europe/Berlin" in ended.err
    assert not (tmp_path / "home").exists()


def test_a_wrong_schedule_is_told_with_its_line_and_starts_no_server(tuneline, tmp_path):
    (tmp_path / "tuneline.yaml").write_text(PROJECT + "schedule: {cron: 0 25 * * *}\n")
    ended = tuneline("schedule")
    assert ended.code == 2
    assert "tuneline.yaml:7: `schedule.cron`: `25` is no hour" in ended.err
    assert not (tmp_path / "home").exists()


def test_looking_starts_no_server(tuneline):
    ended = tuneline("schedules", "list")
    assert (ended.code, ended.out) == (1, "")
    assert "No server is running" in ended.err


def wait_for_a_tick(served):
    """Until the server has started a run of its own accord."""
    deadline = time.monotonic() + 20
    while json.loads(served("schedules", "show", "demo", "--json").out)["last_tick"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_schedule_is_set_shown_paused_resumed_run_and_removed(served, tmp_path):
    """One real server, 4 s: command, client, API, record and the loop together."""
    (tmp_path / "tuneline.yaml").write_text(PROJECT + YEARLY)
    made = served("schedule")
    assert (made.code, made.out) == (0, "demo\n")
    assert "Started the server" in made.err
    assert "demo runs by itself now: 30 5 1 1 * (America/New_York). Next: 20" in made.err
    assert "-01-01 05:30:00 -0500." in made.err
    assert "has it already" in served("schedule").err
    row = served("schedules", "list").out.splitlines()[1]
    assert row.startswith("demo  30 5 1 1 * (America/New_York)  on     20")
    assert "demo is paused" in served("schedules", "pause", "demo").err
    (tmp_path / "tuneline.yaml").write_text(PROJECT + "schedule: {every: 90m}\n")
    changed = served("schedule")
    assert "demo has another schedule now: every 90m." in changed.err
    assert "It is paused; `tuneline schedules resume demo` lets it run." in changed.err
    assert "demo runs by itself again. Next: 20" in served("schedules", "resume", "demo").err
    run = served("schedules", "run-now", "demo")
    assert f"tuneline runs show -f {run.out.strip()}" in run.err
    shown = served("schedules", "show", "demo").out
    assert f"last run   {run.out.strip()} " in shown
    assert f"project    {tmp_path / 'tuneline.yaml'}" in shown
    assert "missed     the latest runs, once" in shown
    found = json.loads(served("schedules", "show", "demo", "--json").out)
    assert (found["every_s"], len(found["upcoming"]), found["runs_made"]) == (5400, 5, 1)
    (tmp_path / "tuneline.yaml").write_text(PROJECT + "schedule: '* * * * * *'\n")
    served("schedule")
    wait_for_a_tick(served)
    gone = served("schedules", "remove", "demo")
    assert (gone.code, gone.out) == (0, "demo\n")
    assert json.loads(served("schedules", "list", "--json").out) == []
    missing = served("schedules", "show", "demo")
    assert missing.code == 1
    assert "There is no schedule demo" in missing.err
