"""`tuneline run`: a project to the server, its picture while it runs, its report when it has ended."""

from pathlib import Path

import click

from tuneline.cli import exits, report
from tuneline.cli.following import follow, wait_until_live
from tuneline.cli.main import show_error
from tuneline.cli.output import json_option, print_json, say, server
from tuneline.cli.project import described, load_project, overrides_option, project_argument
from tuneline.client import Client
from tuneline.errors import TunelineError
from tuneline.plan.compile import compile_project


@click.command()
@project_argument
@overrides_option
@click.option("-d", "--detach", is_flag=True, help="Print the run's id and do not follow it.")
@json_option
def run(project: Path, params: tuple[str, ...], detach: bool, as_json: bool) -> None:
    """Run PROJECT (a folder with tuneline.yaml, or a file) and follow it until its release answers.

    Exit codes: 0 released, 1 failed, 2 the project is wrong, 3 the gate refused, 6 nothing changed, 130 Ctrl-C
    (which ends the following, not the run).
    """
    loaded = load_project(project, params)
    with server() as client:
        started = client.submit(compile_project(loaded.project), {}, described(loaded))
        if detach:
            print_json({"run": started["id"], "state": started["state"]}) if as_json else click.echo(
                started["id"]
            )
            say(f"Follow it with `tuneline runs logs {started['id']} -f`.")
            return
        raise click.exceptions.Exit(_follow(client, started["id"], as_json))


def _follow(client: Client, id: str, as_json: bool) -> int:
    try:
        ended = follow(client, id)
        endpoint = wait_until_live(client, ended)
    except KeyboardInterrupt:
        say(f"\nRun {id} goes on. See it: `tuneline runs show {id}`, end it: `tuneline runs cancel {id}`.")
        return exits.INTERRUPTED
    if as_json:
        print_json(report.json_object(ended, endpoint))
    else:
        click.echo("\n".join(report.lines(ended, endpoint)))
    explain_failure(ended)
    code = report.exit_code(ended, endpoint)
    if code == exits.NOTHING_TO_DO:
        say("Nothing changed: this is what is released already.")
    return code


def explain_failure(ended: report.View) -> None:
    """Why a run failed and what to do, on stderr; nothing if it did not."""
    if ended["state"] != "FAILED":
        return
    task, error = report.failure(ended)
    if error:
        show_error(TunelineError.from_json(dict(error)))
    where = f" {task['name']}" if task else ""
    say(f"log: tuneline runs logs {ended['id']}{where}")
    say(f"again from there: tuneline runs retry {ended['id']}")
