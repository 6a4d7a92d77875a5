"""`tuneline notify`: what people were told, whether it arrived, and a test of a target."""

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, print_table, say, short_time


@click.group()
def notify() -> None:
    """List notices, test a target, and try again what did not arrive."""


@notify.command(name="list")
@click.option("--limit", default=50, type=click.IntRange(1, 1000), help="So many notices at most.")
@click.option("--run", help="Only those of this run.")
@json_option
def list_(limit: int, run: str | None, as_json: bool) -> None:
    """Notices, the newest first, and whether they arrived.

    A line a target: delivered, pending, waiting for something that is not set, or failed.
    """
    with server() as client:
        found = client.notices(limit, run)
    if as_json:
        print_json(found)
        return
    rows = []
    for notice in found:
        head: list[object] = [notice["id"], short_time(notice["at"]), notice["title"]]
        for each in notice["deliveries"]:
            said = each["missing"] or each["error"] or ""
            if each["state"] == "pending" and each["attempts"]:
                said += f"; next {short_time(each['next_at'])}"
            rows.append([*head, each["target"], each["state"], each["attempts"], said])
        if not notice["deliveries"]:
            rows.append([*head, "-", "told to nobody", 0, ""])
    columns = ["id", "at", "what", "target", "state", "attempts", "why"]
    print_table(columns, rows, "There is no notice yet.")


@notify.command()
@click.argument("target")
@json_option
def test(target: str, as_json: bool) -> None:
    """Send a test to TARGET.

    TARGET is written as in the project file, or is TUNELINE_NOTIFY; quote it for your shell. The server sends
    it, with its own environment and secrets.
    """
    with server(start=True) as client:
        found = client.test_notice(target)
    if as_json:
        print_json(found)
    else:
        say(f"{target} took the test.")


@notify.command()
@click.argument("notice", required=False, type=click.IntRange(1))
@json_option
def retry(notice: int | None, as_json: bool) -> None:
    """Try again what failed or waits, of one NOTICE or of all."""
    with server() as client:
        found = client.retry_notices(notice)
    if as_json:
        print_json(found)
    else:
        say(f"{found['deliveries']} deliveries are tried again; `tuneline notify list` shows them.")
