"""One graph of a run: the pipeline itself, or one in it, as the IR has it, with states of the record. Pure.

The IR is read leniently: it was checked when the run began, and what is not there is not drawn. Only one
graph is walked, so a pipeline of thousands of tasks costs what is looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneline.actions.outline import Inside, Tree

Spec = Mapping[str, Any]
"""A pipeline spec, as the IR has it."""


@dataclass(frozen=True)
class Place:
    """A task in a graph."""

    path: str
    name: str
    kind: str
    state: str
    needs: frozenset[str]
    """Names of tasks beside it."""
    inside: Inside


@dataclass(frozen=True)
class Level:
    """What stands directly in one task; the empty path is the pipeline itself.

    kind: `dag` has `places`, `loop` has `iterations` (paths with states), anything else is a leaf.
    """

    path: str
    kind: str
    places: tuple[Place, ...] = ()
    iterations: tuple[tuple[str, str], ...] = ()

    @property
    def above(self) -> tuple[tuple[str, str], ...]:
        """(name, path) of every graph this one stands in, the pipeline first, and of itself."""
        parts = self.path.split("/") if self.path else []
        return (("", ""), *((part, "/".join(parts[: n + 1])) for n, part in enumerate(parts)))


def level(spec: Spec, tree: Tree, path: str) -> Level | None:
    """The graph at `path` of a run; None if the pipeline has no such task."""
    component: Spec = _map(spec, "root")
    kind, at = "dag", ""
    for part in path.split("/") if path else ():
        at = f"{at}/{part}" if at else part
        if kind == "loop":  # `part` is an iteration's index
            if at not in tree.rows:
                return None
            kind = "dag" if "dag" in component else "task"
            continue
        task = _map(_tasks(component), part)
        if not task:
            return None
        component = _map(spec, "components", str(_map(task, "componentRef").get("name")))
        kind = _kind(task, component)
    if kind == "loop":
        turns = [tree.rows[child] for child in tree.children.get(path, ())]
        return Level(path, kind, iterations=tuple((turn.path, turn.state) for turn in turns))
    if kind != "dag":
        return Level(path, kind)
    return Level(path, kind, tuple(_places(spec, component, tree, path)))


def _places(spec: Spec, component: Spec, tree: Tree, path: str) -> Iterator[Place]:
    for name, task in _tasks(component).items():
        own = f"{path}/{name}" if path else name
        row = tree.rows.get(own)
        made_of = _map(spec, "components", str(_map(task, "componentRef").get("name")))
        yield Place(
            own,
            name,
            row.kind if row and row.kind in ("importer", "loop") else _kind(task, made_of),
            row.state if row else "PENDING",
            frozenset(needs(task)),
            tree.inside.get(own, Inside()),
        )


def needs(task: Spec) -> Iterator[str]:
    """Names of the tasks that a task of the IR waits for: those it says, and those whose outputs it reads."""
    yield from (str(name) for name in task.get("dependentTasks") or ())
    inputs = _map(task, "inputs")
    for group in ("parameters", "artifacts"):
        for given in _map(inputs, group).values():
            for source in given.values() if isinstance(given, Mapping) else ():
                if isinstance(source, Mapping) and source.get("producerTask"):
                    yield str(source["producerTask"])


def _kind(task: Spec, component: Spec) -> str:
    if "parameterIterator" in task or "artifactIterator" in task:
        return "loop"
    return "dag" if "dag" in component else "task"


def _tasks(component: Spec) -> Mapping[str, Spec]:
    return _map(component, "dag", "tasks")


def _map(body: Spec, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = body.get(key)
        body = found if isinstance(found, Mapping) else {}
    return body


def inputs_of(spec: Spec) -> dict[str, Any]:
    """The parameters that a pipeline declares, by name, as the IR has them."""
    return dict(_map(spec, "root", "inputDefinitions", "parameters"))


def counted(inside: Inside, words: Sequence[str]) -> str:
    """`34 of 100 done, 2 running`: of a loop its iterations, else its tasks. words: states that are done."""
    counts = inside.iterations or inside.tasks
    if not counts:
        return ""
    done = sum(counts.get(state, 0) for state in words)
    more = [f"{counts[state]:,} {state.lower()}" for state in ("RUNNING", "FAILED") if counts.get(state)]
    return ", ".join([f"{done:,} of {sum(counts.values()):,} done", *more])
