"""`tuneline app`: web apps at endpoints, by hand; a pipeline does the same with the step `app`."""

import shlex
from pathlib import Path

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, say


@click.group()
def app() -> None:
    """Run a web app at an endpoint, or take it away."""


@app.command()
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--entry", default="", metavar="FILE:NAME", help="An ASGI or WSGI app in SOURCE, e.g. app.py:app."
)
@click.option("--command", default="", help="Instead: a program, e.g. 'node server.js --port {port}'.")
@click.option("--uses", default="", metavar="ENDPOINT", help="Give the app this endpoint's address.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Set a variable for the app; no secrets.")
@click.option("--probe", default="/", help="The path that must answer before the app gets requests.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Of the endpoint; default the first free."
)
@json_option
def put(
    name: str,
    source: Path,
    entry: str,
    command: str,
    uses: str,
    env: tuple[str, ...],
    probe: str,
    port: int,
    as_json: bool,
) -> None:
    """Run the app in SOURCE at the endpoint NAME. A new version takes over beside the one that runs."""
    pairs = [text.partition("=") for text in env]
    if wrong := [pair[0] for pair in pairs if not pair[1]]:
        raise click.UsageError(f"--env takes NAME=VALUE, not `{wrong[0]}`.")
    body = {
        "source": str(source.absolute()),
        "entry": entry or ("" if command else "app.py:app"),
        "command": _words(command),
        "uses": uses,
        "env": {key: value for key, _, value in pairs},
        "probe": probe,
        "port": port,
    }
    with server(start=True) as client:
        found = client.put_app(name, body)
    if as_json:
        print_json(found)
        return
    say(f"{found['release']} is wanted at endpoint {name} ({found['reason']}); `tuneline status` shows it.")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--command cannot be read as a shell reads it: {error}.") from error


@app.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Stop the app at the endpoint NAME. Its versions stay in the record."""
    with server() as client:
        found = client.remove_app(name)
    if as_json:
        print_json(found)
        return
    say(f"Nothing is wanted at endpoint {name} any more.")
