"""`tuneline step NAME`: what a task's container runs. Hidden from the help; people use `tuneline run`."""

import sys

import click


@click.command(hidden=True)
@click.argument("name")
@click.option("--executor-input", required=True, help="KFP's ExecutorInput, as JSON.")
def step(name: str, executor_input: str) -> None:
    """Run one step of the line, as a task does."""
    from tuneline.steps.main import main  # noqa: PLC0415 - steps import what they need; the other commands need none of it

    sys.exit(main(name, executor_input))
