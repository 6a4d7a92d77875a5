"""`tuneline export airflow`: a project or a pipeline as a DAG file and its compiled pipeline. Asks nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneline import __version__
from tuneline.cli.loading import load_project, overrides_option
from tuneline.cli.output import json_option, print_json, say

if TYPE_CHECKING:
    from tuneline.export.airflow import Dag


@click.command()
@click.argument("what", metavar="PROJECT|PIPELINE", default=".")
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to: Airflow's folder of DAGs, or one in it.",
)  # fmt: skip
@click.option(
    "--executor", type=click.Choice(["kubernetes", "process"]), default="kubernetes", show_default=True,
    help="What a task is: a pod, or a process beside Airflow's worker.",
)  # fmt: skip
@click.option(
    "--root", default="", metavar="URI",
    help="Where artifacts go, e.g. gs://bucket/path; default: what the workers' TUNELINE_ROOT says.",
)  # fmt: skip
@click.option("--asset", default="", metavar="URI", help="Run when this Asset of Airflow changes.")
@click.option("--pool", default="", help="Airflow's pool of the tasks; default: `on.airflow.pool`.")
@click.option(
    "--kfp-python", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The interpreter that compiles a pipeline.py, if it is not found.",
)  # fmt: skip
@overrides_option
@json_option
def airflow(
    what: str,
    output: Path,
    executor: str,
    root: str,
    asset: str,
    pool: str,
    kfp_python: Path | None,
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write PROJECT, or any PIPELINE of Kubeflow Pipelines, as a DAG for Airflow 3: a Python file and the
    compiled pipeline. Airflow needs `tuneline-airflow` and nothing else of tuneline.

    The project's fields are the DAG's parameters, its `schedule:` the DAG's own.
    """
    from tuneline.cli.run import pipeline_of  # noqa: PLC0415 - for this command alone
    from tuneline.export.airflow import Dag, When, dag_files  # noqa: PLC0415

    package = pipeline_of(what, kfp_python)
    if package is not None:
        if params:
            raise click.UsageError("-p is for projects: a pipeline's parameters are given to each run.")
        ir: Mapping[str, Any] = package.document
        dag = Dag(what, __version__, executor, root, pool=pool)
    else:
        ir, dag = _of_project(what, params, executor, root, pool)
    if asset:
        dag = Dag(**{**vars(dag), "when": When(asset=asset)})
    files = dag_files(ir, dag)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
    written = [str(output / name) for name in files]
    if as_json:
        print_json({"files": written, "executor": executor, "root": root})
        return
    for path in written:
        click.echo(path)
    if not root:
        say("Where artifacts go is not said: set TUNELINE_ROOT for Airflow's processes, or give --root.")
    say("Airflow needs the package tuneline-airflow in its environment; docs/airflow.md says how.")


def _of_project(
    what: str, params: tuple[str, ...], executor: str, root: str, pool: str
) -> tuple[Mapping[str, Any], "Dag"]:
    """A project's pipeline, placed as its `on:` says, and what is said beside it."""
    from tuneline.cli.connect import settings  # noqa: PLC0415 - for this command alone
    from tuneline.export.airflow import Dag, when_of  # noqa: PLC0415
    from tuneline.plan.compile import compile_project, line_of  # noqa: PLC0415
    from tuneline.plan.placement import engine_options, placed, placements  # noqa: PLC0415
    from tuneline.spec.on_defaults import read_defaults  # noqa: PLC0415

    project = load_project(Path(what), params).project
    schedule = project.schedule
    when = when_of(schedule.cron, schedule.timezone, schedule.every_s)
    ir: Mapping[str, Any] = compile_project(project)
    defaults = read_defaults(settings().on)
    said = engine_options(project.on.written, defaults, "airflow")
    options: dict[str, Any] = {key: said[key] for key in ("connection", "deferrable") if key in said}
    pool = pool or str(said.get("pool", ""))
    if executor == "process":
        return ir, Dag(what, __version__, executor, root, when, pool)
    on = placements(project.on.written, defaults, [step.name for step in line_of(project)])
    on = {step: keys for step, keys in on.items() if keys}
    return placed(ir, on), Dag(what, __version__, executor, root, when, pool, on, options)
