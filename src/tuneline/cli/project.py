"""Commands about a project file: `init`, `check`, `data preview`, `config-schema`. None needs a server.

Whatever parses is imported when it is needed: `--help` passes through here.
"""

from pathlib import Path

import click

from tuneline.cli import exits
from tuneline.cli.errors import show_error
from tuneline.cli.loading import load_project, overrides_option, project_argument
from tuneline.cli.output import json_option, print_json, say
from tuneline.errors import ConflictError, SpecError, TunelineError

USUAL_ROWS = 400
"""Held-out rows that `check` assumes when nobody knows better: those of the starter's project."""


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Write NAME/tuneline.yaml: a commented project file that runs as it is."""
    from tuneline.spec.project import FILE  # noqa: PLC0415 - see the module
    from tuneline.spec.scaffold import starter  # noqa: PLC0415

    folder = Path(name)
    file = folder / FILE
    text = starter(folder.resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:  # never over a file that is there
            out.write(text)
    except FileExistsError:
        raise ConflictError(
            f"{file} exists already.", hint="Choose another name, or edit that file."
        ) from None
    click.echo(str(file))
    say(f"Next: `tuneline check {name}`, `tuneline data preview {name}`, `tuneline run {name}`.")


@click.command()
@project_argument
@overrides_option
@click.option(
    "--rows",
    type=click.IntRange(1),
    help="How many held-out rows the gate has; default: those of the project's last run.",
)
@json_option
def check(project: Path, params: tuple[str, ...], rows: int | None, as_json: bool) -> None:
    """Name every fault of PROJECT with its line, and say what its gate's rules can decide.

    Exit code 2 if there is a fault.
    """
    from tuneline.plan.power import decidable  # noqa: PLC0415 - see the module
    from tuneline.plan.safety import safety_rules  # noqa: PLC0415

    try:
        loaded = load_project(project, params)
    except SpecError as error:
        if as_json:
            print_json({"ok": False, "faults": error.details or [error.message]})
        else:
            show_error(error)
        raise click.exceptions.Exit(exits.USAGE) from error
    held_out, how, known = (rows, "as given", {}) if rows else last_held_out(loaded.project.name)
    rules = [*loaded.project.gate, *safety_rules(loaded.project.value("evaluate.safety"))]
    said = decidable(rules, held_out, known)
    if as_json:
        body = {"ok": True, "faults": [], "name": loaded.project.name, "rows": held_out, "rows_from": how}
        print_json(body | {"gate": said})
        return
    click.echo(f"{loaded.project.name}: no faults.")
    if not rules:
        click.echo("The gate is empty: every candidate passes it.")
        return
    click.echo(f"What the gate decides with {held_out} held-out rows ({how}):")
    for line in said:
        click.echo(f"  {line}")


def last_held_out(name: str) -> tuple[int, str, dict[tuple[str, ...], int]]:
    """How many rows the last run of a project held out, that it did, and the rows of its slices and sets.

    A guess if nobody can be asked.
    """
    from tuneline.cli.connect import settings  # noqa: PLC0415 - httpx
    from tuneline.client import find_server  # noqa: PLC0415
    from tuneline.plan.power import known_rows  # noqa: PLC0415 - see the module

    known: dict[tuple[str, ...], int] = {}
    guess = USUAL_ROWS, "a guess: say yours with --rows, or run the project once", known
    try:
        client = find_server(settings())
        if client is None:
            return guess
        with client:
            for run in client.runs(limit=5, project=name):
                report = client.run(run["id"]).get("report") or {}
                if (report.get("data") or {}).get("test"):
                    known = known_rows((report.get("verdict") or {}).get("comparison") or {})
                    return int(report["data"]["test"]), f"as in run {run['id']}", known
    except TunelineError:  # a check must not fail for want of a server
        pass
    return guess


@click.group()
def data() -> None:
    """Look at the rows as the model will see them."""


@data.command()
@project_argument
@overrides_option
@click.option(
    "-n", "--rows", "limit", default=5, show_default=True, type=click.IntRange(1, 1000), help="Rows shown."
)
@json_option
def preview(project: Path, params: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Rows of PROJECT with their tokens, which are trained on, lengths, and what was dropped and why."""
    from tuneline.cli.preview import show  # noqa: PLC0415 - polars and a tokenizer, for this command alone

    show(load_project(project, params), limit, as_json)


@click.command()
def config_schema() -> None:
    """Print the project file's JSON Schema."""
    from tuneline.spec.schema import schema_text  # noqa: PLC0415 - see the module

    click.echo(schema_text(), nl=False)
