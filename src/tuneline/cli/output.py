"""How commands print: data on stdout, talk on stderr; a table for people, one JSON value for programs."""

import json
from collections.abc import Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Talk, on stderr."""
    click.echo(text, err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Columns aligned with spaces, for people and `awk`; `empty` on stderr if there are no rows."""
    if not rows:
        say(empty)
        return
    cells = [[str(column).upper() for column in columns]] + [
        ["" if c is None else str(c) for c in row] for row in rows
    ]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def short_time(moment: str | None) -> str:
    """An RFC 3339 time of the API to the second, for tables."""
    return "" if not moment else moment.split(".")[0].rstrip("Z").replace("T", " ") + "Z"
