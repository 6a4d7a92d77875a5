"""A run's state, folded from its events, and what comes next: which tasks start, are tried again, are
skipped.

The fold keeps counts of unmet needs and a ready queue, so an event costs what it changes and a run of 5,000
tasks is no rescan of 5,000. Limits: one flat graph; clock and slots are arguments; nothing here starts or
stores anything. `RunState.apply` changes the state in place; `fold` is the same as a pure function.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from itertools import islice
from typing import Any

from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    Event,
    Outputs,
    RunEnded,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskCanceled,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline_ir import Pipeline, RetryPolicy


class Status(StrEnum):
    """Of a task. A task that waits for its next attempt is WAITING."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CACHED = "CACHED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


GOOD = (Status.SUCCEEDED, Status.CACHED)
OPEN = (Status.WAITING, Status.RUNNING)


@dataclass(frozen=True)
class Plan:
    """What the schedule needs of a pipeline."""

    needs: Mapping[str, tuple[str, ...]]
    """By task, in the order tasks are started in."""
    dependents: Mapping[str, tuple[str, ...]]
    retry: Mapping[str, RetryPolicy]

    @classmethod
    def of(cls, pipeline: Pipeline) -> "Plan":
        """The plan of a checked pipeline."""
        dependents: dict[str, list[str]] = {name: [] for name in pipeline.tasks}
        for name, task in pipeline.tasks.items():
            for upstream in task.needs:
                dependents[upstream].append(name)
        return cls(
            {name: task.needs for name, task in pipeline.tasks.items()},
            {name: tuple(found) for name, found in dependents.items()},
            {name: task.retry for name, task in pipeline.tasks.items()},
        )


@dataclass(slots=True)
class TaskState:
    """Where a task stands."""

    status: Status = Status.WAITING
    attempts: int = 0
    """Started so far, lost ones and those before a retry of the run included: the next has number `attempts +
    1`."""
    failures: int = 0
    """Attempts that used up a retry."""
    lost: int = 0
    not_before: float = 0.0
    outputs: Outputs = field(default_factory=Outputs)
    error: Mapping[str, Any] | None = None
    started: AttemptStarted | None = None
    """The attempt under way, while RUNNING."""


@dataclass
class RunState:
    """Where a run stands. Built by `fold`; brought further by `apply`."""

    plan: Plan
    tasks: dict[str, TaskState]
    unmet: dict[str, int]
    ready: OrderedDict[str, None]
    """WAITING tasks whose needs are met and whose time has come, in the order they became so."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    """A heap of tasks that wait for their next attempt, by time; entries of closed tasks are passed over."""
    running: OrderedDict[str, None] = field(default_factory=OrderedDict)
    doomed: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """WAITING tasks that cannot run any more, with the task that is to blame."""
    open: int = 0
    """Tasks that are WAITING or RUNNING."""
    failed: OrderedDict[str, None] = field(default_factory=OrderedDict)
    started: bool = False
    canceled_by: str | None = None
    ended: RunEnded | None = None

    @classmethod
    def new(cls, plan: Plan) -> "RunState":
        """A run nothing happened in yet."""
        unmet = {name: len(needs) for name, needs in plan.needs.items()}
        ready = OrderedDict((name, None) for name, count in unmet.items() if count == 0)
        return cls(plan, {name: TaskState() for name in plan.needs}, unmet, ready, open=len(unmet))

    def apply(self, event: Event) -> None:
        """Bring the state past one more event. Its cost is that of the tasks the event touches."""
        match event:
            case RunStarted():
                self.started = True
            case AttemptStarted():
                self._start(event)
            case AttemptFailed():
                self._fail(event)
            case TaskSucceeded():
                self._close(event.task, Status.SUCCEEDED, outputs=event.outputs)
            case TaskCached():
                self._close(event.task, Status.CACHED, outputs=event.outputs)
            case TaskSkipped():
                self._close(event.task, Status.SKIPPED)
            case TaskCanceled():
                self._close(event.task, Status.CANCELED)
            case CancelRequested():
                self.canceled_by = event.by
            case RunRetried():
                self._retry(event.tasks)
            case RunEnded():
                self.ended = event

    def advance(self, now: float) -> None:
        """Make the tasks ready whose next attempt is due at `now`."""
        while self.delayed and self.delayed[0][0] <= now:
            due, name = heappop(self.delayed)
            task = self.tasks[name]
            if task.status is Status.WAITING and task.not_before == due and self.unmet[name] == 0:
                self.ready[name] = None

    def _start(self, event: AttemptStarted) -> None:
        task = self.tasks[event.task]
        task.status, task.attempts, task.started = Status.RUNNING, event.attempt, event
        self.ready.pop(event.task, None)
        self.running[event.task] = None

    def _fail(self, event: AttemptFailed) -> None:
        task = self.tasks[event.task]
        task.error, task.attempts = event.error, max(task.attempts, event.attempt)
        task.lost += event.lost
        task.failures += not event.lost
        if event.retry_at is None:
            self.failed[event.task] = None
            self._close(event.task, Status.FAILED)
            return
        task.status, task.not_before, task.started = Status.WAITING, event.retry_at, None
        self.running.pop(event.task, None)
        self.ready.pop(event.task, None)
        heappush(self.delayed, (event.retry_at, event.task))

    def _close(self, name: str, status: Status, outputs: Outputs | None = None) -> None:
        task = self.tasks[name]
        self.open -= task.status in OPEN
        task.status, task.started = status, None
        task.outputs = outputs or task.outputs
        self.ready.pop(name, None)
        self.running.pop(name, None)
        self.doomed.pop(name, None)
        for dependent in self.plan.dependents[name]:
            if status in GOOD:
                self.unmet[dependent] -= 1
                if self.unmet[dependent] == 0 and self.tasks[dependent].status is Status.WAITING:
                    self.ready[dependent] = None
            elif self.tasks[dependent].status is Status.WAITING:
                self.doomed.setdefault(dependent, name)

    def _retry(self, names: Iterable[str]) -> None:
        for name in names:
            if self.tasks[name].status not in OPEN:
                self.tasks[name] = TaskState(attempts=self.tasks[name].attempts)
        self.canceled_by, self.ended = None, None
        self._requeue()

    def _requeue(self) -> None:
        """Count everything anew: a retry of a run is rare, and may reopen any part of the graph."""
        self.ready.clear()
        self.delayed.clear()
        self.doomed.clear()
        self.failed = OrderedDict.fromkeys(
            n for n, task in self.tasks.items() if task.status is Status.FAILED
        )
        self.open = sum(task.status in OPEN for task in self.tasks.values())
        for name, needs in self.plan.needs.items():
            before = [need for need in needs if self.tasks[need].status not in GOOD]
            self.unmet[name] = len(before)
            if self.tasks[name].status is Status.WAITING:
                self.tasks[name].not_before = 0.0
                closed = [need for need in before if self.tasks[need].status not in OPEN]
                if closed:
                    self.doomed[name] = closed[0]
                elif not before:
                    self.ready[name] = None


def fold(plan: Plan, events: Iterable[Event]) -> RunState:
    """The state of a run after its events."""
    state = RunState.new(plan)
    for event in events:
        state.apply(event)
    return state


@dataclass(frozen=True)
class Decision:
    """What comes next."""

    start: tuple[str, ...] = ()
    """Tasks to start now."""
    stop: tuple[str, ...] = ()
    """Running tasks to end, because the run was canceled."""
    events: tuple[Event, ...] = ()
    """What is certain without starting anything: tasks skipped, the end of the run."""
    wake_at: float | None = None
    """When to decide again if nothing happens before: the earliest retry."""


def decide(state: RunState, slots: int) -> Decision:
    """What comes next, with room for `slots` more tasks. Looks at no task that is not ready or doomed.

    Call `state.advance(now)` first.
    """
    if state.ended:
        return Decision()
    if state.canceled_by is not None:
        end = () if state.running else (_end(state),)
        return Decision(stop=tuple(state.running), events=end)
    skipped = tuple(_skips(state))
    if len(skipped) == state.open:
        return Decision(events=(*skipped, _end(state)))
    start = tuple(islice(state.ready, max(slots, 0)))
    return Decision(start=start, events=skipped, wake_at=state.delayed[0][0] if state.delayed else None)


def to_retry(state: RunState) -> tuple[str, ...]:
    """The tasks that run again when an ended run is retried: all that did not succeed, in the plan's
    order."""
    return tuple(name for name in state.plan.needs if state.tasks[name].status not in GOOD)


def _skips(state: RunState) -> Iterable[TaskSkipped]:
    """The doomed tasks and all that need them, each once."""
    queue, seen = list(state.doomed.items()), set(state.doomed)
    for name, blame in queue:
        yield TaskSkipped(name, f"`{blame}` {_fate(state, blame)}")
        for dependent in state.plan.dependents[name]:
            if dependent not in seen and state.tasks[dependent].status is Status.WAITING:
                seen.add(dependent)
                queue.append((dependent, name))


def _fate(state: RunState, name: str) -> str:
    return {Status.FAILED: "failed", Status.CANCELED: "was canceled"}.get(
        state.tasks[name].status, "was skipped"
    )


def _end(state: RunState) -> RunEnded:
    if state.canceled_by is not None and any(task.status not in GOOD for task in state.tasks.values()):
        return RunEnded("CANCELED")
    if not state.failed:
        return RunEnded("SUCCEEDED")
    name = next(iter(state.failed))
    error = dict(state.tasks[name].error or {})
    return RunEnded("FAILED", {**error, "task": name})
