"""Runs as Kubeflow Pipelines has them: made from a spec or an uploaded version, archived, ended, deleted.

Any number of them may be active at once, unlike runs of a project. Limits: one machine, one user.
"""

import contextlib
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneline.actions.kfp.names import checked_name
from tuneline.actions.kfp.parameters import checked as checked_parameters
from tuneline.actions.ports import Runs
from tuneline.actions.starting import Starter, refuse_elsewhere
from tuneline.errors import NotFoundError, UserError
from tuneline.execute.submitted import read_secrets
from tuneline.plan.listing import Listing
from tuneline.record.record import Record
from tuneline.record.runs import ACTIVE, NewRun
from tuneline.record.store import Beside
from tuneline.spec.documents import checked, name_of
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")
Row = Mapping[Any, Any]
MAX_NAME = 1024


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to be. Of `spec`, `pipeline_version_id`, `pipeline_id` (its newest) one counts."""

    display_name: str
    spec: Mapping[str, Any] | None = None
    pipeline_id: str = ""
    pipeline_version_id: str = ""
    experiment_id: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline_root: str = ""
    service_account: str = ""
    scheduled_at: float | None = None
    recurring_run: str = ""
    plugins_input: Mapping[str, Any] | None = None
    run_id: str = ""
    """Empty: a new random one."""


@dataclass(frozen=True)
class Source:
    """The pipeline of a run, and where it came from."""

    document: Mapping[str, Any]
    pipeline_id: str = ""
    pipeline_version_id: str = ""


class KfpRuns:
    """The runs of one home. Thread-safe."""

    def __init__(
        self,
        record: Record,
        runner: Runs,
        starter: Starter,
        folder: Path,
        user: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._record = record
        self._runner = runner
        self._starter = starter
        self._folder = folder
        self._user = user
        self._clock = clock
        self._sweeping = threading.Lock()
        self._hidden: set[str] = set()
        """Deleted runs that may not have ended yet."""

    def create(self, asked: RunRequest, beside: Beside | None = None) -> Row:
        """Start a run; its row, PENDING. beside: what else belongs into the transaction that stores it.

        Raises: UserError, SpecError, NotFoundError; nothing is stored then.
        """
        source = self.source(asked.spec, asked.pipeline_id, asked.pipeline_version_id)
        return self._start(asked, source, beside)

    def clone(self, run: str, display_name: str = "", parameters: Mapping[str, Any] | None = None) -> Row:
        """A new run like another, which may still be under way; with `parameters` in place of its own.

        Secrets are those of the other one. Raises: as `create`.
        """
        row = self.get(run)
        refuse_elsewhere(row)
        kept = {**(row["parameters"] or {}), **read_secrets(self._folder / run), **(parameters or {})}
        experiment = row["experiment"]
        try:
            self._record.experiments.get(experiment)
        except NotFoundError:
            experiment = ""  # it was deleted; the clone goes to the default one
        request = RunRequest(
            display_name=display_name or f"Clone of {row['display_name']}"[:MAX_NAME],
            experiment_id=experiment,
            description=row["description"],
            parameters=kept,
            pipeline_root=row["pipeline_root"],
            service_account=row["service_account"],
            plugins_input=row["plugins_input"],
        )
        document = self._record.runs.ir(RunId(run))
        return self._start(request, Source(document, row["pipeline_id"], row["pipeline_version_id"]))

    def _start(self, asked: RunRequest, source: Source, beside: Beside | None = None) -> Row:
        checked_name("Run", asked.display_name, MAX_NAME)
        if asked.experiment_id:
            self._record.experiments.get(asked.experiment_id)
        parameters = checked_parameters(source.document, asked.parameters)
        run = RunId(asked.run_id or str(uuid.uuid4()))
        self._starter.start(
            NewRun(
                id=run,
                name=f"{name_of(source.document)}-{run}",
                project="",
                ir=source.document,
                parameters=parameters,
                display_name=asked.display_name,
                description=asked.description,
                experiment=asked.experiment_id,
                pipeline_id=source.pipeline_id,
                pipeline_version_id=source.pipeline_version_id,
                service_account=asked.service_account,
                pipeline_root=asked.pipeline_root,
                scheduled_at=asked.scheduled_at,
                recurring_run=asked.recurring_run,
                plugins_input=asked.plugins_input,
            ),
            beside,
        )
        row = dict(self._record.run_lists.get(run))
        began = {"state": "PENDING", "finished_at": None, "error": None, "history": row["history"][:1]}
        return row | began  # it may be under way by now; KFP answers what was made

    def source(self, spec: Mapping[str, Any] | None, pipeline_id: str, version_id: str) -> Source:
        """The pipeline that is meant. Raises: UserError, SpecError, NotFoundError."""
        if spec is not None:
            return Source(checked(spec), pipeline_id, version_id)
        if version_id:
            found = self._record.uploads.version(version_id)
            if pipeline_id and found["pipeline"] != pipeline_id:
                raise NotFoundError(f"PipelineVersion {version_id} of pipeline {pipeline_id} not found.")
        elif pipeline_id:
            found = self._record.uploads.newest_version(pipeline_id)
        else:
            raise UserError("A run needs a pipeline_spec, or a pipeline_version_reference.")
        return Source(self._record.uploads.document(found["id"]), found["pipeline"], found["id"])

    def get(self, run: str) -> Row:
        """Raises: NotFoundError."""
        return self._record.run_lists.get(run)

    def page(self, listing: Listing, experiment: str = "") -> tuple[Sequence[Row], str, int]:
        """A page, the next page's token, how many fit. Raises: NotFoundError for an unknown experiment."""
        return self._record.run_lists.page(listing, experiment)

    def specs(self, rows: Sequence[Row]) -> Mapping[str, str]:
        """Digest -> JSON text of the pipelines of rows that came without an uploaded version."""
        return self._record.run_lists.specs([row["pipeline"] for row in rows])

    def archive(self, run: str) -> None:
        """Raises: NotFoundError."""
        self._record.run_lists.archive(run)

    def unarchive(self, run: str) -> None:
        """Raises: NotFoundError; PreconditionError while its experiment is archived."""
        self._record.run_lists.unarchive(run)

    def terminate(self, run: str) -> None:
        """Ask a run to end; one that has ended is left as it is. Raises: NotFoundError."""
        if self.get(run)["state"] in ACTIVE:
            self._cancel(run)

    def retry(self, run: str) -> None:
        """Let a failed or canceled run go on. Raises: NotFoundError; UserError for any other."""
        row = self.get(run)
        if row["state"] in ACTIVE or row["state"] == "SUCCEEDED":
            raise UserError(
                f"Failed to retry run {run} because the run is {row['state']}.",
                hint="Only a failed or canceled run can be retried.",
            )
        self._starter.retry(RunId(run), self._user())

    def delete(self, run: str) -> None:
        """Forget a run; one that is under way is ended first. Raises: NotFoundError.

        What another run read of it, or a release came of, stays: see `record/run_removal.py`.
        """
        row = self._record.run_lists.hide(run)
        with self._sweeping:
            self._hidden.add(run)
        if row["state"] in ACTIVE:
            self._cancel(run)
        self.sweep()

    def sweep(self, all: bool = False) -> None:
        """Remove deleted runs that have ended by now, and their files. all: also of an earlier server's."""
        with self._sweeping:
            gone = self._record.run_lists.purge(ACTIVE, None if all else self._hidden)
            self._hidden.difference_update(gone)
        for run in gone:
            shutil.rmtree(self._folder / run, ignore_errors=True)

    def _cancel(self, run: str) -> None:
        with contextlib.suppress(NotFoundError):  # it ended a moment ago
            self._runner.cancel(RunId(run), self._user())
