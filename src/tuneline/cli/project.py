"""Commands about a project file: `init`, `check`, `data preview`, `config-schema`. None needs a server."""

from pathlib import Path

import click

from tuneline.cli import exits
from tuneline.cli.errors import show_error
from tuneline.cli.output import json_option, print_json, say
from tuneline.errors import ConflictError, SpecError
from tuneline.plan.gate import check_rules
from tuneline.plan.power import decidable
from tuneline.spec.project import FILE, Loaded, apply, load
from tuneline.spec.scaffold import starter
from tuneline.spec.schema import schema_text

overrides_option = click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one field, e.g. -p train.r=16.",
)
project_argument = click.argument("project", type=click.Path(path_type=Path), default=".")


def load_project(path: Path, params: tuple[str, ...]) -> Loaded:
    """The project with `-p` applied, and its gate's rules checked. Raises SpecError with every fault."""
    overrides = {}
    for text in params:
        key, given, value = text.partition("=")
        if not given:
            raise click.UsageError(f"-p {text}: write KEY=VALUE, e.g. -p train.r=16")
        overrides[key.strip()] = value
    loaded = load(path)
    if overrides:
        loaded = apply(loaded, overrides)
    faults = check_rules(loaded.project.value("gate"))
    if faults:
        raise SpecError(
            f"The gate of {path} has rules that cannot be read.", hint="See docs/gate.md.", details=faults
        )
    return loaded


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Write NAME/tuneline.yaml: a commented project file that runs as it is."""
    folder = Path(name)
    file = folder / FILE
    if file.exists():
        raise ConflictError(f"{file} exists already.", hint="Choose another name, or edit that file.")
    text = starter(folder.resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    click.echo(str(file))
    say(f"Next: `tuneline check {name}`, `tuneline data preview {name}`, `tuneline run {name}`.")


@click.command()
@project_argument
@overrides_option
@click.option(
    "--rows", type=click.IntRange(1), help="How many held-out rows the gate will have, if you know."
)
@json_option
def check(project: Path, params: tuple[str, ...], rows: int | None, as_json: bool) -> None:
    """Name every fault of PROJECT with its line, and say what its gate's rules can decide."""
    try:
        loaded = load_project(project, params)
    except SpecError as error:
        if as_json:
            print_json({"ok": False, "faults": error.details or [error.message]})
        else:
            show_error(error)
        raise click.exceptions.Exit(exits.USAGE) from error
    held_out = rows or 400
    said = decidable(loaded.project.value("gate"), held_out)
    if as_json:
        print_json({"ok": True, "faults": [], "name": loaded.project.name, "rows": held_out, "gate": said})
        return
    click.echo(f"{loaded.project.name}: no faults.")
    for line in said:
        click.echo(f"  {line}")
    if rows is None and said:
        say(f"That is with {held_out} held-out rows; give yours with --rows (a run's report says them).")


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
    click.echo(schema_text(), nl=False)
