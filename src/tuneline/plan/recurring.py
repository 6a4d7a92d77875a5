"""A recurring run as a value: what is due of it now, or when to look again. Pure. And its loop's Protocols.

`control/recurring.py` looks, `record/recurring.py` keeps the marks, `actions/recurring.py` starts what is
due.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import floor
from typing import Any, Protocol

from tuneline.errors import ConflictError
from tuneline.plan.recurrence import Trigger, due, next_tick
from tuneline.spec.cron import Every, parse_cron, parse_zone

MAX_CONCURRENCY = 10
"""As on Kubeflow: 1 to 10 runs of one schedule at once."""


class StaleTick(ConflictError):
    """The tick was taken already, or the recurring run was disabled, changed or deleted meanwhile."""

    code = "stale_tick"


@dataclass(frozen=True)
class Standing:
    """An enabled recurring run, as far as its loop needs it."""

    id: str
    trigger: Mapping[str, Any]
    """See `trigger_of`."""
    mark: int
    """Every tick up to this moment was dealt with. Unix seconds."""
    origin: int
    """Its first mark, from which intervals are counted."""
    catch_up: bool
    max_concurrency: int
    active: int
    """How many runs of it have not ended."""


@dataclass(frozen=True)
class Look:
    """What a look at a recurring run found: a tick to run now, or when to look again.

    Neither: look again when something changes.
    """

    tick: int | None = None
    at: int | None = None


class RecurringStore(Protocol):
    """Where recurring runs are kept; `record.recurring.Recurring` is one. Thread-safe."""

    def standings(self) -> Sequence[Standing]:
        """All that are enabled."""
        ...

    def listening(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` (quick, from any thread) when a look may find something else, until the block ends."""
        ...


class Starter(Protocol):
    """Starts the run of a tick; `actions.recurring.RecurringRuns` is one."""

    def begin(self, id: str, mark: int, tick: int) -> str:
        """Store the run of a tick, and the new mark, in one transaction, and start it; the run's id.

        A fault that the next look would find again is recorded with the mark, not raised: "" is given then.
        Raises: StaleTick; ConflictError if something else must end first; TransientError, ResourceError.
        """
        ...


def look(standing: Standing, now: float) -> Look:
    """What is due at `now`. Raises: SpecError if its trigger cannot be read any more."""
    if standing.active >= standing.max_concurrency:
        return Look()
    trigger = trigger_of(standing.trigger)
    tick = due(trigger, standing.mark, now, standing.origin, catch_up=standing.catch_up)
    if tick is not None:
        return Look(tick=tick)
    return Look(at=next_tick(trigger, standing.mark, standing.origin))


def trigger_of(body: Mapping[str, Any]) -> Trigger:
    """The trigger of its JSON: `{"cron" or "every_s", "crontab", "zone", "start", "end"}`; times are Unix
    seconds.

    Raises: SpecError.
    """
    zone = str(body.get("zone") or "UTC")
    parse_zone(zone)
    if "every_s" in body:
        timing: Any = Every(int(body["every_s"]))
    else:
        timing = parse_cron(str(body.get("cron", "")), crontab=bool(body.get("crontab")))
    start, end = body.get("start"), body.get("end")
    return Trigger(timing, zone, None if start is None else floor(start), None if end is None else floor(end))


def line_of(body: Mapping[str, Any]) -> str:
    """The cron line of a trigger's JSON as robfig reads it: with its zone, and with seconds."""
    line = str(body.get("cron", ""))
    if body.get("crontab") and len(line.split()) == 5:
        line = f"0 {line}"
    zone = body.get("zone") or "UTC"
    return line if zone == "UTC" or "TZ=" in line else f"CRON_TZ={zone} {line}"


def zone_of(trigger: Trigger) -> str:
    """The zone that a trigger's wall-clock times are of."""
    return trigger.zone if isinstance(trigger.timing, Every) else trigger.timing.zone or trigger.zone
