"""A release that was made where no server could be asked: run, release and ledger, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from tuneline.plan.events import Event, Stored, to_json
from tuneline.record import endpoints, history, ledger, releases, statements, views
from tuneline.record.changes import Changes
from tuneline.record.releases import Proposal, Proposed
from tuneline.record.runs import NewRun, insert_run
from tuneline.record.schema import events, runs
from tuneline.record.store import Store

Happened = Callable[[Proposed], Sequence[Event]]
"""The events of the run, once it is known what its proposal came to."""


class Imports:
    """The imports of one record."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store, self._changes = store, changes

    def known(self, run: str) -> bool:
        """Whether this very bundle was imported before."""
        with self._store.read() as db:
            return db.scalar(select(runs.c.id).where(runs.c.id == run)) is not None

    def take(
        self, new: NewRun, happened: Happened, proposal: Proposal, facts: Mapping[str, Any], at: float
    ) -> Proposed:
        """Write it all down. facts: for the ledger: from where, by whom, what.

        Raises: ConflictError if its endpoint serves what it was not compared with; then nothing is stored.
        """
        with self._store.write(durable=True) as db:
            done = releases.propose_in(db, proposal, at)
            insert_run(db, new, at)
            made = list(happened(done))
            for seq, event in enumerate(made, 1):
                stored = Stored(new.id, seq, at, event)
                row = {"run": new.id, "seq": seq, "at": at, "kind": event.kind, "body": to_json(event)}
                statements.add(db, events, row)
                views.apply(db, stored)
                history.apply(db, stored)
            db.execute(update(runs).where(runs.c.id == new.id).values(last_seq=len(made), lease_token=1))
            body = {"release": done.release, "state": done.state, "created": done.created, **facts}
            ledger.write(db, at, "imported", body)
        self._changes.notify(endpoints.TOPIC)
        return done
