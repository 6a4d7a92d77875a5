"""When something happens again and again: the text of a cron line, read into frozen sets. Pure; no clock, no
calendar: `plan/recurrence.py` finds the moments.

The dialect is that of robfig/cron, which Kubeflow Pipelines speaks: seconds first, `?`, names, `N/step`, the
descriptors (`@daily`, `@every 1h30m`), a zone in front (`CRON_TZ=Europe/Berlin 0 0 6 * * *`). A line of five
fields lacks the day of the week in it; in a crontab, and so in a project file, it lacks the seconds. Wider
than robfig's: 7 is Sunday too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from tuneline.errors import SpecError

HINT: Final = "docs/schedules.md says what a schedule may be."

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

DESCRIPTORS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}


@dataclass(frozen=True)
class Cron:
    """The wall-clock times that a cron line names. Every tuple is sorted and not empty."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    """Of the month, from 1."""
    months: tuple[int, ...]
    """From 1."""
    weekdays: tuple[int, ...]
    """0 is Sunday, 6 Saturday."""
    either: bool
    """Both days are restricted: one of them is enough. Else both must fit."""
    zone: str = ""
    """The zone that the line itself names; "" if it names none."""


@dataclass(frozen=True)
class Every:
    """At a fixed distance, counted from where the schedule starts."""

    seconds: int


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """What stands for `low`, `low + 1`, ..."""
    highest: int | None = None
    """The highest number that may be written, if it is above `high`."""


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 6, WEEKDAYS, highest=7),
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_cron(text: str, *, crontab: bool = False) -> Cron | Every:
    """The schedule of a line. crontab: five fields begin with the minute; else they begin with the second.

    Raises SpecError: what is wrong, in which field.
    """
    zone, line = _zone_in_front(text.strip())
    if not line:
        raise SpecError("The schedule is empty.", hint=HINT)
    if line.startswith("@every"):
        return Every(_every(line))
    if line.startswith("@"):
        if line not in DESCRIPTORS:
            known = ", ".join([*DESCRIPTORS, "@every 1h"])
            raise SpecError(f"`{line}` is no schedule; these are: {known}.", hint=HINT)
        line = DESCRIPTORS[line]
    parts = line.split()
    if len(parts) not in (5, 6):
        raise SpecError(f"`{line}` has {len(parts)} fields; a schedule has 5 or 6.", hint=HINT)
    if len(parts) == 5:
        parts = ["0", *parts] if crontab else [*parts, "*"]
    second, minute, hour, day, month, weekday = (
        _field(part, field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    either = not (_starred(parts[3]) or _starred(parts[5]))
    return Cron(second, minute, hour, day, month, weekday, either, zone)


def parse_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises SpecError if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise SpecError(
            f"`{name}` is no time zone.", hint="Give one of the IANA names, e.g. Europe/Berlin or UTC."
        ) from None


def never(line: Cron) -> bool:
    """Whether a line names a day of the month that none of its months has, so that it never comes."""
    return not line.either and line.days[0] > max(_LONGEST[month - 1] for month in line.months)


_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _zone_in_front(text: str) -> tuple[str, str]:
    match = re.match(r"(?:CRON_)?TZ=(\S*)\s*", text)
    if match is None:
        return "", text
    parse_zone(match[1])
    return match[1], text[match.end() :]


def _every(line: str) -> int:
    text = line.removeprefix("@every").strip()
    if not line.startswith("@every ") or not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise SpecError(
            f"`{line}` is no schedule: write a time, e.g. `@every 1h30m` or `@every 90s`.", hint=HINT
        )
    total = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if total > MAX_EVERY_S:
        raise SpecError(f"`{line}` is more than a hundred years.", hint=HINT)
    return max(1, int(total + 1e-9))  # robfig: whole seconds, at least one


MAX_EVERY_S: Final = 100 * 366 * 86_400
"""The longest distance, in seconds."""


def _starred(part: str) -> bool:
    return any(entry.startswith(("*", "?")) for entry in part.split(","))


def _field(part: str, field: _Field) -> tuple[int, ...]:
    found: set[int] = set()
    for entry in part.split(","):
        found |= _range(entry, part, field)
    return tuple(sorted({value % 7 if field.highest == 7 else value for value in found}))


def _range(entry: str, part: str, field: _Field) -> set[int]:
    spread, slash, step_text = entry.partition("/")
    low_text, dash, high_text = spread.partition("-")
    if low_text in ("*", "?") and not dash:
        low, high = field.low, field.high
    else:
        low = _number(low_text, part, field)
        high = _number(high_text, part, field) if dash else field.high if slash else low
    if low > high and not (slash and not dash):
        raise _wrong(part, field, f"{spread} begins after it ends")
    step = 1
    if slash:
        if not step_text.isascii() or not step_text.isdigit() or int(step_text) == 0:
            raise _wrong(part, field, f"the step `{step_text}` must be a whole number from 1")
        step = int(step_text)
    return set(range(low, high + 1, step)) or {low}


def _number(text: str, part: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not text.isascii() or not text.isdigit():
        raise _wrong(part, field, f"`{text}` is no number" + (" and no name" if field.names else ""))
    highest = field.high if field.highest is None else field.highest
    if not field.low <= int(text) <= highest:
        raise _wrong(part, field, f"{text} is not between {field.low} and {highest}")
    return int(text)


def _wrong(part: str, field: _Field, what: str) -> SpecError:
    return SpecError(f"`{part}` is no {field.name}: {what}.", hint=HINT)
