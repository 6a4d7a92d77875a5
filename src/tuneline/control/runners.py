"""Who executes which run: this machine, or the engine that the run names. See `actions.ports.Runs`."""

from tuneline.actions.ports import Runs
from tuneline.control.remote import RemoteRuns
from tuneline.execute.submitted import Submitted
from tuneline.plan.events import Lease
from tuneline.types import RunId


class Runners:
    """All runs of one home. Thread-safe."""

    def __init__(self, here: Runs, elsewhere: RemoteRuns) -> None:
        self._here, self._elsewhere = here, elsewhere

    def start(self, new: Submitted, lease: Lease) -> None:
        """See Runs."""
        self._of(new).start(new, lease)

    def cancel(self, run: RunId, by: str) -> None:
        """See Runs."""
        (self._elsewhere if self._elsewhere.holds(run) else self._here).cancel(run, by)

    def retry(self, new: Submitted, lease: Lease, by: str) -> None:
        """See Runs."""
        self._of(new).retry(new, lease, by)

    def _of(self, new: Submitted) -> Runs:
        return self._elsewhere if new.runner else self._here
