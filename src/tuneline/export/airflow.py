"""A pipeline as a DAG of Airflow: a short Python file, and the compiled pipeline beside it. Pure text out.

What makes the DAG is the distribution `tuneline-airflow`, in Airflow's environment; the file only names its
pipeline and says when it runs. What Airflow has no word for is refused here, before anybody waits for a
scheduler to say so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneline.errors import SpecError
from tuneline.spec.cron import Cron, Every, parse_cron
from tuneline_ir import IRError, Pipeline, parse
from tuneline_ir.airflow import faults
from tuneline_ir.likeness import safe

EXECUTORS = ("kubernetes", "process")


@dataclass(frozen=True)
class When:
    """When a DAG runs by itself; by default never."""

    cron: str = ""
    """Five fields, as Airflow reads them."""
    timezone: str = "UTC"
    every_s: float = 0.0
    asset: str = ""
    """The URI of an Asset of Airflow that starts it when it changes."""


@dataclass(frozen=True)
class Dag:
    """What is said beside the pipeline."""

    source: str
    """What it was exported from, for people."""
    version: str
    """Of tuneline."""
    executor: str = "kubernetes"
    root: str = ""
    """Where artifacts go; empty: where the workers' `TUNELINE_ROOT` says."""
    when: When = When()
    pool: str = ""
    on: Mapping[str, Any] = field(default_factory=dict)
    """What a project's `on.kubernetes` says, by step."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the executor."""


def dag_files(ir: Mapping[str, Any], dag: Dag) -> dict[str, str]:
    """The two files by name.

    ir: a pipeline spec, or the two documents as KFP's API has them.
    Raises: SpecError with every reason why it cannot run on Airflow.
    """
    pipeline = _checked(ir, dag)
    name = safe(pipeline.name).replace(".", "_").replace("-", "_") or "pipeline"
    return {f"{name}.py": _file(pipeline, dag), f"{name}.json": json.dumps(ir, indent=1) + "\n"}


def when_of(cron: str, timezone: str, every_s: float) -> When:
    """A project's `schedule:` as Airflow has it. Raises: SpecError if it has no such."""
    if every_s:
        return When(every_s=every_s)
    if not cron:
        return When()
    found = parse_cron(cron, crontab=True)
    if isinstance(found, Every):
        return When(every_s=found.seconds)
    if found.seconds != (0,):
        raise SpecError(
            f"The schedule `{cron}` names seconds, and Airflow's have none.",
            hint="Leave the seconds out, or write 0.",
        )
    return When(_fields(found, cron), found.zone or timezone)


def _fields(cron: Cron, text: str) -> str:
    """Airflow takes either of two restricted days, as crontabs do; both restricted and both meant is none."""
    days = _listed(cron.days, range(1, 32))
    weekdays = _listed(cron.weekdays, range(7))
    if not cron.either and days != "*" and weekdays != "*":
        raise SpecError(
            f"The schedule `{text}` wants a day of the month that is a certain day of the week, which "
            "Airflow's cron lines cannot say.",
            hint="Restrict one of the two.",
        )
    if cron.either and "*" in (days, weekdays):
        days = weekdays = "*"  # one of them is any day, and one of the two is enough
    return " ".join(
        (
            _listed(cron.minutes, range(60)),
            _listed(cron.hours, range(24)),
            days,
            _listed(cron.months, range(1, 13)),
            weekdays,
        )
    )


def _listed(values: tuple[int, ...], every: range) -> str:
    return "*" if values == tuple(every) else ",".join(map(str, values))


def _checked(ir: Mapping[str, Any], dag: Dag) -> Pipeline:
    try:
        pipeline = parse(ir)
    except IRError as error:
        raise SpecError(f"{dag.source} cannot be exported.", details=list(error.faults)) from error
    wrong = faults(pipeline)
    if dag.when != When():
        wrong += [
            f"the parameter `{name}` has no default, and nobody is there to give it when a schedule starts it"
            for name, spec in pipeline.inputs.parameters.items()
            if not spec.optional and not (spec.has_default and spec.default is not None)
        ]
    if wrong:
        raise SpecError(
            f"{dag.source} cannot run on Airflow as it is; nothing was written.",
            hint="docs/airflow.md says what Airflow has no word for.",
            details=wrong,
        )
    return pipeline


def _file(pipeline: Pipeline, dag: Dag) -> str:
    given: dict[str, Any] = {"executor": dag.executor}
    for key in ("root", "pool", "on", "options"):
        if getattr(dag, key):
            given[key] = getattr(dag, key)
    when = dag.when
    if when.cron:
        given |= {"schedule": when.cron, "timezone": when.timezone}
    if when.every_s:
        given["every_s"] = when.every_s
    if when.asset:
        given["asset"] = when.asset
    lines = "".join(f"    {key}={_literal(value)},\n" for key, value in given.items())
    return _TEMPLATE.format(
        name=pipeline.name.replace("\\", "").replace('"', "'"),
        source=dag.source.replace("\\", "/").replace('"', "'"),
        version=dag.version,
        arguments=lines,
    )


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return repr(value)


_TEMPLATE = '''"""The pipeline {name} as a DAG of Airflow: exported from {source} by tuneline {version}.

Airflow needs the package tuneline-airflow, and the .json beside this file. Export it again rather than edit.
"""

from pathlib import Path

from tuneline_airflow.dag import pipeline_dag

dag = pipeline_dag(
    Path(__file__).with_suffix(".json"),
{arguments})
'''
