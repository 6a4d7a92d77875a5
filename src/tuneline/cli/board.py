"""`tuneline tensorboard RUN`."""

import webbrowser

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json, say


@click.command()
@click.argument("run")
@click.option("--open", "browse", is_flag=True, help="Also open it in a browser.")
@json_option
def tensorboard(run: str, browse: bool, as_json: bool) -> None:
    """Start TensorBoard over the logs of RUN, or find the one that runs, and print its address.

    It ends half an hour after the last look, or with `tuneline down`.
    """
    with server() as client:
        found = client.tensorboard(run)
    for source in found["skipped"]:
        say(f"Not shown, because it is not on this machine: {source}")
    if as_json:
        print_json(found)
    else:
        click.echo(found["url"])
    if browse:
        webbrowser.open(found["url"])
