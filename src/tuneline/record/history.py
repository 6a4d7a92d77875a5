"""A run's states with their times, kept in its row: a list of runs must not read every run's events."""

from sqlalchemy import Connection, select, update

from tuneline.plan import events as e
from tuneline.record.schema import runs


def apply(db: Connection, stored: e.Stored) -> None:
    """Note the state that an event brought a run to, in the event's transaction."""
    state = _state(stored.event)
    if state is None:
        return
    seen = list(db.scalar(select(runs.c.history).where(runs.c.id == stored.run)) or [])
    if seen and seen[-1]["state"] == state:
        return
    values = {"history": [*seen, {"at": stored.at, "state": state}]}
    db.execute(update(runs).where(runs.c.id == stored.run).values(**values))


def _state(event: e.Event) -> str | None:
    if isinstance(event, e.RunStarted | e.RunRetried):
        return "RUNNING"
    if isinstance(event, e.CancelRequested):
        return "CANCELING"
    return event.state if isinstance(event, e.RunEnded) else None
