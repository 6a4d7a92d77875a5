"""Deleting a run without breaking what was made of it.

A run whose artifacts another run read, or that made a release, leaves its row (hidden), its executions and
its artifacts behind, because lineage and the ledger speak of them. Any other run leaves nothing.
"""

from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from tuneline.record.schema import (
    artifacts,
    events,
    executions,
    links,
    pipelines,
    recurring_runs,
    releases,
    runs,
    series,
    tasks,
    uploaded_versions,
)

DELETED = "DELETED"
"""The storage state of a run that is gone for everybody, but not yet, or not wholly, from the record."""


def remove(db: Connection, run: str) -> bool:
    """Remove an ended run that is hidden already. Returns whether nothing of it is left."""
    for table in (events, series, tasks):
        db.execute(delete(table).where(table.c.run == run))
    if _needed(db, run):
        db.execute(update(runs).where(runs.c.id == run).values(project_text="", parameters=None))
        return False
    digest = db.scalar(select(runs.c.pipeline).where(runs.c.id == run))
    mine = select(executions.c.id).where(executions.c.run == run)
    db.execute(delete(links).where(links.c.execution.in_(mine)))
    db.execute(delete(executions).where(executions.c.run == run))
    db.execute(delete(artifacts).where(artifacts.c.run == run))
    db.execute(delete(runs).where(runs.c.id == run))
    unused = and_(
        ~exists().where(runs.c.pipeline == digest),
        ~exists().where(uploaded_versions.c.spec == digest),
        ~exists().where(recurring_runs.c.spec == digest),
    )
    db.execute(delete(pipelines).where(pipelines.c.digest == digest, unused))
    return True


def _needed(db: Connection, run: str) -> bool:
    """Whether another run read what this one made, or a release came of it."""
    read = exists().where(
        links.c.artifact == artifacts.c.id,
        artifacts.c.run == run,
        links.c.execution == executions.c.id,
        executions.c.run != run,
    )
    released = exists().where(releases.c.run == run)
    return bool(db.scalar(select(or_(read, released))))
