"""Recurring runs: made, enabled, disabled, and the run of each tick started. `platform.recurring`.

A tick's run is stored with the new mark in one transaction. A pipeline given by reference is looked up at
each tick: its newest version, if none was named. Secrets among the parameters are kept in a file, as those of
runs.
"""

import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneline.actions.kfp.names import checked_name
from tuneline.actions.kfp.parameters import checked as checked_parameters
from tuneline.actions.kfp.runs import MAX_NAME, KfpRuns, RunRequest
from tuneline.actions.pipelines import new_run_id
from tuneline.actions.starting import Starter
from tuneline.errors import (
    ConflictError,
    NotFoundError,
    ResourceError,
    TransientError,
    TunelineError,
    UserError,
)
from tuneline.execute.submitted import read_secrets, write_secrets
from tuneline.plan.listing import Listing
from tuneline.plan.macros import Occasion, expand
from tuneline.plan.recurring import MAX_CONCURRENCY, StaleTick, trigger_of, zone_of
from tuneline.plan.secrets import split
from tuneline.record.record import Record
from tuneline.record.recurring import NewRecurring, counted, took
from tuneline.record.runs import NewRun
from tuneline.record.store import Beside
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")
Row = Mapping[Any, Any]
FOLDER = "recurring"
"""In the home: secrets of recurring runs, a folder each."""


@dataclass(frozen=True)
class RecurringRequest:
    """What a recurring run is asked to be. One of `spec`, `pipeline_version_id` and `pipeline_id`."""

    display_name: str
    trigger: Mapping[str, Any]
    """See `plan.recurring.trigger_of`."""
    spec: Mapping[str, Any] | None = None
    pipeline_id: str = ""
    pipeline_version_id: str = ""
    experiment_id: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline_root: str = ""
    service_account: str = ""
    plugins_input: Mapping[str, Any] | None = None
    enabled: bool = True
    max_concurrency: int = 1
    catch_up: bool = True


class RecurringRuns:
    """The recurring runs of one home. Thread-safe. The Starter of their loop."""

    def __init__(self, record: Record, starter: Starter, runs: KfpRuns, home: Path, clock: Clock) -> None:
        self._record = record.recurring
        self._experiments = record.experiments
        self._starter = starter
        self._runs = runs
        self._folder = home / FOLDER
        self._clock = clock

    def create(self, asked: RecurringRequest) -> Row:
        """A new recurring run. Raises: UserError, SpecError, NotFoundError; nothing is stored then."""
        checked_name("Recurring run", asked.display_name, MAX_NAME)
        checked_concurrency(asked.max_concurrency)
        trigger = trigger_of(asked.trigger)
        source = self._runs.source(asked.spec, asked.pipeline_id, asked.pipeline_version_id)
        if asked.experiment_id:
            self._experiments.get(asked.experiment_id)
        now = self._clock()
        new = NewRecurring(
            id=str(uuid.uuid4()),
            display_name=asked.display_name,
            trigger=asked.trigger,
            first_mark=trigger.first_mark(int(now)),
            description=asked.description,
            experiment=asked.experiment_id,
            enabled=asked.enabled,
            max_concurrency=asked.max_concurrency,
            catch_up=asked.catch_up,
            parameters=checked_parameters(source.document, asked.parameters),
            spec=source.document if asked.spec is not None else None,
            pipeline_id=source.pipeline_id,
            pipeline_version_id=asked.pipeline_version_id,
            pipeline_root=asked.pipeline_root,
            service_account=asked.service_account,
            plugins_input=asked.plugins_input,
        )
        return self._record.create(self.kept(new), now)

    def get(self, id: str) -> Row:
        """Raises: NotFoundError."""
        return self._record.get(id)

    def spec_text(self, id: str) -> str:
        """The pipeline that a recurring run was given as it is, as JSON text; "" if by reference."""
        return self._record.spec_text(id)

    def page(self, listing: Listing, experiment: str = "") -> tuple[Sequence[Row], str, int]:
        """A page, the next page's token, how many fit. Raises: NotFoundError for an unknown experiment."""
        if experiment:
            self._experiments.get(experiment)
        return self._record.page(listing, experiment)

    def enable(self, id: str, enabled: bool = True) -> None:
        """Enable or disable; ticks that passed while it was disabled are not run. Raises: NotFoundError."""
        self._record.enable(id, enabled, self._clock())

    def stop_of(self, experiment: str) -> None:
        """Disable all of an experiment."""
        self._record.disable_of(experiment, self._clock())

    def delete(self, id: str) -> None:
        """Forget a recurring run; runs it made stay. Raises: NotFoundError."""
        self._record.delete(id)
        shutil.rmtree(self._folder / id, ignore_errors=True)

    def kept(self, new: NewRecurring) -> NewRecurring:
        """The same with its secrets in a file and masked here. Raises: ResourceError."""
        masked, secrets = split(new.parameters or {})
        try:
            shutil.rmtree(self._folder / new.id, ignore_errors=True)
            write_secrets(self._folder / new.id, secrets)
        except OSError as error:
            raise ResourceError(
                f"The secrets of recurring run {new.display_name} cannot be kept: {error.strerror}.",
                hint="Free some space in the home's folder.",
            ) from error
        return replace(new, parameters=masked)

    def begin(self, id: str, mark: int, tick: int) -> str:
        """See `plan.recurring.Starter`."""
        try:
            row = self._record.get(id)
        except NotFoundError as error:
            raise StaleTick(error.message) from error
        try:
            return self._start(row, tick, lambda db: took(db, id, mark, tick))
        except (ConflictError, TransientError, ResourceError):
            raise
        except TunelineError as error:
            LOG.error(
                "recurring run %s: the tick %d cannot run: %s", row["display_name"], tick, error.message
            )
            self._record.failed(id, tick, error.to_json(), self._clock())
            return ""

    def run_now(self, id: str) -> str:
        """Start a run beside the schedule; its id.

        Raises: NotFoundError; ConflictError if its project has one under way; SpecError.
        """
        return self._start(self._record.get(id), int(self._clock()), lambda db: counted(db, id))

    def _start(self, row: Row, scheduled: int, beside: Beside) -> str:
        now = self._clock()
        run = new_run_id(now) if row["project"] else RunId(str(uuid.uuid4()))
        zone = zone_of(trigger_of(row["trigger_body"]))
        given = {**(row["parameters"] or {}), **read_secrets(self._folder / row["id"])}
        parameters = expand(given, Occasion(run, scheduled, int(now), row["made"] + 1, zone))
        if row["project"]:
            self._starter.start(self._project_run(row, run, parameters, scheduled), beside)
        else:
            self._runs.create(self._asked(row, run, parameters, scheduled), beside)
        return run

    def _project_run(self, row: Row, run: RunId, parameters: Mapping[str, Any], scheduled: int) -> NewRun:
        return NewRun(
            id=run,
            name=f"{row['project']}-{run}",
            project=row["project"],
            ir=self._record.spec(row["id"]) or {},
            parameters=parameters,
            project_text=row["project_text"],
            project_path=row["project_path"],
            project_digest=row["project_digest"],
            project_commit=row["project_commit"],
            scheduled_at=float(scheduled),
            recurring_run=row["id"],
        )

    def _asked(self, row: Row, run: RunId, parameters: Mapping[str, Any], scheduled: int) -> RunRequest:
        return RunRequest(
            display_name=f"{row['display_name'][: MAX_NAME - 20]}-{row['made'] + 1}",
            spec=self._record.spec(row["id"]),
            pipeline_id=row["pipeline_id"],
            pipeline_version_id=row["pipeline_version_id"],
            experiment_id=row["experiment"],
            parameters=parameters,
            pipeline_root=row["pipeline_root"],
            service_account=row["service_account"],
            scheduled_at=float(scheduled),
            recurring_run=row["id"],
            plugins_input=row["plugins_input"],
            run_id=run,
        )


def checked_concurrency(limit: int) -> None:
    """Raises: UserError if a recurring run cannot have so many runs at once."""
    if not 1 <= limit <= MAX_CONCURRENCY:
        raise UserError(
            f"The max concurrency of the recurring run is out of range. Support 1-{MAX_CONCURRENCY}."
            f" Received {limit}."
        )
