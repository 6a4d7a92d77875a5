"""Executions (one an attempt, or for a task taken from the cache) and the artifacts they read and make.

Written in the transaction of the event that caused it, from what the event says of inputs and outputs. A
cached task links the artifacts of the task it repeats.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from tuneline.plan.events import ArtifactRef, AttemptStarted, Outputs, Read, TaskCached, plain
from tuneline.record.schema import artifacts, executions, links
from tuneline.record.statements import add, change, value

CACHED_ATTEMPT = 0
"""The attempt number of an execution that did not run."""


def execution_id(run: str, task: str, attempt: int) -> str:
    """The one name of an execution."""
    return f"{run}/{task}/{attempt}"


def start(db: Connection, run: str, event: AttemptStarted, at: float) -> None:
    """An attempt began: its execution, and links to what it reads."""
    task, attempt, read = event.task, event.attempt, event.read
    mine = execution_id(run, task, attempt)
    _execution(db, mine, run, task, attempt, "RUNNING", at, event.code)
    _link_inputs(db, mine, read)


def end(db: Connection, run: str, task: str, attempt: int, state: str, at: float) -> None:
    """An attempt ended without outputs."""
    mine = {"id": execution_id(run, task, attempt)}
    change(db, executions, mine, {"state": state, "finished_at": at})


def succeed(
    db: Connection, run: str, task: str, attempt: int, outputs: Outputs, cache_key: str | None, at: float
) -> None:
    """An attempt ended with `outputs`: artifact rows and output links.

    A graph is no execution: what is in it has its own.
    """
    mine = execution_id(run, task, attempt)
    values = {"state": "SUCCEEDED", "finished_at": at, "cache_key": cache_key, "outputs": plain(outputs)}
    if change(db, executions, {"id": mine}, values):
        _link_outputs(db, mine, run, task, outputs, at)


def reuse(db: Connection, run: str, seq: int, event: TaskCached, at: float) -> None:
    """A task was taken from the cache: its execution points at the artifacts of the one it repeats."""
    mine = f"{run}/{event.task}/cached-{seq}"
    _execution(db, mine, run, event.task, CACHED_ATTEMPT, "CACHED", at)
    change(db, executions, {"id": mine}, {"finished_at": at})
    _link_inputs(db, mine, event.read)
    _link_outputs(db, mine, run, event.task, event.outputs, at)


def named(execution: str, outputs: Outputs) -> Outputs:
    """Outputs whose artifacts have their ids, also those of events that did not say them."""
    artifacts = {
        key: tuple(
            ref if ref.id else replace(ref, id=f"{execution}/{_numbered(key, place)}")
            for place, ref in enumerate(refs)
        )
        for key, refs in outputs.artifacts.items()
    }
    return Outputs(outputs.parameters, artifacts)


def _execution(
    db: Connection, id: str, run: str, task: str, attempt: int, state: str, at: float, code: str = ""
) -> None:
    values = {"id": id, "run": run, "task": task, "attempt": attempt, "state": state, "started_at": at}
    add(db, executions, {**values, "finished_at": None, "code": code or None})


def _link_inputs(db: Connection, execution: str, read: Read) -> None:
    for key, ids in read.artifacts.items():
        for place, artifact in enumerate(ids):
            if value(db, artifacts, {"id": artifact}, "id") is not None:
                _link(db, execution, "input", _numbered(key, place), artifact)


def _link_outputs(db: Connection, execution: str, run: str, task: str, outputs: Outputs, at: float) -> None:
    for key, refs in named(execution, outputs).artifacts.items():
        for place, ref in enumerate(refs):
            _link(db, execution, "output", _numbered(key, place), _artifact(db, run, task, ref, at))


def _numbered(key: str, place: int) -> str:
    """The key of a link: an artifact in a list has its place after the key."""
    return f"{key}/{place}" if place else key


def _artifact(db: Connection, run: str, task: str, ref: ArtifactRef, at: float) -> str:
    if value(db, artifacts, {"id": ref.id}, "id") is None:
        values: Mapping[str, Any] = {
            "id": ref.id, "run": run, "task": task, "name": ref.name, "type": ref.type, "uri": ref.uri,
            "digest": ref.digest, "size_bytes": ref.size_bytes, "metadata": dict(ref.metadata),
            "created_at": at, "custom_path": ref.custom_path or None, "schema_version": ref.version,
            "number": int(db.scalar(select(func.coalesce(func.max(artifacts.c.number), 0))) or 0) + 1,
        }  # fmt: skip
        add(db, artifacts, values)
    return ref.id


def _link(db: Connection, execution: str, direction: str, key: str, artifact: str) -> None:
    mine = {"execution": execution, "direction": direction, "key": key}
    if value(db, links, mine, "key") is None:
        add(db, links, {**mine, "artifact": artifact})
