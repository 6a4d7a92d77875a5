"""`tuneline runs logs`: what tasks printed, one after the other or as it comes."""

import time
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click

from tuneline.cli import exits
from tuneline.cli.connect import Link, server
from tuneline.cli.following import ENDED
from tuneline.cli.output import say
from tuneline.errors import NotFoundError

LOOK_S = 0.3
"""Between two looks at logs that nothing was added to."""


@click.command()
@click.argument("id")
@click.argument("task", required=False)
@click.option("-f", "--follow", "keep", is_flag=True, help="Go on until the task (or the run) has ended.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt; default: the newest.")
def logs(id: str, task: str | None, keep: bool, attempt: int | None) -> None:
    """What the tasks of run ID (or one TASK) printed.

    TASK is a task's path, e.g. loop-1/0/train; its last part, if there is one such task; or the path of a
    nested pipeline or loop: then the tasks in it.
    """
    with server() as client:
        link = Link(client)
        names = chosen(link(lambda client: client.run(id))["tasks"], task, id)
        try:
            if keep and (not task or len(names) != 1):
                _follow_all(link, id, task)
                return
            for name in names:
                if len(names) > 1 or not task:
                    say(f"== {name}")
                _print_log(link, id, name, attempt, keep)
        except KeyboardInterrupt:
            say(f"\nFollowing ended; a run goes on without it. Its state: `tuneline runs show {id}`.")
            raise click.exceptions.Exit(exits.INTERRUPTED) from None


def chosen(tasks: Sequence[dict[str, Any]], task: str | None, id: str) -> list[str]:
    """Paths of the tasks that `task` means and that something executes. Raises: NotFoundError."""
    above = {str(found["parent"]) for found in tasks if found.get("parent")}
    leaves = [
        str(found["name"])
        for found in tasks
        if found.get("kind") not in ("dag", "loop") and found["name"] not in above
    ]
    if task is None:
        return leaves
    if task in leaves:
        return [task]
    inside = [name for name in leaves if name.startswith(f"{task}/")]
    ends = [name for name in leaves if name.endswith(f"/{task}")]
    if inside or len(ends) == 1:
        return inside or ends
    if any(found["name"] == task for found in tasks):
        raise NotFoundError(
            f"Nothing in `{task}` of run {id} has run.", hint=f"`tuneline runs show {id}` says why."
        )
    near = ends[:5] or get_close_matches(task, leaves, 3)
    raise NotFoundError(
        f"Run {id} has no task `{task}`.",
        hint=f"Nearest: {', '.join(near)}." if near else f"`tuneline runs show {id} --all` lists its tasks.",
    )


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


def _follow_all(link: Link, id: str, task: str | None) -> None:
    """The logs of all tasks as they come, each piece headed by its task when another one spoke before."""
    offsets: dict[str, int] = {}
    done: set[str] = set()
    last = ""
    while True:
        run = link(lambda client: client.run(id))
        begun = {found["name"] for found in run["tasks"] if found["attempts"]}
        spoke = False
        for name in chosen(run["tasks"], task, id):
            if name not in begun or name in done:
                continue
            piece = _piece(link, id, name, None, offsets.get(name, 0))
            if piece["text"]:
                if name != last:
                    say(f"== {name}")
                click.echo(piece["text"], nl=False)
                last, spoke = name, True
            elif piece["done"] and run["state"] in ENDED:
                done.add(name)
            offsets[name] = piece["next"]
        if run["state"] in ENDED and not spoke:
            say(f"Run {id}: {run['state'].lower()}.")
            return
        if not spoke:
            time.sleep(LOOK_S)
