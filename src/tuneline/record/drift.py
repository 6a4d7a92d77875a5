"""Drift on record: what is watched at each endpoint, the windows that were looked at, and alerts.

A window, the alert it opens or ends, and the ledger's entry are one transaction. A spell is the number of
the interval in which a release is live: each spell has a reference of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan import apps
from tuneline.record import ledger, notices
from tuneline.record.changes import Changes
from tuneline.record.endpoints import open_interval
from tuneline.record.schema import drift_alerts, drift_watches, drift_windows, endpoints
from tuneline.record.store import Store

TOPIC = "drift"
"""What `Changes` says when something was looked at."""
KEPT_WINDOWS = 2000
"""Of each endpoint; older ones are forgotten. The ledger keeps every alert."""

_A, _W = drift_alerts.c, drift_windows.c


@dataclass(frozen=True)
class Watched:
    """An endpoint with a live release."""

    endpoint: str
    spell: int
    release: str
    live_from: float
    """Unix seconds."""
    deploy: Mapping[str, Any]
    """What its release was deployed with; `monitor` in it says how it is watched."""


@dataclass(frozen=True)
class NewWindow:
    """A window that was looked at."""

    at: float
    from_at: float
    to_at: float
    requests: int
    findings: Sequence[Mapping[str, Any]]
    """Of each detector: `plan.drift.Finding.to_json`."""
    drifted: Sequence[str]
    """Names of the detectors that say drift."""
    why: str = ""
    """In one sentence, if any does."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Requests that were there, unknown, and of sessions that had one already."""


class DriftRecord:
    """The drift of one record's endpoints. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def watched(self) -> list[Watched]:
        """All endpoints with a live release, by name; not those of apps."""
        found = []
        with self._store.read() as db:
            for row in db.execute(select(endpoints).order_by(endpoints.c.name)).mappings().all():
                live = open_interval(db, row["name"])
                model = (row["deploy"] or {}).get("runtime") != apps.KIND
                if live is not None and model:
                    release = f"{live['model']}@{live['version']}"
                    found.append(
                        Watched(row["name"], live["n"], release, live["from_at"], row["deploy"] or {})
                    )
        return found

    def watch(self, endpoint: str) -> RowMapping | None:
        """What is watched there and how far that is; None if nothing was yet."""
        with self._store.read() as db:
            mine = drift_watches.c.endpoint == endpoint
            return db.execute(select(drift_watches).where(mine)).mappings().first()

    def looked(
        self,
        watched: Watched,
        at: float,
        state: Mapping[str, Any],
        reference: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
        window: NewWindow | None = None,
    ) -> str | None:
        """Keep what a look found; the id of the alert that it opened, if it did.

        The first look at another spell ends the alert of the one before.
        """
        with self._store.write(durable=window is not None) as db:
            _end_others(db, watched, at)
            values = {
                "spell": watched.spell,
                "release": watched.release,
                "looked_at": at,
                "state": dict(state),
                "reference": None if reference is None else dict(reference),
                "settings": dict(settings),
            }
            mine = drift_watches.c.endpoint == watched.endpoint
            if not db.execute(update(drift_watches).where(mine).values(**values)).rowcount:
                db.execute(insert(drift_watches).values(endpoint=watched.endpoint, **values))
            opened = None if window is None else _keep(db, watched, window)
        self._changes.notify(TOPIC)
        return opened

    def windows(self, endpoint: str, limit: int = 500) -> Sequence[RowMapping]:
        """Its newest windows, of all spells, the newest first."""
        wanted = select(drift_windows).where(_W.endpoint == endpoint)
        with self._store.read() as db:
            return db.execute(wanted.order_by(_W.spell.desc(), _W.n.desc()).limit(limit)).mappings().all()

    def alerts(self, endpoint: str, limit: int = 100) -> Sequence[RowMapping]:
        """Its alerts, the newest first."""
        wanted = select(drift_alerts).where(_A.endpoint == endpoint).order_by(_A.at.desc(), _A.id.desc())
        with self._store.read() as db:
            return db.execute(wanted.limit(limit)).mappings().all()

    def open_alert(self, endpoint: str) -> RowMapping | None:
        """The alert that has not ended."""
        wanted = select(drift_alerts).where(_A.endpoint == endpoint, _A.ended_at.is_(None))
        with self._store.read() as db:
            return db.execute(wanted).mappings().first()

    def last_retrain(self, endpoint: str) -> float | None:
        """When an alert of it last started a run. Unix seconds."""
        wanted = select(_A.run_at).where(_A.endpoint == endpoint, _A.run_at.is_not(None))
        with self._store.read() as db:
            found: float | None = db.scalar(wanted.order_by(_A.run_at.desc()).limit(1))
        return found

    def note(self, alert: str, note: str) -> None:
        """Say of an alert why no run was started yet."""
        with self._store.write() as db:
            db.execute(update(drift_alerts).where(_A.id == alert).values(note=note))


def retrained(db: Connection, alert: str, run: str, not_since: float, at: float) -> None:
    """An alert's run begins, in the transaction that stores it.

    not_since: Unix seconds after which no other alert of the endpoint may have started one.
    Raises: ConflictError, which undoes both, if the alert has a run or ended, or one was started since.
    """
    row = db.execute(select(drift_alerts).where(_A.id == alert)).mappings().first()
    if row is None:
        raise NotFoundError(f"There is no drift alert {alert}.")
    endpoint = row["endpoint"]
    recent = select(_A.run).where(_A.endpoint == endpoint, _A.run_at > not_since).limit(1)
    if row["run"] or row["ended_at"] is not None or db.scalar(recent) is not None:
        raise ConflictError(
            f"The drift alert {alert} needs no run now: it has one, ended, or one was recent."
        )
    db.execute(update(drift_alerts).where(_A.id == alert).values(run=run, run_at=at, note=""))
    ledger.write(db, at, "retrain", {"endpoint": endpoint, "alert": alert, "run": run, "why": row["why"]})


def _keep(db: Connection, watched: Watched, window: NewWindow) -> str | None:
    mine = (_W.endpoint == watched.endpoint, _W.spell == watched.spell)
    last = db.scalar(select(_W.n).where(*mine).order_by(_W.n.desc()).limit(1))
    n = (last or 0) + 1
    db.execute(
        insert(drift_windows).values(
            endpoint=watched.endpoint,
            spell=watched.spell,
            n=n,
            release=watched.release,
            at=window.at,
            from_at=window.from_at,
            to_at=window.to_at,
            requests=window.requests,
            drifted=int(bool(window.drifted)),
            counts=dict(window.counts),
            findings=[dict(finding) for finding in window.findings],
        )
    )
    db.execute(delete(drift_windows).where(_W.endpoint == watched.endpoint, _W.spell == watched.spell,
                                           _W.n <= n - KEPT_WINDOWS))  # fmt: skip
    return _alert(db, watched, window, n)


def _alert(db: Connection, watched: Watched, window: NewWindow, n: int) -> str | None:
    """Open, go on with or end the endpoint's alert. The one place where a drift alert is written."""
    wanted = select(drift_alerts).where(_A.endpoint == watched.endpoint, _A.ended_at.is_(None))
    before = db.execute(wanted).mappings().first()
    if before is None and window.drifted:
        id = f"{watched.endpoint}-{watched.spell}-{n}"
        values = {"id": id, "endpoint": watched.endpoint, "spell": watched.spell, "n": n}
        values |= {"release": watched.release, "at": window.at, "detectors": list(window.drifted)}
        db.execute(insert(drift_alerts).values(**values, why=window.why, run="", note=""))
        body = {"endpoint": watched.endpoint, "release": watched.release, "alert": id, "why": window.why}
        numbers = [
            {key: finding[key] for key in ("detector", "value", "p", "threshold", "reference_n", "window_n")}
            for finding in window.findings
            if finding["detector"] in window.drifted
        ]
        ledger.write(db, window.at, "drift", {**body, "requests": window.requests, "findings": numbers})
        notices.put(db, window.at, "drift", f"drift/{id}", {**body, "numbers": numbers})
        return id
    if before is not None and window.drifted:
        both = [*before["detectors"], *(name for name in window.drifted if name not in before["detectors"])]
        db.execute(update(drift_alerts).where(_A.id == before["id"]).values(detectors=both))
    elif before is not None:
        _end(db, before, "a window without drift", window.at)
    return None


def _end_others(db: Connection, watched: Watched, at: float) -> None:
    mine = (_A.endpoint == watched.endpoint, _A.ended_at.is_(None), _A.spell != watched.spell)
    for row in db.execute(select(drift_alerts).where(*mine)).mappings().all():
        _end(db, row, f"{watched.release} is live", at)


def _end(db: Connection, row: RowMapping, why: str, at: float) -> None:
    db.execute(update(drift_alerts).where(_A.id == row["id"]).values(ended_at=max(at, row["at"])))
    body = {"endpoint": row["endpoint"], "release": row["release"], "alert": row["id"], "why": why}
    ledger.write(db, at, "drift_ended", body)
