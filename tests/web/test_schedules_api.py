"""Schedules of projects, over the real client and wire; the clock is the test's."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.control.recurring import LONGEST_S, RecurringLoop
from tuneline.errors import ConflictError, NotFoundError, SpecError, TunelineError
from tuneline.plan.events import RunEnded
from tuneline.record.recurring import NewRecurring

START = datetime(2026, 3, 28, 12, 0, tzinfo=UTC).timestamp()
DAILY = {"cron": "0 6 * * *", "zone": "Europe/Berlin"}
PROJECT = {"name": "reviews", "text": "name: reviews\n", "path": "/p/tuneline.yaml", "digest": "d1"}


class Clock:
    """Stands still unless moved."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def to(self, text):
        self.now = datetime.fromisoformat(text).timestamp()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def platform(runner, tmp_path, asked_to_stop, clock):
    server = Server("127.0.0.1", 0, 1, tmp_path, "0.0.0", START, "ann")
    return Platform(runner.record, runner, server, asked_to_stop.append, clock)


@pytest.fixture
def loop(platform, clock):
    return RecurringLoop(platform.record.recurring, platform.recurring, clock)


def end(runner, run):
    runner.record.runs.append(runner.leases[run], [RunEnded("SUCCEEDED")], START)


def runs(client):
    return [run["id"] for run in client.runs()]


def test_a_project_is_set_to_run_by_itself_and_setting_it_again_changes_nothing(client, ir):
    made = client.set_schedule(DAILY, ir, {}, PROJECT)
    assert made["change"] == "created"
    assert (made["name"], made["cron"], made["zone"]) == ("reviews", "0 6 * * *", "Europe/Berlin")
    assert made["upcoming"][:2] == ["2026-03-29T04:00:00.000Z", "2026-03-30T04:00:00.000Z"]
    assert (made["max_concurrency"], made["catch_up"], made["enabled"]) == (1, False, True)
    assert client.set_schedule(DAILY, ir, {}, PROJECT)["change"] == "unchanged"
    assert [each["id"] for each in client.schedules()] == [made["id"]]
    changed = client.set_schedule({"every_s": 3600}, ir, {}, PROJECT)
    assert (changed["change"], changed["id"], changed["every_s"]) == ("updated", made["id"], 3600)
    assert changed["cron"] is None
    assert changed["next"] == "2026-03-28T13:00:00.000Z"


def test_its_runs_have_the_project_as_it_was_when_it_was_set(client, ir, loop, clock, runner):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    clock.to("2026-03-29T04:00:01+00:00")
    loop.look_once()
    (run,) = client.runs()
    assert (run["project"], run["project_digest"]) == ("reviews", "d1")
    row = runner.record.runs.get(run["id"])
    assert (row["project_text"], row["project_path"]) == (PROJECT["text"], PROJECT["path"])
    assert runner.record.runs.ir(run["id"]) == ir
    assert row["scheduled_at"] == datetime(2026, 3, 29, 4, tzinfo=UTC).timestamp()
    shown = client.schedule("reviews")
    assert shown["last_run"] == {"id": run["id"], "state": "RUNNING"}
    assert (shown["last_tick"], shown["runs_made"]) == ("2026-03-29T04:00:00.000Z", 1)
    assert shown["next"] == "2026-03-30T04:00:00.000Z"


def test_what_was_missed_while_down_runs_once(client, ir, loop, clock, runner):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    clock.to("2026-04-05T12:00:00+00:00")
    loop.look_once()
    (run,) = runs(client)
    end(runner, run)
    assert loop.look_once() == LONGEST_S
    assert runs(client) == [run]
    assert client.schedule("reviews")["last_tick"] == "2026-04-05T04:00:00.000Z"


def test_a_project_that_is_busy_is_waited_for_also_with_a_run_by_hand(client, ir, loop, clock, runner):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    by_hand = client.submit(ir, {}, PROJECT)["id"]
    clock.to("2026-03-29T05:00:00+00:00")
    assert loop.look_once() == LONGEST_S
    assert runs(client) == [by_hand]
    shown = client.schedule("reviews")
    assert (shown["waiting"], shown["next"]) == ("2026-03-29T04:00:00.000Z", "2026-03-30T04:00:00.000Z")
    end(runner, by_hand)
    loop.look_once()
    assert len(runs(client)) == 2
    shown = client.schedule("reviews")
    assert (shown["waiting"], shown["last_tick"]) == (None, "2026-03-29T04:00:00.000Z")


def test_the_end_of_a_run_wakes_the_loop(client, ir, runner, platform):
    woken = []
    run = client.submit(ir, {}, PROJECT)["id"]
    with platform.record.recurring.listening(lambda: woken.append(1)):
        end(runner, run)
    assert woken == [1]


def test_paused_it_runs_nothing_and_resumed_nothing_of_what_passed(client, ir, loop, clock):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    paused = client.pause_schedule("reviews")
    assert (paused["enabled"], paused["next"]) == (False, None)
    clock.to("2026-03-31T05:00:00+00:00")
    loop.look_once()
    assert client.set_schedule(DAILY, ir, {}, PROJECT | {"text": "x"})["enabled"] is False
    assert client.resume_schedule("reviews")["next"] == "2026-04-01T04:00:00.000Z"
    loop.look_once()
    assert runs(client) == []


def test_run_now_starts_a_run_beside_the_schedule(client, ir, runner):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    run = client.run_schedule("reviews")
    assert run["project"] == "reviews"
    shown = client.schedule("reviews")
    assert (shown["runs_made"], shown["last_tick"], shown["next"]) == (1, None, "2026-03-29T04:00:00.000Z")
    with pytest.raises(ConflictError, match="one run at a time"):
        client.run_schedule("reviews")
    end(runner, run["id"])
    assert client.run_schedule("reviews")["id"] != run["id"]


def test_removed_it_runs_no_more_and_its_runs_stay(client, ir, loop, clock, runner):
    client.set_schedule(DAILY, ir, {}, PROJECT)
    end(runner, client.run_schedule("reviews")["id"])
    assert client.remove_schedule("reviews")["name"] == "reviews"
    clock.to("2026-04-05T12:00:00+00:00")
    assert loop.look_once() == LONGEST_S
    assert len(runs(client)) == 1
    for call in (client.schedule, client.pause_schedule, client.remove_schedule, client.run_schedule):
        with pytest.raises(NotFoundError, match="There is no schedule reviews"):
            call("reviews")


def test_a_schedule_that_cannot_be_is_refused(client, ir):
    for schedule, message in (
        ({"cron": "0 99 * * *"}, "`99` is no hour"),
        ({"cron": "0 0 30 2 *"}, "never comes"),
        ({"cron": "@daily", "zone": "Mars/Base"}, "no time zone"),
    ):
        with pytest.raises(SpecError, match=message):
            client.set_schedule(schedule, ir, {}, PROJECT)
    for schedule in ({}, {"cron": "@daily", "every_s": 5}, {"every_s": 0}, {"crn": "x"}):
        with pytest.raises(TunelineError) as wrong:
            client.set_schedule(schedule, ir, {}, PROJECT)
        assert wrong.value.code == "invalid_request"
    with pytest.raises(TunelineError, match="not required by pipeline: r"):
        client.set_schedule(DAILY, ir, {"r": 8}, PROJECT)
    assert client.schedules() == []


def test_others_are_shown_too_and_told_apart_by_id(client, platform, ir):
    made = client.set_schedule(DAILY, ir, {}, PROJECT)
    new = NewRecurring("k1", "nightly", {"cron": "@daily"}, int(START), spec=ir, max_concurrency=3)
    platform.record.recurring.create(new, START)
    platform.record.recurring.create(replace(new, id="k2"), START)
    assert [each["name"] for each in client.schedules()] == ["nightly", "nightly", "reviews"]
    assert client.schedule("k2")["zone"] == "UTC"
    assert client.schedule(made["id"])["name"] == "reviews"
    with pytest.raises(ConflictError, match="Several schedules are named nightly"):
        client.schedule("nightly")
