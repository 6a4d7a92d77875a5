"""The local runner: one thread in the server's process that executes runs as child processes.

How to use it (all methods may be called from any thread; none of them waits for a task):

    runner = Runner(sink, source, cache, settings, server_url="http://127.0.0.1:8080")
    runner.start_thread()
    runner.start(submitted, lease)    # new, or left by a server that died: its events say which
    runner.cancel(run_id, by="ann")
    runner.retry(submitted, lease, by="ann")
    runner.stop()    # tasks live on under their shims; the next runner's `start` adopts them

On a restart call `start` with a fresh lease for every run that has not ended; nothing else recovers a run.

The thread sleeps in a selector: a shim's end (pidfd), a call from outside, a retry that is due, or the
half-second in which progress is read wake it. Digesting outputs is done beside it. Limits: one machine.
"""

import logging
import os
import selectors
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tuneline.errors import ConflictError, NotFoundError
from tuneline.execute.active import RECORD_RETRY_S, ActiveRun
from tuneline.execute.attempts import GRACE_S, Attempt, Conclusion, Host, conclude
from tuneline.execute.calls import Calls
from tuneline.execute.environment import of_tasks
from tuneline.execute.images import Images, MachineImages
from tuneline.execute.keeping import Keeping
from tuneline.execute.stores import Stores
from tuneline.execute.submitted import Submitted
from tuneline.plan.events import Cache, Event, EventSink, EventSource, Lease, LeaseLost
from tuneline.settings import Settings
from tuneline.types import Clock, RunId
from tuneline_ir import Status

_log = logging.getLogger(__name__)

_TICK_S = 0.5
"""How often progress of running tasks is read."""
_POLL_S = 0.05
"""How often ends are looked for where the system has no pidfds."""
_STUCK_S = 2 * GRACE_S
"""After so long a shim that was asked to end is killed, and its task's processes with it."""


class Runner:
    """Executes runs. `settings.task_slots` tasks of all runs at once."""

    def __init__(
        self,
        sink: EventSink,
        source: EventSource,
        cache: Cache,
        settings: Settings,
        *,
        server_url: str = "",
        env: Mapping[str, str] | None = None,
        images: Images | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._sink = sink
        self._source = source
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._host = Host(of_tasks(os.environ if env is None else env, settings, server_url), settings)
        self._images: Images = images or MachineImages(settings, self._host.env)
        self._keeping = Keeping(Stores(settings.copies)).at(settings.artifacts)
        self._runs: OrderedDict[RunId, ActiveRun] = OrderedDict()
        self._held = threading.Condition()
        """Guards `_names`: the runs that are held, for callers from other threads."""
        self._names: set[RunId] = set()
        self._calls = Calls()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="conclude")
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._calls.fd, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start_thread(self) -> None:
        """Start to work. Runs may be given before or after."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of all runs. Their tasks go on; a later runner adopts them."""
        self._calls.put(self._end)
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown()
        self._selector.close()
        self._calls.close()

    def start(self, new: Submitted, lease: Lease) -> None:
        """Take a run up, new or left by a server that died: its events say which.

        Raises: SpecError if pipeline or parameters cannot be run (nothing of it ran); ConflictError if it is
        held.
        """
        active = self._load(new, lease)
        self._take(active, active.opening())

    def retry(self, new: Submitted, lease: Lease, by: str) -> None:
        """Let an ended run go on from what did not succeed.

        Raises: ConflictError if it has not ended or succeeded; SpecError as `start` does.
        """
        active = self._load(new, lease)
        self._take(active, active.retried(by))

    def cancel(self, run: RunId, by: str) -> None:
        """Ask a run to end; its tasks are stopped. Raises: NotFoundError if this runner does not hold it."""
        with self._held:
            if run not in self._names:
                raise NotFoundError(f"Run {run} is not under way.", hint="See `tuneline runs list`.")
        self._calls.put(lambda: self._cancel(run, by))

    def idle(self) -> bool:
        """Whether no run is under way."""
        with self._held:
            return not self._names

    def wait(self, timeout_s: float, run: RunId | None = None) -> bool:
        """Wait until a run (None: every run) is not under way any more. Returns whether that came."""
        with self._held:
            over = (lambda: not self._names) if run is None else (lambda: run not in self._names)
            return self._held.wait_for(over, timeout_s)

    def _load(self, new: Submitted, lease: Lease) -> ActiveRun:
        with self._held:
            _refuse(new.run, self._names)
        folder = self._settings.runs / new.run
        return ActiveRun.load(new, lease, folder, self._images, self._source, self._keeping)

    def _take(self, active: ActiveRun, events: list[Event]) -> None:
        with self._held:
            _refuse(active.id, self._names)  # two may have been loaded at once
            self._names.add(active.id)
        self._calls.put(lambda: self._open(active, events))

    # What follows runs in the thread.

    def _loop(self) -> None:
        tails_at = 0.0
        while not self._stopping:
            ready = self._selector.select(self._timeout())
            for call in self._calls.take():
                _calmly(call)
            for key, _ in ready:
                if key.data is not None:
                    self._guarded(key.data[0], self._gone, *key.data)
            for active in list(self._runs.values()):
                for attempt in [a for a in active.attempts.values() if a.unwatched]:
                    self._guarded(active, self._gone, active, attempt)
                self._guarded(active, self._step, active)
            if self._clock() >= tails_at or self._clock() < tails_at - 2 * _TICK_S:
                tails_at = self._clock() + _TICK_S
                _calmly(self._tick)

    def _timeout(self) -> float | None:
        now, times = self._clock(), [_TICK_S] if any(run.attempts for run in self._runs.values()) else []
        for run in self._runs.values():
            if run.not_before > now:
                times.append(run.not_before - now)
            elif run.wake_at is not None:
                times.append(max(0.0, run.wake_at - now))
            if any(attempt.unwatched for attempt in run.attempts.values()):
                times.append(_POLL_S)
        return min(times, default=None)

    def _guarded(self, active: ActiveRun, work: Callable[..., object], *args: Any) -> None:
        """One run's trouble is not the other runs'."""
        try:
            work(*args)
        except LeaseLost as error:
            _log.warning("%s %s", error.message, error.hint)
            self._release(active)
        except Exception:
            _log.exception("Run %s met an unexpected error; going on in %g s.", active.id, RECORD_RETRY_S)
            active.not_before = self._clock() + RECORD_RETRY_S

    def _open(self, active: ActiveRun, events: list[Event]) -> None:
        self._runs[active.id] = active
        self._guarded(active, self._opened, active, events)

    def _opened(self, active: ActiveRun, events: list[Event]) -> None:
        active.store(events, self._sink, self._clock())

    def _watch(self, active: ActiveRun, attempt: Attempt) -> None:
        process = attempt.process
        if process is None:
            self._conclude(active, attempt)
        elif process.fd is not None:
            self._selector.register(process.fd, selectors.EVENT_READ, (active, attempt))

    def _cancel(self, run: RunId, by: str) -> None:
        active = self._runs.get(run)
        if active is not None:
            self._guarded(active, lambda: active.store(active.cancel(by), self._sink, self._clock()))

    def _step(self, active: ActiveRun) -> None:
        """Bring a run as far as it goes now."""
        now = self._clock()
        if now < active.not_before or (active.not_before and not active.store((), self._sink, now)):
            return
        if not active.adopted:
            for attempt in active.adopt():
                self._watch(active, attempt)
        free = self._settings.task_slots - sum(len(run.attempts) for run in self._runs.values())
        for attempt in active.start(free, now, self._host, self._cache, self._sink):
            self._watch(active, attempt)
        self._drop_spent(active)
        if active.attempts:
            self._runs.move_to_end(active.id)  # the next free slot is another run's
        for attempt in active.stopping():
            if attempt.stop_at is None and attempt.process is not None:
                attempt.stop_at = now
                attempt.process.stop()
        if active.state.ended:
            self._release(active)

    def _gone(self, active: ActiveRun, attempt: Attempt) -> None:
        """A shim has ended."""
        process = attempt.process
        if attempt.concluding or process is None or not process.ended():
            return
        if process.fd is not None:
            self._selector.unregister(process.fd)
        process.close()
        self._conclude(active, attempt)

    def _conclude(self, active: ActiveRun, attempt: Attempt) -> None:
        attempt.concluding = True
        self._read_progress(active, attempt)
        done = self._pool.submit(conclude, attempt, active.keeping)
        done.add_done_callback(
            lambda future: self._calls.put(lambda: self._concluded(active, attempt, future))
        )

    def _concluded(self, active: ActiveRun, attempt: Attempt, future: Future[Conclusion]) -> None:
        name = attempt.job.path
        if self._runs.get(active.id) is not active or active.attempts.get(name) is not attempt:
            return
        if future.exception() is not None:
            _log.error("Attempt %s could not be concluded.", attempt.folder.path, exc_info=future.exception())
            conclusion = Conclusion(
                error={"code": "internal", "message": str(future.exception()), "retry": False}
            )
        else:
            conclusion = future.result()
        del active.attempts[name]
        now = self._clock()
        self._guarded(active, lambda: active.note(active.ended(attempt, conclusion, now), now))
        if active.state.tasks[name].status is Status.SUCCEEDED:
            active.spent.append(attempt.folder.state)

    def _drop_spent(self, active: ActiveRun) -> None:
        if not active.noted:
            for folder in active.spent:
                self._pool.submit(shutil.rmtree, folder, ignore_errors=True)
            active.spent.clear()

    def _tick(self) -> None:
        now = self._clock()
        for active in list(self._runs.values()):
            for attempt in list(active.attempts.values()):
                if attempt.concluding or attempt.process is None:
                    continue
                self._read_progress(active, attempt)
                if attempt.stop_at is not None and now > attempt.stop_at + _STUCK_S:
                    attempt.process.kill()

    def _read_progress(self, active: ActiveRun, attempt: Attempt) -> None:
        try:
            points = attempt.tail.read()
            if not points:
                return
            stamped = [{"attempt": attempt.number, **point} for point in points]
            self._sink.series(active.id, attempt.job.path, stamped)
        except Exception:  # curves are no events: the run goes on without, and they are read again
            _log.warning("Progress of %s could not be stored.", attempt.folder.path, exc_info=True)
        else:
            attempt.tail.done()

    def _release(self, active: ActiveRun) -> None:
        """Let go of a run. Attempts that are still under way go on; whoever holds the run adopts them."""
        self._runs.pop(active.id, None)
        for attempt in active.attempts.values():
            if attempt.process is not None and attempt.process.fd is not None:
                self._selector.unregister(attempt.process.fd)
                attempt.process.close()
        with self._held:
            self._names.discard(active.id)
            self._held.notify_all()

    def _end(self) -> None:
        self._stopping = True
        for active in list(self._runs.values()):
            self._release(active)


def _calmly(work: Callable[[], object]) -> None:
    """The thread outlives whatever one call met: it is that of all runs."""
    try:
        work()
    except Exception:
        _log.exception("The runner met an unexpected error and goes on.")


def _refuse(run: RunId, held: Container[RunId]) -> None:
    if run in held:
        raise ConflictError(f"Run {run} is under way.", hint="Wait for it, or cancel it first.")
