"""The record as one value: the parts of what happened, over one database."""

import time

from tuneline.record.artifact_lists import ArtifactLists
from tuneline.record.changes import Changes
from tuneline.record.endpoints import Endpoints
from tuneline.record.experiments import Experiments
from tuneline.record.holders import Holders
from tuneline.record.ledger import Ledger
from tuneline.record.migrations import migrate
from tuneline.record.releases import Releases
from tuneline.record.run_lists import RunLists
from tuneline.record.runs import Runs
from tuneline.record.store import Store
from tuneline.record.uploads import Uploads
from tuneline.types import Clock


class Record:
    """Runs, releases, endpoints and the ledger of one database. Thread-safe.

    Call `migrate` before anything else.
    """

    def __init__(self, url: str, clock: Clock = time.time) -> None:
        """`url` as SQLAlchemy says it. Opens nothing yet."""
        self._store = Store(url)
        self._clock = clock
        self.changes = Changes()
        self.runs = Runs(self._store, self.changes)
        self.run_lists = RunLists(self._store)
        self.experiments = Experiments(self._store)
        self.uploads = Uploads(self._store)
        self.run_lists = RunLists(self._store)
        self.artifacts = ArtifactLists(self._store)
        self.experiments = Experiments(self._store)
        self.uploads = Uploads(self._store)
        self.releases = Releases(self._store, self.changes)
        self.endpoints = Endpoints(self._store, self.changes)
        self.ledger = Ledger(self._store)
        self.holders = Holders(self._store)

    def migrate(self) -> list[str]:
        """Make the database, or bring it to today's schema; what was applied.

        Raises: ConflictError if a newer program wrote it; ResourceError if it cannot be written.
        """
        self._store.prepare()
        return migrate(self._store, self._clock)

    def reserve(self) -> None:
        """Keep room in the database's files for what must be written when the disk is full."""
        self._store.reserve()

    def close(self) -> None:
        """Give all connections back."""
        self._store.close()
