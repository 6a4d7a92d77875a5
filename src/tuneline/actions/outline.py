"""Which tasks of a run a person is shown: nested pipelines as far as there is room, loops as one line. Pure.

A run may have thousands of tasks; whoever follows it looks twice a second. What is left out is counted at the
nearest task that is shown. Limits: of what is left out, the first few that failed or run are still shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GRAPHS = frozenset(("dag", "loop", "iteration"))
"""Kinds of tasks that are made of tasks."""
ROOM = 60
"""Tasks shown before nested pipelines are closed, and of one graph before what is well is only counted."""
FAILED, RUNNING = 10, 5
"""How many tasks of these states are shown although there is no room."""
ROOT = ""


@dataclass(frozen=True)
class Light:
    """What of a task's row decides; in the order of the pipeline."""

    path: str
    parent: str
    kind: str
    state: str


@dataclass(frozen=True)
class Inside:
    """What stands in a graph: leaves by state, and of a loop its iterations by state."""

    tasks: Mapping[str, int] = field(default_factory=dict)
    iterations: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A task that is shown. under: the shown task above it, or empty."""

    path: str
    under: str
    depth: int
    closed: bool = False
    """Whether there are tasks in it that are not shown."""
    urgent: bool = False
    """Whether there was no room for it, and it is shown because it failed or runs."""


@dataclass(frozen=True)
class Outline:
    """What is shown, in order, and how many tasks beside it are not, by state."""

    shown: tuple[Shown, ...]
    rest: Mapping[str, int]


class Tree:
    """The tasks of a run by what they stand in."""

    def __init__(self, rows: Iterable[Light]) -> None:
        self.rows = {row.path: row for row in rows}
        self.children: dict[str, list[str]] = {}
        for row in self.rows.values():
            self.children.setdefault(row.parent or ROOT, []).append(row.path)
        self.inside: dict[str, Inside] = {}
        """By graph that was opened; the root is the empty path."""
        self._count()

    def leaf(self, path: str) -> bool:
        """Whether something executes this task itself."""
        return self.rows[path].kind not in GRAPHS

    def within(self, path: str, *, into_loops: bool = True) -> Iterable[str]:
        """All tasks in a graph, depth first; a loop's only with `into_loops`."""
        todo = list(reversed(self.children.get(path, ())))
        while todo:
            found = todo.pop()
            yield found
            if into_loops or self.rows[found].kind != "loop":
                todo.extend(reversed(self.children.get(found, ())))

    def _count(self) -> None:
        counts: dict[str, Counter[str]] = {path: Counter() for path in (ROOT, *self.children)}
        for path in sorted(self.rows, key=lambda path: -path.count("/")):  # what stands in a graph before it
            row = self.rows[path]
            above = counts.setdefault(row.parent or ROOT, Counter())
            if self.leaf(path):
                above[row.state] += 1
            else:
                above.update(counts.get(path, Counter()))
        for path in self.rows.keys() - counts.keys():
            if not self.leaf(path):  # not opened yet, or never to be
                counts[path] = Counter()
        for path, found in counts.items():
            loop = path != ROOT and self.rows[path].kind == "loop"
            turns = Counter(self.rows[child].state for child in self.children.get(path, ()) if loop)
            self.inside[path] = Inside(dict(found), dict(turns))


def outline(tree: Tree, room: int = ROOM) -> Outline:
    """What to show of a run's tasks."""
    top = tree.children.get(ROOT, [])
    chosen = list(tree.within(ROOT, into_loops=False))
    if len(chosen) > room:
        chosen = list(top)
    if len(chosen) > room:
        busy = [path for path in top if tree.rows[path].state in ("FAILED", "RUNNING")]
        chosen = sorted(set(busy[:room]), key=top.index) if len(busy) < len(top) else top[:room]
    visible = dict.fromkeys(chosen)
    extra = _urgent(tree, visible)
    order = [path for path in tree.within(ROOT) if path in visible or path in extra]
    shown = tuple(_shown(tree, path, visible) for path in order)
    missing = Counter(tree.inside[ROOT].tasks)
    for path in (path for path in top if path in visible):
        missing -= Counter({tree.rows[path].state: 1} if tree.leaf(path) else dict(tree.inside[path].tasks))
    missing -= Counter(tree.rows[path].state for path in extra if _above(tree, path, visible) == ROOT)
    return Outline(shown, dict(missing))


def _urgent(tree: Tree, visible: Mapping[str, None]) -> set[str]:
    """The first few leaves that failed, and that run, of those that are not visible."""
    left = {"FAILED": FAILED, "RUNNING": RUNNING}
    found = set()
    for path in tree.within(ROOT):
        state = tree.rows[path].state
        if left.get(state, 0) and path not in visible and tree.leaf(path):
            left[state] -= 1
            found.add(path)
    return found


def _shown(tree: Tree, path: str, visible: Mapping[str, None]) -> Shown:
    under = _above(tree, path, visible)
    depth = 0
    above = under
    while above != ROOT:
        depth, above = depth + 1, _above(tree, above, visible)
    closed = not tree.leaf(path) and any(child not in visible for child in tree.children.get(path, ()))
    return Shown(path, under, depth, closed, path not in visible)


def _above(tree: Tree, path: str, visible: Mapping[str, None]) -> str:
    """The nearest visible task that `path` stands in; the root if there is none."""
    found = tree.rows[path].parent or ROOT
    while found != ROOT and found not in visible:
        found = tree.rows[found].parent or ROOT
    return found
