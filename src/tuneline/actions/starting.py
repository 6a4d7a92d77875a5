"""How a run begins or goes on, whoever asks: checked, stored, handed to the runner; forgotten if refused."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.actions.pipelines import SECRET_WARNING, new_run_id, project_name, readable
from tuneline.actions.ports import Runs
from tuneline.errors import ConflictError, NotFoundError, SpecError, TunelineError
from tuneline.execute.submitted import LOGIN, Submitted, read_secrets, write_secrets
from tuneline.plan.events import RunEnded
from tuneline.plan.nodes import Context
from tuneline.plan.parameters import root_values
from tuneline.plan.schedule import RunState, children_of
from tuneline.plan.secrets import split
from tuneline.record.record import Record
from tuneline.record.runs import ACTIVE, NewRun
from tuneline.record.store import Beside
from tuneline.spec.notify import targets_in
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")


class Starter:
    """Starts runs of one home. Thread-safe."""

    def __init__(self, record: Record, runner: Runs, home: Path, clock: Clock) -> None:
        self._record = record
        self._runner = runner
        self._home = home
        self._clock = clock

    def start(
        self, new: NewRun, beside: Beside | None = None, login: Mapping[str, str] | None = None
    ) -> None:
        """Put a run on record and give it to the runner. Secrets among its parameters go to a file.

        beside: what else belongs into the transaction that stores it. login: by what the engine that is to
        execute it knows this user: `token`, or `user` and `password`.
        Raises: SpecError, with every fault; ConflictError if a run of the same project is active.
        """
        pipeline = readable(new.ir)
        images_of(new.plugins_input)
        targets_in(new.project_text)  # it is kept, so no secret may stand in it
        root_values(pipeline, new.parameters)
        masked, secrets = split(new.parameters)
        tasks = children_of(Context(pipeline, {}), RunState.new(Context(pipeline, {})).root)
        warnings = (*new.warnings, *(SECRET_WARNING.format(name=name) for name in secrets))
        for warning in warnings:
            LOG.warning("run %s: %s", new.id, warning)
        new = replace(new, parameters=masked, tasks=tasks, warnings=warnings)
        folder = self._home / "runs" / new.id
        known = folder.exists()
        try:
            write_secrets(folder, dict(login or {}), LOGIN)
            write_secrets(folder, secrets)  # before it is on record: a server that adopts it needs them
            self._record.runs.create(new, self._clock(), beside)
        except (TunelineError, OSError):
            if not known:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            self._runner.start(self.submitted(new.id), self._record.runs.lease(new.id))
        except Exception:
            if self._record.runs.discard(new.id) and not known:  # nothing of it ran
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def retry(self, run: RunId, by: str) -> None:
        """Let an ended run go on. Raises: NotFoundError, ConflictError, SpecError; it stays ended then."""
        row = self._record.runs.get(run)
        lease = self._record.runs.reopen(run)
        try:
            self._runner.retry(self.submitted(run), lease, by)
        except TunelineError as error:  # it stays ended, and says why
            self._record.runs.append(lease, [RunEnded(row["state"], error.to_json())], self._clock())
            raise

    def retry_changed(self, row: Mapping[Any, Any], ir: Mapping[str, Any]) -> RunId:
        """Go on from an ended run with a changed pipeline; the new run, which takes over what is unchanged.

        Raises: ConflictError if it has not ended, or its project has another run; SpecError.
        """
        if row["state"] in ACTIVE:
            raise ConflictError(f"Run {row['id']} has not ended.", hint="Wait for it, or cancel it first.")
        refuse_elsewhere(row)
        run = new_run_id(self._clock())
        kept = (
            *("project", "project_text", "project_path", "project_digest", "project_commit"),
            *("experiment", "recurring_run", "plugins_input"),
        )
        secrets = read_secrets(self._home / "runs" / row["id"])
        parameters = {**(row["parameters"] or {}), **secrets}
        name = f"{row['project'] or project_name(ir, {})}-{run}"
        values = {key: row[key] for key in kept}
        self.start(NewRun(run, name, ir=ir, parameters=parameters, retries=row["id"], **values))
        return run

    def submitted(self, run: RunId) -> Submitted:
        """A run on record, as the runner takes it."""
        row, ir = self._record.runs.get(run, deleted=True), self._record.runs.ir(run)
        before, earlier = self._earlier(row["retries"])
        return Submitted(
            run,
            ir,
            row["parameters"] or {},
            row["created_at"],
            title=row["display_name"],
            scheduled_at=row["scheduled_at"],
            root=row["pipeline_root"],
            retries=before,
            retries_ir=earlier,
            images=images_of(row["plugins_input"]),
            runner=row["runner"],
        )

    def _earlier(self, run: str | None) -> tuple[RunId | None, Mapping[str, Any]]:
        """The run that another goes on from, and its pipeline; nothing if it was deleted since."""
        if run is None:
            return None, {}
        try:
            return RunId(run), self._record.runs.ir(RunId(run))
        except NotFoundError:
            return None, {}


def refuse_elsewhere(row: Mapping[Any, Any]) -> None:
    """Raises ConflictError for a run of another engine, whose login is that run's alone."""
    if row["runner"]:
        raise ConflictError(
            f"Run {row['id']} was executed by {row['runner']['kind']}: no other run can be made of it here.",
            hint=f"Start a new one: `tuneline run PROJECT --runner {row['runner']['kind']}`.",
        )


def images_of(plugins: Mapping[str, Any] | None) -> str:
    """What images mean to a run, from the part of KFP's `plugins_input` that is ours; "": as the server says.

    Raises: SpecError for another word than `host` and `containers`.
    """
    ours = (plugins or {}).get("tuneline") or {}
    mode = ours.get("images", "") if isinstance(ours, Mapping) else ours
    if mode not in ("", "host", "containers"):
        raise SpecError(f"Images cannot be {mode!r}.", hint="Say `host` or `containers`.")
    return str(mode)
