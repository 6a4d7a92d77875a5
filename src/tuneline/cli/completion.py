"""`tuneline completion SHELL`: the script that makes TAB complete commands and options; click writes it."""

import os
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from tuneline.cli.output import say

HOW = {
    "bash": 'eval "$(tuneline completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(tuneline completion zsh)"   # in ~/.zshrc',
    "fish": "tuneline completion fish > ~/.config/fish/completions/tuneline.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(tuple(HOW)), required=False)
def completion(shell: str | None) -> None:
    """Print the script that makes TAB complete commands in SHELL; default: the shell in $SHELL.

    bash 4.4 or newer, zsh and fish.
    """
    name = shell or Path(os.environ.get("SHELL") or "bash").name
    kind = get_completion_class(name) if name in HOW else None
    if kind is None:
        raise click.UsageError(
            f"There is no completion for the shell `{name}`; give one of {', '.join(HOW)}."
        )
    from tuneline.cli.main import cli  # noqa: PLC0415 - main's table names this module: a cycle at import only

    click.echo(kind(cli, {}, "tuneline", "_TUNELINE_COMPLETE").source())
    if sys.stdout.isatty():  # in `eval "$(...)"` every new shell would say it
        say(f"To keep it: {HOW[name]}")
