"""Endpoints: what is wanted there, what was seen there, and the intervals in which each release was live.

Wanted is set with the digest it was judged against; seen is whatever the controller last reported; an
interval opens when a release takes over and closes the one before in the same transaction, so at any moment
at most one is live. Their times never go back: after a clock was set back, what happens stands at the last
boundary until the clock is past it; the ledger keeps the time that the clock told.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan import apps
from tuneline.plan.endpoints import Desired, Live, ReleaseFacts, Trial
from tuneline.record import ledger, notices
from tuneline.record.changes import Changes
from tuneline.record.schema import endpoints, intervals, releases, rollouts
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
    """Want `release` (None: nothing) at endpoint `name`, in the caller's transaction.

    Raises: ConflictError if an app is wanted where a model is, or a model where an app is, or it is to be
    served in another place than what is wanted there now.
    """
    before = db.execute(select(endpoints).where(endpoints.c.name == name)).mappings().first()
    _refuse_other_kind(before, release, deploy)
    generation = before["generation"] if before else None
    values = {
        "generation": (generation or 0) + 1,
        "desired": release,
        "deploy": {**deploy, "live_digest": live_digest},
        "why": why,
        "by": by,
        "desired_at": at,
    }
    end_rollout(db, name, f"{release or 'nothing'} is wanted there", by, at)
    if generation is None:
        db.execute(insert(endpoints).values(name=name, **values))
    else:
        db.execute(update(endpoints).where(endpoints.c.name == name).values(**values))
    body = {"endpoint": name, "release": release, "generation": values["generation"], "why": why, "by": by}
    ledger.write(db, at, "desired", body)


def _refuse_other_kind(before: RowMapping | None, release: str | None, deploy: Mapping[str, Any]) -> None:
    """Whoever asks a model must not get an app's pages all at once, nor the other way round."""
    if before is None or before["desired"] is None or release is None:
        return
    was, now = ((each or {}).get("runtime") == apps.KIND for each in (before["deploy"], deploy))
    if was != now:
        raise ConflictError(
            f"Endpoint {before['name']} has {'the app' if was else 'the release'} {before['desired']};"
            f" {release} is {'an app' if now else 'none'}.",
            hint="Give another endpoint.",
        )
    stood, stands = (_stands(each or {}) for each in (before["deploy"], deploy))
    if stood != stands:
        raise ConflictError(
            f"Endpoint {before['name']} is served {stood}; {release} is to be served {stands}.",
            hint="Give another `deploy.endpoint`: nothing moves from one place to the other without a gap.",
        )


def _stands(deploy: Mapping[str, Any]) -> str:
    """Where an endpoint's revisions run; on a cluster also by what, for there they share what stands."""
    if deploy.get("on") != "kubernetes":
        return "here"
    return f"on Kubernetes by {deploy.get('runtime')}"


def end_rollout(db: Connection, name: str, why: str, by: str, at: float) -> None:
    """End a rollout that is under way at `name`, because something else is wanted there."""
    mine = (rollouts.c.endpoint == name, rollouts.c.status == "running")
    row = db.execute(select(rollouts.c.id, rollouts.c.release).where(*mine)).first()
    if row is None:
        return
    ended = {"status": "replaced", "ended_at": at, "reason": why, "weight": 0.0, "shadow": 0, "next_at": None}
    db.execute(update(rollouts).where(rollouts.c.id == row.id).values(**ended))
    body = {"endpoint": name, "rollout": row.id, "release": row.release, "kind": "replaced", "reason": why}
    ledger.write(db, at, "decision", {**body, "by": by})


def previous(db: Connection, name: str) -> str | None:
    """The release that was live at `name` before the one that is; None if there was none."""
    live = open_interval(db, name)
    order = intervals.c.n.desc()
    wanted = select(intervals).where(intervals.c.endpoint == name, intervals.c.to_at.is_not(None))
    for row in db.execute(wanted.order_by(order)).mappings():
        if live is None or row["digest"] != live["digest"]:
            return f"{row['model']}@{row['version']}"
    return None


def was_live(db: Connection, name: str, release: str) -> bool:
    """Whether `release` ever was live at `name`."""
    model, _, version = release.rpartition("@")
    mine = (intervals.c.endpoint == name, intervals.c.model == model, intervals.c.version == version)
    return db.scalar(select(intervals.c.n).where(*mine)) is not None


def desired_release(db: Connection, name: str) -> str | None:
    """The release wanted at endpoint `name`; None if nothing is, or there is no such endpoint."""
    return db.scalar(select(endpoints.c.desired).where(endpoints.c.name == name))


def open_interval(db: Connection, name: str) -> RowMapping | None:
    """The interval of the release that is live at `name`; None if nothing is."""
    now = (intervals.c.endpoint == name, intervals.c.to_at.is_(None))
    return db.execute(select(intervals).where(*now)).mappings().first()


def refuse_other(db: Connection, name: str, expected: str, what: str) -> None:
    """Compare and set: live at `name` must be the package `expected` (a digest; empty: nothing).

    Raises: ConflictError; `what` says in its words what the digest is from.
    """
    live = open_interval(db, name)
    if (live["digest"] if live else "") == expected:
        return
    serves = f"{live['model']}@{live['version']}" if live else "nothing"
    raise ConflictError(
        f"Endpoint {name} serves {serves} now, which is not what {what}.",
        hint="Nothing was changed. Run the project again: it is then compared with what is live now.",
    )


class Endpoints:
    """The endpoints of one record: rows for lists, and `plan.endpoints.EndpointStore` for the controller."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def all(self) -> Sequence[RowMapping]:
        """Rows of all endpoints, by name."""
        with self._store.read() as db:
            return db.execute(select(endpoints).order_by(endpoints.c.name)).mappings().all()

    def get(self, name: str) -> RowMapping:
        """The endpoint's row. Raises NotFoundError."""
        rows = self.all()
        for row in rows:
            if row["name"] == name:
                return row
        known = ", ".join(row["name"] for row in rows)
        raise NotFoundError(
            f"There is no endpoint `{name}`.",
            hint=f"Endpoints: {known}."
            if known
            else "None yet: the first approved release of a project makes one.",
        )

    def desired(self) -> list[Desired]:
        """See EndpointStore."""
        with self._store.read() as db:  # one moment: a rollout and its endpoint belong together
            rows = db.execute(select(endpoints).order_by(endpoints.c.name)).mappings().all()
            running = select(rollouts).where(rollouts.c.status == "running")
            tried = {row["endpoint"]: _trial(db, row) for row in db.execute(running).mappings()}
        return [_desired(row, tried.get(row["name"])) for row in rows]

    def release(self, release: str) -> ReleaseFacts:
        """See EndpointStore."""
        with self._store.read() as db:
            row = _release(db, release)
        return ReleaseFacts(
            release=release,
            model=row["model"],
            package=Path(row["package_uri"]),
            package_digest=row["package_digest"],
            base=Path(row["base_uri"]),
            proof=row["proof"] or {},
            manifest=row["manifest"] or {},
        )

    def live(self, endpoint: str) -> Live | None:
        """See EndpointStore."""
        with self._store.read() as db:
            row = open_interval(db, endpoint)
        return None if row is None else Live(f"{row['model']}@{row['version']}", row["digest"])

    def observed(self, endpoint: str) -> dict[str, Any]:
        """See EndpointStore."""
        with self._store.read() as db:
            found = db.scalar(select(endpoints.c.observed).where(endpoints.c.name == endpoint))
        return dict(found or {})

    def observe(self, endpoint: str, observed: Mapping[str, Any], at: float) -> None:
        """See EndpointStore."""
        with self._store.write() as db:
            mine = endpoints.c.name == endpoint
            db.execute(update(endpoints).where(mine).values(observed=dict(observed), observed_at=at))
        self._changes.notify(TOPIC)

    def went_live(self, endpoint: str, release: str, live_digest: str, why: str, by: str, at: float) -> None:
        """See EndpointStore."""
        with self._store.write(durable=True) as db:
            row, before = _release(db, release), open_interval(db, endpoint)
            if before is not None and (before["model"], before["version"]) == (row["model"], row["version"]):
                return
            refuse_other(db, endpoint, live_digest, f"{release} was to replace")
            begin = max(at, _last_boundary(db, endpoint))
            if before is not None:
                _close(db, before, f"{release} took over", by, at)
            last = db.scalar(select(func.max(intervals.c.n)).where(intervals.c.endpoint == endpoint))
            digest, n = row["package_digest"], (last or 0) + 1
            db.execute(
                insert(intervals).values(
                    endpoint=endpoint,
                    n=n,
                    model=row["model"],
                    version=row["version"],
                    digest=digest,
                    from_at=begin,
                    why=why,
                    by=by,
                    end_why="",
                )
            )
            body = {"endpoint": endpoint, "release": release, "digest": digest, "why": why, "by": by}
            ledger.write(db, at, "live", body | _stepped("from", begin, at))
            was = f"{before['model']}@{before['version']}" if before is not None else None
            about = {**body, "before": was, "run": row["run"]}
            notices.put(db, at, "rolled_out", f"rolled_out/{endpoint}/{n}", about)
        self._changes.notify(TOPIC)

    def retire(self, endpoint: str, why: str, by: str, at: float) -> None:
        """See EndpointStore."""
        with self._store.write(durable=True) as db:
            before = open_interval(db, endpoint)
            if before is not None:
                _close(db, before, why, by, at)
        self._changes.notify(TOPIC)

    def listening(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """See EndpointStore."""
        return self._changes.listening(TOPIC, wake)

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
            refuse_other(db, name, live_digest, "the decision was made against")
            desire(db, name, release, row["deploy"], live_digest, why, by, at)
        self._changes.notify(TOPIC)


def _close(db: Connection, before: RowMapping, why: str, by: str, at: float) -> None:
    mine = (intervals.c.endpoint == before["endpoint"], intervals.c.n == before["n"])
    end = max(at, _last_boundary(db, before["endpoint"]))
    db.execute(update(intervals).where(*mine).values(to_at=end, end_why=why))
    release = f"{before['model']}@{before['version']}"
    body = {
        "endpoint": before["endpoint"],
        "release": release,
        "digest": before["digest"],
        "why": why,
        "by": by,
    }
    ledger.write(db, at, "retired", body | _stepped("to", end, at))


def _last_boundary(db: Connection, endpoint: str) -> float:
    """The latest time in the history of an endpoint; what comes must not stand before it."""
    newest = func.max(intervals.c.from_at), func.max(intervals.c.to_at)
    row = db.execute(select(*newest).where(intervals.c.endpoint == endpoint)).one()
    return max((time for time in row if time is not None), default=float("-inf"))


def _stepped(key: str, stands: float, at: float) -> dict[str, float]:
    """What the ledger says more where the history has another time than the clock told."""
    return {key: stands} if stands != at else {}


def _trial(db: Connection, row: RowMapping) -> Trial:
    deploy = _release(db, row["release"])["deploy"] or {}
    runtime = str(deploy.get("runtime", ""))
    return Trial(row["id"], row["release"], row["weight"], bool(row["shadow"]), runtime, deploy)


def _desired(row: RowMapping, trial: Trial | None) -> Desired:
    deploy = row["deploy"] or {}
    return Desired(
        endpoint=row["name"],
        generation=row["generation"],
        release=row["desired"],
        live_digest=deploy.get("live_digest", ""),
        compared=deploy.get("runtime") != apps.KIND,
        runtime=deploy.get("runtime", "llamacpp"),
        port=int(deploy.get("port", 0)),
        keep_s=float(deploy.get("keep_s", 1800.0)),
        max_concurrent=int(deploy.get("max_concurrent", 0)),
        max_queue=int(deploy.get("max_queue", 0)),
        queue_timeout_s=float(deploy.get("queue_timeout_s", 10.0)),
        keep_bodies=float(deploy.get("keep_bodies", 0.0)),
        workers=int(deploy.get("workers", 1)),
        why=row["why"],
        by=row["by"],
        trial=trial,
        sticky=tuple((deploy.get("rollout") or {}).get("sticky", ())),
        monitor=deploy.get("monitor") or {},
        deploy={**deploy, "endpoint": row["name"]},
    )


def _release(db: Connection, release: str) -> RowMapping:
    model, _, version = release.rpartition("@")
    mine = (releases.c.model == model, releases.c.version == version)
    row = db.execute(select(releases).where(*mine)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"There is no release {release}.", hint="`tuneline releases list MODEL` shows them."
        )
    return row
