"""What an event changes in the tables that lists are read from; run in the transaction that stores the event.

The views say what the fold of the run's events says, so they can be rebuilt from them; they decide nothing.
"""

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, update

from tuneline.plan import events as e
from tuneline.record import lineage, notices
from tuneline.record.schema import runs, tasks
from tuneline.record.statements import change, value

_ANEW: dict[str, Any] = {
    "state": "PENDING", "started_at": None, "finished_at": None, "cached": 0, "error": None, "reason": "",
    "outputs": None, "progress": None, "pid": None, "cache_key": None, "retry_at": None, "inputs": None,
    "notes": None,
}  # fmt: skip
"""A task nothing happened to; its attempts still count."""


def apply(db: Connection, stored: e.Stored) -> None:
    """Bring the views of `stored.run` up to this event."""
    handler = _HANDLERS.get(type(stored.event))
    if handler is not None:
        handler(db, stored, stored.event)


def new_task(
    run: str, parent: str | None, child: e.Child, ordinal: int, iteration: int | None = None
) -> dict[str, Any]:
    """The row of a task nothing happened to."""
    where = {"run": run, "name": child.path, "parent": parent, "ordinal": ordinal, "iteration": iteration}
    what = {"kind": child.kind, "display_name": child.title, "attempts": 0, "folder": None}
    return {**_ANEW, **where, **what}


def _run(db: Connection, stored: e.Stored, **values: Any) -> None:
    change(db, runs, {"id": stored.run}, values)


def _task(db: Connection, stored: e.Stored, name: str, **values: Any) -> None:
    change(db, tasks, {"run": stored.run, "name": name}, values)


def _each(db: Connection, stored: e.Stored, names: Collection[str], **values: Any) -> None:
    mine = (tasks.c.run == stored.run, tasks.c.name == bindparam("path"))
    if names:
        db.execute(update(tasks).where(*mine).values(**values), [{"path": name} for name in names])


def _run_started(db: Connection, stored: e.Stored, event: e.RunStarted) -> None:
    _run(db, stored, state="RUNNING")
    db.execute(
        update(runs).where(runs.c.id == stored.run, runs.c.started_at.is_(None)).values(started_at=stored.at)
    )


def _run_handed_over(db: Connection, stored: e.Stored, event: e.RunHandedOver) -> None:
    known = value(db, runs, {"id": stored.run}, "runner") or {}
    _run(
        db,
        stored,
        runner={**known, "kind": event.runner, "url": event.url, "id": event.id, "link": event.link},
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
        inputs=e.plain(event.read),
        notes=list(event.notes),
        **_since(stored, event.attempt),
    )
    _began(db, stored, event.task, event.attempt)
    lineage.start(db, stored.run, event, stored.at)


def _since(stored: e.Stored, attempt: int) -> dict[str, Any]:
    """Of a first attempt it is known without asking that the task begins now."""
    return {"started_at": stored.at} if attempt == 1 else {}


def _began(db: Connection, stored: e.Stored, name: str, attempt: int) -> None:
    mine = {"run": stored.run, "name": name}
    if attempt > 1 and value(db, tasks, mine, "started_at") is None:
        change(db, tasks, mine, {"started_at": stored.at})


def _graph_started(db: Connection, stored: e.Stored, event: e.GraphStarted) -> None:
    _task(
        db,
        stored,
        event.task,
        state="RUNNING",
        attempts=event.attempt,
        retry_at=None,
        finished_at=None,
        inputs=e.plain(event.read),
        **_since(stored, event.attempt),
    )
    _began(db, stored, event.task, event.attempt)
    if event.attempt > 1:  # the first one has nothing to forget, and looking for it is a scan of the run
        db.execute(delete(tasks).where(tasks.c.run == stored.run, _below(event.task)))
    first = stored.seq << 24  # after all that came before, without asking what that was
    rows = [
        new_task(stored.run, event.task, child, first + place, place if event.iterations else None)
        for place, child in enumerate(event.children)
    ]
    if rows:
        db.execute(insert(tasks), rows)


def _below(path: str) -> ColumnElement[bool]:
    """Tasks somewhere in the graph `path`."""
    return func.substr(tasks.c.name, 1, len(path) + 1) == path + "/"


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
        outputs=e.plain(event.outputs),
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
        outputs=e.plain(event.outputs),
        cache_key=event.cache_key,
        started_at=stored.at,
        finished_at=stored.at,
        error=None,
        retry_at=None,
        reason=f"the same as task {event.source_task} of run {event.source_run}",
    )
    _task(db, stored, event.task, inputs=e.plain(event.read))
    lineage.reuse(db, stored.run, stored.seq, event, stored.at)


def _task_skipped(db: Connection, stored: e.Stored, event: e.TaskSkipped) -> None:
    _task(db, stored, event.task, state="SKIPPED", reason=event.reason, finished_at=stored.at)


def _task_canceled(db: Connection, stored: e.Stored, event: e.TaskCanceled) -> None:
    _task(db, stored, event.task, state="CANCELED", finished_at=stored.at, pid=None, retry_at=None)
    lineage.end(db, stored.run, event.task, event.attempt, "CANCELED", stored.at)


def _run_retried(db: Connection, stored: e.Stored, event: e.RunRetried) -> None:
    _run(db, stored, state="RUNNING", finished_at=None, error=None, outputs=None)
    # only a graph has tasks below it, and to look for them is a scan of the run
    opened = set(db.scalars(select(tasks.c.parent).where(tasks.c.run == stored.run).distinct()))
    for path in opened.intersection(event.tasks):
        db.execute(delete(tasks).where(tasks.c.run == stored.run, _below(str(path))))
    _each(db, stored, event.tasks, **_ANEW)
    around = {path[:place] for path in event.tasks for place, letter in enumerate(path) if letter == "/"}
    _each(db, stored, around, state="RUNNING", finished_at=None, error=None)


def _cancel_requested(db: Connection, stored: e.Stored, event: e.CancelRequested) -> None:
    _run(db, stored, state="CANCELING")


def _run_ended(db: Connection, stored: e.Stored, event: e.RunEnded) -> None:
    error = dict(event.error) if event.error else None
    _run(db, stored, state=event.state, finished_at=stored.at, error=error, outputs=e.plain(event.outputs))
    if event.state != "SUCCEEDED":  # canceled, or out of time: some had not ended
        left = (tasks.c.run == stored.run, or_(tasks.c.state == "PENDING", tasks.c.state == "RUNNING"))
        db.execute(update(tasks).where(*left).values(state="CANCELED", finished_at=stored.at, retry_at=None))
    if event.state == "FAILED":
        notices.put_failed_run(db, stored.run, stored.at, error)


_HANDLERS: dict[type[e.Event], Callable[[Connection, e.Stored, Any], None]] = {
    e.RunStarted: _run_started,
    e.RunHandedOver: _run_handed_over,
    e.AttemptStarted: _attempt_started,
    e.GraphStarted: _graph_started,
    e.AttemptFailed: _attempt_failed,
    e.TaskSucceeded: _task_succeeded,
    e.TaskCached: _task_cached,
    e.TaskSkipped: _task_skipped,
    e.CancelRequested: _cancel_requested,
    e.TaskCanceled: _task_canceled,
    e.RunRetried: _run_retried,
    e.RunEnded: _run_ended,
}
