"""A pipeline as Airflow's tasks: which there are, which wait for which, and by which trigger rule. Pure.

Every task of the pipeline that something executes is one of Airflow's (`run`), under the same name. Beside
them stand, as few as possible, those that decide:

- `if`: whether a nested graph's condition holds; if not, it is skipped, and all behind it with it.
- `items`: what a loop goes over. What the loop holds is mapped over it.
- `end`: how a graph ended in which tasks may be skipped, and what it puts out.

A loop without loops in it is a mapped task group, in which each iteration goes its own way. What stands in a
loop around other loops is mapped task by task, over iterations of its loop alone: there Airflow knows
nothing of iterations, so those tasks wait until all before them have ended and decide by themselves
(`alone`).

A place is named by its path without iterations: `for-loop-1/add`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tuneline_ir import Pipeline, Task, path_of
from tuneline_ir.airflow import faults
from tuneline_ir.model import Component, Dag


class Role(StrEnum):
    """What one of Airflow's tasks does."""

    RUN = "run"
    IF = "if"
    ITEMS = "items"
    END = "end"


@dataclass(frozen=True)
class Graph:
    """A nested pipeline, a condition, a loop, or the root (the empty path)."""

    path: str
    task: Task
    component: Component
    loops: tuple[str, ...] = ()
    """The loops it stands in, outermost first; a loop's own path is the last of those of its tasks."""
    flat: bool = False
    """Whether what is in it is mapped task by task."""

    @property
    def loop(self) -> bool:
        return self.task.iterator is not None

    @property
    def mapped(self) -> bool:
        """Whether it is a mapped task group."""
        return self.loop and not self.flat

    @property
    def dag(self) -> Dag | None:
        """None: a loop over something that is executed, not a graph."""
        return self.component.dag


@dataclass(frozen=True)
class Place:
    """One of Airflow's tasks."""

    id: str
    role: Role
    path: str
    """Of what it stands for: for `run` the task that it executes, else the graph."""
    group: str
    """The path of the graph that it is shown in."""
    upstream: tuple[str, ...] = ()
    """Ids."""
    whatever_happened: bool = False
    """Runs when all upstream has ended, however; else when all of it has succeeded."""
    over: str = ""
    """The loop over whose iterations it is mapped by itself."""
    alone: bool = False
    """Whether it must find out by itself if what it needs went well."""
    loops: tuple[str, ...] = ()
    """The loops whose iteration it stands in, outermost first."""


@dataclass(frozen=True)
class Outline:
    """All of a pipeline's."""

    pipeline: Pipeline
    graphs: Mapping[str, Graph]
    """By path, outer ones first."""
    places: Mapping[str, Place]
    """By id."""
    tasks: Mapping[str, Task]
    """By path: the tasks that are executed."""

    def component(self, path: str) -> Component:
        """Of an executed task, or of a graph."""
        if path in self.graphs:
            return self.graphs[path].component
        return self.pipeline.component_of(self.tasks[path])


def outline(pipeline: Pipeline) -> Outline:
    """The tasks of a pipeline. Raises: ValueError naming all that Airflow has no word for."""
    wrong = faults(pipeline)
    if wrong:
        raise ValueError(f"the pipeline `{pipeline.name}` cannot run on Airflow: {'; '.join(wrong)}")
    made = _Outliner(pipeline)
    made.graph(Graph("", Task(pipeline.name, pipeline.root.name), pipeline.root))
    made.end_of_all()
    return Outline(pipeline, made.graphs, made.places, made.tasks)


def id_of(path: str, role: Role = Role.RUN) -> str:
    """The id of a place."""
    name = path.replace("/", ".")
    return name if role is Role.RUN else f"{name}.{role}".lstrip(".")


def each_of(loop: str) -> str:
    """The path under which a loop shows what it executes by itself, without a graph."""
    return path_of(loop, "each")


@dataclass
class _Outliner:
    pipeline: Pipeline
    graphs: dict[str, Graph] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    inside: dict[str, list[str]] = field(default_factory=dict)
    """By graph: ids of all places in it, which have all ended when it has."""

    def graph(self, graph: Graph) -> None:
        """Add all that is in a graph."""
        self.graphs[graph.path] = graph
        self.inside[graph.path] = []
        if graph.dag is None:  # a loop over something that is executed
            path = each_of(graph.path)
            self.tasks[path] = graph.task
            self._add(graph, Role.RUN, path, (id_of(graph.path, Role.ITEMS),), graph.loops)
            return
        for task in graph.dag.tasks.values():
            self._task(graph, task)

    def _task(self, outer: Graph, task: Task) -> None:
        path, component = path_of(outer.path, task.name), self.pipeline.component_of(task)
        upstream, loops = self._upstream(outer, task), outer.loops
        if task.iterator is None and component.dag is None:
            self.tasks[path] = task
            self._add(outer, Role.RUN, path, upstream, loops, task)
            return
        flat = self._has_loop(component) if task.iterator else outer.flat
        inner = Graph(path, task, component, (*loops, path) if task.iterator else loops, flat)
        if task.iterator:
            self._add(outer, Role.ITEMS, path, upstream, loops, task)
        elif task.condition:
            self._add(outer, Role.IF, path, upstream, loops, task)
        self.graph(inner)
        if self._is_needed(outer, task) and (task.iterator or not self._is_plain(component)):
            self._add(outer, Role.END, path, tuple(self._all_in(path)), loops, after=True)

    def end_of_all(self) -> None:
        """One more task where Airflow would not see by itself how the run ended, or what it put out."""
        root = self.pipeline.graph
        if (
            root.outputs
            or root.artifact_outputs
            or any(place.whatever_happened for place in self.places.values())
            or any(graph.dag is not None and _chooses(graph.dag) for graph in self.graphs.values())
        ):
            self._add(self.graphs[""], Role.END, "", tuple(self._all_in("")), (), after=True)

    def _add(
        self,
        outer: Graph,
        role: Role,
        path: str,
        upstream: tuple[str, ...],
        loops: tuple[str, ...],
        task: Task | None = None,
        *,
        after: bool = False,
    ) -> None:
        """after: it looks at how others ended, whatever that is."""
        nested = role is Role.ITEMS and bool(loops)
        alone = outer.flat or nested
        over = loops[-1] if outer.flat and loops and role is not Role.ITEMS else ""
        place = Place(
            id=id_of(path, role),
            role=role,
            path=path,
            group=path if role is not Role.RUN and path else outer.path,
            upstream=upstream,
            whatever_happened=after or alone or (task is not None and self._anyway(outer, task)),
            over=over,
            alone=alone and not after,
            loops=() if nested else loops,
        )
        if place.id in self.places or place.id in map(id_of, self.graphs) and role is Role.RUN:
            raise ValueError(f"two tasks of the pipeline would be called `{place.id}` on Airflow")
        self.places[place.id] = place
        self.inside[outer.path].append(place.id)

    def _upstream(self, outer: Graph, task: Task) -> tuple[str, ...]:
        """What must have ended before a task: that which it needs, and what opens the graph it stands in."""
        needs = [path_of(outer.path, need) for need in task.needs]
        ids = dict.fromkeys(id for need in needs for id in self._ends(need, every=task.whatever_happened))
        if not task.needs or task.whatever_happened or outer.flat:
            ids |= dict.fromkeys(self._opening(outer))
        return tuple(ids)

    def _opening(self, graph: Graph) -> tuple[str, ...]:
        """Ids of what must have ended before a graph is gone into."""
        if not graph.path:
            return ()
        opens = self._opens(graph)
        outer = self.graphs[graph.path.rpartition("/")[0]]
        return (opens,) if opens else self._upstream(outer, graph.task)

    def _anyway(self, outer: Graph, task: Task) -> bool:
        """Whether a task does not mind how what came before it has ended."""
        if task.whatever_happened or task.needs or not outer.path or self._opens(outer):
            return task.whatever_happened
        return self._anyway(self.graphs[outer.path.rpartition("/")[0]], outer.task)

    def _opens(self, graph: Graph) -> str:
        """The id of the task that decides whether a graph is gone into; empty: none does."""
        ids = (id_of(graph.path, role) for role in (Role.ITEMS, Role.IF))
        return next((id for id in ids if id in self.places), "")

    def _ends(self, path: str, *, every: bool) -> tuple[str, ...]:
        """Ids of what has ended when the task or graph at a path has. every: not only the last ones."""
        if id_of(path, Role.END) in self.places:
            return (id_of(path, Role.END),)
        if path not in self.graphs:
            return (id_of(path),)
        ids = list(self._all_in(path))
        if every:
            return tuple(ids)
        before = {id for one in ids for id in self.places[one].upstream}
        return tuple(id for id in ids if id not in before)

    def _all_in(self, path: str) -> Iterable[str]:
        """Ids of all in a graph, and of what opens it."""
        if path and self._opens(self.graphs[path]):
            yield self._opens(self.graphs[path])
        yield from (id for id in self.inside[path] if self.places[id].role in (Role.RUN, Role.END))
        for inner in self.graphs:
            if inner and inner.rpartition("/")[0] == path and id_of(inner, Role.END) not in self.places:
                yield from self._all_in(inner)

    def _is_needed(self, outer: Graph, task: Task) -> bool:
        assert outer.dag is not None
        return any(task.name in other.needs for other in outer.dag.tasks.values())

    def _has_loop(self, component: Component) -> bool:
        return component.dag is not None and any(
            task.iterator or self._has_loop(self.pipeline.component_of(task))
            for task in component.dag.tasks.values()
        )

    def _is_plain(self, component: Component) -> bool:
        """Whether all in a graph succeeds or none of it."""
        if component.dag is None:
            return True
        return not _chooses(component.dag) and all(
            not task.condition
            and not task.iterator
            and not task.whatever_happened
            and self._is_plain(self.pipeline.component_of(task))
            for task in component.dag.tasks.values()
        )


def _chooses(dag: Dag) -> bool:
    """Whether an output is that of the one of several tasks that ran, so that there may be none."""
    return any(output.one_of for output in (*dag.outputs.values(), *dag.artifact_outputs.values()))
