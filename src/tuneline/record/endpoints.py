"""Endpoints: what is wanted there, what was seen there, and the intervals in which each release was live.

Wanted is set with the digest it was judged against; seen is whatever the controller last reported; an
interval opens when a release takes over and closes the one before in the same transaction, so at any moment
at most one is live.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.record import ledger
from tuneline.record.changes import Changes
from tuneline.record.schema import endpoints, intervals, releases
from tuneline.record.store import Store

TOPIC = "endpoints"
"""What `Changes` says when anything here changed."""


def desire(
    db: Connection,
    name: str,
    release: str | None,
    deploy: Mapping[str, Any],
    live_digest: str,
    why: str,
    by: str,
    at: float,
) -> None:
    """Want `release` (None: nothing) at endpoint `name`, in the caller's transaction."""
    generation = db.scalar(select(endpoints.c.generation).where(endpoints.c.name == name))
    values = {
        "generation": (generation or 0) + 1,
        "desired": release,
        "deploy": {**deploy, "live_digest": live_digest},
        "why": why,
        "by": by,
        "desired_at": at,
    }
    if generation is None:
        db.execute(insert(endpoints).values(name=name, **values))
    else:
        db.execute(update(endpoints).where(endpoints.c.name == name).values(**values))
    body = {"endpoint": name, "release": release, "generation": values["generation"], "why": why, "by": by}
    ledger.write(db, at, "desired", body)


def desired_release(db: Connection, name: str) -> str | None:
    """The release wanted at endpoint `name`; None if nothing is, or there is no such endpoint."""
    return db.scalar(select(endpoints.c.desired).where(endpoints.c.name == name))


def open_interval(db: Connection, name: str) -> RowMapping | None:
    """The interval of the release that is live at `name`; None if nothing is."""
    now = (intervals.c.endpoint == name, intervals.c.to_at.is_(None))
    return db.execute(select(intervals).where(*now)).mappings().first()


class Endpoints:
    """The endpoints of one record."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def all(self) -> Sequence[RowMapping]:
        """Rows of all endpoints, by name."""
        with self._store.read() as db:
            return db.execute(select(endpoints).order_by(endpoints.c.name)).mappings().all()

    def get(self, name: str) -> RowMapping:
        """The endpoint's row. Raises NotFoundError."""
        for row in self.all():
            if row["name"] == name:
                return row
        known = ", ".join(row["name"] for row in self.all())
        raise NotFoundError(
            f"There is no endpoint `{name}`.",
            hint=f"Endpoints: {known}."
            if known
            else "None yet: the first approved release of a project makes one.",
        )

    def observe(self, name: str, observed: Mapping[str, Any], at: float) -> None:
        """Keep what the controller saw at `name`, replacing what it saw before."""
        with self._store.write() as db:
            mine = endpoints.c.name == name
            db.execute(update(endpoints).where(mine).values(observed=dict(observed), observed_at=at))
        self._changes.notify(TOPIC)

    def went_live(self, name: str, release: str, why: str, by: str, at: float) -> None:
        """`release` took over at `name`: the interval before ends and its own begins.

        Saying it twice is fine.
        """
        model, _, version = release.rpartition("@")
        with self._store.write(durable=True) as db:
            before = open_interval(db, name)
            if before is not None and (before["model"], before["version"]) == (model, version):
                return
            mine = (releases.c.model == model, releases.c.version == version)
            digest = db.scalar(select(releases.c.package_digest).where(*mine))
            if digest is None:
                raise NotFoundError(
                    f"There is no release {release}.", hint="`tuneline releases list MODEL` shows them."
                )
            if before is not None:
                _close(db, before, f"{release} took over", by, at)
            n = (db.scalar(select(func.max(intervals.c.n)).where(intervals.c.endpoint == name)) or 0) + 1
            db.execute(
                insert(intervals).values(
                    endpoint=name,
                    n=n,
                    model=model,
                    version=version,
                    digest=digest,
                    from_at=at,
                    why=why,
                    by=by,
                    end_why="",
                )
            )
            body = {"endpoint": name, "release": release, "digest": digest, "why": why, "by": by}
            ledger.write(db, at, "live", body)
        self._changes.notify(TOPIC)

    def retire(self, name: str, why: str, by: str, at: float) -> None:
        """Nothing is live at `name` any more. Saying it twice is fine."""
        with self._store.write(durable=True) as db:
            before = open_interval(db, name)
            if before is not None:
                _close(db, before, why, by, at)
        self._changes.notify(TOPIC)

    def live(self, name: str) -> RowMapping | None:
        """The open interval of `name`; None if nothing is live there, or there is no such endpoint."""
        with self._store.read() as db:
            return open_interval(db, name)

    def history(self, name: str, at: float | None = None) -> Sequence[RowMapping]:
        """The intervals of `name`, the earliest first; only those that hold the time `at`, if given.

        Raises: NotFoundError if there is no such endpoint.
        """
        self.get(name)
        wanted = select(intervals).where(intervals.c.endpoint == name).order_by(intervals.c.n)
        if at is not None:
            wanted = wanted.where(
                intervals.c.from_at <= at, or_(intervals.c.to_at.is_(None), intervals.c.to_at > at)
            )
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()

    def want(self, name: str, release: str | None, live_digest: str, why: str, by: str, at: float) -> None:
        """Set what is wanted at an existing endpoint. Raises NotFoundError.

        ConflictError if live is not `live_digest`.
        """
        row = self.get(name)
        with self._store.write(durable=True) as db:
            live = open_interval(db, name)
            if (live["digest"] if live else "") != live_digest:
                raise ConflictError(
                    f"Endpoint {name} serves another release now.", hint="Look again, then decide."
                )
            desire(db, name, release, row["deploy"], live_digest, why, by, at)
        self._changes.notify(TOPIC)


def _close(db: Connection, before: RowMapping, why: str, by: str, at: float) -> None:
    mine = (intervals.c.endpoint == before["endpoint"], intervals.c.n == before["n"])
    # a clock set back must not make an interval end before it began
    end = max(at, before["from_at"])
    db.execute(update(intervals).where(*mine).values(to_at=end, end_why=why))
    release = f"{before['model']}@{before['version']}"
    body = {
        "endpoint": before["endpoint"],
        "release": release,
        "digest": before["digest"],
        "why": why,
        "by": by,
    }
    ledger.write(db, at, "retired", body)
