"""A graph of tasks laid out for a drawing: columns by what must come before, few crossings. Pure.

Limits: where more than MOST boxes would stand, those in one column with the same name but for their number
are drawn as one that counts them; if that is not enough, the first MOST are drawn, the others counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MOST = 150
"""Boxes in one drawing."""
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 200, 50, 56, 18, 8
"""Of boxes and between them, in the drawing's units."""
SIZES = {"width": WIDTH, "height": HEIGHT}
CHARACTERS = 25
"""So many of a name fit into a box."""
SWEEPS = 4
WORST_FIRST = ("FAILED", "RUNNING", "CANCELED", "PENDING", "SKIPPED", "CACHED", "SUCCEEDED")
_NUMBER = re.compile(r"-\d+$")
"""KFP's SDK numbers tasks of one component: `train`, `train-2`, ..."""


@dataclass(frozen=True)
class Node:
    """A task of the graph. needs: names of tasks in it that come before."""

    name: str
    state: str
    needs: frozenset[str] = frozenset()
    note: str = ""
    """A second line, e.g. how much of a loop is done."""
    link: str = ""
    whole: bool = False
    """Whether it is made of tasks."""


@dataclass(frozen=True)
class Box:
    """A drawn node: its upper left corner."""

    node: Node
    x: int
    y: int
    count: int = 1
    """How many tasks it stands for."""

    @property
    def label(self) -> str:
        """Its name, as much of it as fits."""
        name = self.node.name if self.count == 1 else f"{self.node.name} \N{MULTIPLICATION SIGN}{self.count}"
        return name if len(name) <= CHARACTERS else name[: CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Drawing:
    """Boxes and the lines between them, as SVG paths."""

    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    width: int
    height: int
    left_out: int = 0
    """Tasks that are not drawn."""


@dataclass
class _Group:
    node: Node
    members: list[str] = field(default_factory=list)


def draw(nodes: Sequence[Node]) -> Drawing:
    """The drawing of a graph. Needs that are no nodes, and cycles, are passed over."""
    columns = _columns(nodes)
    groups = {node.name: _Group(node, [node.name]) for node in nodes}
    if len(nodes) > MOST:
        groups = _merged(nodes, columns)
    kept = dict(list(groups.items())[:MOST])
    left_out = sum(len(group.members) for group in list(groups.values())[MOST:])
    place = {member: name for name, group in kept.items() for member in group.members}
    edges = sorted({
        (place[need], place[node.name])
        for node in nodes if node.name in place
        for need in node.needs if need in place and columns[need] < columns[node.name]
    })  # fmt: skip
    layers = _layers([(name, columns[group.members[0]]) for name, group in kept.items()], edges)
    boxes = _placed(kept, layers)
    lines = tuple(_line(boxes[source], boxes[target]) for source, target in edges)
    height = max((box.y for box in boxes.values()), default=0) + HEIGHT + MARGIN
    width = max((box.x for box in boxes.values()), default=0) + WIDTH + MARGIN
    return Drawing(tuple(boxes.values()), lines, width, height, left_out)


def worst(states: Iterable[str]) -> str:
    """The state that a box of several tasks is drawn in."""
    found = set(states)
    return next((state for state in WORST_FIRST if state in found), "PENDING")


def _columns(nodes: Sequence[Node]) -> dict[str, int]:
    """The longest way to each node from one that needs none."""
    needs = {node.name: [need for need in node.needs] for node in nodes}
    unmet = {name: sum(need in needs for need in wanted) for name, wanted in needs.items()}
    dependents: dict[str, list[str]] = {}
    for name, wanted in needs.items():
        for need in wanted:
            dependents.setdefault(need, []).append(name)
    found = {name: 0 for name in needs}
    todo = [name for name, count in unmet.items() if not count]
    for name in todo:
        for dependent in dependents.get(name, ()):
            found[dependent] = max(found[dependent], found[name] + 1)
            unmet[dependent] -= 1
            if not unmet[dependent]:
                todo.append(dependent)
    return found


def _merged(nodes: Sequence[Node], columns: Mapping[str, int]) -> dict[str, _Group]:
    alike: dict[tuple[int, str], list[Node]] = {}
    for node in nodes:
        alike.setdefault((columns[node.name], _NUMBER.sub("", node.name)), []).append(node)
    found = {}
    for (_, name), members in alike.items():
        counts = Counter(member.state for member in members)
        note = ", ".join(f"{count:,} {state.lower()}" for state, count in counts.most_common(2))
        first = members[0]
        node = first if len(members) == 1 else Node(name, worst(counts), first.needs, note)
        found[first.name] = _Group(node, [member.name for member in members])
    return found


def _layers(columns: Sequence[tuple[str, int]], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Names by column, each column ordered by the mean place of its neighbours: a few sweeps, both ways."""
    layers: list[list[str]] = [[] for _ in range(max((column for _, column in columns), default=-1) + 1)]
    for name, column in columns:
        layers[column].append(name)
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        place = {name: at - len(layer) / 2 for layer in layers for at, name in enumerate(layer)}
        for layer in layers if forward else reversed(layers):
            _sort(layer, before if forward else after, place)
    return layers


def _sort(layer: list[str], neighbours: Mapping[str, list[str]], place: dict[str, float]) -> None:
    def middle(name: str) -> float:
        near = neighbours.get(name)
        return sum(place[other] for other in near) / len(near) if near else place[name]

    layer.sort(key=middle)
    place.update({name: at - len(layer) / 2 for at, name in enumerate(layer)})


def _placed(groups: Mapping[str, _Group], layers: Sequence[Sequence[str]]) -> dict[str, Box]:
    tallest = max(map(len, layers), default=0)
    found = {}
    for column, layer in enumerate(layers):
        top = MARGIN + (tallest - len(layer)) * (HEIGHT + GAP_Y) // 2
        for at, name in enumerate(layer):
            x, y = MARGIN + column * (WIDTH + GAP_X), top + at * (HEIGHT + GAP_Y)
            found[name] = Box(groups[name].node, x, y, len(groups[name].members))
    return found


def _line(source: Box, target: Box) -> str:
    x1, y1 = source.x + WIDTH, source.y + HEIGHT // 2
    x2, y2 = target.x, target.y + HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
