"""Experiments: made, archived, deleted. Archiving one archives its runs; the record does both at once."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tuneline.actions.kfp.names import checked_name
from tuneline.plan.listing import Listing
from tuneline.record.experiments import NewExperiment
from tuneline.record.record import Record
from tuneline.types import Clock

Row = Mapping[Any, Any]


class Experiments:
    """The experiments of one home. Thread-safe."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record.experiments
        self._clock = clock
        self.on_archive: list[Callable[[str], None]] = []
        """Called with the id of an experiment that is being archived: its schedules must stop."""

    def create(self, name: str, description: str = "") -> Row:
        """A new experiment. Raises: UserError without a name; AlreadyExistsError."""
        checked_name("Experiment", name)
        return self._record.create(NewExperiment(str(uuid.uuid4()), name, description), self._clock())

    def get(self, id: str) -> Row:
        """Raises: NotFoundError."""
        return self._record.get(id)

    def page(self, listing: Listing) -> tuple[list[Row], str, int]:
        """A page, the next page's token, how many there are."""
        rows, token, total = self._record.page(listing)
        return list(rows), token, total

    def archive(self, id: str) -> None:
        """Archive an experiment and its runs, and stop its schedules. Raises: NotFoundError."""
        self._record.get(id)
        for stop in self.on_archive:
            stop(id)
        self._record.archive(id)

    def unarchive(self, id: str) -> None:
        """Its runs stay archived. Raises: NotFoundError."""
        self._record.unarchive(id)

    def delete(self, id: str) -> None:
        """Its runs are kept, its schedules stop. Raises: NotFoundError; ConflictError for the default one."""
        self._record.delete(id)
        for stop in self.on_archive:
            stop(id)
