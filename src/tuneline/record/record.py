"""The record as one value: the parts of what happened, over one database."""

import time

from tuneline.record.ancestry import Ancestry
from tuneline.record.approvals import Approvals
from tuneline.record.apps import Apps
from tuneline.record.artifact_lists import ArtifactLists
from tuneline.record.changes import Changes
from tuneline.record.drift import DriftRecord
from tuneline.record.endpoints import Endpoints
from tuneline.record.experiments import Experiments
from tuneline.record.feedback import Feedback
from tuneline.record.figures import Figures
from tuneline.record.holders import Holders
from tuneline.record.imports import Imports
from tuneline.record.ledger import Ledger
from tuneline.record.migrations import migrate
from tuneline.record.notices import Notices
from tuneline.record.recurring import Recurring
from tuneline.record.releases import Releases
from tuneline.record.rollouts import Rollouts
from tuneline.record.run_lists import RunLists
from tuneline.record.runs import Runs
from tuneline.record.store import Store
from tuneline.record.tasks import Tasks
from tuneline.record.tokens import Tokens
from tuneline.record.uploads import Uploads
from tuneline.types import Clock


class Record:
    """Runs, releases, endpoints, tokens and the ledger of one database. Thread-safe.

    Call `migrate` before anything else.
    """

    def __init__(self, url: str, clock: Clock = time.time) -> None:
        """`url`: see `Store`. Opens nothing yet. Raises: SettingError, MissingPartError."""
        self._store = Store(url)
        self._clock = clock
        self.changes = Changes()
        self.runs = Runs(self._store, self.changes)
        self.run_lists = RunLists(self._store)
        self.artifacts = ArtifactLists(self._store)
        self.experiments = Experiments(self._store)
        self.uploads = Uploads(self._store)
        self.recurring = Recurring(self._store, self.changes)
        self.releases = Releases(self._store, self.changes)
        self.imports = Imports(self._store, self.changes)
        self.endpoints = Endpoints(self._store, self.changes)
        self.rollouts = Rollouts(self._store, self.changes)
        self.drift = DriftRecord(self._store, self.changes)
        self.apps = Apps(self._store, self.changes)
        self.approvals = Approvals(self._store, self.changes)
        self.feedback = Feedback(self._store, self.changes)
        self.ledger = Ledger(self._store)
        self.holders = Holders(self._store)
        self.ancestry = Ancestry(self._store)
        self.tokens = Tokens(self._store)
        self.tasks = Tasks(self._store)
        self.notices = Notices(self._store, self.changes)
        self.figures = Figures(self._store)

    def migrate(self) -> list[str]:
        """Make the database, or bring it to today's schema; what was applied.

        Raises: ConflictError if a newer program wrote it; ResourceError if it cannot be written.
        """
        self._store.database.prepare()
        done = migrate(self._store, self._clock)
        self.experiments.ensure_default(self._clock)
        return done

    def reserve(self) -> None:
        """Keep room in the database's files for what must be written when the disk is full."""
        self._store.database.reserve()

    @property
    def place(self) -> str:
        """Where it is, for messages; without secrets."""
        return self._store.place

    @property
    def shared(self) -> bool:
        """Whether servers of other homes can reach it."""
        return self._store.database.shared

    def claim(self) -> bool:
        """Become the one server of this record until this process ends; False if another one is.

        A SQLite file is claimed by whoever has its home. Raises: TransientError if it does not answer.
        """
        return self._store.claim()

    def claimed(self) -> bool:
        """Whether that still holds; a claim that ended with its connection is made anew if it can be.

        Raises: TransientError if the record does not answer.
        """
        return self._store.claimed()

    def close(self) -> None:
        """Give all connections back."""
        self._store.close()
