"""What an event changes in the tables that lists are read from; run in the transaction that stores the event.

The views say what the fold of the run's events says, so they can be rebuilt from them; they decide nothing.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, update

from tuneline.plan import events as e
from tuneline.record import lineage
from tuneline.record.schema import runs, tasks


def apply(db: Connection, stored: e.Stored) -> None:
    """Bring the views of `stored.run` up to this event."""
    handler = _HANDLERS.get(type(stored.event))
    if handler is not None:
        handler(db, stored, stored.event)


def _run(db: Connection, stored: e.Stored, **values: Any) -> None:
    db.execute(update(runs).where(runs.c.id == stored.run).values(**values))


def _task(db: Connection, stored: e.Stored, name: str, **values: Any) -> None:
    db.execute(update(tasks).where(tasks.c.run == stored.run, tasks.c.name == name).values(**values))


def _run_started(db: Connection, stored: e.Stored, event: e.RunStarted) -> None:
    _run(db, stored, state="RUNNING")
    db.execute(
        update(runs).where(runs.c.id == stored.run, runs.c.started_at.is_(None)).values(started_at=stored.at)
    )


def _attempt_started(db: Connection, stored: e.Stored, event: e.AttemptStarted) -> None:
    _task(
        db,
        stored,
        event.task,
        state="RUNNING",
        attempts=event.attempt,
        folder=event.folder,
        pid=event.pid,
        cache_key=event.cache_key,
        retry_at=None,
        finished_at=None,
    )
    first = (tasks.c.run == stored.run, tasks.c.name == event.task, tasks.c.started_at.is_(None))
    db.execute(update(tasks).where(*first).values(started_at=stored.at))
    lineage.start(db, stored.run, event.task, event.attempt, stored.at)


def _attempt_failed(db: Connection, stored: e.Stored, event: e.AttemptFailed) -> None:
    again = event.retry_at is not None
    _task(
        db,
        stored,
        event.task,
        state="PENDING" if again else "FAILED",
        error=dict(event.error),
        pid=None,
        retry_at=event.retry_at,
        finished_at=None if again else stored.at,
    )
    lineage.end(db, stored.run, event.task, event.attempt, "FAILED", stored.at)


def _task_succeeded(db: Connection, stored: e.Stored, event: e.TaskSucceeded) -> None:
    _task(
        db,
        stored,
        event.task,
        state="SUCCEEDED",
        outputs=asdict(event.outputs),
        cache_key=event.cache_key,
        finished_at=stored.at,
        pid=None,
        error=None,
        retry_at=None,
    )
    lineage.succeed(db, stored.run, event.task, event.attempt, event.outputs, event.cache_key, stored.at)


def _task_cached(db: Connection, stored: e.Stored, event: e.TaskCached) -> None:
    _task(
        db,
        stored,
        event.task,
        state="CACHED",
        cached=1,
        outputs=asdict(event.outputs),
        cache_key=event.cache_key,
        started_at=stored.at,
        finished_at=stored.at,
        error=None,
        retry_at=None,
        reason=f"the same as task {event.source_task} of run {event.source_run}",
    )
    lineage.reuse(db, stored.run, stored.seq, event, stored.at)


def _task_skipped(db: Connection, stored: e.Stored, event: e.TaskSkipped) -> None:
    _task(db, stored, event.task, state="SKIPPED", reason=event.reason, finished_at=stored.at)


def _task_canceled(db: Connection, stored: e.Stored, event: e.TaskCanceled) -> None:
    _task(db, stored, event.task, state="CANCELED", finished_at=stored.at, pid=None, retry_at=None)
    lineage.end(db, stored.run, event.task, event.attempt, "CANCELED", stored.at)


def _run_retried(db: Connection, stored: e.Stored, event: e.RunRetried) -> None:
    _run(db, stored, state="RUNNING", finished_at=None, error=None)
    for name in event.tasks:
        _task(
            db,
            stored,
            name,
            state="PENDING",
            started_at=None,
            finished_at=None,
            cached=0,
            error=None,
            reason="",
            outputs=None,
            progress=None,
            pid=None,
            cache_key=None,
            retry_at=None,
        )


def _run_ended(db: Connection, stored: e.Stored, event: e.RunEnded) -> None:
    _run(
        db, stored, state=event.state, finished_at=stored.at, error=dict(event.error) if event.error else None
    )
    if event.state == "CANCELED":
        left = (tasks.c.run == stored.run, tasks.c.state == "PENDING")
        db.execute(update(tasks).where(*left).values(state="CANCELED", finished_at=stored.at, retry_at=None))


_HANDLERS: dict[type[e.Event], Callable[[Connection, e.Stored, Any], None]] = {
    e.RunStarted: _run_started,
    e.AttemptStarted: _attempt_started,
    e.AttemptFailed: _attempt_failed,
    e.TaskSucceeded: _task_succeeded,
    e.TaskCached: _task_cached,
    e.TaskSkipped: _task_skipped,
    e.TaskCanceled: _task_canceled,
    e.RunRetried: _run_retried,
    e.RunEnded: _run_ended,
}
