"""`tuneline runs ...`: lists, one run, its logs, and going on with or ending it."""

import time

import click

from tuneline.cli import report
from tuneline.cli.following import ENDED
from tuneline.cli.output import json_option, print_json, print_table, say, server, short_time
from tuneline.cli.run import explain_failure
from tuneline.client import Client


@click.group()
def runs() -> None:
    """List, show, follow, retry and cancel runs."""


@runs.command(name="list")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--project", help="Only runs of this project.")
@json_option
def list_(limit: int, project: str | None, as_json: bool) -> None:
    """Runs, the newest first."""
    with server() as client:
        found = client.runs(limit, project)
    if as_json:
        print_json(found)
        return
    rows = [[row["id"], row["project"], row["state"], short_time(row["created_at"])] for row in found]
    print_table(
        ["run", "project", "state", "created"], rows, "No runs yet: `tuneline run PROJECT` starts one."
    )


@runs.command()
@click.argument("id")
@json_option
def show(id: str, as_json: bool) -> None:
    """One run: its tasks, and its report as far as it is."""
    with server() as client:
        found = client.run(id)
    if as_json:
        print_json(found)
        return
    print_table(
        ["task", "state", "seconds", "attempts", "said"], report.task_rows(found["tasks"]), "No tasks."
    )
    click.echo("\n".join(report.lines(found, None)))
    explain_failure(found)


@runs.command()
@click.argument("id")
@click.argument("task", required=False)
@click.option("-f", "--follow", "keep", is_flag=True, help="Go on until the task (or the run) has ended.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt; default: the newest.")
def logs(id: str, task: str | None, keep: bool, attempt: int | None) -> None:
    """What the tasks of run ID (or one TASK) printed."""
    with server() as client:
        names = [task] if task else [found["name"] for found in client.run(id)["tasks"]]
        if keep and not task:
            _follow_all(client, id, names)
            return
        for name in names:
            if not task:
                say(f"== {name}")
            _print_log(client, id, name, attempt, keep)


def _print_log(client: Client, id: str, task: str, attempt: int | None, keep: bool) -> None:
    offset = 0
    while True:
        piece = client.logs(id, task, attempt, offset)
        click.echo(piece["text"], nl=False)
        ended = piece["done"] or not keep
        if ended and piece["next"] == offset:
            return
        if piece["next"] == offset:
            time.sleep(0.2)
        offset = piece["next"]


def _follow_all(client: Client, id: str, names: list[str]) -> None:
    """The logs of all tasks as they come, each piece headed by its task when another one spoke before."""
    offsets, last = dict.fromkeys(names, 0), ""
    while True:
        state, spoke = client.run(id)["state"], False
        for name in names:
            piece = client.logs(id, name, None, offsets[name])
            if piece["text"]:
                if name != last:
                    say(f"== {name}")
                click.echo(piece["text"], nl=False)
                last, spoke = name, True
            offsets[name] = piece["next"]
        if state in ENDED and not spoke:
            say(f"run {id}: {state.lower()}")
            return
        if not spoke:
            time.sleep(0.3)


@runs.command()
@click.argument("id")
@json_option
def retry(id: str, as_json: bool) -> None:
    """Go on with a failed or canceled run: what succeeded stays."""
    with server() as client:
        found = client.retry(id)
    print_json(found) if as_json else click.echo(found["id"])
    say(f"Follow it with `tuneline runs logs {id} -f`.")


@runs.command()
@click.argument("id")
@json_option
def cancel(id: str, as_json: bool) -> None:
    """End a run; none of its processes is left behind."""
    with server() as client:
        found = client.cancel(id)
    print_json(found) if as_json else click.echo(f"{found['id']} {found['state']}")
