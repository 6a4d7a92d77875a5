"""Runs that another engine executes: what it reported, and the events that come of that. Pure.

Nothing is scheduled here: the engine decides what runs, and its word is folded into the events that a run at
home has, so that views, lineage, pages and reports know no difference. Limits: a nested pipeline or loop is
one task, as the engine's own page opens it; the tasks in it are not followed. Times are the engine's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    Outputs,
    RunEnded,
    RunStarted,
    TaskCanceled,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.plan.nodes import Node
from tuneline.plan.schedule import RunState
from tuneline_ir import Pipeline


class State(StrEnum):
    """Of a run or a task, whatever the engine calls it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


_WAITING, _RUNNING = _OPEN = ("WAITING", "RUNNING")
"""Of a task that has not ended, in a run's state."""
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELED)
"""Of a run."""


@dataclass(frozen=True)
class Handed:
    """A run as an engine is given it. Its id is in `name`, by which it is found again."""

    id: str
    name: str
    pipeline: Mapping[str, Any]
    parameters: Mapping[str, Any]
    server: str = ""
    """Where steps there reach this server; empty: they cannot."""


@dataclass(frozen=True)
class SeenTask:
    """A task as the engine reported it."""

    name: str
    """The task's name in the pipeline."""
    state: State
    attempt: int = 0
    """0: the engine does not number them."""
    started_at: float | None = None
    finished_at: float | None = None
    """Unix seconds."""
    error: str = ""
    place: str = ""
    """The engine's own name for it: a pod, a map index; what it is asked for logs by."""


@dataclass(frozen=True)
class Seen:
    """A run as the engine reported it."""

    state: State
    error: str = ""
    tasks: tuple[SeenTask, ...] = ()
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True)
class Made:
    """What is known of a task's outputs, and what of them the engine does not tell."""

    outputs: Outputs = Outputs()
    missing: str = ""


class Remote(Protocol):
    """One engine's API. Raises: NetworkError (ask again), UnauthenticatedError, or what is wrong for good."""

    def begin(self, run: Handed) -> tuple[str, str]:
        """Start the run there, or find it if it was started; its id there, and the page that shows it."""
        ...

    def look(self, id: str) -> Seen:
        """How it stands there. Raises NotFoundError if it was deleted there."""
        ...

    def made(self, id: str, pipeline: Pipeline, tasks: Mapping[str, SeenTask]) -> Mapping[str, Made]:
        """Outputs of tasks that succeeded, by name."""
        ...

    def log(self, id: str, task: SeenTask) -> str:
        """All of a task's newest log that there is. Raises NotFoundError if there is none."""
        ...

    def cancel(self, id: str) -> None:
        """Ask it to end there."""
        ...

    def retry(self, id: str) -> None:
        """Let it go on there from what failed."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


Timed = tuple[float, Event]
"""An event and when it happened, Unix seconds by the engine's clock."""


def known(seen: Seen, pipeline: Pipeline) -> Seen:
    """`seen` with its tasks under their names in the pipeline, one each; what is no task of it is left out.

    An engine may list a task's pods beside it, and name a task by its title.
    """
    dag = pipeline.root.dag
    tasks = dag.tasks if dag is not None else {}
    titles = {task.display_name: name for name, task in tasks.items() if task.display_name}
    found: dict[str, SeenTask] = {}
    for each in seen.tasks:
        name = each.name if each.name in tasks else titles.get(each.name, "")
        before = found.get(name)
        if name and (before is None or (before.started_at or 0) <= (each.started_at or 0)):
            found[name] = replace(each, name=name)
    return replace(seen, tasks=tuple(found.values()))


def newly_succeeded(state: RunState, seen: Seen) -> dict[str, SeenTask]:
    """The tasks whose outputs are to be asked for before `news`, by name."""
    return {
        task.name: task
        for task in seen.tasks
        if task.state is State.SUCCEEDED and _open(state, task.name) is not None
    }


def news(
    state: RunState, seen: Seen, made: Mapping[str, Made], folder: str, now: float, engine: str
) -> list[Timed]:
    """What `seen` says beyond `state`, in the order it happened.

    made: by `newly_succeeded`. folder: of the run; logs are kept below it. now: where the engine gives no
    time.
    """
    if state.ended is not None:
        return []
    if state.canceled_by is not None and seen.state is State.FAILED:  # some engines know no other end
        seen = replace(seen, state=State.CANCELED, error="", tasks=tuple(map(_ended_by_us, seen.tasks)))
    begun = seen.started_at or min((task.started_at for task in seen.tasks if task.started_at), default=now)
    first = [(begun, RunStarted())] if not state.started and seen.state is not State.PENDING else []
    found: list[Timed] = []
    for task in seen.tasks:
        node = _open(state, task.name)
        if node is not None:
            found += _of_task(node, task, made.get(task.name, Made()), folder, now, engine)
    # a sort that keeps the order within a task: its end is never before its beginning
    found.sort(key=lambda timed: timed[0])
    if seen.state in ENDED:
        ended = seen.finished_at or now
        if seen.state is not State.CANCELED:  # the end of a canceled run closes what is open
            found += [(ended, event) for event in _left(state, found, engine)]
        found.append((ended, _end(seen, engine)))
    return [*first, *found]


def _ended_by_us(task: SeenTask) -> SeenTask:
    return replace(task, state=State.CANCELED, error="") if task.state is State.FAILED else task


def _left(state: RunState, found: list[Timed], engine: str) -> list[Event]:
    """What becomes of tasks of which the engine said nothing, or no end, although the run has ended."""
    closing = (TaskSucceeded, TaskSkipped, TaskCanceled, AttemptFailed)
    closed = {event.task for _, event in found if isinstance(event, closing)}
    begun = {event.task for _, event in found if isinstance(event, AttemptStarted)}
    left: list[Event] = []
    for path, node in state.tasks.items():
        if not path or node.status not in _OPEN or path in closed:
            continue
        ran = node.status == _RUNNING or path in begun
        left.append(
            TaskSkipped(path, f"{engine} did not say how it ended" if ran else f"{engine} did not run it")
        )
    return left


def _open(state: RunState, name: str) -> Node | None:
    node = state.tasks.get(name) if name else None
    return node if node is not None and node.status in _OPEN else None


def _of_task(node: Node, task: SeenTask, made: Made, folder: str, now: float, engine: str) -> list[Timed]:
    began = task.started_at or now
    ended = max(began, task.finished_at or now)
    if task.state is State.SKIPPED and node.status == _WAITING:
        return [(ended, TaskSkipped(node.path, task.error or f"{engine} skipped it"))]
    found: list[Timed] = []
    number = task.attempt or node.attempts + (node.status == _WAITING)
    if node.status == _RUNNING and number > node.attempts:  # it was tried again between two looks
        error = _error(task.error or f"{engine} tried it again", "")
        found.append((began, AttemptFailed(node.path, node.attempts, None, error, retry_at=began)))
    if number > node.attempts and _begun(task):
        found.append((began, _started(node.path, number, made, folder, engine)))
    elif node.status == _WAITING:
        return []
    match task.state:
        case State.SUCCEEDED:
            found.append((ended, TaskSucceeded(node.path, number, made.outputs)))
        case State.FAILED:
            said = task.error or f"Task {node.path} failed there; {engine} does not say why."
            found.append((ended, AttemptFailed(node.path, number, None, _error(said, "See its log."))))
        case State.CANCELED:
            found.append((ended, TaskCanceled(node.path, number)))
        case State.SKIPPED:
            found.append((ended, TaskSkipped(node.path, task.error or f"{engine} skipped it")))
        case State.PENDING:  # it waits for its next attempt
            error = _error(task.error or f"{engine} tries it again", "")
            found.append((ended, AttemptFailed(node.path, number, None, error, retry_at=ended)))
    return found


def _begun(task: SeenTask) -> bool:
    return task.state in (State.RUNNING, State.SUCCEEDED, State.FAILED) or (
        task.state is State.CANCELED and task.started_at is not None
    )


def _started(path: str, number: int, made: Made, folder: str, engine: str) -> AttemptStarted:
    notes = (made.missing,) if made.missing else ()
    return AttemptStarted(path, number, 0, 0.0, f"{folder}/{path}/{number}", notes=notes)


def _end(seen: Seen, engine: str) -> RunEnded:
    error = None
    if seen.state is State.FAILED:
        failed = [task.name for task in seen.tasks if task.state is State.FAILED]
        said = seen.error or (f"Task {', '.join(failed)} failed." if failed else f"{engine} says it failed.")
        error = _error(said, f"{engine}'s own page of the run may say more.")
    return RunEnded(seen.state.value, error)


def _error(message: str, hint: str) -> dict[str, Any]:
    return {"code": "task_failed", "message": message, "hint": hint, "details": [], "retry": False}
