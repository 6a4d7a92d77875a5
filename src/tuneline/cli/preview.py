"""What `tuneline data preview` prints: rows token by token, then what was read, kept and dropped, and why.

Read and learned tokens stand on lines of their own, so nothing depends on colour; `|` stands between tokens,
and what would break a line is shown as Python writes it (`\\n`).
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from tuneline.cli.output import print_json, say
from tuneline.spec.project import Loaded

STEP = "tuneline.steps.preview"
"""Imported by name, as tasks import their steps: what a step imports is no part of the commands. It makes a
tokenizer, and loads transformers or torch only for chat templates and bases it sees for the first time."""

View = Mapping[str, Any]
"""A part of `json_object`."""

REASONS = {"where": "not chosen by `data.where`", "limit": "more than `data.limit`"}
"""Reasons that are the project's wish."""
EXAMPLES = 2
"""Dropped rows shown for each reason."""
SHOWN = 60
"""Characters of a field."""


def show(loaded: Loaded, limit: int, as_json: bool) -> None:
    """Print `limit` training rows of a project, a held-out one, and what was dropped. Raises as `preview`."""
    made = importlib.import_module(STEP).preview(loaded, limit)
    for note in made.notes:
        say(note)
    found = json_object(made)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(lines(found)))


def json_object(found: Any) -> dict[str, Any]:
    """`{"rows", "dropped", "report"}` of a `Preview`; a row has its `text` and `length` beside its tokens."""
    rows = [{**asdict(row), "text": row.text, "length": len(row.tokens)} for row in found.rows]
    return {"rows": rows, "dropped": [asdict(row) for row in found.dropped], "report": dict(found.report)}


def lines(found: View) -> list[str]:
    """The preview for people."""
    shown: list[str] = []
    for row in found["rows"]:
        shown += [*_row(row), ""]
    shown += _counts(found["report"])
    shown += _dropped(found["report"].get("dropped") or {}, found["dropped"])
    return shown


def _row(row: View) -> Iterator[str]:
    learned = sum(token["trained"] for token in row["tokens"])
    side = "trained on" if row["side"] == "train" else "held out"
    label = f", label {row['label']}" if row["label"] is not None else ""
    if not row["tokens"]:  # code of the project's own reads it
        yield f"row {row['number']}, {side}{label}"
        yield f"  {visible(row['text'])}"
        return
    yield f"row {row['number']}, {side}{label}: {row['length']} tokens, {learned} of them learned"
    for word, part in _parts(row["tokens"]):
        yield f"  {word:8} {part}"


def _parts(tokens: Sequence[View]) -> Iterator[tuple[str, str]]:
    """Runs of tokens that are read, or learned."""
    begin = 0
    for end in range(1, len(tokens) + 1):
        if end == len(tokens) or tokens[end]["trained"] != tokens[begin]["trained"]:
            word = "learned" if tokens[begin]["trained"] else "read"
            yield word, "|".join(visible(token["text"]) for token in tokens[begin:end])
            begin = end


def visible(text: str) -> str:
    """`text` on one line, and without what could steer a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _counts(report: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{report['read']:,} rows read, {report['kept']:,} kept: "
        f"{report['train']:,} to train on, {report['test']:,} held out"
    )
    for side, title in (("train", "training"), ("test", "held-out")):
        tokens = (report.get("tokens") or {}).get(side)
        if tokens:
            yield f"{title} rows: {tokens['mean']:.1f} tokens on average, {tokens['max']} at most"


def _dropped(counts: Mapping[str, int], examples: Sequence[View]) -> Iterator[str]:
    """A line a reason with its count, and the first rows of each."""
    for reason, count in sorted(counts.items(), key=lambda entry: -entry[1]):
        yield f"{count:,} {'row' if count == 1 else 'rows'} dropped: {REASONS.get(reason, reason)}"
        for row in [each for each in examples if each["reason"] == reason][:EXAMPLES]:
            fields = (f"{name}={_value(text)}" for name, text in row["fields"].items())
            yield f"  row {row['number']}: {', '.join(fields)}"
    if not counts:
        yield "none dropped"


def _value(text: str | None) -> str:
    if text is None:
        return "null"
    return f'"{visible(text[:SHOWN])}{"..." if len(text) > SHOWN else ""}"'
