"""Runs that another engine executes, followed: a thread each, from the hand-over to the last event.

The engine decides, this writes down: a look every second or so, its news as events, its logs as files where
those of runs at home are. Nothing that matters is held here: a server that is killed finds the run again by
its id, or by its name if it died between the request and the record. A run whose engine does not answer
waits for it, however long. Limits: see `plan.remote`.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tuneline.control.remote_outputs import Found
from tuneline.errors import (
    ConflictError,
    NotFoundError,
    SpecError,
    TransientError,
    TunelineError,
    UnauthenticatedError,
    UserError,
)
from tuneline.execute.submitted import LOGIN, Submitted, read_secrets
from tuneline.plan.events import (
    CancelRequested,
    Event,
    EventSink,
    EventSource,
    Lease,
    LeaseLost,
    RunEnded,
    RunHandedOver,
    RunRetried,
)
from tuneline.plan.handing import handed_over
from tuneline.plan.nodes import GOOD, Context
from tuneline.plan.parameters import root_values
from tuneline.plan.remote import (
    ENDED,
    Engine,
    Handed,
    Remote,
    Seen,
    SeenTask,
    State,
    engine_of,
    known,
    newly_succeeded,
    news,
)
from tuneline.plan.schedule import ROOT, RunState
from tuneline.plan.secrets import split
from tuneline.settings import Settings
from tuneline.types import Clock, RunId
from tuneline_ir import parse

LOG = logging.getLogger("tuneline.control")

LOOK_S = 1.0
"""Between two looks."""
LONGEST_S = 30.0
"""Between two looks at an engine that does not answer."""
STOP_S = 2.0
SETTLING_S = 20.0
"""How long an engine may go on telling the old end of a run that was just tried again."""

Open = Callable[[Engine, Mapping[str, str]], Remote]
"""The API of an engine, for who has this login: `token`, or `user` and `password`."""


class RemoteRuns:
    """The runs of one home that other engines execute; see `actions.ports.Runs`. Thread-safe."""

    def __init__(
        self,
        sink: EventSink,
        source: EventSource,
        settings: Settings,
        open: Open,
        found: Found,
        *,
        look_s: float = LOOK_S,
        clock: Clock = time.time,
    ) -> None:
        self._sink, self._source, self._settings = sink, source, settings
        self._open, self._found, self._look_s, self._clock = open, found, look_s, clock
        self._lock = threading.Lock()
        self._followers: dict[RunId, Follower] = {}

    def start(self, new: Submitted, lease: Lease) -> None:
        """Hand a run over, or go on following it. Returns when the engine has it.

        Raises: SpecError, SettingError, or what the engine says, if it does not take a new run. One that an
        earlier server left is followed whatever the engine says now.
        """
        follower = self._load(new, lease)
        if lease.token == 1:  # nobody held it before
            try:
                follower.hand_over()
            except BaseException:
                follower.remote.close()
                raise
        self._follow(follower)

    def cancel(self, run: RunId, by: str) -> None:
        """See Runs. Raises: NotFoundError if it is not followed here."""
        with self._lock:
            follower = self._followers.get(run)
        if follower is None:
            raise NotFoundError(f"Run {run} is not under way.", hint="See `tuneline runs list`.")
        follower.cancel(by)

    def retry(self, new: Submitted, lease: Lease, by: str) -> None:
        """See Runs: the engine tries again what failed. Raises: ConflictError, or what the engine says."""
        follower = self._load(new, lease)
        try:
            follower.retry(by)
        except BaseException:
            follower.remote.close()
            raise
        self._follow(follower)

    def holds(self, run: RunId) -> bool:
        """Whether the run is followed here."""
        with self._lock:
            return run in self._followers

    def stop(self) -> None:
        """Follow nothing more. The runs go on where they are."""
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            follower.stopped.set()
            follower.wake.set()
        for follower in followers:
            follower.thread.join(STOP_S)  # one may wait for an engine's answer, which is lost then

    def _load(self, new: Submitted, lease: Lease) -> "Follower":
        if self.holds(new.run):
            raise ConflictError(f"Run {new.run} is under way.", hint="Wait for it, or cancel it first.")
        engine, folder = engine_of(new.runner or {}), self._settings.runs / new.run
        hidden = sorted(split(new.parameters)[1]) or [
            key for key, value in new.parameters.items() if value == "***"
        ]
        if hidden:
            raise SpecError(
                f"The parameter `{hidden[0]}` is a secret, and {engine.kind} would record it in the clear.",
                hint="Give tasks secrets of the cluster: `kubernetes.use_secret_as_env`, or `on.kubernetes`.",
            )
        pipeline = parse(new.ir)
        state = RunState.new(Context(pipeline, root_values(pipeline, new.parameters)))
        remote = self._open(engine, read_secrets(folder, LOGIN))
        follower = Follower(new, lease, engine, remote, state, folder, self)
        for stored in self._source.events(new.run):
            follower.apply(stored.event)
        return follower

    def _follow(self, follower: "Follower") -> None:
        with self._lock:
            self._followers[follower.run] = follower
        follower.thread.start()

    def released(self, follower: "Follower") -> None:
        """A follower has ended."""
        with self._lock:
            self._followers.pop(follower.run, None)

    def store(self, lease: Lease, events: Sequence[Event], at: float) -> None:
        """Write events of one moment."""
        self._sink.append(lease, events, at)

    @property
    def look_s(self) -> float:
        """Between two looks."""
        return self._look_s

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    @property
    def found(self) -> Found:
        """What completes what an engine tells of outputs."""
        return self._found

    @property
    def server(self) -> str:
        """Where tasks elsewhere reach this server; empty: they do not."""
        return self._settings.public_url


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
        owner: RemoteRuns,
    ) -> None:
        self.run, self.remote, self.thread = new.run, remote, threading.Thread()
        self.wake, self.stopped = threading.Event(), threading.Event()
        self._new, self._lease, self._engine = new, lease, engine
        self._state, self._folder, self._owner = state, folder, owner
        self._id = ""
        self._told = False
        """Whether the engine was asked to end it."""
        self._settling_until = 0.0
        self._old_end: float | None = None
        """When it ended before it was tried again, by the engine."""
        self._failing: str = ""
        self.thread = threading.Thread(target=self._loop, name=f"follow-{self.run}", daemon=True)

    def apply(self, event: Event) -> None:
        """Learn what is on record."""
        if isinstance(event, RunHandedOver):
            self._id = event.id
        self._state.apply(event)

    def hand_over(self) -> None:
        """Have the engine start it, once. Raises: what the engine says."""
        if self._id:
            return
        options = self._engine.options
        spec = handed_over(self._new.ir, self.run, self._owner.server, options.get("image", ""))
        run = Handed(self.run, self._new.title or self.run, spec, self._new.parameters, self._owner.server)
        id, link = self.remote.begin(run)
        self._store([RunHandedOver(self._engine.kind, self._engine.url, id, link)], self._owner.now)

    def cancel(self, by: str) -> None:
        """Ask for its end."""
        self._store([CancelRequested(by)], self._owner.now)
        self.wake.set()

    def retry(self, by: str) -> None:
        """Have the engine try again what failed. Raises: ConflictError; what the engine says."""
        tasks = tuple(
            path for path, node in self._state.tasks.items() if path != ROOT and node.status not in GOOD
        )
        if not self._id or not tasks:
            raise ConflictError(
                f"Run {self.run} has nothing that could be tried again.", hint="Start a new run."
            )
        self._old_end = self.remote.look(self._id).finished_at
        self.remote.retry(self._id)
        self._settling_until = self._owner.now + SETTLING_S
        self._store([RunRetried(by, tasks)], self._owner.now)

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
            self._owner.released(self)
            self.remote.close()

    def _guarded(self, waited_s: float) -> float:
        """One look; seconds until the next."""
        longer_s = min(LONGEST_S, max(self._owner.look_s, 2 * waited_s))
        try:
            self.hand_over()
            self._look()
        except LeaseLost:
            raise
        except (TransientError, UnauthenticatedError) as error:
            if error.message != self._failing:
                LOG.warning("run %s waits: %s %s", self.run, error.message, error.hint)
            self._failing = error.message
            return longer_s
        except UserError as error:  # it was deleted there, or never taken
            LOG.error("run %s: %s", self.run, error.message)
            self._store([RunEnded("FAILED", error.to_json())], self._owner.now)
        except Exception:  # a fault of ours must not end what goes on elsewhere
            LOG.exception("run %s: looking again", self.run)
            return longer_s
        self._failing = ""
        return self._owner.look_s

    def _look(self) -> None:
        if self._state.canceled_by is not None and not self._told:
            self._cancel_there()
        pipeline = self._state.context.pipeline
        seen = known(self.remote.look(self._id), pipeline)
        old = seen.state in ENDED and seen.finished_at == self._old_end
        if old and self._owner.now < self._settling_until:
            return
        done = newly_succeeded(self._state, seen)
        told = self.remote.made(self._id, pipeline, done) if done else {}
        made = {
            name: self._owner.found.completed(self.run, self._id, self._engine, pipeline, name, what)
            for name, what in told.items()
        }
        self._keep_logs(seen)
        for at, event in news(self._state, seen, made, str(self._folder), self._owner.now, self._engine.kind):
            self._store([event], at)

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
        self._owner.store(self._lease, events, at)
        for event in events:
            self.apply(event)
