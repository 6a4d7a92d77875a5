"""The outbox of notices: what people are to be told, written in the transaction of what happened.

So nothing is told that did not happen, and nothing that happened is forgotten. `control.notices` makes a
delivery for each target and sends it. Limits: a target is kept as it was written, its secrets named; a
message is made when it is sent, so what is kept is facts. What was settled is forgotten after a while.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, exists, func, insert, select, update

from tuneline.errors import NotFoundError
from tuneline.record.changes import Changes
from tuneline.record.schema import deliveries, events, intervals, notices, runs, tasks
from tuneline.record.store import Store

TOPIC = "notices"
"""What `Changes` says when deliveries are to be tried anew."""
PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
"""States of a delivery; a failed one is tried again when somebody asks for it."""
FAILURES = 5
"""So many failed tasks of a run are named."""
_N, _D = notices.c, deliveries.c


def put(db: Connection, at: float, kind: str, key: str, about: Mapping[str, Any]) -> None:
    """Tell of something, in the caller's transaction: of one `key` once, whoever asks again.

    at: Unix seconds. kind: see `spec.targets.KINDS`. about: facts without secrets, see `plan.notices`; its
    `project`, else the project of its `run`, `release` or `endpoint`, says whose targets are told.
    """
    if db.scalar(select(_N.n).where(_N.key == key)) is not None:
        return
    db.execute(
        insert(notices).values(
            n=(db.scalar(select(func.max(_N.n))) or 0) + 1,
            key=key,
            kind=kind,
            at=at,
            project=_project(db, about),
            run=str(about.get("run") or ""),
            about=dict(about),
            addressed=0,
        )
    )


def put_failed_run(db: Connection, run: str, at: float, error: Mapping[str, Any] | None) -> None:
    """Tell that a run of a project file failed, once a time that it was asked to go on."""
    mine = select(runs.c.project, runs.c.name).where(runs.c.id == run, runs.c.project_text != "")
    row = db.execute(mine).first()
    if row is None:  # a pipeline of somebody else's, which has nobody to tell
        return
    again = (events.c.run == run, events.c.kind == "run_retried")
    times = db.scalar(select(func.count()).select_from(events).where(*again))
    failed = (tasks.c.run == run, tasks.c.state == "FAILED", tasks.c.kind.not_in(("dag", "loop")))
    wanted = select(tasks.c.name, tasks.c.error).where(*failed).order_by(tasks.c.ordinal).limit(FAILURES)
    told = [{"task": name, "message": (wrong or {}).get("message", "")} for name, wrong in db.execute(wanted)]
    about = {"run": run, "project": row.project, "error": dict(error or {}), "tasks": told}
    put(db, at, "run_failed", f"run_failed/{run}/{times}", about)


def _project(db: Connection, about: Mapping[str, Any]) -> str:
    if about.get("project"):
        return str(about["project"])
    if about.get("run"):
        found = db.scalar(select(runs.c.project).where(runs.c.id == str(about["run"])))
        if found:
            return str(found)
    if about.get("release"):  # releases are `project@version`
        return str(about["release"]).rpartition("@")[0]
    live = (intervals.c.endpoint == str(about.get("endpoint")), intervals.c.to_at.is_(None))
    return str(db.scalar(select(intervals.c.model).where(*live)) or "")


class Notices:
    """The outbox of one record. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def to_address(self, limit: int = 100) -> Sequence[RowMapping]:
        """Notices whose deliveries are not made yet, the oldest first."""
        wanted = select(notices).where(_N.addressed == 0).order_by(_N.n).limit(limit)
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()

    def project_text(self, project: str) -> str:
        """The text of a project as its newest run had it; "" if there is none."""
        mine = (runs.c.project == project, runs.c.project_text != "")
        newest = select(runs.c.project_text).where(*mine).order_by(runs.c.ordinal.desc()).limit(1)
        with self._store.read() as db:
            return str(db.scalar(newest) or "") if project else ""

    def address(self, n: int, targets: Iterable[str], at: float) -> None:
        """Make the deliveries of a notice, once."""
        with self._store.write() as db:
            if not db.execute(
                update(notices).where(_N.n == n, _N.addressed == 0).values(addressed=1)
            ).rowcount:
                return
            new = {"notice": n, "state": PENDING, "attempts": 0, "next_at": at, "error": "", "missing": ""}
            rows = [{**new, "target": target} for target in dict.fromkeys(targets)]
            if rows:
                db.execute(insert(deliveries), rows)

    def heads(self) -> Sequence[RowMapping]:
        """The oldest pending delivery of every target, with `kind`, `at` and `about` of its notice: a target
        is told in order."""
        first = select(func.min(_D.notice).label("notice"), _D.target).where(_D.state == PENDING)
        head = first.group_by(_D.target).subquery()
        wanted = (
            select(deliveries, _N.kind, _N.at, _N.about)
            .join(head, (head.c.notice == _D.notice) & (head.c.target == _D.target))
            .join(notices, _N.n == _D.notice)
            .order_by(_D.notice, _D.target)
        )
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()

    def begin(self, notice: int, target: str, next_at: float) -> bool:
        """An attempt begins; `next_at` holds if nobody says how it ended. False if it is not pending."""
        values = {"attempts": _D.attempts + 1, "next_at": next_at, "missing": ""}
        return self._change(notice, target, values)

    def delivered(self, notice: int, target: str, at: float) -> None:
        """It was taken."""
        values = {"state": DELIVERED, "delivered_at": at, "next_at": None, "error": "", "missing": ""}
        self._change(notice, target, values)

    def refused(self, notice: int, target: str, error: str, next_at: float | None) -> None:
        """It was not taken. next_at: None gives up. error: without secrets."""
        state = FAILED if next_at is None else PENDING
        self._change(notice, target, {"state": state, "next_at": next_at, "error": error, "missing": ""})

    def waits(self, notice: int, target: str, missing: str, next_at: float) -> None:
        """It cannot be tried: `missing` says what is not there."""
        self._change(notice, target, {"missing": missing, "next_at": next_at})

    def retry(self, n: int | None, at: float) -> int:
        """Try what failed or waits anew, of one notice or of all; how many. Raises: NotFoundError."""
        mine = [_D.state != DELIVERED, *([] if n is None else [_D.notice == n])]
        anew = {"state": PENDING, "attempts": 0, "next_at": at, "error": "", "missing": ""}
        with self._store.write() as db:
            if n is not None and db.scalar(select(_N.n).where(_N.n == n)) is None:
                hint = "`tuneline notify list` shows them."
                raise NotFoundError(f"There is no notice {n}.", hint=hint)
            count = db.execute(update(deliveries).where(*mine).values(**anew)).rowcount
        self._changes.notify(TOPIC)
        return count

    def newest(self, limit: int = 50, run: str | None = None, after: int = 0) -> Sequence[RowMapping]:
        """Notices after number `after`, the newest first; of one run alone, if it is named."""
        mine = [_N.n > after, *([] if run is None else [_N.run == run])]
        with self._store.read() as db:
            return (
                db.execute(select(notices).where(*mine).order_by(_N.n.desc()).limit(limit)).mappings().all()
            )

    def deliveries(self, numbers: Sequence[int]) -> Sequence[RowMapping]:
        """The deliveries of notices, by notice and target."""
        wanted = select(deliveries).where(_D.notice.in_(numbers)).order_by(_D.notice, _D.target)
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()

    def forget(self, before: float) -> int:
        """Forget notices from before then (Unix seconds) that nobody waits for; how many."""
        waits = exists().where(_D.notice == _N.n, _D.state == PENDING)
        newest = select(func.max(_N.n)).scalar_subquery()  # its number is not given again
        with self._store.write() as db:
            old = select(_N.n).where(_N.at < before, _N.addressed == 1, ~waits, _N.n < newest)
            numbers = db.scalars(old.limit(500)).all()
            db.execute(delete(deliveries).where(_D.notice.in_(numbers)))
            db.execute(delete(notices).where(_N.n.in_(numbers)))
        return len(numbers)

    def _change(self, notice: int, target: str, values: Mapping[str, Any]) -> bool:
        mine = (_D.notice == notice, _D.target == target, _D.state == PENDING)
        with self._store.write() as db:
            return bool(db.execute(update(deliveries).where(*mine).values(**values)).rowcount)
