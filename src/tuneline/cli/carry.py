"""`tuneline carry in|out`: what stands beside a task in a pod. Hidden from the help; pods run it."""

import json
import sys

import click


@click.command(hidden=True)
@click.argument("direction", type=click.Choice(["in", "out"]))
@click.option("--order", required=True, help="What to carry, as JSON.")
def carry(direction: str, order: str) -> None:
    """Bring a task's inputs from the bucket, or take its outputs there."""
    from tuneline.steps.carry import main_bring, main_take  # noqa: PLC0415 - as `tuneline step` does

    sys.exit((main_bring if direction == "in" else main_take)(json.loads(order)))
