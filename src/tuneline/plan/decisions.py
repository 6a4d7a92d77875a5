"""What comes next in a run: which tasks start, which graphs open and close, what is skipped, and the end.

Pure: reads `schedule.RunState`, changes nothing. The caller stores the events, applies them and asks again
until there are none. Looks at no node that is not in one of the state's queues.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tuneline.plan.events import (
    DEADLINE,
    AttemptFailed,
    Event,
    GraphStarted,
    Outputs,
    Read,
    RunEnded,
    TaskCanceled,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.plan.nodes import Node
from tuneline.plan.retries import after_failure
from tuneline.plan.schedule import ROOT, RunState, children_of
from tuneline.plan.secrets import Masker
from tuneline_ir import (
    GOOD,
    Given,
    Kind,
    RetryPolicy,
    Status,
    evaluate,
    given,
    items,
    outputs_of,
    parse_condition,
    path_of,
)


@dataclass(frozen=True)
class Decision:
    """What comes next."""

    start: tuple[str, ...] = ()
    """Leaves to start now."""
    stop: tuple[str, ...] = ()
    """Running leaves to end, because the run was canceled."""
    events: tuple[Event, ...] = ()
    """What is certain without starting anything: graphs opened and closed, tasks skipped, the end."""
    wake_at: float | None = None
    """When to decide again if nothing happens before: the earliest retry."""


def decide(state: RunState, slots: int, now: float, masker: Masker | None = None) -> Decision:
    """What comes next at `now` (Unix seconds), with room for `slots` more tasks.

    Call `state.advance(now)` first. masker: of the run's secrets, for what events say of inputs.
    """
    if state.ended:
        return Decision()
    events: list[Event] = [_closed(state, state.tasks[path], now) for path in state.closing if path != ROOT]
    if state.canceled_by is not None:
        if not state.running and not events:
            events.append(_end(state))
        return Decision(stop=tuple(state.running), events=tuple(events))
    mask = masker or Masker()
    events.extend(_skips(state))
    events.extend(_opened(state, state.tasks[path], mask) for path in state.acting)
    if ROOT in state.closing:
        events.append(_end(state))
    start: list[str] = []
    for path in islice(state.ready, max(slots, 0)):
        fate = _held_back(state, state.tasks[path], mask)
        if fate is None:
            start.append(path)
        else:
            events.append(fate)
    wake_at = state.delayed[0][0] if state.delayed else None
    return Decision(start=tuple(start), events=tuple(events), wake_at=wake_at)


def to_retry(state: RunState) -> tuple[str, ...]:
    """The tasks that run again when an ended run is retried: all that did not succeed, and what came after.

    A graph that failed is gone into: what succeeded in it stays.
    """
    return tuple(_forgotten(state, state.root))


def read(found: Given, masker: Masker) -> Read:
    """What an event says of a task's inputs."""
    ids = {key: tuple(ref.id for ref in refs if ref.id) for key, refs in found.artifacts.items()}
    return Read(masker.parameters(found.parameters), ids)


def _forgotten(state: RunState, graph: Node) -> list[str]:
    found: list[str] = []
    again: set[str] = set()
    for path in graph.children:
        node = state.tasks[path]
        needs = (path_of(graph.path, name) for name in node.task.needs) if node.index is None else ()
        if any(need in again for need in needs):
            found.append(path)
        elif node.status in GOOD:
            continue
        else:
            inside = _forgotten(state, node) if node.status is not Status.SKIPPED else []
            found.extend(inside or [path])
        again.add(path)
    return found


def _skips(state: RunState) -> Iterable[TaskSkipped]:
    """The doomed tasks and all that need them, each once."""
    queue, seen = list(state.doomed.items()), set(state.doomed)
    for path, blame in queue:
        node = state.tasks[path]
        yield TaskSkipped(path, f"`{blame}` {_fate(state, path_of(node.parent, blame))}")
        for dependent in state.dependents(node):
            waits = dependent.status is Status.WAITING and not dependent.task.whatever_happened
            if waits and dependent.path not in seen:
                seen.add(dependent.path)
                queue.append((dependent.path, node.task.name))


def _fate(state: RunState, path: str) -> str:
    return {Status.FAILED: "failed", Status.CANCELED: "was canceled"}.get(
        state.tasks[path].status, "was skipped"
    )


def _held_back(state: RunState, node: Node, masker: Masker) -> Event | None:
    """Why a leaf does not start although its turn has come: its condition."""
    if not node.task.condition or node.index is not None:
        return None
    try:
        found = given(state.context, state.tasks, node)
        return None if _holds(node, found) else _not_held(node)
    except Exception as error:  # a run must end, whatever is wrong with one task
        return unfit(node, error, masker)


def _opened(state: RunState, node: Node, masker: Masker) -> Event:
    try:
        found = given(state.context, state.tasks, node)
        if node.task.condition and node.index is None and not _holds(node, found):
            return _not_held(node)
        loops = node.kind is Kind.LOOP
        count = len(items(state.context, node, found)) if loops else 0
    except Exception as error:  # a run must end, whatever is wrong with one task
        return unfit(node, error, masker)
    children = children_of(state.context, node, count)
    return GraphStarted(node.path, node.attempts + 1, children, loops, read(found, masker))


def _holds(node: Node, found: Given) -> bool:
    return evaluate(parse_condition(node.task.condition), found.parameters)


def _not_held(node: Node) -> TaskSkipped:
    return TaskSkipped(node.path, f"its condition does not hold: {node.task.condition}")


def unfit(node: Node, error: Exception, masker: Masker) -> AttemptFailed:
    """What becomes of a task that cannot start with what it is given. error: may quote a value."""
    why = masker.value(str(error))
    body = {"code": "invalid_input", "message": f"Task `{node.path}` could not be started: {why}.",
            "hint": "Correct the pipeline or its parameters.", "details": [], "retry": False}  # fmt: skip
    return AttemptFailed(node.path, node.attempts + 1, None, body)


def _closed(state: RunState, node: Node, now: float) -> Event:
    if any(state.tasks[path].status is Status.CANCELED for path in node.children):
        return TaskCanceled(node.path, node.attempts)
    if node.failed:
        return _failed(node, _cause(state, node), now)
    try:
        return TaskSucceeded(node.path, node.attempts, Outputs(*outputs_of(state.tasks, node)))
    except ValueError as error:
        return _failed(node, _no_output(f"Task `{node.path}`", error), now)


def _failed(node: Node, body: Mapping[str, Any], now: float) -> AttemptFailed:
    """A loop's policy is that of each of its iterations, not its own."""
    policy = RetryPolicy() if node.kind is Kind.LOOP else node.task.retry
    error = {**body, "retry": True}
    retry_at = after_failure(policy, node, error, now, lost=False)
    return AttemptFailed(node.path, node.attempts, None, error, retry_at=retry_at)


def _no_output(what: str, error: ValueError) -> dict[str, Any]:
    return {"code": "invalid_output", "message": f"{what}: {error}.", "hint": "", "details": []}


def _cause(state: RunState, graph: Node) -> dict[str, Any]:
    """The error of a graph that failed: that of the first task in it that failed, with its path."""
    child = state.tasks[graph.failed]
    error = dict(child.error or {})
    return {**error, "task": error.get("task", child.path)}


def _too_late(state: RunState) -> dict[str, Any]:
    limit = f"{state.context.deadline_s:g} s"
    return {"code": "deadline", "message": f"The run took longer than the {limit} that its pipeline allows.",
            "hint": "Set `active_deadline_seconds` higher, or none.", "details": [], "retry": True,
            "task": ""}  # fmt: skip


def _end(state: RunState) -> RunEnded:
    root = state.root
    statuses = {state.tasks[path].status for path in root.children}
    if state.canceled_by is not None and statuses - {*GOOD, Status.SKIPPED}:
        return RunEnded("FAILED", _too_late(state)) if state.canceled_by == DEADLINE else RunEnded("CANCELED")
    if root.failed:
        return RunEnded("FAILED", _cause(state, root))
    try:
        return RunEnded("SUCCEEDED", outputs=Outputs(*outputs_of(state.tasks, root)))
    except ValueError as error:
        return RunEnded("FAILED", {**_no_output("The pipeline", error), "retry": False, "task": ""})
