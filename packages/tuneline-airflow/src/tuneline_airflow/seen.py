"""A run as one of its tasks sees it: every instance of every task, found in Airflow's states and XComs when
it is looked at, and never before.

What `tuneline_ir` says of inputs and outputs holds for these instances as for the local runner's own. A task
that was executed has left a record (XCom `return_value`): what it put out. A loop has left the paths of its
iterations. All else follows.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from tuneline_airflow.outline import Graph, Outline, Role, each_of, id_of
from tuneline_ir import (
    GOOD,
    Component,
    Given,
    Kind,
    Status,
    Task,
    evaluate,
    given,
    items,
    outputs_of,
    parse_condition,
    path_of,
)

RECORD = "return_value"
ERROR = "error"
"""Why a task failed, as far as it could say."""
PACKED = "json"
"""Of a record that Airflow's JSON could not hold: its JSON text."""
FATES = "fates"
"""The loops in a loop that were not gone into: path -> fault, empty if it was skipped."""
_STATES = {"success": Status.SUCCEEDED, "failed": Status.FAILED, "running": Status.RUNNING}


class Left(Protocol):
    """What tasks have left behind in Airflow. Of a task that is not mapped the map index is -1."""

    def one(self, id: str, index: int, key: str) -> Any:
        """What an instance left under a key; None: nothing."""
        ...

    def all(self, id: str) -> Mapping[int, Any]:
        """The records of all instances of a mapped task, by map index."""
        ...

    def states(self) -> Mapping[tuple[str, int], str]:
        """The states of all tasks of the run, by id and map index."""
        ...


@dataclass(frozen=True)
class Run:
    """A run and what was given to it. `names`: values of pipeline-level placeholders."""

    outline: Outline
    parameters: Mapping[str, Any]
    left: Left
    names: Mapping[str, str] = field(default_factory=dict)
    final_states: Mapping[Status, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Put:
    """What a task put out."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


class Seen(Mapping[str, "Sight"]):
    """All instances of a run, by path."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._sights: dict[str, Sight] = {}
        self._frames: dict[str, tuple[str, ...]] = {}
        self._records: dict[str, dict[int, Any]] = {}
        self._whole: set[str] = set()

    def __getitem__(self, path: str) -> "Sight":
        if path not in self._sights:
            self._sights[path] = self._look(path)
        return self._sights[path]

    def __iter__(self) -> Iterator[str]:
        """All there are, outer ones first."""
        waiting = [""]
        while waiting:
            path = waiting.pop(0)
            yield path
            waiting += self[path].children

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @cached_property
    def states(self) -> Mapping[tuple[str, int], str]:
        """Asked for once: an instance that looks at others waits until they have ended."""
        return self.run.left.states()

    def frames(self, loop: str) -> tuple[str, ...]:
        """The paths of a loop's iterations, in the order of map indexes. loop: its place."""
        if loop not in self._frames:
            self._frames[loop] = tuple(self.record(id_of(loop, Role.ITEMS), -1) or ())
        return self._frames[loop]

    def record(self, id: str, index: int) -> Any:
        """What a task returned; None: nothing. Who asks for a second instance will ask for all."""
        known = self._records.setdefault(id, {})
        if index not in known and known and id not in self._whole:
            self._whole.add(id)
            known.update(self.run.left.all(id))
        if index not in known and id not in self._whole:
            known[index] = self.run.left.one(id, index, RECORD)
        return known.get(index)

    def index(self, path: str, loops: tuple[str, ...]) -> int:
        """The map index of what stands in these loops; -1: it is not mapped."""
        if not loops:
            return -1
        depth = loops[-1].count("/") + len(loops) + 1
        return self.frames(loops[-1]).index("/".join(path.split("/")[:depth]))

    def path(self, place: str, loops: tuple[str, ...], index: int) -> str:
        """The path of the instance of a place with a map index."""
        if not loops:
            return place
        rest = place.removeprefix(loops[-1]).strip("/")
        frame = self.frames(loops[-1])[index]
        executed = place == each_of(loops[-1]) and self.run.outline.graphs[loops[-1]].dag is None
        return frame if executed or not rest else path_of(frame, rest)

    def _look(self, path: str) -> "Sight":
        place, index = self._place(path)
        return Sight(self, path, place, index)

    def _place(self, path: str) -> tuple[str, int | None]:
        """Where an instance stands in the outline, and which iteration it is itself."""
        place, number, graphs = "", None, self.run.outline.graphs
        for word in path.split("/") if path else []:
            graph = graphs.get(place)
            if graph is not None and graph.loop and number is None:
                number = int(word)
            else:
                place, number = path_of(place, word), None
        return place, number


class Sight:
    """One instance, as `tuneline_ir.Instance` has it. Looks at Airflow when it is asked."""

    def __init__(self, seen: Seen, path: str, place: str, index: int | None) -> None:
        self.seen, self.path, self.place, self.index = seen, path, place, index
        self.parent = path.rpartition("/")[0]

    @property
    def graph(self) -> Graph | None:
        """The graph that it is; None: it is executed."""
        found = self.seen.run.outline.graphs.get(self.place)
        return None if found is None or (self.index is not None and found.dag is None) else found

    @cached_property
    def task(self) -> Task:
        """What it is an instance of."""
        outline = self.seen.run.outline
        graph = outline.graphs.get(self.place)
        return graph.task if graph is not None else outline.tasks[self.place]

    @cached_property
    def component(self) -> Component:
        """What its task is an instance of."""
        return self.seen.run.outline.component(self.place)

    @property
    def kind(self) -> Kind:
        """Whether it is executed, or what kind of graph it is."""
        graph = self.graph
        if graph is None:
            return Kind.TASK
        if graph.loop:
            return Kind.LOOP if self.index is None else Kind.ITERATION
        return Kind.DAG

    @cached_property
    def given(self) -> Given:
        """Its inputs. Raises: ValueError, naming the one that has no value or does not fit."""
        if not self.path:
            return Given(dict(self.seen.run.parameters))
        return given(self.seen.run, self.seen, self)

    @cached_property
    def items(self) -> tuple[Any, ...]:
        """Of a loop. Raises: ValueError."""
        return items(self.seen.run, self, self.given)

    @cached_property
    def children(self) -> tuple[str, ...]:
        """Of a graph: the paths of what is in it."""
        graph = self.graph
        if graph is None:
            return ()
        if self.kind is Kind.LOOP:
            return tuple(frame for frame in self.seen.frames(self.place) if _above(frame) == self.path)
        assert graph.dag is not None
        return tuple(path_of(self.path, name) for name in graph.dag.tasks)

    @cached_property
    def outputs(self) -> Put:
        """What it put out; nothing if it did not succeed. Raises: ValueError as `outputs_of` does."""
        if self.graph is None:
            id, index = self._ran
            record = unpacked(self.seen.record(id, index) or {})
            artifacts = {name: tuple(listed) for name, listed in record.get("artifacts", {}).items()}
            return Put(record.get("parameters", {}), artifacts)
        if self.status not in GOOD:
            return Put()
        return Put(*outputs_of(self.seen, self))

    @cached_property
    def status(self) -> Status:
        """How it ended."""
        if self.graph is None:
            return _STATES.get(self.seen.states.get(self._ran, ""), Status.SKIPPED)
        decided = self._decided()
        if decided is not None:
            return decided
        if any(self.seen[path].status is Status.FAILED for path in self.children):
            return Status.FAILED
        return Status.FAILED if self._unchosen() else Status.SUCCEEDED

    def _unchosen(self) -> str:
        """Why an output that is one of several is none; empty: there is none such."""
        dag = self.graph.dag if self.graph is not None and self.kind is not Kind.LOOP else None
        if dag is None or not any(
            output.one_of for output in (*dag.outputs.values(), *dag.artifact_outputs.values())
        ):
            return ""
        try:
            outputs_of(self.seen, self)
        except ValueError as error:
            return str(error)
        return ""

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Why it failed: what the task says that failed first in it."""
        if self.status is not Status.FAILED:
            return None
        at = self._ran if self.graph is None else self._opening
        said = self.seen.run.left.one(*at, ERROR) if at is not None else ""
        if self.graph is not None and not said:
            for path in self.children:
                inner = self.seen[path]
                if inner.status is Status.FAILED:
                    return {"task": path, **(inner.error or {})}
            said = self._fate() or self._unchosen()
        return {"message": said or f"Task `{self.path}` failed; see its log."}

    def goes(self) -> bool:
        """Whether its turn comes: the graph it stands in is gone into, and what it needs went well."""
        if not self.path:
            return True
        outer = self.seen[self.parent]
        if not outer.open:
            return False
        if self.index is not None or self.task.whatever_happened:
            return True
        return all(self.seen[path_of(self.parent, need)].status in GOOD for need in self.task.needs)

    def holds(self) -> bool:
        """Whether its condition does. Raises: ValueError if that cannot be decided."""
        if not self.task.condition or self.index is not None:
            return True
        return evaluate(parse_condition(self.task.condition), self.given.parameters)

    @cached_property
    def open(self) -> bool:
        """Of a graph: whether it was gone into."""
        if not self.path:
            return True
        if self.index is not None:
            return self.path in self.seen.frames(self.place)
        return self._decided() is None

    def _decided(self) -> Status | None:
        """How a graph ended that was not gone into; None: it was."""
        if not self.path:
            return None
        if self.index is not None:
            return None if self.open else Status.SKIPPED
        at = self._opening
        if at is None:
            return None if self.goes() else Status.SKIPPED
        state = self.seen.states.get(at, "")
        if state != "success":
            return _STATES.get(state, Status.SKIPPED)
        fate = self._fate()
        return None if fate is None else Status.FAILED if fate else Status.SKIPPED

    def _fate(self) -> str | None:
        """Of a loop in a loop, whose items are found for all iterations around it at once: the fault of this
        one, empty if it was skipped; None: it was gone into."""
        graph = self.graph
        if graph is None or self.kind is not Kind.LOOP or len(graph.loops) < 2:
            return None
        fates = self.seen.run.left.one(id_of(self.place, Role.ITEMS), -1, FATES) or {}
        fate: str | None = fates.get(self.path)
        return fate

    @property
    def _opening(self) -> tuple[str, int] | None:
        """What decided whether this graph is gone into."""
        graph = self.graph
        if graph is None or self.index is not None:
            return None
        for role in (Role.ITEMS, Role.IF):
            id = id_of(self.place, role)
            if id in self.seen.run.outline.places:
                return id, self.seen.index(self.path, self.seen.run.outline.places[id].loops)
        return None

    @property
    def _ran(self) -> tuple[str, int]:
        """Id and map index of what executed it."""
        place = each_of(self.place) if self.index is not None else self.place
        id = id_of(place)
        return id, self.seen.index(self.path, self.seen.run.outline.places[id].loops)


def unpacked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record as it was before `attempt.record` packed it."""
    found: Mapping[str, Any] = json.loads(record[PACKED]) if PACKED in record else record
    return found


def _above(path: str) -> str:
    return path.rpartition("/")[0]
