"""Executions (one an attempt, or for a task taken from the cache) and the artifacts they read and make.

Written in the transaction of the event that caused it. A cached task links the artifacts of the task it
repeats.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tuneline.plan.events import ArtifactRef, Outputs, TaskCached
from tuneline.record.schema import artifacts, executions, links, tasks

CACHED_ATTEMPT = 0
"""The attempt number of an execution that did not run."""


def execution_id(run: str, task: str, attempt: int) -> str:
    """The one name of an execution."""
    return f"{run}/{task}/{attempt}"


def start(db: Connection, run: str, task: str, attempt: int, at: float) -> None:
    """An attempt began: its execution, and links to what it reads."""
    mine = execution_id(run, task, attempt)
    if db.scalar(select(executions.c.id).where(executions.c.id == mine)) is None:
        db.execute(
            insert(executions).values(
                id=mine, run=run, task=task, attempt=attempt, state="RUNNING", started_at=at, finished_at=None
            )
        )
        _link_inputs(db, run, task, mine)


def end(db: Connection, run: str, task: str, attempt: int, state: str, at: float) -> None:
    """An attempt ended without outputs."""
    mine = executions.c.id == execution_id(run, task, attempt)
    db.execute(update(executions).where(mine).values(state=state, finished_at=at))


def succeed(
    db: Connection, run: str, task: str, attempt: int, outputs: Outputs, cache_key: str | None, at: float
) -> None:
    """An attempt ended with `outputs`: artifact rows and output links."""
    start(db, run, task, attempt, at)
    mine = execution_id(run, task, attempt)
    values = {"state": "SUCCEEDED", "finished_at": at, "cache_key": cache_key, "outputs": asdict(outputs)}
    db.execute(update(executions).where(executions.c.id == mine).values(**values))
    for key, ref in outputs.artifacts.items():
        _link(db, mine, "output", key, _artifact(db, f"{mine}/{key}", run, task, ref, at))


def reuse(db: Connection, run: str, seq: int, event: TaskCached, at: float) -> None:
    """A task was taken from the cache: its execution points at the artifacts of the one it repeats."""
    mine = f"{run}/{event.task}/cached-{seq}"
    values = {"id": mine, "run": run, "task": event.task, "attempt": CACHED_ATTEMPT, "state": "CACHED"}
    db.execute(insert(executions).values(**values, started_at=at, finished_at=at))
    _link_inputs(db, run, event.task, mine)
    source = current_outputs(db, event.source_run, event.source_task)
    for key, ref in event.outputs.artifacts.items():
        found = source.get(key) or _artifact(db, f"{mine}/{key}", run, event.task, ref, at)
        _link(db, mine, "output", key, found)


def current_outputs(db: Connection, run: str, task: str) -> dict[str, str]:
    """Artifact ids by output key of the newest execution of a task that put something out."""
    newest = (
        select(executions.c.id)
        .where(
            executions.c.run == run,
            executions.c.task == task,
            executions.c.state.in_(("SUCCEEDED", "CACHED")),
        )
        .order_by(executions.c.finished_at.desc(), executions.c.attempt.desc())
        .limit(1)
    )
    found = db.scalar(newest)
    wanted = (links.c.execution == found, links.c.direction == "output")
    return {row.key: row.artifact for row in db.execute(select(links.c.key, links.c.artifact).where(*wanted))}


def reads(task: Mapping[str, Any]) -> dict[str, list[str]]:
    """Input key -> [producing task, its output key] of one task of an IR's `dag.tasks`."""
    found = {}
    for key, source in task.get("inputs", {}).get("artifacts", {}).items():
        wanted = source.get("taskOutputArtifact")
        if wanted:
            found[key] = [wanted["producerTask"], wanted["outputArtifactKey"]]
    return found


def _link_inputs(db: Connection, run: str, task: str, execution: str) -> None:
    wanted = db.scalar(select(tasks.c.reads).where(tasks.c.run == run, tasks.c.name == task)) or {}
    for key, (producer, output) in wanted.items():
        artifact = current_outputs(db, run, producer).get(output)
        if artifact is not None:
            _link(db, execution, "input", key, artifact)


def _artifact(db: Connection, id: str, run: str, task: str, ref: ArtifactRef, at: float) -> str:
    if db.scalar(select(artifacts.c.id).where(artifacts.c.id == id)) is None:
        db.execute(
            insert(artifacts).values(
                id=id,
                run=run,
                task=task,
                name=ref.name,
                type=ref.type,
                uri=ref.uri,
                digest=ref.digest,
                size_bytes=ref.size_bytes,
                metadata=dict(ref.metadata),
                created_at=at,
            )
        )
    return id


def _link(db: Connection, execution: str, direction: str, key: str, artifact: str) -> None:
    mine = (links.c.execution == execution, links.c.direction == direction, links.c.key == key)
    if db.scalar(select(links.c.key).where(*mine)) is None:
        db.execute(insert(links).values(execution=execution, direction=direction, key=key, artifact=artifact))
