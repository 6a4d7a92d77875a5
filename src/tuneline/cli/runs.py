"""`tuneline runs ...`: lists, one run, going on with it, ending it, and what becomes of it afterwards."""

import time
from pathlib import Path
from typing import Any

import click

from tuneline.cli import outcome, report
from tuneline.cli.connect import Link, server
from tuneline.cli.following import ENDED, approved_release, endpoint_name, settled
from tuneline.cli.logs import logs
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.cli.parameters import typed
from tuneline.cli.progress import duration, title
from tuneline.cli.run import follow_to_the_end, kfp_python_option, log_tails, pipeline_of, say_why
from tuneline.errors import SpecError


@click.group()
def runs() -> None:
    """List, show, follow, retry, cancel, clone, archive and delete runs."""


runs.add_command(logs)


@runs.command(name="list")
@click.option(
    "-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Runs shown."
)
@click.option("--project", help="Only runs of the project or pipeline with this name.")
@click.option("--archived", is_flag=True, help="Only those that were archived.")
@json_option
def list_(limit: int, project: str | None, archived: bool, as_json: bool) -> None:
    """Runs, the newest first."""
    with server() as client:
        found = client.runs(limit, project, archived=archived)
    if as_json:
        print_json(found)
        return
    rows = [
        [row["id"], title(row), row["state"], short_time(row["created_at"]),
         duration(report.total_seconds(row)), (row["error"] or {}).get("message", "")]
        for row in found
    ]  # fmt: skip
    nothing = "No archived runs." if archived else "No runs yet: `tuneline run PROJECT` starts one."
    print_table(["run", "project", "state", "created", "took", "error"], rows, nothing)


@runs.command()
@click.argument("id")
@click.option("-f", "--follow", "keep", is_flag=True, help="Follow it to its end, as `tuneline run` does.")
@click.option("--all", "every", is_flag=True, help="Every task, also in loops and of very large pipelines.")
@json_option
def show(id: str, keep: bool, every: bool, as_json: bool) -> None:
    """One run: its tasks, and its report as far as it is.

    With --follow the exit codes are those of `tuneline run`.
    """
    with server() as client:
        if keep:
            client.run(id, outline=True)  # a wrong id is told before the picture starts
            raise click.exceptions.Exit(follow_to_the_end(client, id, as_json))
        found = client.run(id, outline=not (every or as_json))
        link = Link(client)
        found = found if as_json else settled(link, found)
        release = approved_release(found)
        name = endpoint_name(link, release) if release else None
        endpoint = client.endpoint(name) if name else None
        tails = log_tails(link, found) if found["state"] == "FAILED" and not outcome.is_line(found) else {}
    if as_json:
        print_json(found)
        return
    if found["runner"]:
        runner = found["runner"]
        said = f"{runner.get('id') or 'not handed over yet'} of {runner['kind']}"
        click.echo(f"runner  {said}: {runner.get('link') or runner['url']}\n")
    if outcome.is_line(found):
        columns = ["task", "state", "seconds", "attempts", "note"]
        print_table(columns, report.task_rows(found["tasks"]), "No tasks.")
        click.echo("\n" + "\n".join(report.lines(found, endpoint)))
    else:
        click.echo("\n".join(outcome.lines(found)))
    if found["state"] in ("FAILED", "CANCELED"):
        say_why(found, None, tails)


@runs.command()
@click.argument("id")
@click.option(
    "--with",
    "what",
    metavar="PIPELINE",
    help="The pipeline after a change: what changed, and what comes after it, runs in a new run.",
)
@kfp_python_option
@click.option("-f", "--follow", "keep", is_flag=True, help="Follow it to its end, as `tuneline run` does.")
@json_option
def retry(id: str, what: str | None, kfp_python: Path | None, keep: bool, as_json: bool) -> None:
    """Go on with a failed or canceled run: what succeeded stays."""
    package = pipeline_of(what, kfp_python) if what else None
    if what and package is None:
        raise SpecError(
            f"{what} is no pipeline.",
            hint="Give its YAML or Python file; a project is run anew: `tuneline run`.",
        )
    with server(start=True) as client:
        found = client.retry(id, package.document if package else None)
        if keep:
            raise click.exceptions.Exit(follow_to_the_end(client, str(found["id"]), as_json))
    _tell_started(found, as_json)


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
    _tell(found, found["state"].lower(), as_json)


@runs.command()
@click.argument("id")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Change a parameter.")
@click.option("--name", help="The new run's own name.")
@click.option("-f", "--follow", "keep", is_flag=True, help="Follow it to its end, as `tuneline run` does.")
@json_option
def clone(id: str, params: tuple[str, ...], name: str | None, keep: bool, as_json: bool) -> None:
    """Start a new run of the same pipeline, with the same parameters but for those given.

    A secret that the run was given is given to the new one too.
    """
    from tuneline.client import kfp  # noqa: PLC0415 - httpx, which no --help needs

    written = _written(params)
    with server(start=True) as client:
        declared = client.inputs(id) if written else {}
        optional = {key: {**body, "isOptional": True} for key, body in declared.items()}
        values = typed(optional, written, {})
        new = kfp.clone(client, id, values, name)
        if keep:
            raise click.exceptions.Exit(follow_to_the_end(client, new, as_json))
        found = client.run(new)
    _tell_started(found, as_json)


@runs.command()
@click.argument("id")
@json_option
def archive(id: str, as_json: bool) -> None:
    """Take a run out of the usual list; nothing of it is lost."""
    from tuneline.client import kfp  # noqa: PLC0415 - httpx, which no --help needs

    with server(start=True) as client:
        kfp.archive(client, id)
    _tell({"id": id}, "archived", as_json)


@runs.command()
@click.argument("id")
@json_option
def unarchive(id: str, as_json: bool) -> None:
    """Bring an archived run back into the usual list."""
    from tuneline.client import kfp  # noqa: PLC0415 - httpx, which no --help needs

    with server(start=True) as client:
        kfp.unarchive(client, id)
    _tell({"id": id}, "unarchived", as_json)


@runs.command()
@click.argument("id")
@json_option
def delete(id: str, as_json: bool) -> None:
    """Forget an ended run, its tasks and its logs. Releases and cached results that came of it stay."""
    from tuneline.client import kfp  # noqa: PLC0415 - httpx, which no --help needs

    with server(start=True) as client:
        kfp.delete(client, id)
    _tell({"id": id}, "deleted", as_json)


def _written(params: tuple[str, ...]) -> dict[str, str]:
    from tuneline.cli.loading import parsed_overrides  # noqa: PLC0415 - for one command

    return parsed_overrides(params)


def _tell(found: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['id']} {what}")


def _tell_started(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(found["id"])
    say(f"Follow it with `tuneline runs show -f {found['id']}`.")
