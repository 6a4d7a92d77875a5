"""Commands about what was released and when it was live: `releases`, `history`, `ledger`."""

from collections.abc import Mapping
from typing import Any

import click

from tuneline.cli import exits
from tuneline.cli.compared import latency_lines, subject_lines, table_lines
from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, print_table, say, short_time

SHOWN = ("accuracy", "f1", "mse", "mae", "exact_match", "rouge_l", "chrf")
"""Numbers of a release that `show` tells, where it has them."""


@click.group()
def releases() -> None:
    """List and show the releases of a model."""


@releases.command(name="list")
@click.argument("model")
@json_option
def list_(model: str, as_json: bool) -> None:
    """Releases of MODEL, the highest version first."""
    with server() as client:
        found = client.releases(model)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["release"], row["state"], short_time(row["created_at"]), row["run"], row["reason"]]
        for row in found
    ]
    print_table(["release", "state", "created", "run", "why this version"], rows, f"{model} has no releases.")


@releases.command()
@click.argument("release")
@json_option
def show(release: str, as_json: bool) -> None:
    """One RELEASE (MODEL@VERSION): what it is, what it was judged by, what it came from."""
    with server() as client:
        found = client.release(release)
    if as_json:
        print_json(found)
        return
    manifest, candidate = found["manifest"], (found["report"] or {}).get("candidate") or {}
    base = manifest.get("base") or {}
    rows: list[tuple[str, object]] = [
        ("release", found["release"]),
        ("state", found["state"]),
        ("created", short_time(found["created_at"])),
        ("version because", found["reason"]),
        ("run", found["run"]),
        ("package", found["package"]["digest"]),
        (
            "base",
            f"{base.get('name')} {base.get('quantization')} ({found['base']['digest']})" if base else "none",
        ),
        ("data", manifest.get("data_digest")),
        ("recipe", manifest.get("recipe_digest")),
        ("template", manifest.get("template_hash")),
        *((name, _number(candidate[name])) for name in SHOWN if candidate.get(name) is not None),
        ("gate", (found["verdict"] or {}).get("reason")),
        ("proof", "holds" if (found["proof"] or {}).get("passed") else "none"),
        ("folder", found["package"]["uri"]),
    ]
    for name, value in rows:
        click.echo(f"{name:16} {value if value is not None else '-'}")
    if comparison := (found["verdict"] or {}).get("comparison"):
        _show_comparison(comparison)


def _show_comparison(comparison: Mapping[str, Any]) -> None:
    """What the release was judged by, and what exactly was compared."""
    parts = (
        ("compared", table_lines(comparison)),
        ("latency", latency_lines(comparison)),
        ("what", subject_lines(comparison)),
    )
    for title, lines in parts:
        for at, line in enumerate(lines):
            click.echo(f"{'' if at else title:16} {line}".rstrip())


def _number(value: object) -> str | None:
    return f"{value:.4f}" if isinstance(value, float | int) else None


@click.command()
@click.argument("endpoint")
@click.option("--at", metavar="TIME", help="Only what was live then, e.g. 2026-11-21T12:00Z.")
@json_option
def history(endpoint: str, at: str | None, as_json: bool) -> None:
    """Which release was live at ENDPOINT, from when to when, why, and by whom."""
    with server() as client:
        found = client.history(endpoint, at)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["release"], short_time(row["from"]), short_time(row["to"]) or "now", row["by"], row["why"]]
        for row in found
    ]
    nothing = f"Nothing was live at {endpoint}" + (f" at {at}." if at else " yet.")
    print_table(["release", "from", "to", "by", "why"], rows, nothing)


@click.group()
def ledger() -> None:
    """Show the ledger, or verify that nobody changed it."""


@ledger.command(name="list")
@click.option("--after", default=0, type=click.IntRange(0), help="Only entries after this number.")
@json_option
def list_ledger(after: int, as_json: bool) -> None:
    """Entries, in order."""
    with server() as client:
        found = client.ledger(after)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["seq"], short_time(row["at"]), row["kind"], _what(row["body"]), row["hash"][:19]]
        for row in found
    ]
    print_table(["#", "at", "kind", "what", "hash"], rows, "The ledger is empty.")


@ledger.command()
@json_option
def verify(as_json: bool) -> None:
    """Check the chain of hashes: exit code 1 if an entry was changed, deleted or moved."""
    with server() as client:
        found = client.verify_ledger()
    if as_json:
        print_json(found)
    else:
        for fault in found["faults"]:
            click.echo(" ".join(f"{key}={value}" for key, value in fault.items()))
        said = "intact" if found["ok"] else "NOT intact"
        say(f"The ledger of {found['entries']} entries is {said}; its head is {found['head']}.")
    if not found["ok"]:
        raise click.exceptions.Exit(exits.FAILURE)


FACTS = ("release", "endpoint", "why", "reason", "by", "run")
"""What of an entry's body a table shows; `--json` has all of it."""


def _what(body: dict[str, object]) -> str:
    return ", ".join(f"{key}: {body[key]}" for key in FACTS if body.get(key))
