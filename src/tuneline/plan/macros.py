"""What a schedule's parameters may say of the run they are for: `[[ScheduledTime]]`, `[[Index]]`, and such.

Pure. The names and the layouts of time are Kubeflow Pipelines': `[[CurrentTime.2006-01-02]]` is written as Go
writes a time, in UTC; `{{$.scheduledTime.strftime('%Y-%m-%d')}}` as Python does, in the schedule's own zone.
Anything else in brackets stays as it is.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

PLAIN: Final = "20060102150405"
"""The layout of a time without one."""
_MACRO = re.compile(r"\[\[(.*?)\]\]")
_STRFTIME = re.compile(r"\{\{\s*\$\.(scheduledTime|currentTime)\.strftime\((['\"])(.*?)\2\)\s*\}\}")


@dataclass(frozen=True)
class Occasion:
    """One run of a schedule."""

    run: str
    scheduled: int
    """The tick, Unix seconds."""
    now: int
    """When the run was made."""
    index: int
    """Its number among the schedule's runs, from 1."""
    zone: str = "UTC"


def expand(value: Any, occasion: Occasion) -> Any:
    """A parameter's value with its macros written out; also inside lists and mappings."""
    if isinstance(value, str):
        text = _MACRO.sub(lambda match: _macro(match[0], match[1], occasion), value)
        return _STRFTIME.sub(lambda match: _strftime(match, occasion), text)
    if isinstance(value, list):
        return [expand(entry, occasion) for entry in value]
    if isinstance(value, dict):
        return {key: expand(entry, occasion) for key, entry in value.items()}
    return value


def go_time(moment: datetime, layout: str) -> str:
    """A time in UTC, written by one of Go's layouts: the reference time is `Mon Jan 2 15:04:05 MST 2006`."""
    return _TOKEN.sub(lambda match: _GO[match[0]](moment) if match[0] in _GO else _fraction(match[0]), layout)


def _macro(whole: str, name: str, occasion: Occasion) -> str:
    if name == "RunUUID":
        return occasion.run
    if name == "Index":
        return str(occasion.index)
    what, _, layout = name.partition(".")
    moment = {"ScheduledTime": occasion.scheduled, "CurrentTime": occasion.now}.get(what)
    if moment is None:
        return whole
    return go_time(datetime.fromtimestamp(moment, UTC), layout if "." in name else PLAIN)


def _strftime(match: re.Match[str], occasion: Occasion) -> str:
    moment = occasion.scheduled if match[1] == "scheduledTime" else occasion.now
    return datetime.fromtimestamp(moment, ZoneInfo(occasion.zone)).strftime(match[3])


def _fraction(token: str) -> str:
    """Of whole seconds: `.000` is written, `.999` leaves trailing zeros, and so all of itself, away."""
    return token if token[1] == "0" else ""


_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_GO: Final[dict[str, Callable[[datetime], str]]] = {
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "January": lambda t: _MONTHS[t.month - 1],
    "Jan": lambda t: _MONTHS[t.month - 1][:3],
    "01": lambda t: f"{t.month:02}",
    "1": lambda t: str(t.month),
    "Monday": lambda t: _DAYS[t.weekday()],
    "Mon": lambda t: _DAYS[t.weekday()][:3],
    "02": lambda t: f"{t.day:02}",
    "_2": lambda t: f"{t.day:2}",
    "2": lambda t: str(t.day),
    "002": lambda t: f"{t.timetuple().tm_yday:03}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3}",
    "15": lambda t: f"{t.hour:02}",
    "03": lambda t: f"{(t.hour % 12) or 12:02}",
    "3": lambda t: str((t.hour % 12) or 12),
    "04": lambda t: f"{t.minute:02}",
    "4": lambda t: str(t.minute),
    "05": lambda t: f"{t.second:02}",
    "5": lambda t: str(t.second),
    "PM": lambda t: "PM" if t.hour >= 12 else "AM",
    "pm": lambda t: "pm" if t.hour >= 12 else "am",
    "MST": lambda _: "UTC",
    "Z07:00:00": lambda _: "Z",
    "Z070000": lambda _: "Z",
    "Z07:00": lambda _: "Z",
    "Z0700": lambda _: "Z",
    "Z07": lambda _: "Z",
    "-07:00:00": lambda _: "+00:00:00",
    "-070000": lambda _: "+000000",
    "-07:00": lambda _: "+00:00",
    "-0700": lambda _: "+0000",
    "-07": lambda _: "+00",
}
# Go takes the longest word at each place; `Jan` and `Mon` only where no lower-case letter follows, `_2006` as
# `_` and the year, a fraction only where no further digit follows
_ONLY = {"Jan": "(?![a-z])", "Mon": "(?![a-z])", "_2": "(?!006)"}
_WORDS = "|".join(re.escape(word) + _ONLY.get(word, "") for word in sorted(_GO, key=len, reverse=True))
_TOKEN = re.compile(rf"[.,](?:0+|9+)(?!\d)|{_WORDS}")
