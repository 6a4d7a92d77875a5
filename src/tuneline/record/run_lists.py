"""Runs as lists show them, and what is done to a run as a whole: archived, brought back, deleted.

A page of 10 with specs of 20 KB must take a few milliseconds at 100,000 runs: it is found by key in an index,
its total comes from counts that are kept, a spec is read once a page however many runs share it, and as text.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, Text, func, select, type_coerce, update

from tuneline.errors import NotFoundError, PreconditionError
from tuneline.plan.listing import Fields, Listing
from tuneline.record import run_counts
from tuneline.record.experiments import ARCHIVED, AVAILABLE
from tuneline.record.listing import Columns, conditions, count, page
from tuneline.record.run_removal import DELETED, remove
from tuneline.record.schema import experiments, pipelines, runs
from tuneline.record.schema import run_counts as counts
from tuneline.record.store import Store

FIELDS = Fields(
    "runs",
    {
        "run_id": "id",
        "id": "id",
        "display_name": "text",
        "name": "text",
        "description": "text",
        "namespace": "text",
        "experiment_id": "id",
        "recurring_run_id": "id",
        "storage_state": "enum",
        "state": "enum",
        "status": "enum",
        "created_at": "time",
        "scheduled_at": "time",
        "finished_at": "time",
    },
)
_R = runs.c
_COLUMNS: Columns = {
    "run_id": _R.id,
    "id": _R.id,
    "display_name": _R.display_name,
    "name": _R.display_name,
    "description": _R.description,
    "namespace": func.substr(_R.id, 1, 0),  # a server without namespaces
    "experiment_id": _R.experiment,
    "recurring_run_id": _R.recurring_run,
    "storage_state": _R.storage_state,
    "state": _R.state,
    "status": _R.state,
    "created_at": _R.created_at,
    "scheduled_at": func.coalesce(_R.scheduled_at, _R.created_at),
    "finished_at": func.coalesce(_R.finished_at, 0.0),
}
_COUNTED: Columns = {
    "experiment_id": counts.c.experiment,
    "storage_state": counts.c.storage_state,
    "namespace": func.substr(counts.c.experiment, 1, 0),
}
_UNSHOWN = ("ordinal", "project", "project_text", "project_path", "project_digest", "lease_token", "outputs")
_ALL = select(*(column for column in runs.columns if column.name not in _UNSHOWN)).where(
    _R.storage_state != DELETED
)
_SPECS = select(pipelines.c.digest, type_coerce(pipelines.c.ir, Text).label("text"))


class RunLists:
    """The lists of runs of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, listing: Listing, experiment: str = "") -> tuple[Sequence[RowMapping], str, int]:
        """A page of runs, the next page's token, how many fit. experiment: only of this one ("": all).

        Raises: NotFoundError if there is no such experiment; the runs of a deleted one are still there.
        """
        query = _ALL.where(_R.experiment == experiment) if experiment else _ALL
        with self._store.read() as db:
            rows, token = page(db, query, listing, _COLUMNS, _R.id)
            if experiment and not rows:
                _known_experiment(db, experiment)
            return rows, token, _total(db, listing, experiment)

    def get(self, run: str) -> RowMapping:
        """A run's row. Raises: NotFoundError."""
        with self._store.read() as db:
            return _row(db, run)

    def specs(self, digests: Sequence[str]) -> Mapping[str, str]:
        """Pipelines' documents as JSON text, by digest."""
        with self._store.read() as db:
            found = db.execute(_SPECS.where(pipelines.c.digest.in_(set(digests))))
            return {row.digest: row.text for row in found}

    def archive(self, run: str) -> None:
        """Raises: NotFoundError."""
        with self._store.write() as db:
            _store(db, _row(db, run), ARCHIVED)

    def unarchive(self, run: str) -> None:
        """Raises: NotFoundError; PreconditionError while the run's experiment is archived."""
        with self._store.write() as db:
            row = _row(db, run)
            mine = experiments.c.id == row["experiment"]
            if db.scalar(select(experiments.c.storage_state).where(mine)) == ARCHIVED:
                raise PreconditionError(
                    f"Failed to unarchive run {run} as experiment {row['experiment']} must be un-archived"
                    " first.",
                    hint="Unarchive the experiment first to allow the run to be restored.",
                )
            _store(db, row, AVAILABLE)

    def hide(self, run: str) -> RowMapping:
        """Let a run be gone for everybody; its row as it was. Raises: NotFoundError."""
        with self._store.write() as db:
            row = _row(db, run)
            _store(db, row, DELETED)
            return row

    def purge(self, active: Sequence[str], some: Collection[str] | None = None) -> list[str]:
        """Remove hidden runs that have ended, and say of which nothing is left.

        active: states of runs that have not ended; some: only look at these, which spares reading all.
        """
        wanted = select(_R.id).where(_R.storage_state == DELETED, _R.state.not_in(active), _R.last_seq > 0)
        if some is not None:
            wanted = wanted.where(_R.id.in_(some))
        gone: list[str] = []
        with self._store.write() as db:
            left = list(db.scalars(wanted))
            while found := [run for run in left if remove(db, run)]:  # one may have kept another
                gone += found
                left = [run for run in left if run not in found]
        return gone


def _store(db: Connection, row: RowMapping, state: str) -> None:
    db.execute(update(runs).where(_R.id == row["id"]).values(storage_state=state))
    if row["storage_state"] != state:
        run_counts.move(db, row["experiment"], row["storage_state"], state, 1)


def _total(db: Connection, listing: Listing, experiment: str) -> int:
    """From the counts that are kept, unless the filter asks for more than they know."""
    if all(predicate.key in _COUNTED for predicate in listing.predicates):
        kept = select(func.coalesce(func.sum(counts.c.n), 0)).where(counts.c.storage_state != DELETED)
        kept = kept.where(*conditions(listing.predicates, _COUNTED))
        return int(db.scalar(kept.where(counts.c.experiment == experiment) if experiment else kept) or 0)
    query = select(_R.id).where(_R.storage_state != DELETED)
    return count(db, query.where(_R.experiment == experiment) if experiment else query, listing, _COLUMNS)


def _row(db: Connection, run: str) -> RowMapping:
    row = db.execute(_ALL.where(_R.id == run)).mappings().first()
    if row is None:
        raise NotFoundError(f"Run {run} not found.", hint="`kfp run list` shows all of them.")
    return row


def _known_experiment(db: Connection, id: str) -> None:
    if db.scalar(select(experiments.c.id).where(experiments.c.id == id)) is None:
        raise NotFoundError(f"Experiment {id} not found.", hint="`kfp experiment list` shows all of them.")
