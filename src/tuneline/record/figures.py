"""How many there are of what, for whoever watches the server: counted by the database when asked, one moment.

Runs go by an index; tasks are those of runs that have not ended, so only what is under way is gone through.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from tuneline.record.runs import ACTIVE
from tuneline.record.schema import endpoints, intervals, releases, runs, tasks
from tuneline.record.store import Store


@dataclass(frozen=True)
class Counted:
    """What was counted."""

    runs: Mapping[str, int]
    """By state."""
    tasks: Mapping[str, int]
    """Of runs that have not ended, by state; graphs and loops are none."""
    releases: Mapping[str, int]
    """By state."""
    endpoints: Mapping[str, str]
    """Name -> its phase; empty before the controller has looked."""
    live: Mapping[str, str]
    """Name of an endpoint -> the release that is live there."""


class Figures:
    """The figures of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self) -> Counted:
        """Everything at one moment."""
        i, t = intervals.c, tasks.c
        with self._store.read() as db:
            seen = db.execute(select(endpoints.c.name, endpoints.c.observed)).all()
            live = db.execute(select(i.endpoint, i.model, i.version).where(i.to_at.is_(None))).all()
            under_way = select(runs.c.id).where(runs.c.state.in_(ACTIVE))
            executed = t.kind.in_(("task", "importer")) | t.kind.is_(None)
            return Counted(
                runs=_by(db, select(runs.c.state, func.count()).group_by(runs.c.state)),
                tasks=_by(
                    db, select(t.state, func.count()).where(t.run.in_(under_way), executed).group_by(t.state)
                ),
                releases=_by(db, select(releases.c.state, func.count()).group_by(releases.c.state)),
                endpoints={name: str((observed or {}).get("phase") or "") for name, observed in seen},
                live={str(name): f"{model}@{version}" for name, model, version in live},
            )


def _by(db: Connection, wanted: Select[tuple[Any, int]]) -> dict[str, int]:
    return {str(state): int(number) for state, number in db.execute(wanted).all()}
