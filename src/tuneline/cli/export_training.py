"""`tuneline export training`: the training of a project as a Job of several pods. Asks nobody."""

from pathlib import Path

import click

from tuneline.cli.loading import load_project, overrides_option, project_argument
from tuneline.cli.output import json_option, print_json, say


@click.command()
@project_argument
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; made if it is not there.",
)  # fmt: skip
@click.option("--base", required=True, metavar="URI", help="The output `base` of a run's task `base`.")
@click.option("--train", required=True, metavar="URI", help="The output `train` of its task `prepare`.")
@click.option("--init", default="", metavar="URI", help="An adapter to go on from; default: none.")
@click.option("--to", required=True, metavar="URI", help="Where the adapter and checkpoints go.")
@overrides_option
@json_option
def training(
    project: Path,
    output: Path,
    base: str,
    train: str,
    init: str,
    to: str,
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write PROJECT's training as an Indexed Job and its Service, for `kubectl apply -k`: a pod for each of
    `train.num_machines`, and `train.num_processes` in each.

    The pods are those of `on.kubernetes` for the step `tune`.
    """
    from tuneline.cli.connect import settings  # noqa: PLC0415 - for this command alone
    from tuneline.export.kubernetes import write_training  # noqa: PLC0415
    from tuneline.plan.manifest_training import training_of  # noqa: PLC0415
    from tuneline.plan.placement import placements  # noqa: PLC0415
    from tuneline.spec.on_defaults import read_defaults  # noqa: PLC0415

    found = load_project(project, params).project
    on = placements(found.on.written, read_defaults(settings().on), ["tune"])["tune"]
    wanted = training_of(found, base, train, to, init)
    written = write_training(wanted, on, output)
    if as_json:
        names = ("files", "changed", "removed")
        print_json({"folder": str(output), **{name: list(getattr(written, name)) for name in names}})
        return
    for name in written.files:
        click.echo(output / name)
    say(f"{wanted.machines} pods, {wanted.processes} processes in each, put out below {wanted.to}.")
    say(f"Next: kubectl apply -k {output}")
