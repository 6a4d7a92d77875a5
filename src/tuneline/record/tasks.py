"""Tasks of a run as a reader wants them: all of them by a few columns, or a few of them whole.

A run may have thousands of tasks, and their inputs and outputs are most of what is stored of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select

from tuneline.record.schema import tasks
from tuneline.record.store import Store
from tuneline.types import RunId

BATCH = 500
"""Names in one question: every database takes so many."""


class Tasks:
    """The tasks of one record's runs. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def light(self, run: RunId) -> Sequence[RowMapping]:
        """`name`, `parent`, `kind`, `state` of all tasks, in the pipeline's order, iterations by index."""
        t = tasks.c
        wanted = select(t.name, t.parent, t.kind, t.state, t.iteration).where(t.run == run)
        with self._store.read() as db:
            return db.execute(wanted.order_by(t.ordinal, t.iteration, t.name)).mappings().all()

    def named(self, run: RunId, names: Collection[str]) -> Mapping[str, RowMapping]:
        """Whole rows by name; nothing for a name that is none."""
        found: dict[str, RowMapping] = {}
        with self._store.read() as db:
            for some in _batched(list(names)):
                wanted = select(tasks).where(tasks.c.run == run, tasks.c.name.in_(some))
                found |= {row["name"]: row for row in db.execute(wanted).mappings()}
        return found


def _batched(names: list[Any]) -> list[list[Any]]:
    return [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
