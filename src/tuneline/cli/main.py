"""The table of commands.

A command's module is imported when it is called, never for `--help`: that is answered from the table alone.
"""

import importlib
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from tuneline import __version__
from tuneline.cli.errors import ReaderGone, guarded


class LazyGroup(click.Group):
    """A group whose commands are `(module, attribute, one line of help)` until they are called."""

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def invoke(self, ctx: click.Context) -> Any:
        """As click's; a closed stdout is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

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


HIDDEN = frozenset({"step", "carry"})

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "init": ("project", "init", "Write a commented project file that runs as it is."),
    "check": ("project", "check", "Name every fault of a project, and what its gate can decide."),
    "data": ("project", "data", "Look at the rows as the model will see them."),
    "run": ("run", "run", "Run a project: data in, a proven release out and serving."),
    "schedule": ("schedules", "schedule", "Let a project run by itself, as its `schedule:` says."),
    "schedules": ("schedules", "schedules", "List, show, pause, resume, remove schedules, and run one now."),
    "runs": ("runs", "runs", "List, show, follow, retry and cancel runs."),
    "tensorboard": ("board", "tensorboard", "Open TensorBoard over a run's logs."),
    "releases": ("releases", "releases", "List and show the releases of a model."),
    "import": ("importing", "import_", "Take a release that was made where no server could be asked."),
    "rollout": ("rollouts", "rollout", "Try a release beside the live one; tests decide."),
    "promote": ("rollouts", "promote", "Let what is tried at an endpoint go live now."),
    "rollback": ("rollouts", "rollback", "End what is tried, or go back to an earlier release."),
    "history": ("releases", "history", "Which release was live at an endpoint, and when."),
    "drift": ("drift", "drift", "Whether what an endpoint is asked and answers has changed."),
    "ledger": ("releases", "ledger", "Show the ledger, or verify that nobody changed it."),
    "artifacts": ("artifacts", "artifacts", "List, show and download what tasks put out."),
    "lineage": ("artifacts", "lineage", "What an artifact or a release came from, and what came of it."),
    "trace": ("requests", "trace", "Which release answered a request, and all that made it."),
    "feedback": ("requests", "feedback", "Say how good an answer was."),
    "app": ("app", "app", "Run a web app at an endpoint, or take it away."),
    "notify": ("notify", "notify", "List notices, test a target, try again what did not arrive."),
    "chat": ("chat", "chat", "Ask an endpoint."),
    "up": ("server", "up", "Start this home's server in the foreground."),
    "status": ("server", "status", "What is running: server, runs, endpoints."),
    "down": ("server", "down", "Stop what `status` lists."),
    "token": ("token", "token", "Make, list and revoke tokens for whoever asks from elsewhere."),
    "doctor": ("doctor", "doctor", "What works on this machine, and how to get the rest."),
    "completion": ("completion", "completion", "Print what makes TAB complete commands in your shell."),
    "config-schema": ("project", "config_schema", "Print the project file's JSON Schema, for editors."),
    "export": ("export", "export", "Write what a project becomes elsewhere, as files."),
    "component": ("component", "component", "Print a step as a component for Kubeflow's SDK."),
    "step": ("step", "step", "Run one step of the line, as a task does."),
    "carry": ("carry", "carry", "Bring a task's inputs from the bucket, or take its outputs there."),
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
    sys.exit(guarded(lambda: cli.main(standalone_mode=False)))
