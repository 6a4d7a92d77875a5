"""Experiments: groups of runs with a name. The default one holds what names none, and cannot be deleted.

Names are unique whatever their case, because they are looked up so. Deleting an experiment keeps its runs.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.sql.expression import Select

from tuneline.errors import AlreadyExistsError, ConflictError, NotFoundError
from tuneline.plan.listing import Fields, Listing
from tuneline.record import run_counts
from tuneline.record.listing import Columns, count, page
from tuneline.record.schema import experiments, runs
from tuneline.record.store import Store
from tuneline.types import Clock

AVAILABLE, ARCHIVED = "AVAILABLE", "ARCHIVED"
DEFAULT = "Default"
DEFAULT_DESCRIPTION = "All runs created without specifying an experiment."

FIELDS = Fields(
    "experiments",
    {
        "experiment_id": "id",
        "id": "id",
        "display_name": "text",
        "name": "text",
        "description": "text",
        "namespace": "text",
        "storage_state": "enum",
        "created_at": "time",
        "last_run_created_at": "time",
    },
)
_E = experiments.c
COLUMNS: Columns = {
    "experiment_id": _E.id,
    "id": _E.id,
    "display_name": _E.name,
    "name": _E.name,
    "description": _E.description,
    "namespace": func.substr(_E.id, 1, 0),  # a server without namespaces
    "storage_state": _E.storage_state,
    "created_at": _E.created_at,
    "last_run_created_at": func.coalesce(_E.last_run_at, 0.0),
}


@dataclass(frozen=True)
class NewExperiment:
    """What an experiment is made of."""

    id: str
    name: str
    description: str = ""


class Experiments:
    """The experiments of one record. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, new: NewExperiment, at: float) -> RowMapping:
        """Store an experiment; its row. Raises: AlreadyExistsError."""
        with self._store.write() as db:
            if db.scalar(select(_E.id).where(_E.name_key == name_key(new.name))) is not None:
                raise AlreadyExistsError(
                    f"The name {new.name} already exists for an experiment.",
                    hint="Please specify a new name.",
                )
            db.execute(
                insert(experiments).values(
                    id=new.id,
                    name=new.name,
                    name_key=name_key(new.name),
                    description=new.description,
                    storage_state=AVAILABLE,
                    is_default=0,
                    created_at=at,
                )
            )
            return _row(db, new.id)

    def get(self, id: str) -> RowMapping:
        """Raises: NotFoundError."""
        with self._store.read() as db:
            return _row(db, id)

    def ensure_default(self, clock: Clock) -> None:
        """Make the default experiment if it is not there."""
        with self._store.read() as db:
            if db.scalar(select(_E.id).where(_E.is_default == 1)) is not None:
                return
        values = {"name": DEFAULT, "name_key": name_key(DEFAULT), "description": DEFAULT_DESCRIPTION}
        with self._store.write() as db:
            db.execute(
                insert(experiments).values(
                    id=str(uuid.uuid4()), storage_state=AVAILABLE, is_default=1, created_at=clock(), **values
                )
            )

    def default(self) -> str:
        """The id of the default experiment."""
        with self._store.read() as db:
            return default_id(db)

    def page(self, listing: Listing) -> tuple[list[RowMapping], str, int]:
        """A page of them, the next page's token, how many there are."""
        query: Select[tuple[object, ...]] = select(experiments)
        with self._store.read() as db:
            rows, token = page(db, query, listing, COLUMNS, _E.id)
            return list(rows), token, count(db, query, listing, COLUMNS)

    def archive(self, id: str) -> None:
        """Archive an experiment and its runs. Raises: NotFoundError."""
        with self._store.write() as db:
            _row(db, id)
            db.execute(update(experiments).where(_E.id == id).values(storage_state=ARCHIVED))
            mine = (runs.c.experiment == id, runs.c.storage_state == AVAILABLE)
            moved = db.execute(update(runs).where(*mine).values(storage_state=ARCHIVED)).rowcount
            run_counts.move(db, id, AVAILABLE, ARCHIVED, moved)

    def unarchive(self, id: str) -> None:
        """Make an experiment available again; its runs stay archived. Raises: NotFoundError."""
        with self._store.write() as db:
            _row(db, id)
            db.execute(update(experiments).where(_E.id == id).values(storage_state=AVAILABLE))

    def delete(self, id: str) -> None:
        """Forget an experiment, not its runs. Raises: NotFoundError; ConflictError for the default one."""
        with self._store.write() as db:
            if _row(db, id)["is_default"]:
                raise ConflictError(
                    f"Failed to delete experiment {id}. The default experiment cannot be deleted.",
                    hint="Archive it instead.",
                )
            db.execute(delete(experiments).where(_E.id == id))


def name_key(name: str) -> str:
    """What makes two names one."""
    return name.casefold()


def default_id(db: Connection) -> str:
    """The id of the default experiment."""
    return str(db.scalar(select(_E.id).where(_E.is_default == 1)))


def touch(db: Connection, id: str, at: float) -> None:
    """A run was made in this experiment."""
    db.execute(update(experiments).where(_E.id == id).values(last_run_at=at))


def _row(db: Connection, id: str) -> RowMapping:
    row = db.execute(select(experiments).where(_E.id == id)).mappings().first()
    if row is None:
        raise NotFoundError(f"Experiment {id} not found.", hint="`kfp experiment list` shows all of them.")
    return row
