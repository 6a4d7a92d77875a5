"""Saying yes or no to candidates, and gating one again that was compared with what is not live any more.

`approve` and `reject` answer a person; `look` is what the server's loop does with approvals that wait. A run
that gates a candidate again is its own run once more: same pipeline, same parameters; finished tasks come
from the cache, and what asks for the live release is never cached, so evaluation and gate are made anew.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuneline.actions.pipelines import new_run_id, project_name
from tuneline.actions.starting import Starter
from tuneline.errors import ConflictError, NotFoundError, ResourceError, TunelineError
from tuneline.execute.submitted import read_secrets
from tuneline.record.approvals import Said, Waiting
from tuneline.record.record import Record
from tuneline.record.runs import ACTIVE, NewRun
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")
LONGEST_S = 30.0
"""Between two looks."""


class Approvals:
    """The approvals of one home. Thread-safe."""

    def __init__(
        self, record: Record, starter: Starter, home: Path, user: Callable[[], str], clock: Clock
    ) -> None:
        """user: who asks now."""
        self._record, self._starter, self._home = record, starter, home
        self._user, self._clock = user, clock
        self._lock = threading.Lock()
        """Held while runs are begun: the loop and whoever approves see the same candidates wait."""

    def approve(self, release: str, comment: str = "") -> dict[str, Any]:
        """Say yes: `{"release", "state", "endpoint", "serves", "again", "run", "waits"}`.

        `again`: another release is live than it was compared with, so `run` gates it again, and it goes on if
        the verdict is yes; without a run yet, `waits` says for what.
        Raises: NotFoundError, UserError; ConflictError if it is no candidate, or cannot be gated again.
        """
        said = self._record.approvals.approve(release, comment.strip(), self._user(), self._clock())
        LOG.info("%s was approved by %s", release, self._user())
        return _told(said) | (self._begun(release) if said.again else {})

    def reject(self, release: str, comment: str = "") -> dict[str, Any]:
        """Say no; as `approve`."""
        said = self._record.approvals.reject(release, comment.strip(), self._user(), self._clock())
        LOG.info("%s was rejected by %s", release, self._user())
        return _told(said)

    def look(self) -> float:
        """Start what is to gate a candidate again, and let approvals lapse that could not be tried; seconds
        until the next look, if neither a release, an endpoint nor a run changes."""
        with self._lock:
            self._look_at_all()
        return LONGEST_S

    def _look_at_all(self) -> None:
        for waiting in self._record.approvals.waiting():
            try:
                self._look_at(waiting)
            except ConflictError as busy:  # its project has a run under way; woken when that ends
                LOG.info("%s waits to be gated again: %s", waiting.release, busy.message)
            except TunelineError as error:
                if error.retry or isinstance(error, ResourceError):
                    LOG.error("%s cannot be gated again yet: %s", waiting.release, error.message)
                else:
                    self._lapse(waiting, f"it could not be gated again: {error.message}")

    def _look_at(self, waiting: Waiting) -> None:
        run, state = waiting.approval.again_run, waiting.run_state
        if state in ACTIVE:
            return
        if not run or waiting.live_digest != waiting.approval.again_against:  # none yet, or live moved again
            self._begin(waiting)
        else:
            self._lapse(waiting, f"run {run}, which was to gate it again, is {(state or 'deleted').lower()}")

    def _begun(self, release: str) -> dict[str, Any]:
        """The run for an approval that was just given, started here if the loop has not."""
        with self._lock:
            return self._begin_for(release)

    def _begin_for(self, release: str) -> dict[str, Any]:
        for waiting in self._record.approvals.waiting():
            if waiting.release != release:
                continue
            try:
                return {"run": waiting.approval.again_run or self._begin(waiting)}
            except ConflictError as busy:
                return {"waits": busy.message}
            except TunelineError as error:
                if error.retry or isinstance(error, ResourceError):
                    return {"waits": error.message}
                why = f"it could not be gated again: {error.message}"
                self._lapse(waiting, why)
                raise ConflictError(
                    f"{release} was compared with another release than is live now, and {why}",
                    hint="Run its project again: it is then compared with what is live, and asks anew.",
                ) from error
        return {}  # its run was as fast as that

    def _begin(self, waiting: Waiting) -> RunId:
        """Raises: NotFoundError if its run is gone; ConflictError if its project has one under way."""
        before = RunId(waiting.approval.run)
        row, ir = self._of_run(before, waiting)
        run = new_run_id(self._clock())
        secrets = read_secrets(self._home / "runs" / before)
        new = NewRun(
            id=run,
            name=f"{row['project'] or project_name(ir, {})}-{run}",
            ir=ir,
            parameters={**(row["parameters"] or {}), **secrets},
            description=f"gates {waiting.release} again, which {waiting.approval.by} approved",
            experiment=row["experiment"],
            pipeline_root=row["pipeline_root"],
            plugins_input=row["plugins_input"],
            project=row["project"],
            project_text=row["project_text"],
            project_path=row["project_path"],
            project_digest=row["project_digest"],
            project_commit=row["project_commit"],
        )
        self._starter.start(new, self._record.approvals.begins(waiting, run))
        LOG.info("run %s gates %s again: another release is live now", run, waiting.release)
        return run

    def _of_run(self, run: RunId, waiting: Waiting) -> tuple[Mapping[Any, Any], Mapping[str, Any]]:
        try:
            return self._record.runs.get(run), self._record.runs.ir(run)
        except NotFoundError as error:
            raise NotFoundError(
                f"The run {run or 'of it'} that made {waiting.release} is not on record here.",
                hint="Run its project again.",
            ) from error

    def _lapse(self, waiting: Waiting, why: str) -> None:
        LOG.warning("the approval of %s does not hold: %s", waiting.release, why)
        self._record.approvals.lapse(waiting, why, self._clock())


def _told(said: Said) -> dict[str, Any]:
    names = ("release", "state", "endpoint", "again")
    return {
        **{name: getattr(said, name) for name in names},
        "serves": said.serves or None,
        "run": None,
        "waits": "",
    }
