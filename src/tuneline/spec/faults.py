"""What is wrong with a file of ours, gathered while its YAML nodes are walked, and how a fault shows a node.

`project.load` raises once, with all of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

import yaml


@dataclass
class Faults:
    """What is wrong with a file, line by line."""

    file: str
    found: list[tuple[int, str]] = field(default_factory=list)
    """(line, what), in the order found."""

    def note(self, where: yaml.Node | int, what: str) -> None:
        """One fault at a node, or at a line; 0 is outside the file."""
        line = where if isinstance(where, int) else where.start_mark.line + 1
        self.found.append((line, what))

    @property
    def lines(self) -> list[str]:
        """`file:line: what`, by line."""
        ordered = sorted(dict.fromkeys(self.found), key=lambda fault: fault[0])
        return [f"{self.file}:{line}: {what}" if line else what for line, what in ordered]


def nearest(word: str, known: Iterable[str]) -> str:
    """`; nearest: ...`, or "" when nothing is near."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; nearest: `{close[0]}`" if close else ""


def entries(node: yaml.MappingNode, faults: Faults) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """Of each key once: its text, its node, its value's node."""
    seen: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            faults.note(key, "a key must be plain text")
        elif key.value in seen:
            faults.note(
                key,
                f"`{key.value}` is there twice; first in line {seen[key.value][1].start_mark.line + 1}",
            )
        else:
            seen[key.value] = (key.value, key, value)
    return list(seen.values())


def shown(node: yaml.Node) -> str:
    """A node as a fault speaks of it."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if getattr(node, "style", None) in ("'", '"'):
        return f'the text "{node.value}"'
    return f"`{node.value}`" if node.value else "empty"
