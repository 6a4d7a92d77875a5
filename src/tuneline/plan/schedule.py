"""A run's state, folded from its events.

The fold keeps counts of unmet needs and queues of what may come next, so an event costs what it changes and
a run of 5,000 tasks is no rescan of 5,000. Nodes come into being when the graph they stand in is opened.
`decisions.decide` reads the queues; clock and slots are its arguments. Nothing here starts or stores
anything.
`RunState.apply` changes the state in place; `fold` is the same as a pure function.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tuneline.plan.events import (
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    Child,
    Event,
    GraphStarted,
    Outputs,
    RunEnded,
    RunRetried,
    RunStarted,
    TaskCached,
    TaskCanceled,
    TaskSkipped,
    TaskSucceeded,
)
from tuneline.plan.nodes import Context, Node
from tuneline_ir import GOOD, OPEN, Component, Dag, Given, Kind, Status, Task, given, items, path_of

ROOT = ""
"""The root's path."""

Queue = OrderedDict[str, None]


@dataclass
class RunState:
    """Where a run stands. Built by `new` and `fold`; brought further by `apply`."""

    context: Context
    tasks: dict[str, Node]
    """All nodes there are by now, by path; the root among them."""
    made: dict[str, int] = field(default_factory=dict)
    """How many attempts each path has had, also those of nodes that were forgotten."""
    ready: Queue = field(default_factory=OrderedDict)
    """Leaves that may start, in the order they became so."""
    acting: Queue = field(default_factory=OrderedDict)
    """Graphs that may be opened."""
    closing: Queue = field(default_factory=OrderedDict)
    """Graphs in which everything has ended."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    """A heap of nodes that wait for their next attempt, by time; entries of others are passed over."""
    running: Queue = field(default_factory=OrderedDict)
    """Leaves that are RUNNING."""
    doomed: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """WAITING nodes that cannot run any more, with the name of the sibling that is to blame."""
    edges: dict[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By component: which of its tasks need which."""
    started: bool = False
    canceled_by: str | None = None
    ended: RunEnded | None = None

    @classmethod
    def new(cls, context: Context) -> "RunState":
        """A run nothing happened in yet."""
        component = context.pipeline.root
        task = Task(context.pipeline.name, component.name)
        root = Node(ROOT, Kind.DAG, task, component, ROOT, status=Status.RUNNING, attempts=1)
        root.given = Given(dict(context.parameters))
        state = cls(context, {ROOT: root})
        state._open(root, tuple(child.path for child in children_of(context, root)))
        return state

    @property
    def root(self) -> Node:
        """The pipeline itself."""
        return self.tasks[ROOT]

    def apply(self, event: Event) -> None:
        """Bring the state past one more event. Its cost is that of the nodes the event touches."""
        match event:
            case RunStarted():
                self.started = True
            case AttemptStarted():
                self._start(event)
            case GraphStarted():
                self._open_graph(event)
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
        """Make the nodes ready whose next attempt is due at `now`."""
        while self.delayed and self.delayed[0][0] <= now:
            due, path = heappop(self.delayed)
            node = self.tasks.get(path)
            if node is not None and node.status is Status.WAITING and node.not_before == due:
                self._release(node)

    def dependents(self, node: Node) -> Iterable[Node]:
        """The nodes in the same graph that need this one."""
        if node.path == ROOT or node.index is not None:
            return []
        component = self.tasks[node.parent].component
        if component.name not in self.edges:
            assert component.dag is not None
            self.edges[component.name] = _edges(component.dag)
        names = self.edges[component.name].get(node.task.name, ())
        return [self.tasks[path_of(node.parent, name)] for name in names]

    def _start(self, event: AttemptStarted) -> None:
        node = self.tasks[event.task]
        node.status, node.attempts, node.started = Status.RUNNING, event.attempt, event
        self.made[event.task] = event.attempt
        self.ready.pop(event.task, None)
        self.running[event.task] = None

    def _open_graph(self, event: GraphStarted) -> None:
        node = self.tasks[event.task]
        node.status, node.attempts = Status.RUNNING, event.attempt
        self.made[event.task] = event.attempt
        self.acting.pop(event.task, None)
        node.given = given(self.context, self.tasks, node)
        if event.iterations:
            node.items = items(self.context, node, node.given)
        self._open(node, tuple(child.path for child in event.children))

    def _open(self, graph: Node, children: tuple[str, ...]) -> None:
        graph.children, graph.open, graph.failed, graph.released = children, len(children), "", 0
        for place, path in enumerate(children):
            self.tasks[path] = self._child(graph, path, place)
        if not children:
            self.closing[graph.path] = None
        self._release_children(graph)

    def _child(self, graph: Node, path: str, place: int) -> Node:
        context, made = self.context, self.made.get(path, 0)
        if graph.kind is Kind.LOOP:
            kind = _iteration_kind(context, graph)
            return Node(
                path, kind, graph.task, graph.component, graph.path, place, graph.uncached, attempts=made
            )
        task = _tasks(graph)[path.rpartition("/")[2]]
        component, kind = context.pipeline.component_of(task), _task_kind(context, task)
        uncached = graph.uncached or task.uncached
        return Node(
            path, kind, task, component, graph.path, None, uncached, unmet=len(task.needs), attempts=made
        )

    def _release_children(self, graph: Node) -> None:
        if graph.kind is Kind.LOOP:
            limit = graph.task.iterator.limit if graph.task.iterator else 0
            for _ in range(limit or len(graph.children)):
                self._release_next(graph)
            return
        for path in graph.children:
            if self.tasks[path].unmet == 0:
                self._release(self.tasks[path])

    def _release_next(self, loop: Node) -> None:
        """Let the next iteration of a loop begin."""
        while loop.released < len(loop.children):
            node = self.tasks[loop.children[loop.released]]
            loop.released += 1
            if node.status is Status.WAITING:
                self._release(node)
                return
            if node.status is Status.RUNNING:  # a retry of the run opened it again
                self._resume(node)
                return

    def _resume(self, graph: Node) -> None:
        """Let go on what waits in a graph that was opened again, as far as its loops' limits go."""
        children = [self.tasks[path] for path in graph.children]
        self._release_waiting(graph, children)
        if graph.kind is not Kind.LOOP:
            for child in children:
                if not child.leaf and child.status is Status.RUNNING:
                    self._resume(child)

    def _release(self, node: Node) -> None:
        (self.ready if node.leaf else self.acting)[node.path] = None

    def _fail(self, event: AttemptFailed) -> None:
        node = self.tasks[event.task]
        node.error, node.attempts = event.error, max(node.attempts, event.attempt)
        self.made[event.task] = node.attempts
        node.lost += event.lost
        node.failures += not event.lost
        if event.retry_at is None:
            self._close(event.task, Status.FAILED)
            return
        node.status, node.not_before, node.started = Status.WAITING, event.retry_at, None
        self._unqueue(event.task)
        self._forget_children(node)
        heappush(self.delayed, (event.retry_at, event.task))

    def _close(self, path: str, status: Status, outputs: Outputs | None = None) -> None:
        node, graph = self.tasks[path], self.tasks[self.tasks[path].parent]
        was_open = node.status in OPEN
        node.status, node.started = status, None
        node.outputs = outputs or node.outputs
        self._unqueue(path)
        for dependent in self.dependents(node):
            if dependent.status is not Status.WAITING:
                continue
            if status in GOOD or dependent.task.whatever_happened:
                dependent.unmet -= 1
                if dependent.unmet == 0:
                    self._release(dependent)
            else:
                self.doomed.setdefault(dependent.path, node.task.name)
        graph.open -= was_open
        if status is Status.FAILED:
            graph.failed = graph.failed or path
        if graph.kind is Kind.LOOP:
            self._release_next(graph)
        if graph.open == 0 and graph.status is Status.RUNNING:
            self.closing[graph.path] = None

    def _unqueue(self, path: str) -> None:
        for queue in (self.ready, self.acting, self.closing, self.running, self.doomed):
            queue.pop(path, None)

    def _forget_children(self, graph: Node) -> None:
        for path in graph.children:
            self._forget_children(self.tasks[path])
            self._unqueue(path)
            del self.tasks[path]
        graph.children, graph.open = (), 0

    def _retry(self, paths: Iterable[str]) -> None:
        for path in paths:
            old = self.tasks[path]
            self._forget_children(old)
            graph = self.tasks[old.parent]
            self.tasks[path] = self._child(graph, path, old.index or 0)
            while graph.status is not Status.RUNNING:
                graph.status, graph.outputs, graph.error = Status.RUNNING, Outputs(), None
                graph.failures = 0
                graph = self.tasks[graph.parent]
        self.canceled_by, self.ended = None, None
        self._requeue()

    def _requeue(self) -> None:
        """Count everything anew: a retry of a run is rare, and may reopen any part of it."""
        for queue in (self.ready, self.acting, self.closing, self.doomed):
            queue.clear()
        self.delayed.clear()
        for graph in [
            node for node in self.tasks.values() if not node.leaf and node.status is Status.RUNNING
        ]:
            children = [self.tasks[path] for path in graph.children]
            graph.open = sum(child.status in OPEN for child in children)
            graph.failed = next((child.path for child in children if child.status is Status.FAILED), "")
            graph.released = 0
            for child in children:
                child.not_before = 0.0
                child.unmet = self._count_unmet(child)
            if graph.open == 0:
                self.closing[graph.path] = None
        self._resume(self.root)

    def _count_unmet(self, node: Node) -> int:
        if node.index is not None:
            return 0
        needs = [self.tasks[path_of(node.parent, name)] for name in node.task.needs]
        if node.task.whatever_happened:
            return sum(need.status in OPEN for need in needs)
        bad = [need for need in needs if need.status not in (*GOOD, *OPEN)]
        if bad and node.status is Status.WAITING:
            self.doomed[node.path] = bad[0].task.name
        return sum(need.status not in GOOD for need in needs)

    def _release_waiting(self, graph: Node, children: list[Node]) -> None:
        if graph.kind is Kind.LOOP:
            self._release_children(graph)
            return
        for child in children:
            if child.status is Status.WAITING and child.unmet == 0:
                self._release(child)


def children_of(context: Context, graph: Node, iterations: int = 0) -> tuple[Child, ...]:
    """What is in a graph, in the order it is started in. iterations: of a loop."""
    if graph.kind is Kind.LOOP:
        kind = _iteration_kind(context, graph)
        return tuple(
            Child(path_of(graph.path, place), kind.value, f"{graph.task.display_name} {place}")
            for place in range(iterations)
        )
    return tuple(
        Child(path_of(graph.path, name), _task_kind(context, task).value, task.display_name or name)
        for name, task in _tasks(graph).items()
    )


def fold(context: Context, events: Iterable[Event]) -> RunState:
    """The state of a run after its events."""
    state = RunState.new(context)
    for event in events:
        state.apply(event)
    return state


def _iteration_kind(context: Context, loop: Node) -> Kind:
    kind = context.kind_of(loop.component)
    return Kind.ITERATION if kind is Kind.DAG else kind


def _task_kind(context: Context, task: Task) -> Kind:
    return Kind.LOOP if task.iterator else context.kind_of(context.pipeline.component_of(task))


def _tasks(graph: Node) -> Mapping[str, Task]:
    component: Component = graph.component
    assert component.dag is not None
    return component.dag.tasks


def _edges(dag: Dag) -> Mapping[str, tuple[str, ...]]:
    """Names of the tasks that need each task."""
    found: dict[str, list[str]] = {}
    for name, task in dag.tasks.items():
        for upstream in task.needs:
            found.setdefault(upstream, []).append(name)
    return {name: tuple(listed) for name, listed in found.items()}
