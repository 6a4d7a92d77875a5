"""Ticks against tables, against a walk second by second or minute by minute, and against cronsim."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.plan.recurrence import Trigger, due, next_tick, ticks
from tuneline.spec.cron import Every, parse_cron

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text, zone="UTC"):
    """Unix seconds of `2026-03-29 01:30`; with `+01:00` behind it the offset is meant, not the zone."""
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).timestamp())


def shown(moment, zone):
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(" ")


def first(text, after, count=1, zone="UTC"):
    """The first ticks of a line after a moment, as local times with their offsets."""
    trigger = Trigger(parse_cron(text), zone)
    start = at(after, zone)
    return [shown(tick, zone) for tick in islice(ticks(trigger, start, start), count)]


@pytest.mark.parametrize(
    "after, text, expected",
    [
        ("2012-07-09 14:45", "0 0/15 * * * *", "2012-07-09 15:00"),
        ("2012-07-09 14:59:59", "0 0/15 * * * *", "2012-07-09 15:00"),
        ("2012-07-09 15:45", "0 20-35/15 * * * *", "2012-07-09 16:20"),
        ("2012-07-09 23:35:51", "15/35 20-35/15 * * * *", "2012-07-10 00:20:15"),
        ("2012-07-09 23:35:51", "15/35 20-35/15 1/2 * * *", "2012-07-10 01:20:15"),
        ("2012-07-09 23:35:51", "15/35 20-35/15 1/2 */2 * *", "2012-07-11 01:20:15"),
        ("2012-07-09 23:35:51", "15/35 20-35/15 * 9-20 Jul *", "2012-07-10 00:20:15"),
        ("2012-07-09 23:35", "0 0 0 9 Apr-Oct ?", "2012-08-09 00:00"),
        ("2012-07-09 23:35", "0 0 0 */5 Apr,Aug,Oct Mon", "2012-08-06 00:00"),
        ("2012-07-09 23:35", "0 0 0 * Feb Mon", "2013-02-04 00:00"),
        ("2012-07-09 23:35", "0 0 0 * Feb Mon/2", "2013-02-01 00:00"),
        ("2012-12-31 23:59:45", "0 * * * * *", "2013-01-01 00:00"),
        ("2012-07-09 23:35", "0 0 0 29 Feb ?", "2016-02-29 00:00"),
        ("2012-07-15 00:00", "0 * * 1,15 * Sun", "2012-07-15 00:01"),
        ("2012-07-15 23:59", "0 0 0 1,15 * Sun", "2012-07-22 00:00"),
        ("2096-03-01 00:00", "0 0 0 29 2 *", "2104-02-29 00:00"),
        ("2088-03-01 00:00", "0 0 0 29 2 */7", "2128-02-29 00:00"),
    ],
)
def test_the_next_tick_is_the_one_that_the_line_names(after, text, expected):
    assert first(text, after) == [shown(at(expected), "UTC")]


def test_a_day_that_never_comes_has_no_tick():
    assert first("0 0 0 30 Feb ?", "2026-01-01") == []
    assert first("0 0 0 31 Apr,Jun ?", "2026-01-01") == []


SPRING = "2026-03-29 00:30"  # in Berlin 02:00 becomes 03:00
AUTUMN = "2026-10-25 00:30"  # in Berlin 03:00 becomes 02:00


GAPS = [  # a time that does not exist: once, when the clock has jumped
    ("0 30 2 * * *", SPRING, BERLIN, ["2026-03-29 03:00:00+02:00", "2026-03-30 02:30:00+02:00"]),
    ("0 0,30 2 * * *", SPRING, BERLIN, ["2026-03-29 03:00:00+02:00", "2026-03-30 02:00:00+02:00"]),
    ("0 0 2,3 * * *", SPRING, BERLIN, ["2026-03-29 03:00:00+02:00", "2026-03-30 02:00:00+02:00"]),
    ("0 0 */2 * * *", SPRING, BERLIN, ["2026-03-29 03:00:00+02:00", "2026-03-29 04:00:00+02:00"]),
    ("0 30 2 * * *", "2026-03-08", NEW_YORK, ["2026-03-08 03:00:00-04:00", "2026-03-09 02:30:00-04:00"]),
    ("0 15 2 * * *", "2026-10-04", LORD_HOWE, ["2026-10-04 02:30:00+11:00", "2026-10-05 02:15:00+11:00"]),
]
REPEATS = [  # a time that exists twice: once, at the first
    ("0 30 2 * * *", AUTUMN, BERLIN, ["2026-10-25 02:30:00+02:00", "2026-10-26 02:30:00+01:00"]),
    ("0 0 3 * * *", AUTUMN, BERLIN, ["2026-10-25 03:00:00+01:00", "2026-10-26 03:00:00+01:00"]),
    ("0 30 1 * * *", "2026-11-01", NEW_YORK, ["2026-11-01 01:30:00-04:00", "2026-11-02 01:30:00-05:00"]),
    ("0 45 1 * * *", "2026-04-05", LORD_HOWE, ["2026-04-05 01:45:00+11:00", "2026-04-06 01:45:00+10:30"]),
]
EVERY_HOUR = [  # every hour that passes
    ("0 30 * * * *", SPRING, BERLIN, ["2026-03-29 01:30:00+01:00", "2026-03-29 03:30:00+02:00"]),
    ("0 30 * * * *", "2026-10-25 01:30", BERLIN,
     ["2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00", "2026-10-25 03:30:00+01:00"]),
    ("0 */30 * * * *", "2026-10-25 02:00:00+02:00", BERLIN,
     ["2026-10-25 02:30:00+02:00", "2026-10-25 02:00:00+01:00", "2026-10-25 02:30:00+01:00"]),
]  # fmt: skip
HALF_AN_HOUR = [  # such a shift changes which minutes there are
    ("0 45 * * * *", "2026-04-05 01:00", LORD_HOWE,
     ["2026-04-05 01:45:00+11:00", "2026-04-05 02:45:00+10:30", "2026-04-05 03:45:00+10:30"]),
    ("0 15 * * * *", "2026-10-04 01:00", LORD_HOWE,
     ["2026-10-04 01:15:00+10:30", "2026-10-04 02:30:00+11:00", "2026-10-04 03:15:00+11:00"]),
    ("0 * * * * *", "2026-10-04 01:59", LORD_HOWE,
     ["2026-10-04 02:30:00+11:00", "2026-10-04 02:31:00+11:00"]),
]  # fmt: skip


@pytest.mark.parametrize("text, after, zone, expected", [*GAPS, *REPEATS, *EVERY_HOUR, *HALF_AN_HOUR])
def test_daylight_saving_fires_a_named_time_exactly_once(text, after, zone, expected):
    assert first(text, after, len(expected), zone) == expected


def test_a_line_s_own_zone_goes_before_the_schedule_s():
    assert first("CRON_TZ=Asia/Tokyo 0 0 9 * * *", "2026-01-01") == ["2026-01-02 00:00:00+00:00"]


def test_a_whole_year_of_daily_ticks_has_one_a_day_in_every_zone():
    for zone in (BERLIN, NEW_YORK, LORD_HOWE):
        for clock in ("30 2", "45 1", "15 2", "0 3", "59 23", "0 0"):
            start, end = at("2026-01-01", zone) - 1, at("2027-01-01", zone)
            trigger = Trigger(parse_cron(f"0 {clock} * * *"), zone, end=end - 1)
            days = [shown(tick, zone)[:10] for tick in ticks(trigger, start, start)]
            assert len(days) == len(set(days)) == 365, (zone, clock)


# Against a walk


@dataclass(frozen=True)
class Drawn:
    """A line with the numbers it was written from."""

    text: str
    second: frozenset[int]
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]
    either: bool

    def names(self, wall: datetime) -> bool:
        of_month, of_week = wall.day in self.day, (wall.weekday() + 1) % 7 in self.weekday
        return (
            wall.second in self.second and wall.minute in self.minute and wall.hour in self.hour
            and wall.month in self.month and (of_month or of_week if self.either else of_month and of_week)
        )  # fmt: skip


@st.composite
def fields(draw, low, high, star="*"):
    """(text, numbers) of one field."""
    kind = draw(st.sampled_from(["star", "star", "list", "range", "step"]))
    everything = range(low, high + 1)
    if kind == "star":
        return star, frozenset(everything)
    if kind == "list":
        chosen = draw(st.lists(st.sampled_from(everything), min_size=1, max_size=3))
        return ",".join(map(str, chosen)), frozenset(chosen)
    start, step = draw(st.sampled_from(everything)), draw(st.integers(1, 20))
    if kind == "step":
        return f"{start}/{step}", frozenset(range(start, high + 1, step))
    end = draw(st.integers(start, high))
    return f"{start}-{end}/{step}", frozenset(range(start, end + 1, step))


@st.composite
def lines(draw, seconds=True):
    second = draw(fields(0, 59)) if seconds else ("0", frozenset([0]))
    star = draw(st.sampled_from("*?"))
    rest = [draw(fields(0, 59)), draw(fields(0, 23)), draw(fields(1, 31, star)), draw(fields(1, 12)),
            draw(fields(0, 6, star))]  # fmt: skip
    written = [second, *rest]
    either = rest[2][0] not in "*?" and rest[4][0] not in "*?"
    return Drawn(" ".join(text for text, _ in written), *(numbers for _, numbers in written), either)


@settings(max_examples=150, deadline=None)
@given(lines(), st.integers(0, 4_000_000_000))
@pytest.mark.slow
def test_a_walk_second_by_second_finds_the_same_ticks(line, start):
    walked = [
        second for second in range(start + 1, start + 1800)
        if line.names(datetime.fromtimestamp(second, UTC).replace(tzinfo=None))
    ]  # fmt: skip
    trigger = Trigger(parse_cron(line.text), end=start + 1799)
    assert list(ticks(trigger, start, start)) == walked


@settings(max_examples=150, deadline=None)
@given(lines(), st.integers(0, 3_000_000_000))
@pytest.mark.slow
def test_cronsim_finds_the_same_next_tick_without_a_zone(line, start):
    """An independent library, for what both take: lists of numbers, with the days joined as robfig does."""
    week = "*" if len(line.weekday) == 7 else ",".join(map(str, sorted(line.weekday)))
    day = "*" if len(line.day) == 31 else ",".join(map(str, sorted(line.day)))
    lists = [",".join(map(str, sorted(each))) for each in (line.second, line.minute, line.hour, line.month)]
    if line.either != (day != "*" and week != "*"):
        return  # a list of all days is no star to robfig, and cannot be said to cronsim
    text = f"{lists[0]} {lists[1]} {lists[2]} {day} {lists[3]} {week}"
    try:
        expected = next(CronSim(text, datetime.fromtimestamp(start, UTC)), None)
    except CronSimError:  # it refuses days that no month has
        expected = None
    found = next_tick(Trigger(parse_cron(line.text)), start, start)
    assert found == (None if expected is None else int(expected.timestamp()))


def slow(line, zone, start, end):
    """What a line fires from `start` to `end`, by looking at every minute of the clock on the wall."""
    timeline = [(moment, datetime.fromtimestamp(moment, zone).replace(tzinfo=None))
                for moment in range(start - 86_400, end, 60)]  # fmt: skip
    offsets = {datetime.fromtimestamp(moment, zone).utcoffset() for moment in (start - 86_400, end)}
    shift = (max(offsets) - min(offsets)).total_seconds()
    if len(line.hour) == 24 and (shift % 3600 == 0 or len(line.minute) == 60):
        return [moment for moment, wall in timeline if moment >= start and line.names(wall)]
    fired, wall, seen = set(), timeline[0][1], {}
    for moment, there in timeline:
        seen.setdefault(there, moment)
    while wall <= timeline[-1][1]:
        if line.names(wall):
            fired.add(seen[wall] if wall in seen else min(m for m, there in timeline if there > wall))
        wall += timedelta(minutes=1)
    return sorted(moment for moment in fired if start <= moment)


SHIFTS = [
    (BERLIN, "2026-03-29 01:00+00:00"), (BERLIN, "2026-10-25 01:00+00:00"),
    (NEW_YORK, "2026-03-08 07:00+00:00"), (NEW_YORK, "2026-11-01 06:00+00:00"),
    (LORD_HOWE, "2026-04-04 15:00+00:00"), (LORD_HOWE, "2026-10-03 15:30+00:00"),
]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(lines(seconds=False), st.sampled_from(SHIFTS), st.integers(-240, 120), st.integers(0, 59))
@pytest.mark.slow
def test_around_a_shift_a_walk_minute_by_minute_finds_the_same_ticks(line, shift, minutes, second):
    zone, moment = shift
    start = at(moment) + minutes * 60
    end = start + 6 * 3600
    trigger = Trigger(parse_cron(line.text), zone, end=end - 1)
    after = start - 60 + second  # between the last whole minute before `start` and `start`
    assert list(ticks(trigger, after, after)) == slow(line, ZoneInfo(zone), start, end)


# Intervals, bounds, and which tick is due


def test_an_interval_is_counted_from_where_the_schedule_starts():
    trigger = Trigger(Every(60))
    assert list(islice(ticks(trigger, 1000, 1000), 3)) == [1060, 1120, 1180]
    assert next_tick(trigger, 1119, 1000) == 1120
    assert next_tick(trigger, 1120, 1000) == 1180
    assert next_tick(trigger, 0, 1000) == 1060


def test_a_start_time_is_where_missed_ticks_begin_and_an_end_time_takes_the_last_one_with_it():
    trigger = Trigger(Every(60), start=500, end=620)
    assert trigger.first_mark(1000) == 500
    assert list(ticks(trigger, 500, 500)) == [560, 620]
    hourly = Trigger(parse_cron("@hourly"), start=at("2026-01-01 10:00"), end=at("2026-01-01 12:00"))
    mark = hourly.first_mark(at("2020-01-01"))
    assert [shown(each, "UTC")[11:16] for each in ticks(hourly, mark, mark)] == ["11:00", "12:00"]
    assert Trigger(Every(60)).first_mark(1000) == 1000


@pytest.mark.parametrize(
    "mark, now, catch_up, expected",
    [
        (1000, 1059.9, True, None),
        (1000, 1060.0, True, 1060),
        (1000, 1200.0, True, 1060),
        (1060, 1200.0, True, 1120),
        (1000, 1060.0, False, 1060),
        (1000, 1239.0, False, 1180),
        (1000, 1240.0, False, 1240),
        (1240, 1299.0, False, None),
    ],
)
def test_catching_up_takes_the_earliest_missed_tick_and_else_the_latest(mark, now, catch_up, expected):
    assert due(Trigger(Every(60)), mark, now, 1000, catch_up=catch_up) == expected


def test_the_latest_missed_tick_is_not_after_the_end():
    trigger = Trigger(Every(60), end=1130)
    assert due(trigger, 1000, 5000.0, 1000, catch_up=False) == 1120
    assert due(trigger, 1120, 5000.0, 1000, catch_up=False) is None


@settings(max_examples=60, deadline=None)
@given(lines(seconds=False), st.sampled_from(SHIFTS), st.integers(1, 400))
def test_the_latest_missed_tick_is_the_last_of_all_that_were_missed(line, shift, missed):
    zone, moment = shift
    mark = at(moment) - 3600
    trigger = Trigger(parse_cron(line.text), zone)
    some = list(islice(ticks(trigger, mark, mark), missed))
    if some:
        assert due(trigger, mark, some[-1] + 0.5, mark, catch_up=False) == some[-1]
        assert due(trigger, mark, some[-1] + 0.5, mark, catch_up=True) == some[0]


def test_ten_years_of_missed_seconds_are_looked_through_at_once():
    trigger = Trigger(parse_cron("* * * * * *"), BERLIN)
    now = at("2036-10-26 00:30")
    assert due(trigger, at("2026-01-01"), float(now), 0, catch_up=False) == now
