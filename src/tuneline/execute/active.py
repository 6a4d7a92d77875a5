"""One run under way: its state, its attempts, and the way from a decision to events and processes.

Used by the runner's thread only. Every change goes one way: decide, store the events, then act on them. If
storing fails, nothing was done: the events wait in `unsent` and are stored first when the record works again.
Only the end of an attempt counts at once (`note`): it is a fact, whose exit status lies in a file, and is
stored in one transaction with what is decided from it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.errors import ConflictError, InternalError, SpecError, TunelineError
from tuneline.execute.attempts import Attempt, Conclusion, Host, adopt, begin
from tuneline.execute.files import MISSING, size_of
from tuneline.execute.images import Images, allowed, check_images
from tuneline.execute.jobs import Job, job_of
from tuneline.execute.keeping import Keeping
from tuneline.execute.submitted import Submitted, check_secrets, names_of, read_secrets
from tuneline.plan.decisions import decide, to_retry, unfit
from tuneline.plan.events import (
    DEADLINE,
    AttemptFailed,
    Cache,
    CancelRequested,
    Event,
    EventSink,
    EventSource,
    Lease,
    LeaseLost,
    Outputs,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskCanceled,
    TaskSucceeded,
)
from tuneline.plan.nodes import Context
from tuneline.plan.parameters import root_values
from tuneline.plan.retries import after_failure
from tuneline.plan.reuse import Earlier, definitions, earlier
from tuneline.plan.schedule import RunState
from tuneline.plan.secrets import Masker
from tuneline.types import Digest, RunId
from tuneline_ir import IRError, final_states, parse

_log = logging.getLogger(__name__)

RECORD_RETRY_S = 2.0
"""How long a run waits after its events could not be stored."""


class ActiveRun:
    """One run. Build it with `load`."""

    keeping: Keeping
    """Where its artifacts go."""
    images: Images
    """What its containers' images mean."""

    def __init__(
        self, run: RunId, context: Context, lease: Lease, folder: Path, secrets: Mapping[str, Any]
    ) -> None:
        self.id = run
        self.lease = lease
        self.folder = folder
        self.masker = Masker(secrets.values())
        self.state = RunState.new(context)
        self.attempts: dict[str, Attempt] = {}
        self.noted: list[Event] = []
        """Facts that the state has passed and the record has not."""
        self.spent: list[Path] = []
        """Checkpoints that are of no more use once what was noted is on record."""
        self.unsent: list[Event] = []
        self.not_before = 0.0
        """Nothing is stored or started before: the record did not work."""
        self.earlier: dict[str, Earlier] = {}
        """What the run that this one retries has done, by path."""
        self.definitions: dict[str, Digest] = {}
        self.retries = RunId("")
        self.began = 0.0
        """When it started, or was last retried."""
        self.adopted = False
        """Whether attempts of an earlier runner were taken up."""

    @classmethod
    def load(
        cls,
        new: Submitted,
        lease: Lease,
        folder: Path,
        images: Images,
        source: EventSource,
        keeping: Keeping,
    ) -> "ActiveRun":
        """A run with all its events replayed. Raises: SpecError with every fault; SettingError (its root)."""
        keeping = keeping.at(new.root)
        new = replace(new, root=keeping.root)
        try:
            pipeline = parse(new.ir)
        except IRError as error:
            raise SpecError("The pipeline cannot be run.", details=list(error.faults)) from error
        secrets = read_secrets(folder)
        check_secrets(new, secrets)
        values = root_values(pipeline, {**new.parameters, **secrets})
        context = Context(
            pipeline, values, names_of(new, pipeline, folder), final_states(pipeline.sdk_version)
        )
        self = cls(new.run, context, lease, folder, secrets)
        self.images, self.keeping = allowed(images, new.images), keeping
        for stored in source.events(new.run):
            self._apply(stored.event, stored.at)
        if not self.state.started or self.state.ended:  # one under way goes on; its tasks may fail
            check_images(pipeline, self.images)
        if new.retries is not None:
            self._take_over(new, {**new.parameters, **secrets}, source)
        return self

    def _take_over(self, new: Submitted, given: Mapping[str, Any], source: EventSource) -> None:
        """Learn what the run that this one retries with a changed pipeline has done."""
        assert new.retries is not None
        try:
            pipeline = parse(new.retries_ir)
            values = root_values(pipeline, given)  # its own defaults: the changed pipeline's may be others
        except (IRError, SpecError):  # by an earlier version, which read less
            return
        events = [stored.event for stored in source.events(new.retries)]
        context = replace(self.state.context, pipeline=pipeline, parameters=values)
        self.definitions = definitions(new.ir)
        self.earlier = earlier(context, new.retries_ir, events)
        self.retries = new.retries

    def opening(self) -> list[Event]:
        """What is to be stored first."""
        return [] if self.state.started else [RunStarted()]

    def retried(self, by: str) -> list[Event]:
        """What makes an ended run go on. Raises: ConflictError if it cannot."""
        if self.state.ended is None:
            raise ConflictError(f"Run {self.id} has not ended.", hint="Wait for it, or cancel it first.")
        tasks = to_retry(self.state)
        if not tasks:
            raise ConflictError(
                f"Run {self.id} succeeded; there is nothing to retry.", hint="Start a new run."
            )
        return [RunRetried(by, tasks)]

    def adopt(self) -> list[Attempt]:
        """Take up the attempts that are under way on record."""
        jobs = {name: self._job(name, under_way=True) for name in self.state.running}
        for name, job in jobs.items():
            started = self.state.tasks[name].started
            assert started is not None
            self.attempts[name] = adopt(job, started)
        self.adopted = True
        return list(self.attempts.values())

    def store(self, events: Sequence[Event], sink: EventSink, now: float) -> bool:
        """Store events after those that wait, and bring the state past them. False: they wait.

        Raises: LeaseLost, if another scheduler holds the run.
        """
        self.unsent.extend(events)
        if not self.noted and not self.unsent:
            return True
        try:
            sink.append(self.lease, [*self.noted, *self.unsent], now)
        except LeaseLost:
            raise
        except (
            Exception
        ):  # a full disk, a locked database: whatever it is, the run goes on when it works again
            _log.exception(
                "Events of run %s could not be stored; trying again in %g s.", self.id, RECORD_RETRY_S
            )
            self.not_before = now + RECORD_RETRY_S
            return False
        self.not_before = 0.0
        self.noted.clear()
        done, self.unsent = self.unsent, []
        for event in done:
            self._apply(event, now)
        return True

    def note(self, event: Event, now: float) -> None:
        """Bring the state past a fact; the next `store` puts it on record."""
        self._apply(event, now)
        self.noted.append(event)

    def start(
        self,
        slots: int,
        now: float,
        host: Host,
        cache: Cache,
        sink: EventSink,
    ) -> list[Attempt]:
        """Decide, and begin attempts for at most `slots` tasks. Returns those that run now.

        Raises: LeaseLost.
        """
        started: list[Attempt] = []
        late = self._too_late(now)
        if late and not self.store(late, sink, now):
            return started
        while True:
            self.state.advance(now)
            decision = decide(self.state, slots - len(started), now, self.masker)
            if decision.start:  # an attempt begins by clearing its folder, which may be another scheduler's
                sink.check(self.lease)
            begun, more = self._begin_all(decision.start, now, host, cache)
            events = [*decision.events, *more]
            if not events:
                self.store((), sink, now)
                return started
            if not self._commit(events, begun, sink, now):
                return started
            started.extend(begun)

    @property
    def wake_at(self) -> float | None:
        """When something is due though nothing happens: a retry, or the end of the run's time."""
        due = [self.state.delayed[0][0]] if self.state.delayed else []
        if self.state.context.deadline_s and self.state.canceled_by is None:
            due.append(self.began + self.state.context.deadline_s)
        return min(due, default=None)

    def _apply(self, event: Event, at: float) -> None:
        self.state.apply(event)
        if isinstance(event, RunStarted | RunRetried):
            self.began = at

    def _too_late(self, now: float) -> Sequence[Event]:
        limit_s = self.state.context.deadline_s
        late = limit_s and self.state.started and now >= self.began + limit_s
        return self.cancel(DEADLINE) if late else ()

    def stopping(self) -> Sequence[Attempt]:
        """Attempts to end, because the run was canceled."""
        if self.state.canceled_by is None or self.state.ended:
            return []
        return [self.attempts[name] for name in self.state.running if name in self.attempts]

    def ended(self, attempt: Attempt, conclusion: Conclusion, now: float) -> Event:
        """The event for an attempt's end."""
        name = attempt.job.path
        if conclusion.outputs is not None:
            return TaskSucceeded(name, attempt.number, conclusion.outputs, attempt.key)
        if self.state.canceled_by is not None:
            return TaskCanceled(name, attempt.number)
        task, policy = self.state.tasks[name], attempt.job.task.retry
        retry_at = after_failure(policy, task, conclusion.error, now, lost=conclusion.lost)
        error = self.masker.value(conclusion.error)  # it may quote the task's log
        return AttemptFailed(name, attempt.number, conclusion.exit_code, error, conclusion.lost, retry_at)

    def cancel(self, by: str) -> list[Event]:
        """What asks for the end."""
        return [] if self.state.canceled_by is not None or self.state.ended else [CancelRequested(by)]

    def _commit(self, events: list[Event], begun: list[Attempt], sink: EventSink, now: float) -> bool:
        try:
            stored = self.store(events, sink, now)
        except LeaseLost:
            _forget(begun)
            raise
        if not stored:
            # Nothing was decided for good: the shims go, and the same is decided again when the record works.
            self.unsent.clear()
            _forget(begun)
            return False
        for attempt in begun:
            self.attempts[attempt.job.path] = attempt
            assert attempt.process is not None
            attempt.process.go()
        return True

    def _begin_all(
        self, names: Sequence[str], now: float, host: Host, cache: Cache
    ) -> tuple[list[Attempt], list[Event]]:
        begun: list[Attempt] = []
        events: list[Event] = []
        for name in names:
            try:
                result = self._begin(name, now, host, cache)
            except Exception:  # the record does not work: the same is decided again when it does
                _forget(begun)
                raise
            if isinstance(result, Attempt):
                begun.append(result)
            events.append(result.started() if isinstance(result, Attempt) else result)
        return begun, events

    def _begin(self, name: str, now: float, host: Host, cache: Cache) -> Attempt | Event:
        number = self.state.tasks[name].attempts + 1
        try:
            job = self._job(name)
            key = job.key
        except Exception as error:  # a run must end, whatever is wrong with one task
            return self._broken(name, number, error)
        # if the record does not work, that is no failure of the task
        hit = self._unchanged(job) or _hit(job, key, cache)
        if hit is not None:
            return hit
        try:
            return begin(job, number, key, host, self.keeping)
        except Exception as error:
            return self._broken(name, number, error)

    def _unchanged(self, job: Job) -> TaskCached | None:
        """What is taken over from the run that this one retries; an importer looks again."""
        if job.importer is not None:
            return None
        found = self.earlier.get(job.path)
        same = found is not None and found.definition == self.definitions.get(job.component.name)
        if found is None or not same or found.read != job.read or not _still_there(found.outputs, job.path):
            return None
        return TaskCached(job.path, found.outputs, found.cache_key, self.retries, job.path, job.read)

    def _broken(self, name: str, number: int, error: Exception) -> AttemptFailed:
        if isinstance(error, TunelineError):
            return AttemptFailed(name, number, None, self.masker.value(error.to_json()))
        if isinstance(error, ValueError):
            return unfit(self.state.tasks[name], error, self.masker)
        _log.error("Task %s of run %s could not be started.", name, self.id, exc_info=error)
        broken = InternalError(f"Task `{name}` could not be started: {error}.", hint="See the server's log.")
        return AttemptFailed(name, number, None, self.masker.value(broken.to_json()))

    def _job(self, name: str, *, under_way: bool = False) -> Job:
        return job_of(self.state, name, self.id, self.images, self.folder, self.masker, under_way=under_way)


def _hit(job: Job, key: str | None, cache: Cache) -> TaskCached | None:
    found = cache.find(key) if key is not None else None
    if found is None or key is None:
        return None
    if not _still_there(found.outputs, job.path):
        return None
    return TaskCached(job.path, found.outputs, key, found.run, found.task, job.read)


def _still_there(outputs: Outputs, task: str) -> bool:
    for ref in (ref for refs in outputs.artifacts.values() for ref in refs):
        here = Path(ref.custom_path or ref.uri)
        if ref.digest != MISSING and "://" not in ref.uri and size_of(here) != ref.size_bytes:
            _log.warning("Task %s runs again: %s, which it had put out, is gone or was changed.", task, here)
            return False
    return True


def _forget(begun: Sequence[Attempt]) -> None:
    for attempt in begun:
        if attempt.process is not None:
            attempt.process.close()
