"""`tuneline run`: a project to the server, its picture while it runs, its report when it has ended."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneline.cli import exits, report
from tuneline.cli.connect import Link, server, settings
from tuneline.cli.errors import show_error
from tuneline.cli.following import follow, screen, wait_until_live
from tuneline.cli.loading import load_project, overrides_option, project_argument, submit
from tuneline.cli.output import json_option, print_json, say
from tuneline.errors import TunelineError

if TYPE_CHECKING:
    from tuneline.client import Client


@click.command()
@project_argument
@overrides_option
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and do not follow it.")
@json_option
def run(project: Path, params: tuple[str, ...], detach: bool, as_json: bool) -> None:
    """Run PROJECT (a folder with tuneline.yaml, or a file) and follow it until its release answers.

    Exit codes: 0 released and answering, 1 failed, 2 the project is wrong, 3 the gate refused, 4 approval
    pending, 6 nothing changed, 130 Ctrl-C, which ends the following and not the run.
    """
    loaded = load_project(project, params)
    with server(start=True) as client:
        started = submit(client, loaded)
        id = str(started["id"])
        if not detach:
            raise click.exceptions.Exit(follow_to_the_end(client, id, as_json))
    if as_json:
        print_json({"run": id, "project": started["project"], "state": started["state"]})
    else:
        click.echo(id)
    say(f"Follow it with `tuneline runs show -f {id}`.")


def follow_to_the_end(client: "Client", id: str, as_json: bool) -> int:
    """Follow a run and its release, print the report (or the object) of both; the exit code."""
    link = Link(client)
    try:
        with screen() as shown:
            ended = follow(link, id, shown)
            endpoint = wait_until_live(link, ended, shown)
    except KeyboardInterrupt:
        say(
            f"\nRun {id} goes on. Come back: `tuneline runs show -f {id}`. "
            f"Its logs: `tuneline runs logs -f {id}`. End it: `tuneline runs cancel {id}`."
        )
        return exits.INTERRUPTED
    finally:
        link.client.close()
    if as_json:
        print_json(report.json_object(ended, endpoint))
    else:
        click.echo("\n".join(report.lines(ended, endpoint)))
    say_why(ended, endpoint)
    return report.exit_code(ended, endpoint)


def say_why(ended: report.View, endpoint: report.View | None) -> None:
    """What went wrong and what to do, or that nothing changed, on stderr; nothing if it released."""
    id, code = ended["id"], report.exit_code(ended, endpoint)
    if ended["state"] == "FAILED":
        for task, error in report.failures(ended):
            show_error(TunelineError.from_json({"message": f"Task {task} failed.", **error}))
            if task:
                say(f"log: {log_place(ended, task)}")
        say(f"again, from there: tuneline runs retry {id}")
    elif ended["state"] == "CANCELED":
        say(f"Run {id} was canceled. Go on with it: `tuneline runs retry {id}`.")
    elif code == exits.NOTHING_TO_DO:
        release = ended["report"]["release"]["release"]
        say(f"Nothing changed: the result is identical to {release}, so there is nothing to release.")
    elif code == exits.GATE_REFUSED:
        say("Nothing was released: the gate refused. What was live stays live.")
    elif code == exits.FAILURE and endpoint is not None:
        hint = "`tuneline status` shows the endpoint; its log is in the home's folder `endpoints`."
        say(f"error: {endpoint['name']} did not take the release over: {endpoint['message']}\nhint: {hint}")


def log_place(ended: report.View, task: str) -> str:
    """Where a task's log is: its file if it is on this machine, else the command that shows it."""
    attempts = next((found["attempts"] for found in ended["tasks"] if found["name"] == task), 0)
    file = settings().runs / str(ended["id"]) / task / str(attempts) / "log.txt"
    command = f"tuneline runs logs {ended['id']} {task}"
    return f"{file}  ({command})" if file.is_file() else command
