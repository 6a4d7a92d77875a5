"""The loop of recurring runs, with a clock that the test holds and a starter that keeps what it is given."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event

import pytest

from tuneline.control.recurring import LONGEST_S, RETRY_S, RecurringLoop
from tuneline.errors import ConflictError, TransientError
from tuneline.plan.recurring import StaleTick, Standing

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()
MINUTE = 60


def standing(id="s", **changes):
    start = int(NOW) - 30
    made = Standing(id, {"cron": "0 * * * * *"}, start, start, True, 1, 0)
    return replace(made, **changes)


@dataclass
class World:
    """The record and the runner of a test, in memory; the clock stands still unless moved."""

    now: float = NOW
    schedules: dict = field(default_factory=dict)
    began: list = field(default_factory=list)
    trouble: list = field(default_factory=list)
    wake: object = None
    read: Event = field(default_factory=Event)

    def clock(self):
        return self.now

    def add(self, made):
        self.schedules[made.id] = made

    def standings(self):
        self.read.set()
        return list(self.schedules.values())

    @contextmanager
    def listening(self, wake):
        self.wake = wake
        yield

    def begin(self, id, mark, tick):
        if self.trouble:
            raise self.trouble.pop(0)
        mine = self.schedules[id]
        if mine.mark != mark:
            raise StaleTick("taken")
        self.schedules[id] = replace(mine, mark=tick, active=mine.active + 1)
        self.began.append((id, tick))
        return f"{id}-{tick}"

    def end(self, id):
        self.schedules[id] = replace(self.schedules[id], active=0)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def loop(world):
    return RecurringLoop(world, world, world.clock)


def ticks(world, start):
    return [(tick - start) // MINUTE for _, tick in world.began]


def test_nothing_is_started_before_its_time_and_the_loop_sleeps_until_then(world, loop):
    world.add(standing())
    assert loop.look_once() == 30.0
    assert world.began == []
    world.now += 29.5
    assert loop.look_once() == 0.5
    world.now += 0.5
    assert loop.look_once() == 0.0
    assert world.began == [("s", int(NOW) + 30)]


def test_the_soonest_of_all_says_how_long_to_sleep(world, loop):
    world.add(standing("a", trigger={"cron": "0 0 0 1 1 *"}))
    world.add(standing("b", trigger={"every_s": 40}))
    assert loop.look_once() == 10.0
    del world.schedules["b"]
    assert loop.look_once() == LONGEST_S


def test_missed_ticks_are_caught_up_with_one_after_another(world, loop):
    start = standing().mark
    world.add(standing(max_concurrency=10))
    world.now += 3 * MINUTE
    while loop.look_once() == 0.0:
        pass
    assert ticks(world, start) == [1, 2, 3]


def test_without_catching_up_only_the_latest_missed_tick_runs(world, loop):
    start = standing().mark
    world.add(standing(max_concurrency=10, catch_up=False))
    world.now += 3 * MINUTE
    while loop.look_once() == 0.0:
        pass
    assert ticks(world, start) == [3]


@pytest.mark.parametrize("catch_up, expected", [(True, [1, 2, 3]), (False, [1, 3])])
def test_no_more_runs_than_allowed_are_under_way_and_the_rest_waits(world, loop, catch_up, expected):
    start = standing().mark
    world.add(standing(catch_up=catch_up))
    world.now += MINUTE
    assert loop.look_once() == 0.0
    world.now += 2 * MINUTE
    for _ in range(3):
        assert loop.look_once() == LONGEST_S
    assert ticks(world, start) == [1]
    world.end("s")
    while loop.look_once() == 0.0:
        world.end("s")
    assert ticks(world, start) == expected


def test_several_runs_of_one_schedule_may_be_under_way_at_once(world, loop):
    world.add(standing(max_concurrency=2))
    world.now += 5 * MINUTE
    while loop.look_once() == 0.0:
        pass
    assert len(world.began) == 2


def test_a_tick_whose_project_is_busy_waits_and_is_not_lost(world, loop):
    world.add(standing())
    world.now += MINUTE
    world.trouble = [ConflictError("a run is under way")]
    assert loop.look_once() == LONGEST_S
    assert world.began == []
    assert loop.look_once() == 0.0
    assert len(world.began) == 1


def test_a_tick_that_another_took_is_looked_at_again_and_not_run_twice(world, loop):
    world.add(standing())
    world.now += MINUTE
    world.trouble = [StaleTick("taken")]
    assert loop.look_once() == 0.0
    assert world.began == []


@pytest.mark.parametrize("trouble", [TransientError("the record is busy"), RuntimeError("a fault of ours")])
def test_a_fault_of_one_schedule_keeps_no_other_from_running(world, loop, trouble):
    world.add(standing("a"))
    world.add(standing("b"))
    world.now += MINUTE
    world.trouble = [trouble]
    assert loop.look_once() == 0.0
    assert [id for id, _ in world.began] == ["b"]
    world.end("b")
    world.schedules["b"] = replace(world.schedules["b"], trigger={"cron": "no line"})
    world.trouble = [trouble]
    assert loop.look_once() == RETRY_S
    assert loop.look_once() == 0.0
    assert [id for id, _ in world.began] == ["b", "a"]


def test_after_the_end_time_nothing_runs_and_the_last_tick_still_does(world, loop):
    start = standing().mark
    world.add(standing(trigger={"cron": "0 * * * * *", "end": start + 2 * MINUTE}, max_concurrency=10))
    world.now += 60 * MINUTE
    while loop.look_once() == 0.0:
        pass
    assert ticks(world, start) == [1, 2]
    assert loop.look_once() == LONGEST_S


def test_the_thread_starts_what_is_due_when_it_is_woken_and_stops_at_once(world, loop):
    """A real thread: it must sleep on an event that `stop` and changes set."""
    loop.loop.start()
    assert world.read.wait(5)
    world.add(standing())
    world.now += MINUTE
    while not world.began:
        world.wake()
    loop.loop.stop()
    assert len(world.began) == 1
