"""`tuneline import`: a bundle that a run without a server left becomes a release here."""

from pathlib import Path

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, say


@click.command(name="import")
@click.argument("uri")
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="The folder of its base, if none here has it.",
)
@click.option("--replace", is_flag=True, help="Let it go live in place of what it was never compared with.")
@json_option
def import_(uri: str, base: Path | None, replace: bool, as_json: bool) -> None:
    """Take the bundle at URI (a folder, s3:, gs:, az:) that `propose` left where it could ask no server.

    Every file is compared with its digest first. The same bundle again changes nothing.
    """
    from tuneline.client.packages import import_bundle  # noqa: PLC0415 - httpx, which no --help needs

    place = uri if "://" in uri else str(Path(uri).expanduser().absolute())
    with server(start=True) as client:
        found = import_bundle(client, place, str(base.absolute()) if base else "", replace=replace)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['release']}  {found['state']}: {found['reason']}")
    say(f"On record as run {found['run']}: `tuneline runs show {found['run']}`.")
