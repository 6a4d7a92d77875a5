"""`tuneline runs ...`: lists, one run, its logs, and going on with or ending it."""

import time
from typing import Any

import click

from tuneline.cli import exits, report
from tuneline.cli.connect import Link, server
from tuneline.cli.following import ENDED, approved_release, endpoint_name
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.cli.progress import duration
from tuneline.cli.run import follow_to_the_end, say_why

LOOK_S = 0.3
"""Between two looks at logs that nothing was added to."""


@click.group()
def runs() -> None:
    """List, show, follow, retry and cancel runs."""


@runs.command(name="list")
@click.option(
    "-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Runs shown."
)
@click.option("--project", help="Only runs of the project with this name.")
@json_option
def list_(limit: int, project: str | None, as_json: bool) -> None:
    """Runs, the newest first."""
    with server() as client:
        found = client.runs(limit, project)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["id"], row["project"], row["state"], short_time(row["created_at"]),
         duration(report.total_seconds(row)), (row["error"] or {}).get("message", "")]
        for row in found
    ]  # fmt: skip
    nothing = "No runs yet: `tuneline run PROJECT` starts one."
    print_table(["run", "project", "state", "created", "took", "error"], rows, nothing)


@runs.command()
@click.argument("id")
@click.option("-f", "--follow", "keep", is_flag=True, help="Follow it to its end, as `tuneline run` does.")
@json_option
def show(id: str, keep: bool, as_json: bool) -> None:
    """One run: its tasks, and its report as far as it is.

    With --follow the exit codes are those of `tuneline run`.
    """
    with server() as client:
        if keep:
            client.run(id)  # a wrong id is told before the picture starts
            raise click.exceptions.Exit(follow_to_the_end(client, id, as_json))
        found = client.run(id)
        release = approved_release(found)
        name = endpoint_name(Link(client), release) if release else None
        endpoint = client.endpoint(name) if name else None
    if as_json:
        print_json(found)
        return
    print_table(
        ["task", "state", "seconds", "attempts", "note"], report.task_rows(found["tasks"]), "No tasks."
    )
    click.echo("\n" + "\n".join(report.lines(found, endpoint)))
    if found["state"] in ("FAILED", "CANCELED"):
        say_why(found, None)


@runs.command()
@click.argument("id")
@click.argument("task", required=False)
@click.option("-f", "--follow", "keep", is_flag=True, help="Go on until the task (or the run) has ended.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt; default: the newest.")
def logs(id: str, task: str | None, keep: bool, attempt: int | None) -> None:
    """What the tasks of run ID (or one TASK) printed."""
    with server() as client:
        link = Link(client)
        names = [task] if task else [found["name"] for found in client.run(id)["tasks"]]
        try:
            if keep and not task:
                _follow_all(link, id, names)
                return
            for name in names:
                if not task:
                    say(f"== {name}")
                _print_log(link, id, name, attempt, keep)
        except KeyboardInterrupt:
            say(f"\nFollowing ended; a run goes on without it. Its state: `tuneline runs show {id}`.")
            raise click.exceptions.Exit(exits.INTERRUPTED) from None


def _print_log(link: Link, id: str, task: str, attempt: int | None, keep: bool) -> None:
    offset = 0
    while True:
        piece = _piece(link, id, task, attempt, offset)
        click.echo(piece["text"], nl=False)
        if piece["next"] == offset:
            if piece["done"] or not keep:
                return
            time.sleep(LOOK_S)
        offset = piece["next"]


def _piece(link: Link, id: str, task: str, attempt: int | None, offset: int) -> dict[str, Any]:
    return link(lambda client: client.logs(id, task, attempt, offset))


def _follow_all(link: Link, id: str, names: list[str]) -> None:
    """The logs of all tasks as they come, each piece headed by its task when another one spoke before."""
    offsets, last = dict.fromkeys(names, 0), ""
    while True:
        run = link(lambda client: client.run(id))
        begun = [task["name"] for task in run["tasks"] if task["attempts"] and task["name"] in offsets]
        spoke = False
        for name in begun:
            piece = _piece(link, id, name, None, offsets[name])
            if piece["text"]:
                if name != last:
                    say(f"== {name}")
                click.echo(piece["text"], nl=False)
                last, spoke = name, True
            offsets[name] = piece["next"]
        if run["state"] in ENDED and not spoke:
            say(f"Run {id}: {run['state'].lower()}.")
            return
        if not spoke:
            time.sleep(LOOK_S)


@runs.command()
@click.argument("id")
@click.option("-f", "--follow", "keep", is_flag=True, help="Follow it to its end, as `tuneline run` does.")
@json_option
def retry(id: str, keep: bool, as_json: bool) -> None:
    """Go on with a failed or canceled run: what succeeded stays."""
    with server(start=True) as client:
        found = client.retry(id)
        if keep:
            raise click.exceptions.Exit(follow_to_the_end(client, id, as_json))
    if as_json:
        print_json(found)
    else:
        click.echo(found["id"])
    say(f"Follow it with `tuneline runs show -f {id}`.")


@runs.command()
@click.argument("id")
@json_option
def cancel(id: str, as_json: bool) -> None:
    """End a run; none of its processes is left behind."""
    with server(start=True) as client:
        found = client.cancel(id)
        deadline = time.monotonic() + 30.0
        while found["state"] not in ENDED and time.monotonic() < deadline:
            time.sleep(0.1)
            found = client.run(id)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['id']} {found['state'].lower()}")
