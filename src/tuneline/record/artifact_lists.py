"""Artifacts as lists show them, and by number: that is how Kubeflow Pipelines names them."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, Text, cast, func, select

from tuneline.errors import NotFoundError
from tuneline.plan.listing import Fields, Listing
from tuneline.record.listing import Columns, count, page
from tuneline.record.run_removal import DELETED
from tuneline.record.schema import artifacts, executions, runs
from tuneline.record.store import Store

FIELDS = Fields(
    "artifacts",
    {
        "artifact_id": "id", "id": "id", "name": "text", "type": "text", "uri": "text", "created_at": "time",
        "run_id": "id", "task_name": "text", "namespace": "text",
    },
)  # fmt: skip
_A = artifacts.c
_COLUMNS: Columns = {
    "artifact_id": cast(_A.number, Text), "id": cast(_A.number, Text), "name": _A.name, "type": _A.type,
    "uri": _A.uri, "created_at": _A.created_at, "run_id": _A.run, "task_name": _A.task,
    "namespace": func.substr(_A.id, 1, 0),  # a server without namespaces
}  # fmt: skip
_VISIBLE = _A.run.in_(select(runs.c.id).where(runs.c.storage_state != DELETED))
_FAILED = ("FAILED", "CANCELED")


class ArtifactLists:
    """The artifacts of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, listing: Listing, run: str = "") -> tuple[Sequence[RowMapping], str, int]:
        """A page of artifacts, the next page's token, how many fit. run: only of this one ("": all)."""
        query = select(artifacts).where(_A.run == run if run else _VISIBLE)
        with self._store.read() as db:
            rows, token = page(db, query, listing, _COLUMNS, _A.id)
            return rows, token, count(db, query, listing, _COLUMNS)

    def get(self, id: str) -> RowMapping:
        """An artifact by its number, or its id in the record. Raises: NotFoundError."""
        small = id.isascii() and id.isdigit() and len(id) < 19
        with self._store.read() as db:
            wanted = select(artifacts).where(_A.number == int(id) if small else _A.id == id, _VISIBLE)
            row = db.execute(wanted).mappings().first()
        if row is None:
            raise NotFoundError(f"Artifact {id} not found.")
        return row

    def failed_executions(self, run: str) -> Sequence[RowMapping]:
        """id, task of attempts of this run that failed or were stopped, in order."""
        mine = (executions.c.run == run, executions.c.state.in_(_FAILED))
        wanted = select(executions.c.id, executions.c.task).where(*mine).order_by(executions.c.attempt)
        with self._store.read() as db:
            return db.execute(wanted).mappings().all()
