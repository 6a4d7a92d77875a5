"""One run that another engine executes, followed: a thread from the hand-over to the last event.

The engine decides, this writes down: a look every second or so, its news as events, its logs as files where
those of runs at home are. Nothing that matters is held here: a server that is killed finds the run again by
its id, or by its name if it died between the request and the record. A run whose engine does not answer
waits for it, however long; only one that was deleted there has failed.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneline.control.remote_outputs import Found
from tuneline.errors import (
    ConflictError,
    NotFoundError,
    TransientError,
    TunelineError,
    UnauthenticatedError,
    UserError,
)
from tuneline.execute.submitted import Submitted
from tuneline.plan.engine import KUBEFLOW, Engine
from tuneline.plan.events import (
    AttemptFailed,
    CancelRequested,
    Event,
    EventSink,
    Lease,
    LeaseLost,
    RunEnded,
    RunHandedOver,
    RunRetried,
    TaskCanceled,
    TaskSkipped,
)
from tuneline.plan.handing import handed_over
from tuneline.plan.remote import (
    ENDED,
    Handed,
    Remote,
    Seen,
    SeenTask,
    State,
    known,
    newly_succeeded,
    news,
)
from tuneline.plan.schedule import ROOT, RunState
from tuneline.types import Clock, RunId

LOG = logging.getLogger("tuneline.control")

LONGEST_S = 30.0
"""Between two looks at an engine that does not answer."""
SETTLING_S = 20.0
"""How long an engine may go on telling the old end of a run that was just tried again."""


@dataclass(frozen=True)
class Around:
    """What followers share."""

    sink: EventSink
    found: Found
    clock: Clock
    look_s: float
    """Between two looks."""
    server: str
    """Where tasks elsewhere reach this server; empty: they do not."""
    released: Callable[[RunId], None]
    """Told when one has ended."""


class Follower:
    """One run that is followed."""

    def __init__(
        self,
        new: Submitted,
        lease: Lease,
        engine: Engine,
        remote: Remote,
        state: RunState,
        folder: Path,
        around: Around,
    ) -> None:
        self.run, self.remote, self.thread = new.run, remote, threading.Thread()
        self.wake, self.stopped = threading.Event(), threading.Event()
        self._new, self._lease, self._engine = new, lease, engine
        self._state, self._folder, self._around = state, folder, around
        self._id = ""
        self._told = False
        """Whether the engine was asked to end it."""
        self._settling_until = 0.0
        self._old_end: float | None = None
        """When it ended before it was tried again, by the engine."""
        self._ends: dict[str, float] = {}
        """When tasks ended badly, by the engine."""
        self._before: dict[str, float] = {}
        """The same, of those that are tried again: their old ends may be told for a while yet."""
        self._failing: str = ""
        self.thread = threading.Thread(target=self._loop, name=f"follow-{self.run}", daemon=True)

    def apply(self, event: Event, at: float) -> None:
        """Learn what is on record, and when it happened."""
        match event:
            case RunHandedOver():
                self._id = event.id
            case AttemptFailed() | TaskCanceled() | TaskSkipped():
                self._ends[event.task] = at
            case RunEnded():
                self._old_end = at
            case RunRetried():
                self._before = {path: self._ends.get(path, 0.0) for path in event.tasks}
                self._settling_until = self._around.clock() + SETTLING_S
        self._state.apply(event)

    def hand_over(self) -> None:
        """Have the engine start it, once. Raises: what the engine says."""
        if self._id:
            return
        options = self._engine.options
        spec: Mapping[str, Any] = self._new.ir  # a DAG was exported before, from the pipeline as it is
        if self._engine.kind == KUBEFLOW:
            spec = handed_over(spec, self.run, self._around.server, options.get("image", ""))
        run = Handed(self.run, self._new.title or self.run, spec, self._new.parameters, self._around.server)
        id, link = self.remote.begin(run)
        self._store([RunHandedOver(self._engine.kind, self._engine.url, id, link)], self._around.clock())

    def cancel(self, by: str) -> None:
        """Ask for its end."""
        self._store([CancelRequested(by)], self._around.clock())
        self.wake.set()

    def retry(self, by: str) -> None:
        """Have the engine try again what failed. Raises: ConflictError; what the engine says."""
        tasks = tuple(
            path
            for path, node in self._state.tasks.items()
            if path != ROOT and node.status not in ("SUCCEEDED", "CACHED")
        )
        if not self._id or not tasks:
            raise ConflictError(
                f"Run {self.run} has nothing that could be tried again.", hint="Start a new run."
            )
        self.remote.retry(self._id)
        self._store([RunRetried(by, tasks)], self._around.clock())

    def _loop(self) -> None:
        wait_s = 0.0
        try:
            while not self.stopped.is_set() and self._state.ended is None:
                self.wake.wait(wait_s)
                self.wake.clear()
                if self.stopped.is_set():
                    return
                wait_s = self._guarded(wait_s)
        except LeaseLost as error:
            LOG.warning("%s %s", error.message, error.hint)
        finally:
            self._around.released(self.run)
            self.remote.close()

    def _guarded(self, waited_s: float) -> float:
        """One look; seconds until the next."""
        longer_s = min(LONGEST_S, max(self._around.look_s, 2 * waited_s))
        try:
            self.hand_over()
            self._look()
        except LeaseLost:
            raise
        except (TransientError, UserError) as error:
            gone = isinstance(error, NotFoundError) or not self._id  # it was deleted there, or never taken
            if isinstance(error, UserError) and not isinstance(error, UnauthenticatedError) and gone:
                LOG.error("run %s: %s", self.run, error.message)
                self._store([RunEnded("FAILED", error.to_json())], self._around.clock())
                return 0.0
            if error.message != self._failing:
                LOG.warning("run %s waits: %s %s", self.run, error.message, error.hint)
            self._failing = error.message
            return longer_s
        except Exception:  # a fault of ours must not end what goes on elsewhere
            LOG.exception("run %s: looking again", self.run)
            return longer_s
        self._failing = ""
        return self._around.look_s

    def _look(self) -> None:
        if self._state.canceled_by is not None and not self._told:
            self._cancel_there()
        pipeline = self._state.context.pipeline
        seen = known(self.remote.look(self._id), pipeline)
        old = seen.state in ENDED and seen.finished_at == self._old_end
        if old and self._around.clock() < self._settling_until:
            return
        if seen.state not in ENDED:
            seen = replace(seen, tasks=tuple(task for task in seen.tasks if not self._told_before(task)))
        done = newly_succeeded(self._state, seen)
        told = self.remote.made(self._id, pipeline, done) if done else {}
        made = {
            name: self._around.found.completed(self.run, self._id, self._engine, pipeline, name, what)
            for name, what in told.items()
        }
        self._keep_logs(seen)
        for at, event in news(
            self._state, seen, made, str(self._folder), self._around.clock(), self._engine.kind
        ):
            self._store([event], at)

    def _told_before(self, task: SeenTask) -> bool:
        """Whether this is how a task ended before it was tried again."""
        ended = task.state in (State.FAILED, State.SKIPPED, State.CANCELED)
        return ended and task.name in self._before and (task.finished_at or 0.0) <= self._before[task.name]

    def _cancel_there(self) -> None:
        try:
            self.remote.cancel(self._id)
        except UserError as error:  # it has ended meanwhile, which the next look tells
            LOG.info("run %s: %s", self.run, error.message)
        self._told = True

    def _keep_logs(self, seen: Seen) -> None:
        for task in seen.tasks:
            node = self._state.tasks.get(task.name)
            if (
                node is None
                or node.status not in ("WAITING", "RUNNING")
                or task.state in (State.PENDING, State.SKIPPED)
            ):
                continue
            number = task.attempt or node.attempts + (node.status == "WAITING")
            self._keep_log(task, self._folder / task.name / str(max(1, number)) / "log.txt")

    def _keep_log(self, task: SeenTask, path: Path) -> None:
        try:
            text = self.remote.log(self._id, task)
        except TunelineError as error:  # a run goes on without; its last words may come with the next look
            if task.state is State.RUNNING or path.exists():
                return
            text = f"{self._engine.kind} has no log of this task: {error.message}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _store(self, events: Sequence[Event], at: float) -> None:
        self._around.sink.append(self._lease, events, at)
        for event in events:
            self.apply(event, at)
