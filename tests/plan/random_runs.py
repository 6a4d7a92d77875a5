"""Random well-formed pipelines, and runs of them by the schedule alone: no process, no record.

A run draws at random how each attempt ends, when the run is canceled, and when the runner crashes and reads
its events back. Whoever drives it checks what must hold at every step.
"""

import json
from random import Random
from typing import Any

from tuneline.plan.decisions import decide, to_retry
from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    Event,
    Outputs,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskCanceled,
    TaskSucceeded,
    from_json,
    to_json,
)
from tuneline.plan.nodes import Context, Node
from tuneline.plan.retries import after_failure
from tuneline.plan.schedule import ROOT, RunState, fold
from tuneline_ir import GOOD, OPEN, Kind, Status, parse, path_of

TEXT = {"parameterType": "STRING"}


def pipeline(random: Random, size: int = 4, depth: int = 3) -> dict[str, Any]:
    """IR of a random pipeline: nested graphs, conditions, loops, exit tasks, retries, `OneOf`."""
    components: dict[str, Any] = {
        "leaf": {
            "executorLabel": "e",
            "inputDefinitions": {
                "parameters": {
                    "x": {**TEXT, "isOptional": True},
                    "y": {**TEXT, "isOptional": True},
                    "status": {"parameterType": "TASK_FINAL_STATUS", "isOptional": True},
                }
            },
            "outputDefinitions": {"parameters": {"out": TEXT}},
        },
        "strict": {
            "executorLabel": "e",
            "inputDefinitions": {"parameters": {"x": TEXT, "item": {**TEXT, "isOptional": True}}},
            "outputDefinitions": {"parameters": {"out": TEXT}},
        },
    }
    root = _graph(random, components, size, depth)
    return {
        "pipelineInfo": {"name": "p"},
        "components": components,
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {
            "dag": root["dag"],
            "outputDefinitions": root["outputDefinitions"],
            "inputDefinitions": {"parameters": {"item": {**TEXT, "defaultValue": "root"}}},
        },
        "schemaVersion": "2.1.0",
    }


def _graph(random: Random, components: dict[str, Any], size: int, depth: int) -> dict[str, Any]:
    """A component with a graph, whose one input is `item` and whose one output is `out`."""
    tasks: dict[str, Any] = {}
    for number in range(random.randint(1, size)):
        name = f"t{number}"
        tasks[name] = _task(random, components, list(tasks), size, depth)
    chosen = random.sample(sorted(tasks), min(len(tasks), random.randint(1, 2)))
    sources = [{"producerSubtask": name, "outputParameterKey": "out"} for name in chosen]
    one_of = len(sources) > 1
    output = (
        {"valueFromOneof": {"parameterSelectors": sources}} if one_of else {"valueFromParameter": sources[0]}
    )
    outputs = {"parameters": {"out": output}} if random.random() < 0.7 else {}
    return {
        "dag": {"tasks": tasks, "outputs": outputs},
        "inputDefinitions": {"parameters": {"item": {**TEXT, "isOptional": True}}},
        "outputDefinitions": {"parameters": {"out": TEXT}},
    }


def _task(
    random: Random, components: dict[str, Any], before: list[str], size: int, depth: int
) -> dict[str, Any]:
    kind = random.choice(["leaf", "leaf", "strict", "graph", "loop"] if depth else ["leaf", "strict"])
    needs = [name for name in before if random.random() < 0.4]
    task: dict[str, Any] = {
        "dependentTasks": needs,
        "retryPolicy": {"maxRetryCount": random.choice([0, 0, 1, 2])},
    }
    name = kind
    inputs: dict[str, Any] = {"item": {"componentInputParameter": "item"}}
    if kind in ("leaf", "strict"):
        inputs = {"x": {"runtimeValue": {"constant": "v"}}}
        if before and random.random() < 0.5:
            up = random.choice(before)
            inputs = {"x": {"taskOutputParameter": {"producerTask": up, "outputParameterKey": "out"}}}
    else:
        name = f"g{len(components)}"
        components[name] = {}  # its place: names must differ
        components[name] = _graph(random, components, size, depth - 1)
        if kind == "loop":
            count = random.randint(0, 3)
            items = json.dumps([f"i{n}" for n in range(count)])
            task["parameterIterator"] = {"items": {"raw": items}, "itemInput": "item"}
            task["iteratorPolicy"] = {"parallelismLimit": random.choice([0, 1, 2])}
            inputs = {}
    if random.random() < 0.25:
        word = random.choice(["v", "root", "i1", "no"])
        key = "x" if kind in ("leaf", "strict") else "item"
        if key in inputs:
            task["triggerPolicy"] = {"condition": f"inputs.parameter_values['{key}'] == '{word}'"}
    elif before and kind == "leaf" and random.random() < 0.4:
        task["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        inputs = {"status": {"taskFinalStatus": {"producerTask": random.choice(before)}}}
    task["componentRef"] = {"name": name}
    task["inputs"] = {"parameters": inputs}
    return task


class Run:
    """One run of a pipeline, driven at random until it ends. Every broken rule is an AssertionError."""

    def __init__(
        self, ir: dict[str, Any], random: Random, *, failures: float, cancel: float, crash: float
    ) -> None:
        self.random = random
        self.failures = failures
        """How often an attempt fails, from 0 to 1."""
        self.cancel = cancel
        self.crash = crash
        self.slots = random.choice([1, 2, 5])
        self.context = Context(parse(ir), {"item": "root"})
        self.state = RunState.new(self.context)
        self.events: list[Event] = []
        self.now = 1e9

    def go(self) -> str:
        """Run to the end. Returns the run's state."""
        self._apply([RunStarted()])
        return self._on()

    def retry(self) -> str:
        """Let it go on, with nothing failing any more. Returns the state it ends in."""
        self.failures = self.cancel = 0.0
        paths = to_retry(self.state)
        kept = {path for path, node in self.state.tasks.items() if node.leaf and node.status in GOOD}
        kept -= {path for path in kept if any(path == top or path.startswith(f"{top}/") for top in paths)}
        begin = len(self.events)
        self._apply([RunRetried("ann", paths)])
        ended = self._on()
        after = self.events[begin:]
        again = {event.task for event in after if isinstance(event, AttemptStarted)}
        whole = [
            event.task for event in after if isinstance(event, AttemptFailed) and event.retry_at is not None
        ]
        kept -= {path for path in kept if any(path.startswith(f"{top}/") for top in whole)}
        assert not kept & again, f"{kept & again} had succeeded and ran again"
        return ended

    def _on(self) -> str:
        for _ in range(20_000):
            if self.state.ended is not None:
                return self.state.ended.state
            self._step()
        raise AssertionError("the run does not end")

    def _step(self) -> None:
        if self.random.random() < self.crash:
            self._replay()
        self.state.advance(self.now)
        decision = decide(self.state, self.slots - len(self.state.running), self.now)
        events: list[Event] = list(decision.events)
        for path in decision.start:
            events.append(self._begun(path))
        if events:
            self._apply(events)
            self._check_limits()
        elif self.state.canceled_by is None and self.random.random() < self.cancel:
            self._apply([CancelRequested("ann")])
        elif self.state.running:
            self._apply([self._ended(self.random.choice(list(self.state.running)))])
        else:
            assert decision.wake_at is not None, "nothing runs, nothing is to come, and the run has not ended"
            self.now = max(self.now, decision.wake_at)

    def _begun(self, path: str) -> Event:
        node = self.state.tasks[path]
        assert node.leaf
        assert node.status is Status.WAITING
        assert self.state.canceled_by is None, f"{path} starts although the run was canceled"
        self._check_needs(node)
        if self.random.random() < 0.1:
            return TaskCached(path, Outputs({"out": "v"}), "key", "r0", path)
        return AttemptStarted(path, node.attempts + 1, 1, 0.0, "/f")

    def _ended(self, path: str) -> Event:
        node = self.state.tasks[path]
        lot = self.random.random()
        if self.state.canceled_by is not None and lot < 0.8:
            return TaskCanceled(path, node.attempts)
        if lot >= self.failures:
            return TaskSucceeded(path, node.attempts, Outputs({"out": self.random.choice(["v", "w"])}))
        lost = self.random.random() < 0.2
        error = {"message": "no", "retry": self.random.random() < 0.9}
        retry_at = after_failure(node.task.retry, node, error, self.now, lost=lost)
        return AttemptFailed(path, node.attempts, None if lost else 1, error, lost, retry_at)

    def _apply(self, events: list[Event]) -> None:
        for event in events:
            self.events.append(event)
            self.state.apply(event)

    def _replay(self) -> None:
        """A crash: all that is known is what was stored."""
        stored = [from_json(json.loads(json.dumps(to_json(event)))) for event in self.events]
        again = fold(self.context, stored)
        for state in (again, self.state):
            state.advance(self.now)
        assert again.tasks == self.state.tasks
        for queue in ("ready", "acting", "closing", "running", "doomed"):
            assert dict(getattr(again, queue)) == dict(getattr(self.state, queue)), queue
        self.state = again

    def _check_needs(self, node: Node) -> None:
        """No task runs before what it needs, in its own graph and those around it."""
        while node.path != ROOT:
            graph = self.state.tasks[node.parent]
            assert graph.status is Status.RUNNING, f"{node.path} runs in a graph that is {graph.status}"
            for name in node.task.needs if node.index is None else ():
                need = self.state.tasks[path_of(node.parent, name)]
                allowed = need.status not in OPEN if node.task.whatever_happened else need.status in GOOD
                assert allowed, f"{node.path} runs while {need.path} is {need.status}"
            node = graph

    def _check_limits(self) -> None:
        for node in self.state.tasks.values():
            limit = node.task.iterator.limit if node.kind is Kind.LOOP and node.task.iterator else 0
            if limit:
                begun = [path for path in node.children if self._runs(path)]
                assert len(begun) <= limit, f"{begun} run at once, the limit is {limit}"

    def _runs(self, path: str) -> bool:
        return any(leaf == path or leaf.startswith(f"{path}/") for leaf in self.state.running)
