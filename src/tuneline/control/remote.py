"""The runs of a home that other engines execute: handed over, taken up again after a restart, asked to end.

Each has a follower, which does the work. Limits: see `plan.remote`.
"""

import threading
import time
from collections.abc import Callable, Mapping

from tuneline.control.follower import Around, Follower
from tuneline.control.remote_outputs import Found
from tuneline.errors import ConflictError, NotFoundError, SpecError
from tuneline.execute.submitted import LOGIN, Submitted, read_secrets
from tuneline.plan.engine import Engine, engine_of
from tuneline.plan.events import EventSink, EventSource, Lease
from tuneline.plan.nodes import Context
from tuneline.plan.parameters import root_values
from tuneline.plan.remote import Remote
from tuneline.plan.schedule import RunState
from tuneline.plan.secrets import split
from tuneline.settings import Settings
from tuneline.types import Clock, RunId
from tuneline_ir import parse

LOOK_S = 1.0
"""Between two looks."""
STOP_S = 2.0
"""How long a follower that waits for an answer is waited for when the server stops."""

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
        self._source, self._settings, self._open = source, settings, open
        self._around = Around(sink, found, clock, look_s, settings.public_url, self._released)
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

    def _load(self, new: Submitted, lease: Lease) -> Follower:
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
        follower = Follower(new, lease, engine, remote, state, folder, self._around)
        for stored in self._source.events(new.run):
            follower.apply(stored.event, stored.at)
        return follower

    def _follow(self, follower: Follower) -> None:
        with self._lock:
            self._followers[follower.run] = follower
        follower.thread.start()

    def _released(self, run: RunId) -> None:
        with self._lock:
            self._followers.pop(run, None)
