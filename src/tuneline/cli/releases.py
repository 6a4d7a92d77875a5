"""Commands about what was released, approved and live when: `releases`, `history`, `ledger`."""

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
    """List and show the releases of a model; approve or reject those that wait."""


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
        [row["release"], state(row), short_time(row["created_at"]), row["run"], row["reason"]]
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
        ("state", state(found)),
        ("created", short_time(found["created_at"])),
        ("version because", found["reason"]),
        ("run", found["run"]),
        ("package", found["package"]["digest"]),
        (
            "base",
            f"{base.get('name')} {base.get('quantization')} ({found['base']['digest']})" if base else "none",
        ),
        ("form", manifest.get("form") or ("adapter" if manifest.get("method") == "lora" else None)),
        ("data", manifest.get("data_digest")),
        ("recipe", manifest.get("recipe_digest")),
        ("template", manifest.get("template_hash")),
        *((name, _number(candidate[name])) for name in SHOWN if candidate.get(name) is not None),
        ("gate", (found["verdict"] or {}).get("reason")),
        ("proof", "holds" if (found["proof"] or {}).get("passed") else "none"),
        ("approval", _approval(found)),
        *(("forced", forced(each)) for each in found["forced"]),
        ("ledger", found["ledger_head"]),
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


comment_option = click.option("--comment", default="", help="Why; it is kept in the ledger.")


@releases.command()
@click.argument("release")
@comment_option
@json_option
def approve(release: str, comment: str, as_json: bool) -> None:
    """Say yes to RELEASE (MODEL@VERSION), a candidate: it goes on to its endpoint by itself.

    If another release went live since it was judged, its gate is run again first, and your approval holds if
    the same content passes.
    """
    with server(start=True) as client:
        done = client.approve(release, comment)
    if as_json:
        print_json(done)
    elif not done["again"]:
        say(f"{release} is approved; endpoint {done['endpoint']} takes it over: `tuneline status`.")
    else:
        serves = done["serves"] or "nothing"
        say(f"Endpoint {done['endpoint']} serves {serves} now, which {release} was not compared with.")
        if done["run"]:
            say(f"Run {done['run']} gates it again. Follow it: `tuneline runs show -f {done['run']}`.")
        else:
            say(f"It is gated again as soon as that can be: {done['waits']}")
        say("Your approval holds if the same content passes; other content asks anew.")


@releases.command()
@click.argument("release")
@comment_option
@json_option
def reject(release: str, comment: str, as_json: bool) -> None:
    """Say no to RELEASE (MODEL@VERSION), a candidate: what is live stays live."""
    with server(start=True) as client:
        done = client.reject(release, comment)
    if as_json:
        print_json(done)
    else:
        say(f"{release} is rejected; endpoint {done['endpoint']} serves {done['serves'] or 'nothing'}.")


def _approval(found: Mapping[str, Any]) -> str:
    """What people said of a release."""
    said = found["approval"]
    if said is None:
        return "none was asked for"
    comment = f": {said['comment']}" if said["comment"] else ""
    if said["decision"] is None:
        waits = f"waits; `tuneline releases approve {found['release']}`"
        return f"{waits} (the last one does not hold: {said['note']})" if said["note"] else waits
    text = f"{said['decision']} by {said['by']} at {short_time(said['at'])}{comment}"
    if said["waits_for_gate"]:
        text += f"; gated again first, by {said['gated_again_by'] or 'a run that is to come'}"
    return f"{text}; {said['note']}" if said["note"] else text


def state(found: Mapping[str, Any]) -> str:
    """A release's state, and whether it was ever tried past its gate."""
    return str(found["state"]) + (", forced" if found["forced"] else "")


def forced(said: Mapping[str, Any]) -> str:
    """That somebody tried a release past its gate."""
    what = f"past its gate at {said['endpoint']} by {said['by']} at {short_time(said['at'])}"
    return f"{what}, {said['status'].replace('_', ' ')}: {said['why']}"


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
@click.option("--head", default="", metavar="SEQ:HASH", help="A head you kept: it must still be in there.")
@json_option
def verify(head: str, as_json: bool) -> None:
    """Check the chain of hashes against its head and the heads that releases keep.

    Exit code 1 if an entry was changed, deleted, moved or replaced.
    """
    with server() as client:
        found = client.verify_ledger(head)
    if as_json:
        print_json(found)
    else:
        for fault in found["faults"]:
            click.echo(" ".join(f"{key}={value}" for key, value in fault.items()))
        said = "intact" if found["ok"] else "NOT intact"
        say(f"The ledger of {found['entries']} entries is {said}; its head is:")
        click.echo(f"{found['entries']}:{found['head']}")
    if not found["ok"]:
        raise click.exceptions.Exit(exits.FAILURE)


FACTS = ("release", "endpoint", "why", "reason", "by", "run")
"""What of an entry's body a table shows; `--json` has all of it."""


def _what(body: dict[str, object]) -> str:
    return ", ".join(f"{key}: {body[key]}" for key in FACTS if body.get(key))
