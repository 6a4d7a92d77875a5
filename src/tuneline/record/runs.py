"""Runs and their events: the runner's EventSink, EventSource and Cache, and the lists people read.

An event and the views it changes are one transaction, in which the writer's lease is checked: a scheduler
that was taken over from writes nothing more. Limits: curves (`series`) are no events and are not fenced.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update

from tuneline.errors import ConflictError, NotFoundError
from tuneline.plan.events import (
    CacheHit,
    Child,
    Event,
    Lease,
    LeaseLost,
    RunEnded,
    Stored,
    from_json,
    outputs_from_json,
    to_json,
)
from tuneline.record import experiments, history, lineage, run_counts, statements, views
from tuneline.record.changes import ENDED, Changes
from tuneline.record.run_removal import DELETED
from tuneline.record.schema import artifacts, events, executions, pipelines, runs, series, tasks
from tuneline.record.specs import keep_spec
from tuneline.record.store import Beside, Store
from tuneline.types import RunId

ACTIVE = ("PENDING", "RUNNING", "CANCELING")
"""States of a run that has not ended."""


@dataclass(frozen=True)
class NewRun:
    """What a run is made of. `project`: a name under which one run may be active; "" is no such name."""

    id: RunId
    name: str
    project: str
    ir: Mapping[str, Any]
    parameters: Mapping[str, Any]
    project_text: str = ""
    project_path: str = ""
    project_digest: str = ""
    project_commit: str | None = None
    """Of the project's repository, with `+changes` where files differ from it; None without one."""
    tasks: tuple[Child, ...] = ()
    """Those of the pipeline itself; those in them come when they are opened."""
    warnings: tuple[str, ...] = ()
    retries: str | None = None
    """The run it goes on from with a changed pipeline."""
    display_name: str = ""
    description: str = ""
    experiment: str = ""
    """The default one if empty."""
    pipeline_id: str = ""
    pipeline_version_id: str = ""
    service_account: str = ""
    pipeline_root: str = ""
    scheduled_at: float | None = None
    """When it was to begin; None: when it was made."""
    recurring_run: str = ""
    plugins_input: Mapping[str, Any] | None = None
    runner: Mapping[str, Any] | None = None
    """The engine that executes it: `plan.engine.Engine.to_json`; None: this machine."""


_NUMBERED = (
    update(runs)
    .where(runs.c.id == bindparam("of_run"), runs.c.lease_token == bindparam("of_lease"))
    .values(last_seq=runs.c.last_seq + bindparam("many"))
    .returning(runs.c.last_seq)
)
"""Gives numbers to events, if the lease still holds."""


class Runs:
    """The runs of one record. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def create(self, new: NewRun, at: float, beside: Beside | None = None) -> None:
        """Store a run and its tasks, all PENDING. beside: what else belongs into the transaction.

        Raises ConflictError if a run of the same project is active.
        """
        with self._store.write() as db:
            _refuse_second(db, new.project)
            insert_run(db, new, at)
            if beside is not None:
                beside(db)

    def discard(self, run: RunId) -> bool:
        """Forget a run of which nothing happened: it was refused before it began. False: it has events."""
        with self._store.write() as db:
            mine = (runs.c.id == run, runs.c.last_seq == 0)
            row = db.execute(select(runs.c.experiment, runs.c.storage_state).where(*mine)).first()
            if row is not None:
                run_counts.add(db, row.experiment, row.storage_state, -1)
                db.execute(delete(tasks).where(tasks.c.run == run))
                db.execute(delete(runs).where(*mine))
        return row is not None

    def lease(self, run: RunId) -> Lease:
        """The right to write this run's events; every earlier one becomes void. Raises NotFoundError."""
        with self._store.write() as db:
            token = db.scalar(
                update(runs)
                .where(runs.c.id == run)
                .values(lease_token=runs.c.lease_token + 1)
                .returning(runs.c.lease_token)
            )
            if token is None:
                raise _no_run(run)
            return Lease(run, token)

    def reopen(self, run: RunId) -> Lease:
        """Make an ended run active again. Raises ConflictError if it or another of its project is."""
        row = self.get(run)
        with self._store.write() as db:
            _refuse_second(db, row["project"])
            ended = (runs.c.id == run, runs.c.state.not_in(ACTIVE))
            if not db.execute(update(runs).where(*ended).values(state="PENDING", finished_at=None)).rowcount:
                raise ConflictError(f"Run {run} has not ended.", hint="Wait for it, or cancel it first.")
        return self.lease(run)

    def append(self, lease: Lease, new: Sequence[Event], at: float) -> list[Stored]:
        """See EventSink."""
        with self._store.write() as db:
            mine = {"of_run": lease.run, "of_lease": lease.token, "many": len(new)}
            numbered = statements.first(db, _NUMBERED, mine)
            if numbered is None:
                raise LeaseLost(lease.run)
            first = numbered[0] - len(new) + 1
            stored = [Stored(lease.run, seq, at, event) for seq, event in enumerate(new, first)]
            for item in stored:
                body = to_json(item.event)
                row_of = {"run": item.run, "seq": item.seq, "at": at, "kind": item.event.kind, "body": body}
                statements.add(db, events, row_of)
                views.apply(db, item)
                history.apply(db, item)
        self._changes.notify(lease.run)
        if any(isinstance(item.event, RunEnded) for item in stored):
            self._changes.notify(ENDED)
        return stored

    def check(self, lease: Lease) -> None:
        """See EventSink."""
        with self._store.read() as db:
            if statements.value(db, runs, {"id": lease.run}, "lease_token") != lease.token:
                raise LeaseLost(lease.run)

    def series(self, run: RunId, task: str, points: Sequence[Mapping[str, Any]]) -> None:
        """See EventSink. The last point also becomes the task's progress."""
        if not points:
            return
        with self._store.write() as db:
            first = (
                db.scalar(select(func.max(series.c.n)).where(series.c.run == run, series.c.task == task)) or 0
            ) + 1
            rows = [
                {"run": run, "task": task, "n": n, "body": dict(point)}
                for n, point in enumerate(points, first)
            ]
            db.execute(insert(series), rows)
            moves = [point for point in points if point.get("type", "progress") == "progress"]
            if moves:
                mine = (tasks.c.run == run, tasks.c.name == task)
                db.execute(update(tasks).where(*mine).values(progress=dict(moves[-1])))

    def events(self, run: RunId, after: int = 0) -> Iterable[Stored]:
        """See EventSource."""
        wanted = select(events).where(events.c.run == run, events.c.seq > after).order_by(events.c.seq)
        with self._store.read() as db:
            rows = db.execute(wanted).all()
        return [Stored(run, row.seq, row.at, from_json(row.body)) for row in rows]

    def find(self, key: str) -> CacheHit | None:
        """See Cache."""
        wanted = (
            select(executions.c.id, executions.c.run, executions.c.task, executions.c.outputs)
            .where(executions.c.cache_key == key, executions.c.state == "SUCCEEDED")
            .order_by(executions.c.finished_at.desc())
            .limit(1)
        )
        with self._store.read() as db:
            row = db.execute(wanted).first()
        if row is None:
            return None
        return CacheHit(row.run, row.task, lineage.named(row.id, outputs_from_json(row.outputs)))

    def points(
        self, run: RunId, task: str, after: int = 0, limit: int = 10_000
    ) -> list[tuple[int, dict[str, Any]]]:
        """Points of a task's curves with number > `after`, in order: (number, point)."""
        wanted = select(series.c.n, series.c.body).where(
            series.c.run == run, series.c.task == task, series.c.n > after
        )
        with self._store.read() as db:
            return [(row.n, row.body) for row in db.execute(wanted.order_by(series.c.n).limit(limit))]

    def get(self, run: RunId, deleted: bool = False) -> RowMapping:
        """The run's row (without its pipeline); with `deleted` also of one that is. Raises NotFoundError."""
        with self._store.read() as db:
            row = db.execute(select(runs).where(runs.c.id == run)).mappings().first()
        if row is None or (row["storage_state"] == DELETED and not deleted):
            raise _no_run(run)
        return row

    def ir(self, run: RunId) -> dict[str, Any]:
        """The run's pipeline. Raises NotFoundError."""
        joined = (
            select(pipelines.c.ir).join(runs, runs.c.pipeline == pipelines.c.digest).where(runs.c.id == run)
        )
        with self._store.read() as db:
            found = db.scalar(joined)
        if found is None:
            raise _no_run(run)
        return dict(found)

    def tasks(self, run: RunId, name: str | None = None) -> Sequence[RowMapping]:
        """The rows of the run's tasks, in the pipeline's order; of one alone, if it is named."""
        wanted = select(tasks).where(tasks.c.run == run).order_by(tasks.c.ordinal)
        with self._store.read() as db:
            return db.execute(wanted if name is None else wanted.where(tasks.c.name == name)).mappings().all()

    def artifacts(self, ids: Iterable[str]) -> dict[str, RowMapping]:
        """Rows of artifacts by id; ids that are not there are left out."""
        wanted, found = sorted(set(ids)), {}
        with self._store.read() as db:
            for start in range(0, len(wanted), 500):
                some = select(artifacts).where(artifacts.c.id.in_(wanted[start : start + 500]))
                found.update({row["id"]: row for row in db.execute(some).mappings()})
        return found

    def newest(self, limit: int, project: str | None = None, archived: bool = False) -> Sequence[RowMapping]:
        """Rows of runs, the newest first: the archived ones, or all others."""
        state = experiments.ARCHIVED if archived else experiments.AVAILABLE
        mine = [runs.c.storage_state == state, *([] if project is None else [runs.c.project == project])]
        wanted = select(runs).where(*mine).order_by(runs.c.ordinal.desc()).limit(limit)
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()

    def active(self) -> Sequence[RowMapping]:
        """Rows of runs that have not ended, the oldest first."""
        with self._store.read() as db:
            wanted = select(runs).where(runs.c.state.in_(ACTIVE)).order_by(runs.c.ordinal)
            return db.execute(wanted).mappings().all()


def insert_run(db: Connection, new: NewRun, at: float) -> None:
    """Store a run and its tasks, all PENDING, in the caller's transaction."""
    digest = keep_spec(db, new.ir)
    experiment = new.experiment or experiments.default_id(db)
    run_counts.add(db, experiment, experiments.AVAILABLE, 1)
    experiments.touch(db, experiment, at)
    db.execute(
        insert(runs).values(
            id=new.id,
            ordinal=_next(db, runs.c.ordinal),
            name=new.name,
            project=new.project,
            pipeline=digest,
            parameters=dict(new.parameters),
            project_text=new.project_text,
            project_path=new.project_path,
            project_digest=new.project_digest,
            project_commit=new.project_commit,
            state="PENDING",
            created_at=at,
            last_seq=0,
            lease_token=0,
            warnings=list(new.warnings),
            retries=new.retries,
            display_name=new.display_name or new.name,
            description=new.description,
            experiment=experiment,
            storage_state=experiments.AVAILABLE,
            pipeline_id=new.pipeline_id,
            pipeline_version_id=new.pipeline_version_id,
            service_account=new.service_account,
            pipeline_root=new.pipeline_root,
            scheduled_at=at if new.scheduled_at is None else new.scheduled_at,
            recurring_run=new.recurring_run,
            history=[{"at": at, "state": "PENDING"}],
            plugins_input=dict(new.plugins_input) if new.plugins_input else None,
            runner=dict(new.runner) if new.runner else None,
        )
    )
    rows = [views.new_task(new.id, None, child, place) for place, child in enumerate(new.tasks)]
    if rows:
        db.execute(insert(tasks), rows)


def _refuse_second(db: Connection, project: str) -> None:
    if not project:
        return
    active = (runs.c.project == project, runs.c.state.in_(ACTIVE))
    other = db.execute(select(runs.c.id, runs.c.state).where(*active)).first()
    if other is not None:
        raise ConflictError(
            f"Run {other.id} of `{project}` is {other.state.lower()}; a project has one run at a time.",
            hint=f"`tuneline runs show {other.id}` shows it, `tuneline runs cancel {other.id}` ends it.",
        )


def _next(db: Connection, column: Any) -> int:
    return int(db.scalar(select(func.coalesce(func.max(column), 0))) or 0) + 1


def _no_run(run: str) -> NotFoundError:
    return NotFoundError(f"There is no run {run}.", hint="`tuneline runs list` shows all of them.")
