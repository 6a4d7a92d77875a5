"""The table of commands, and the one place where an error becomes words and an exit code.

A command's module is imported when it is called, never for `--help`: that is answered from the table alone.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from tuneline import __version__
from tuneline.cli import exits
from tuneline.errors import InternalError, TunelineError


class LazyGroup(click.Group):
    """A group whose commands are `(module, attribute, one line of help)` until they are called."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: the order in which a newcomer needs them."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"tuneline.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, naming the nearest command when there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415 - 3 ms that only a mistake should cost

            near = difflib.get_close_matches(args[0], [name for name in self.table if name not in HIDDEN], 1)
            raise click.UsageError(
                error.message + (f" Did you mean `{near[0]}`?" if near else ""), ctx
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in self.table.items() if name not in HIDDEN])


HIDDEN = frozenset({"step"})

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "init": ("project", "init", "Write a commented project file that runs as it is."),
    "check": ("project", "check", "Name every fault of a project, and what its gate can decide."),
    "data": ("project", "data", "Look at the rows as the model will see them."),
    "run": ("run", "run", "Run a project: data in, a proven release out and serving."),
    "runs": ("runs", "runs", "List, show, follow, retry and cancel runs."),
    "releases": ("releases", "releases", "List and show the releases of a model."),
    "history": ("releases", "history", "Which release was live at an endpoint, and when."),
    "ledger": ("releases", "ledger", "Show the ledger, or verify that nobody changed it."),
    "chat": ("chat", "chat", "Ask an endpoint."),
    "up": ("server", "up", "Start this home's server in the foreground."),
    "status": ("server", "status", "What is running: server, runs, endpoints."),
    "down": ("server", "down", "Stop what `status` lists."),
    "doctor": ("doctor", "doctor", "What works on this machine, and how to get the rest."),
    "config-schema": ("project", "config_schema", "Print the project file's JSON Schema, for editors."),
    "step": ("step", "step", "Run one step of the line, as a task does."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `tuneline init NAME`, or `make quickstart` in a clone. Every listing has --json.",
)
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Release engineering for fine-tuned language models: one file from data to a proven, served release."""


def main() -> NoReturn:
    """The entry of `tuneline`. Exits with the codes of `tuneline.cli.exits`."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else exits.OK)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:  # `tuneline runs list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exits.OK)
    except TunelineError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("TUNELINE_DEBUG"):
            traceback.print_exc()
        hint = "This is a fault of tuneline. TUNELINE_DEBUG=1 shows where it happened."
        show_error(InternalError(f"{type(error).__name__}: {error}", hint=hint))
        sys.exit(exits.FAILURE)


def show_error(error: TunelineError) -> None:
    """What happened, every single fault, and what to do next, on stderr."""
    click.echo(f"error: {error.message}", err=True)
    for line in error.details:
        click.echo(f"  {line}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
