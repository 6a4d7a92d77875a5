"""Recurring runs: what shall run when, and up to which moment every tick was dealt with.

A tick's run and the new mark are one transaction (`took` inside `Runs.create`), so a tick runs once, whatever
is killed when. Runs already made outlive their recurring run.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Text, case, delete, func, insert, select, type_coerce, update

from tuneline.errors import NotFoundError
from tuneline.plan.listing import Fields, Listing
from tuneline.plan.recurring import StaleTick, Standing
from tuneline.record import experiments
from tuneline.record.changes import ENDED, Changes
from tuneline.record.listing import Columns, count, page
from tuneline.record.runs import ACTIVE
from tuneline.record.schema import pipelines, recurring_runs, runs
from tuneline.record.specs import keep_spec
from tuneline.record.store import Store

TOPIC = "recurring runs"
"""What `Changes` says when one was made, changed or removed."""

_R = recurring_runs.c
_SPEC = type_coerce(pipelines.c.ir, Text)
FIELDS = Fields(
    "recurring runs",
    {
        "recurring_run_id": "id", "id": "id", "display_name": "text", "name": "text", "description": "text",
        "created_at": "time", "updated_at": "time", "status": "enum",
    },
)  # fmt: skip
COLUMNS: Columns = {
    "recurring_run_id": _R.id, "id": _R.id, "display_name": _R.display_name, "name": _R.display_name,
    "description": _R.description, "created_at": _R.created_at, "updated_at": _R.updated_at,
    "status": case((_R.enabled == 1, "ENABLED"), else_="DISABLED"),
}  # fmt: skip


@dataclass(frozen=True)
class NewRecurring:
    """What a recurring run is made of: a `spec`, or a pipeline by reference, then its newest version at each
    tick if no version is named."""

    id: str
    display_name: str
    trigger: Mapping[str, Any]
    """See `plan.recurring.trigger_of`."""
    first_mark: int
    description: str = ""
    experiment: str = ""
    """The default one if empty."""
    enabled: bool = True
    max_concurrency: int = 1
    catch_up: bool = True
    parameters: Mapping[str, Any] | None = None
    """Secrets masked."""
    spec: Mapping[str, Any] | None = None
    pipeline_id: str = ""
    pipeline_version_id: str = ""
    pipeline_root: str = ""
    service_account: str = ""
    plugins_input: Mapping[str, Any] | None = None
    project: str = ""
    """The project whose schedule this is; "" if it is none's."""
    project_text: str = ""
    project_path: str = ""
    project_digest: str = ""
    project_commit: str | None = None


class Recurring:
    """The recurring runs of one record. Thread-safe."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def create(self, new: NewRecurring, at: float) -> RowMapping:
        """Store a recurring run; its row."""
        with self._store.write() as db:
            values = _values(db, new) | {"id": new.id, "created_at": at, "updated_at": at, "made": 0}
            db.execute(
                insert(recurring_runs).values(**values, enabled=int(new.enabled), **_marks(new.first_mark))
            )
            row = _row(db, new.id)
        self._changes.notify(TOPIC)
        return row

    def change(self, new: NewRecurring, at: float) -> tuple[RowMapping, bool]:
        """Put all that makes a recurring run in place of what it has; its row, and whether that was a change.

        Whether it is enabled stays. Another trigger begins at its first mark; the same one goes on where it
        was. Raises: NotFoundError.
        """
        with self._store.write() as db:
            row, values = _row(db, new.id), _values(db, new)
            if all(row[key] == value for key, value in values.items()):
                return row, False
            if row["trigger_body"] != values["trigger_body"]:
                values |= _marks(new.first_mark)
            values |= {"updated_at": at, "error": None}
            db.execute(update(recurring_runs).where(_R.id == new.id).values(**values))
            row = _row(db, new.id)
        self._changes.notify(TOPIC)
        return row, True

    def get(self, id: str) -> RowMapping:
        """Raises: NotFoundError."""
        with self._store.read() as db:
            return _row(db, id)

    def of_project(self, project: str) -> RowMapping | None:
        """The schedule of a project; None if it has none."""
        with self._store.read() as db:
            wanted = select(recurring_runs).where(_R.project == project)
            return db.execute(wanted).mappings().first() if project else None

    def page(self, listing: Listing, experiment: str = "") -> tuple[Sequence[RowMapping], str, int]:
        """A page of them (of one experiment, if named), the next page's token, how many there are."""
        query = select(recurring_runs)
        query = query.where(_R.experiment == experiment) if experiment else query
        with self._store.read() as db:
            rows, token = page(db, query, listing, COLUMNS, _R.id)
            return rows, token, count(db, query, listing, COLUMNS)

    def all(self) -> Sequence[RowMapping]:
        """All of them, by name."""
        with self._store.read() as db:
            return db.execute(select(recurring_runs).order_by(_R.display_name, _R.id)).mappings().all()

    def enable(self, id: str, enabled: bool, at: float) -> None:
        """Enable or disable. Ticks that passed while it was disabled are not run. Raises: NotFoundError."""
        with self._store.write() as db:
            row = _row(db, id)
            if bool(row["enabled"]) == enabled:
                return
            values: dict[str, Any] = {"enabled": int(enabled), "updated_at": at}
            if enabled:
                values["mark"] = max(row["mark"], int(at))
            db.execute(update(recurring_runs).where(_R.id == id).values(**values))
        self._changes.notify(TOPIC)

    def delete(self, id: str) -> None:
        """Forget a recurring run, not the runs it made. Raises: NotFoundError."""
        with self._store.write() as db:
            _row(db, id)
            db.execute(delete(recurring_runs).where(_R.id == id))
        self._changes.notify(TOPIC)

    def failed(self, id: str, tick: int, error: Mapping[str, Any], at: float) -> None:
        """A tick could not be run, and asking again would not help: it is dealt with, and said why."""
        values = {"mark": tick, "last_tick": tick, "error": {**error, "at": at}}
        with self._store.write() as db:
            db.execute(update(recurring_runs).where(_R.id == id, _R.mark <= tick).values(**values))

    def last_run(self, id: str) -> RowMapping | None:
        """The newest run that it made: its id and state."""
        mine = select(runs.c.id, runs.c.state).where(runs.c.recurring_run == id)
        with self._store.read() as db:
            newest = mine.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1)
            return db.execute(newest).mappings().first()

    def spec(self, id: str) -> dict[str, Any] | None:
        """The pipeline that it was given as it is; None if by reference. Raises: NotFoundError."""
        text = self.spec_text(id)
        return dict(json.loads(text)) if text else None

    def spec_text(self, id: str) -> str:
        """The same as JSON text; "" if by reference. Raises: NotFoundError."""
        with self._store.read() as db:
            digest = _row(db, id)["spec"]
            return str(db.scalar(select(_SPEC).where(pipelines.c.digest == digest)) or "")

    def disable_of(self, experiment: str, at: float) -> None:
        """Disable all of an experiment: it is archived."""
        mine = (_R.experiment == experiment, _R.enabled == 1)
        with self._store.write() as db:
            db.execute(update(recurring_runs).where(*mine).values(enabled=0, updated_at=at))
        self._changes.notify(TOPIC)

    def standings(self) -> Sequence[Standing]:
        """See `plan.recurring.RecurringStore`."""
        active = select(runs.c.recurring_run, func.count().label("n")).where(
            runs.c.state.in_(ACTIVE), runs.c.recurring_run != ""
        )
        counted = active.group_by(runs.c.recurring_run).subquery()
        wanted = (
            select(recurring_runs, func.coalesce(counted.c.n, 0).label("active"))
            .outerjoin(counted, counted.c.recurring_run == _R.id)
            .where(_R.enabled == 1)
            .order_by(_R.created_at, _R.id)
        )
        with self._store.read() as db:
            rows = db.execute(wanted).mappings().all()
        return [
            Standing(
                id=row["id"],
                trigger=row["trigger_body"],
                mark=row["mark"],
                origin=row["origin"],
                catch_up=not row["no_catchup"],
                max_concurrency=row["max_concurrency"],
                active=row["active"],
            )
            for row in rows
        ]

    @contextmanager
    def listening(self, wake: Callable[[], None]) -> Iterator[None]:
        """See `plan.recurring.RecurringStore`."""
        with self._changes.listening(TOPIC, wake), self._changes.listening(ENDED, wake):
            yield


def took(db: Connection, id: str, mark: int, tick: int) -> None:
    """A tick is taken, in the transaction that stores its run. Raises: StaleTick, which undoes both."""
    mine = (_R.id == id, _R.mark == mark, _R.enabled == 1)
    values = {"mark": tick, "last_tick": tick, "made": _R.made + 1, "error": None}
    if not db.execute(update(recurring_runs).where(*mine).values(**values)).rowcount:
        raise StaleTick(f"The tick of recurring run {id} was taken, or it was changed meanwhile.")


def counted(db: Connection, id: str) -> None:
    """A run of it was asked for by hand, in the transaction that stores the run."""
    db.execute(update(recurring_runs).where(_R.id == id).values(made=_R.made + 1))


def _values(db: Connection, new: NewRecurring) -> dict[str, Any]:
    return {
        "display_name": new.display_name,
        "description": new.description,
        "experiment": new.experiment or experiments.default_id(db),
        "max_concurrency": new.max_concurrency,
        "no_catchup": int(not new.catch_up),
        "trigger_body": dict(new.trigger),
        "parameters": dict(new.parameters or {}),
        "spec": None if new.spec is None else keep_spec(db, new.spec),
        "pipeline_id": new.pipeline_id,
        "pipeline_version_id": new.pipeline_version_id,
        "pipeline_root": new.pipeline_root,
        "service_account": new.service_account,
        "plugins_input": dict(new.plugins_input) if new.plugins_input else None,
        "project": new.project,
        "project_text": new.project_text,
        "project_path": new.project_path,
        "project_digest": new.project_digest,
        "project_commit": new.project_commit,
    }


def _marks(first: int) -> dict[str, Any]:
    return {"origin": first, "mark": first}


def _row(db: Connection, id: str) -> RowMapping:
    row = db.execute(select(recurring_runs).where(_R.id == id)).mappings().first()
    if row is None:
        raise NotFoundError(
            f"Recurring run {id} not found.", hint="`tuneline schedules list` shows all of them."
        )
    return row
