"""`Platform`: everything that can be asked of, or done to, a home. The web API and the controllers call the
same methods.

Checks, decides by pure functions, writes to the record in one transaction, and tells the runner. It starts no
process and knows no HTTP. Thread-safe.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from tuneline.actions import views
from tuneline.actions.approvals import Approvals
from tuneline.actions.apps import Apps
from tuneline.actions.artifacts import Artifacts
from tuneline.actions.boards import Opener, RunBoards
from tuneline.actions.caller import CALLER
from tuneline.actions.drift import DriftActions
from tuneline.actions.forced import with_forced
from tuneline.actions.importing import Importing
from tuneline.actions.kfp import Kfp
from tuneline.actions.logs import read_log
from tuneline.actions.notices import NoticeBoard, Tester
from tuneline.actions.packages import Packages
from tuneline.actions.pipelines import new_run_id, project_name
from tuneline.actions.ports import Runs, Server, Shutdown
from tuneline.actions.proposing import Offer, checked
from tuneline.actions.provenance import provenance
from tuneline.actions.recurring import RecurringRuns
from tuneline.actions.requests import Requests
from tuneline.actions.rollouts import Rollouts
from tuneline.actions.schedules import Schedules
from tuneline.actions.starting import Starter
from tuneline.errors import ConflictError, InternalError, NotFoundError, TunelineError
from tuneline.execute.stores import Stores
from tuneline.plan.engine import engine_of
from tuneline.plan.events import RunEnded
from tuneline.plan.versions import data_definition
from tuneline.record.feedback import Score
from tuneline.record.record import Record
from tuneline.record.runs import ACTIVE, NewRun
from tuneline.settings import Settings
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.actions")

Json = dict[str, Any]
"""An object of the API."""


class Platform:
    """One home's door."""

    def __init__(
        self,
        record: Record,
        runner: Runs,
        server: Server,
        shutdown: Shutdown,
        clock: Clock = time.time,
        boards: Opener | None = None,
        tester: Tester | None = None,
    ) -> None:
        self.record = record
        self.server = server
        self.apps = Apps(record, server, clock)
        self.rollouts = Rollouts(record, lambda: self.user, clock)
        self.boards = RunBoards(record, boards)
        self.notices = NoticeBoard(record, tester, clock)
        self._runner = runner
        self._shutdown = shutdown
        self._clock = clock
        self._closing = threading.Event()
        self._starter = Starter(record, runner, server.home, clock)
        self.kfp = Kfp(record, runner, self._starter, server.home, lambda: self.user, clock)
        """Experiments, uploaded pipelines, and runs as Kubeflow Pipelines has them."""
        stores = Stores(Settings(server.home).copies)
        self.artifacts = Artifacts(record, stores)
        self.packages = Packages(record, self.artifacts, server.home)
        self.importing = Importing(record, self.packages, stores, server.home, lambda: self.user, clock)
        self.recurring = RecurringRuns(record, self._starter, self.kfp.runs, server.home, clock)
        self.approvals = Approvals(record, self._starter, server.home, lambda: self.user, clock)
        self.schedules = Schedules(record, self.recurring, clock)
        self.requests = Requests(record, Settings(server.home).endpoints)
        self.drift = DriftActions(record, self._starter, server.home, clock)
        self.kfp.experiments.on_archive.append(self.recurring.stop_of)

    @property
    def user(self) -> str:
        """Who asks now: a token's name, or whoever runs this server."""
        return CALLER.get() or self.server.user

    # Runs

    def submit(
        self,
        ir: Mapping[str, Any],
        parameters: Mapping[str, Any],
        project: Mapping[str, Any],
        runner: Mapping[str, Any] | None = None,
    ) -> Json:
        """Start a run of a pipeline; the run. project: `{"name", "text", "path", "digest"}`.

        runner: the engine that executes it, `{"kind", "url", "options", "login"}`; None: this machine.
        Raises: SpecError; ConflictError, naming it, if a run of the same project is active; SettingError, or
        what the engine says, if it cannot be started there.
        """
        engine = None if runner is None else engine_of(runner)
        name = project_name(ir, project)
        run = new_run_id(self._clock())
        new = NewRun(
            id=run,
            name=f"{name}-{run}",
            project=name,
            ir=ir,
            parameters=parameters,
            project_text=str(project.get("text", "")),
            project_path=str(project.get("path", "")),
            project_digest=str(project.get("digest", "")),
            project_commit=str(project.get("commit") or "") or None,
            runner=None if engine is None else engine.to_json(),
        )
        return self.start(new, (runner or {}).get("login"))

    def start(self, new: NewRun, login: Mapping[str, str] | None = None) -> Json:
        """Put a run on record and give it to the runner; the run. Secrets among its parameters go to a file.

        Raises: SpecError; ConflictError, naming it, if a run of the same project is active.
        """
        self._starter.start(new, login=login)
        return self.run(new.id)

    def adopt(self) -> list[str]:
        """Go on with every run that an earlier server left unfinished; their ids. Called once, at start."""
        left = [RunId(row["id"]) for row in self.record.runs.active()]
        for run in left:
            lease = self.record.runs.lease(run)
            events = list(self.record.runs.events(run))
            if events and isinstance(events[-1].event, RunEnded):  # killed while a retry of it was asked for
                self.record.runs.append(lease, [events[-1].event], events[-1].at)
                continue
            try:
                self._runner.start(self._starter.submitted(run), lease)
            except Exception as error:  # it must not keep the others, or the server, down
                LOG.error(
                    "run %s cannot go on: %s", run, error, exc_info=not isinstance(error, TunelineError)
                )
                found = error if isinstance(error, TunelineError) else _unexpected(run, error)
                self.record.runs.append(lease, [RunEnded("FAILED", found.to_json())], self._clock())
        self.kfp.runs.sweep(all=True)
        return list(left)

    def cancel(self, id: str, by: str = "") -> Json:
        """Ask a run to end; the run. Raises NotFoundError; ConflictError if it has ended."""
        row = self.record.runs.get(RunId(id))
        if row["state"] not in ACTIVE:
            raise ConflictError(f"Run {id} has ended: {row['state']}.", hint="There is nothing to cancel.")
        self._runner.cancel(RunId(id), by or self.user)
        return self.run(id)

    def retry(self, id: str, by: str = "", ir: Mapping[str, Any] | None = None) -> Json:
        """Let an ended run go on from what failed; the run.

        With `ir`, a changed pipeline, that is a new run, which takes over what is unchanged.
        Raises: NotFoundError; ConflictError if it succeeded, has not ended, or its project has another run.
        """
        row = self.record.runs.get(RunId(id))
        if ir is not None:
            return self.run(self._starter.retry_changed(row, ir))
        if row["state"] in ACTIVE or row["state"] == "SUCCEEDED":
            hint = "Only a failed or canceled run can be retried; `tuneline run PROJECT` starts a new one."
            raise ConflictError(f"Run {id} is {row['state']}.", hint=hint)
        self._starter.retry(RunId(id), by or self.user)
        return self.run(id)

    def runs(self, limit: int = 50, project: str | None = None, archived: bool = False) -> list[Json]:
        """Runs without their tasks, the newest first: the archived ones, or all others."""
        return [views.run_summary(row) for row in self.record.runs.newest(limit, project, archived)]

    def run(self, id: str) -> Json:
        """A run with its tasks and its report. Raises NotFoundError."""
        row, tasks = self.record.runs.get(RunId(id)), self.record.runs.tasks(RunId(id))
        read = self.record.runs.artifacts(views.artifacts_read(tasks))
        return views.run_view(row, tasks, read, self._clock(), self.artifacts.local)

    def events(self, id: str, after: int = 0, wait_s: float = 0.0) -> Json:
        """`{"events", "next", "state"}`, at once if there are any after `after` or the run has ended.

        Else it waits for the next one, at most `wait_s` seconds. Raises NotFoundError.
        """
        wake = threading.Event()
        deadline = time.monotonic() + wait_s
        with self.listening(id, wake.set):
            while True:
                wake.clear()
                found = self.events_now(id, after)
                left = deadline - time.monotonic()
                if found["events"] or found["state"] not in ACTIVE or self._closing.is_set() or left <= 0:
                    return found
                wake.wait(left)

    def events_now(self, id: str, after: int = 0) -> Json:
        """What `events` gives, without waiting."""
        # first: an end after this line comes with its event later
        state = self.record.runs.get(RunId(id))["state"]
        stored = list(self.record.runs.events(RunId(id), after))
        return {
            "events": [views.event_view(item) for item in stored],
            "next": stored[-1].seq if stored else after,
            "state": state,
        }

    def listening(self, id: str, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `wake` (quick, from any thread) at each new event of a run, until the block ends."""
        return self.record.changes.listening(id, wake)

    def series(self, id: str, task: str, after: int = 0) -> Json:
        """`{"points", "next"}` of a task's curves. Raises NotFoundError."""
        self.record.runs.get(RunId(id))
        found = self.record.runs.points(RunId(id), task, after)
        return {"points": [point for _, point in found], "next": found[-1][0] if found else after}

    def logs(
        self, id: str, task: str, attempt: int | None = None, offset: int = 0, limit: int = 1 << 20
    ) -> Json:
        """`{"text", "next", "done"}` of an attempt's log (the newest by default). Raises NotFoundError."""
        self.record.runs.get(RunId(id))
        for row in self.record.runs.tasks(RunId(id), task):  # of many tasks, and a log is asked for often
            return read_log(row, attempt, offset, limit)
        names = ", ".join(row["name"] for row in self.record.runs.tasks(RunId(id)))
        raise NotFoundError(f"Run {id} has no task `{task}`.", hint=f"Its tasks: {names}.")

    # Releases

    def propose(self, offer: Offer) -> Json:
        """Take a proposal: `{"release", "state", "created", "reason"}`.

        Raises: ModelError, ProofError (see `proposing.checked`); ConflictError if live moved since the
        comparison.
        """
        data, project_digest = self._asked_for(RunId(offer.run))
        offer = replace(offer, project_digest=offer.project_digest or project_digest)
        offer = self.packages.placed(offer)
        proposal = checked(offer, data, self.user)
        done = self.record.releases.propose(proposal, self._clock())
        return {
            "release": done.release,
            "state": done.state,
            "created": done.created,
            "reason": done.reason,
            "why": proposal.why,
        }

    def models(self) -> list[str]:
        """Names of all models."""
        return self.record.releases.models()

    def releases(self, model: str) -> list[Json]:
        """A model's releases, the highest version first. Raises NotFoundError."""
        return with_forced(self.record, [views.release_view(row) for row in self.record.releases.of(model)])

    def release(self, ref: str) -> Json:
        """The release `model@version`. Raises NotFoundError."""
        return with_forced(self.record, [views.release_view(self.record.releases.get(ref))])[0]

    def provenance(self, ref: str) -> Json:
        """Run, code, parameters and sources of `model@version`: see `provenance`. Raises NotFoundError."""
        return provenance(self.record, ref)

    # Endpoints

    def endpoints(self) -> list[Json]:
        """All endpoints, by name."""
        return [self.endpoint(row["name"]) for row in self.record.endpoints.all()]

    def endpoint(self, name: str) -> Json:
        """What is wanted, live and tried, where it answers. Raises NotFoundError."""
        shown = views.endpoint_view(self.record.endpoints.get(name), self.record.endpoints.live(name))
        (live,) = with_forced(self.record, [{"release": shown["live"] or ""}])
        return shown | {"rollout": self.rollouts.under_way(name), "live_forced": bool(live["forced"])}

    def live(self, name: str) -> Json:
        """`{"release", "digest", "package", "base"}` live there, nulls if none is. Raises NotFoundError."""
        self.record.endpoints.get(name)
        live = self.record.endpoints.live(name)
        if live is None:
            return {"release": None, "digest": None, "package": None, "base": None}
        facts = self.record.endpoints.release(live.release)
        folders = {"package": str(facts.package), "base": str(facts.base)}
        return {"release": live.release, "digest": live.digest, **folders}

    def history(self, name: str, at: str | None = None) -> list[Json]:
        """When which release was live, the earliest first; only what held the time `at` (RFC 3339), if given.

        Raises: NotFoundError; UserError if `at` is no time.
        """
        when = None if at is None else views.parse_moment(at)
        rows = [views.interval_view(row) for row in self.record.endpoints.history(name, when)]
        return with_forced(self.record, rows)

    def feedback(self, name: str, scores: Sequence[Score]) -> Json:
        """Keep scores (0 to 1) of answers of endpoint `name`, given by whoever asks: see `Requests.feedback`.

        Raises: NotFoundError.
        """
        return self.requests.feedback(name, scores, self.user, self._clock())

    # Ledger and server

    def ledger(self, after: int = 0, limit: int | None = None) -> list[Json]:
        """Entries after number `after`, in order."""
        return [views.entry_view(entry) for entry in self.record.ledger.entries(after, limit)]

    def verify_ledger(self, kept: str = "") -> Json:
        """`{"ok", "entries", "head", "faults"}`; `faults` says which entries were changed, deleted or
        moved.

        kept: a head, `SEQ:HASH`, that the ledger must hold, beside those that releases keep. Raises:
        UserError if it is none.
        """
        faults = self.record.ledger.verify(kept)
        seq, digest = self.record.ledger.head()
        said = [vars(fault) for fault in faults]
        return {"ok": not faults, "entries": seq, "head": digest, "faults": said}

    def healthz(self) -> Json:
        """Who this is, in our words and in KFP's; touches nothing that could be slow."""
        return self.server.health()

    def status(self) -> Json:
        """The server, the active runs, the endpoints."""
        server = self.server
        return {
            "server": self.healthz()
            | {"port": server.port, "url": server.url, "listens": server.listens}
            | {"started_at": views.moment(server.started_at)},
            "runs": [views.run_summary(row) for row in self.record.runs.active()],
            "endpoints": self.endpoints(),
        }

    def shutdown(self, all: bool = False) -> Json:
        """Stop the server; with `all` also routers and runtimes. Returns at once."""
        self._shutdown(all)
        return {"stopping": True, "all": all}

    def close(self) -> None:
        """End all long polls: the server stops."""
        self._closing.set()
        self.record.changes.notify_all()

    @property
    def closing(self) -> bool:
        """Whether the server is about to stop."""
        return self._closing.is_set()

    def _asked_for(self, run: RunId) -> tuple[dict[str, Any], str]:
        """Which data a run asked for, and its project's digest; nothing if it is not on record here."""
        try:
            row = self.record.runs.get(run)
        except NotFoundError:
            return {}, ""
        return data_definition(self.record.runs.ir(run), row["parameters"] or {}), row["project_digest"]


def _unexpected(run: str, error: Exception) -> InternalError:
    return InternalError(
        f"Run {run} cannot go on: {type(error).__name__}: {error}.",
        hint="See the server's log. Please report it.",
    )
