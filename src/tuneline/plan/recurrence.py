"""When a schedule is due: the moments of a cron line or interval in a time zone, and which of them to run.

Pure: the clock is an argument, moments are whole Unix seconds. Daylight saving: a wall-clock time that does
not exist on a day fires once, when the clock has jumped over it; one that exists twice fires once, at the
first. Where the line leaves open what the shift changes (`0 30 * * * *`: every hour, on a shift by an hour),
it goes by elapsed time: every hour of that day once.
No library does the walk: croniter and cronsim know neither `?` nor robfig's days of the week, and cronsim,
which is right about daylight saving, is so for five fields only. The tests compare with cronsim all the same.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from tuneline.spec.cron import Cron, Every, parse_zone

SEARCHED_YEARS = 41
"""A February 29 on a given weekday comes again within 40 years; what does not come by then never comes."""
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Trigger:
    """When something runs. `start` and `end`: Unix seconds or None; ticks are after `start`, and at `end` or
    before."""

    timing: Cron | Every
    zone: str = "UTC"
    """Where the line names none."""
    start: int | None = None
    end: int | None = None

    def first_mark(self, created: int) -> int:
        """The moment after which the first tick is, for a schedule made at `created`.

        A start in the past is meant: what was missed since then is caught up with, as on Kubeflow.
        """
        return created if self.start is None else self.start


def next_tick(trigger: Trigger, after: int, origin: int) -> int | None:
    """The first tick after `after`; None if there is none any more.

    origin: the schedule's first mark; an interval is counted from there.
    """
    after = max(after, origin)
    if isinstance(trigger.timing, Every):
        every = trigger.timing.seconds
        found: int | None = origin + ((after - origin) // every + 1) * every
    else:
        found = _next_of_line(trigger.timing, parse_zone(trigger.timing.zone or trigger.zone), after)
    return None if found is None or (trigger.end is not None and found > trigger.end) else found


def due(trigger: Trigger, mark: int, now: float, origin: int, *, catch_up: bool) -> int | None:
    """The tick to run at `now`, if one is due: the earliest after `mark` (catch_up), or the latest."""
    first = next_tick(trigger, mark, origin)
    if first is None or first > now:
        return None
    return first if catch_up else _latest(trigger, mark, int(now), origin, first)


def ticks(trigger: Trigger, after: int, origin: int) -> Iterator[int]:
    """All ticks after `after`, in order."""
    tick = next_tick(trigger, after, origin)
    while tick is not None:
        yield tick
        tick = next_tick(trigger, tick, origin)


def _latest(trigger: Trigger, mark: int, now: int, origin: int, first: int) -> int:
    """The last tick at `now` or before, by halving: the later one asks, the later is the next tick, so thirty
    steps are enough, however many were missed."""

    def beyond(moment: int) -> bool:
        tick = next_tick(trigger, moment, origin)
        return tick is None or tick > now

    last = mark + bisect_left(range(mark, now + 1), True, key=beyond) - 1
    return next_tick(trigger, last, origin) or first


def _next_of_line(line: Cron, zone: tzinfo, after: int) -> int | None:
    here = datetime.fromtimestamp(after, zone)
    found = _ahead(line, zone, _wall(here), after)
    again = here.replace(fold=1).utcoffset() or timedelta()
    shift = (here.utcoffset() or timedelta()) - again
    if (
        here.fold
        or shift <= timedelta()
        or (found is not None and _is_before(found, after, shift, again, zone))
    ):
        return found
    # the clock will be set back before that tick: what is named in the repeated hours may come first
    repeated = _ahead(line, zone, _wall(here) - shift, after)
    return min((tick for tick in (found, repeated) if tick is not None), default=None)


def _is_before(tick: int, after: int, shift: timedelta, again: timedelta, zone: tzinfo) -> bool:
    """Whether a tick comes before the clock is set back by `shift` to the offset `again`."""
    return tick - after < shift.total_seconds() and datetime.fromtimestamp(tick, zone).utcoffset() != again


def _ahead(line: Cron, zone: tzinfo, wall: datetime, after: int) -> int | None:
    """The first moment after `after` of the wall-clock times after `wall`."""
    while (named := next_wall(line, wall)) is not None:
        wall = named
        for moment in _moments(line, zone, wall):
            if moment > after:
                return moment
    return None


def _moments(line: Cron, zone: tzinfo, wall: datetime) -> tuple[int, ...]:
    """The moments at which a named wall-clock time fires: one, or by elapsed time none or two."""
    early, late = (int(wall.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if early == late:
        return (early,)
    open_to_it = _goes_by_elapsed_time(line, abs(late - early))
    if early < late:
        return (early, late) if open_to_it else (early,)
    return () if open_to_it else (_jump(zone, late, early),)


def _goes_by_elapsed_time(line: Cron, shift_s: int) -> bool:
    """Whether the line leaves open what a shift changes: the hours, and the minutes if it changes them."""
    minutes_open = len(line.minutes) == 60 and (shift_s % 60 == 0 or len(line.seconds) == 60)
    return len(line.hours) == 24 and (shift_s % 3600 == 0 or minutes_open)


def _jump(zone: tzinfo, before: int, after: int) -> int:
    """The first moment with the offset that holds at `after`."""
    offset = datetime.fromtimestamp(after, zone).utcoffset()

    def jumped(moment: int) -> bool:
        return datetime.fromtimestamp(moment, zone).utcoffset() == offset

    return before + bisect_left(range(before, after), True, key=jumped)


def _wall(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


def next_wall(line: Cron, after: datetime) -> datetime | None:
    """The first wall-clock time after `after` that a line names; None if it never comes."""
    wall = after.replace(microsecond=0) + SECOND
    for day in _days(line, wall.date()):
        clock = _clock_of_day(line, wall.time() if day == wall.date() else time())
        if clock is not None:
            return datetime.combine(day, clock)
    return None


def _days(line: Cron, first: date) -> Iterator[date]:
    for year in range(first.year, min(first.year + SEARCHED_YEARS, 9999)):
        for month in line.months:
            if (year, month) >= (first.year, first.month):
                yield from (day for day in _days_of_month(line, year, month) if day >= first)


@lru_cache(maxsize=4096)
def _days_of_month(line: Cron, year: int, month: int) -> tuple[date, ...]:
    start = date(year, month, 1)
    days = [start + timedelta(days=number) for number in range(31)]
    return tuple(day for day in days if day.month == month and _fits(line, day))


def _fits(line: Cron, day: date) -> bool:
    of_month, of_week = day.day in line.days, day.isoweekday() % 7 in line.weekdays
    return of_month or of_week if line.either else of_month and of_week


def _clock_of_day(line: Cron, start: time) -> time | None:
    """The first time of day at `start` or after."""
    hour, minute, second = start.hour, start.minute, start.second
    if hour in line.hours:
        if minute in line.minutes and second <= line.seconds[-1]:
            return time(hour, minute, line.seconds[bisect_left(line.seconds, second)])
        if minute < line.minutes[-1]:
            return time(hour, line.minutes[bisect_right(line.minutes, minute)], line.seconds[0])
    if hour >= line.hours[-1]:
        return None
    return time(line.hours[bisect_right(line.hours, hour)], line.minutes[0], line.seconds[0])
