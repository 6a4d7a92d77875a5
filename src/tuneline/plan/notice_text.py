"""Blocks of a message, as Markdown and as plain text, cut to what every service takes. Pure.

Tables and quotes stand in code fences: Slack has no tables, and in a fence nothing is markup. What says what
to do next is never cut.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST = 2800
"""Characters of a message: one block of Slack takes 3,000, and `&` becomes five of them there."""
_CELL, _QUOTE = 60, 700
_FENCE = "```"


@dataclass(frozen=True)
class Say:
    """A sentence."""

    text: str


@dataclass(frozen=True)
class Quote:
    """What something else said, as it said it."""

    text: str


@dataclass(frozen=True)
class Table:
    """Columns aligned. more: rows that are not here."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int = 0


@dataclass(frozen=True)
class Do:
    """Commands to go on with."""

    commands: Sequence[str]


@dataclass(frozen=True)
class Link:
    """A page."""

    label: str
    url: str


Block = Say | Quote | Table | Do | Link
Writer = Callable[[Block], str]


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown of at most LONGEST characters."""
    return _fitted(blocks, _as_markdown)


def plain(blocks: Sequence[Block]) -> str:
    """The blocks as text of at most LONGEST characters."""
    return _fitted(blocks, _as_text)


def cut(text: str, most: int) -> str:
    """The text in one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _fitted(blocks: Sequence[Block], write: Writer) -> str:
    """Blocks in order while there is room; those that say what to do next always have it."""
    kept = [block for block in blocks if isinstance(block, Do | Link)]
    room = LONGEST - sum(len(write(block)) + 2 for block in kept)
    found = []
    for block in blocks:
        if isinstance(block, Do | Link):
            found.append(write(block))
            continue
        said = _shortened(block, room, write)
        room -= len(said) + 2 if said else 0
        found += [said] if said else []
    return "\n\n".join(found)[:LONGEST]


def _shortened(block: Block, room: int, write: Writer) -> str:
    """The block in at most `room` characters; "" if nothing of it fits."""
    said = write(block)
    while len(said) > room:
        if isinstance(block, Table) and len(block.rows) > 1:
            block = Table(block.columns, block.rows[:-1], block.more + 1)
        elif isinstance(block, Say | Quote) and len(block.text) > 40:
            block = type(block)(block.text[: len(block.text) * 3 // 4].rstrip(". ") + "...")
        else:
            return ""
        said = write(block)
    return said


def _as_markdown(block: Block) -> str:
    match block:
        case Say(text):
            return re.sub(r"([\\`*_\[\]<>])", r"\\\1", cut(text, _QUOTE))
        case Link(label, url):
            return f"[{label}]({url})"
        case Do():
            return "Next:\n\n" + _fenced("\n".join(block.commands))
    return _fenced(_as_text(block))


def _as_text(block: Block) -> str:
    match block:
        case Say(text):
            return cut(text, _QUOTE)
        case Quote(text):
            return text.strip() if len(text) <= _QUOTE else text.strip()[: _QUOTE - 3] + "..."
        case Link(label, url):
            return f"{label}: {url}"
        case Do(commands):
            return "Next:\n" + "\n".join(f"  {command}" for command in commands)
        case Table():
            return _aligned(block)


def _aligned(table: Table) -> str:
    cells = [[cut(cell, _CELL) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(table.columns))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
    more = [f"and {table.more} more"] if table.more else []
    return "\n".join([line.rstrip() for line in lines] + more)


def _fenced(text: str) -> str:
    inside = text.replace(_FENCE, "'''")  # which would end the fence
    return f"{_FENCE}\n{inside}\n{_FENCE}"
