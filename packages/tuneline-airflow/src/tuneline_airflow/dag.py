"""A compiled pipeline becomes a DAG where its file is parsed: `pipeline_dag(path, schedule="@daily")`.

Limits: a DAG file is parsed every few seconds, so nothing here asks anybody anything, and only the executor
that is used is imported. What Airflow has no word for is refused by name, before anything runs.
"""

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, TaskGroup

from tuneline_airflow.described import ATTRIBUTE, Described
from tuneline_airflow.groups import MappedGroup
from tuneline_airflow.operators import LOST, End, Executor, If, Items
from tuneline_airflow.outline import Graph, Outline, Place, Role, id_of, outline
from tuneline_airflow.params import params_of
from tuneline_airflow.versions import CronTriggerTimetable
from tuneline_ir import Container, Task, parse
from tuneline_ir.likeness import safe, tag_of

ROOT = "TUNELINE_ROOT"
"""Of the environment of Airflow's processes: where artifacts go, if the DAG file does not say it."""
EXECUTORS = {
    "process": "tuneline_airflow.process:ProcessExecutor",
    "kubernetes": "tuneline_airflow.pod_operator:PodExecutor",
}


def pipeline_dag(
    pipeline: str | Path | Mapping[str, Any],
    *,
    executor: str | Executor = "kubernetes",
    options: Mapping[str, Any] | None = None,
    root: str = "",
    on: Mapping[str, Mapping[str, Any]] | None = None,
    dag_id: str = "",
    pool: str = "",
    schedule: Any = None,
    timezone: str = "UTC",
    every_s: float = 0.0,
    asset: str = "",
    **settings: Any,
) -> DAG:
    """The DAG of a compiled pipeline.

    Args:
        pipeline: its file (JSON or YAML), or the mapping that it holds.
        executor: `kubernetes`: tasks are pods; `process`: processes beside the worker; or one of your own.
        options: the executor's own.
        root: where artifacts go: `gs://bucket/path`, or with `process` a folder that all workers see. By
            default what `TUNELINE_ROOT` says, or else the pipeline's own `defaultPipelineRoot`.
        on: what the project says under `on.kubernetes`, by task: see `launch.Launch.on`.
        dag_id: by default the pipeline's name.
        pool: Airflow's pool of the tasks; by default its default pool.
        schedule: a cron line in `timezone`, or anything that Airflow takes; every_s: seconds between two
            runs; asset: the URI of an Asset that starts it. By default it runs when it is triggered.
        settings: of the DAG, as Airflow has them. Unless given: no catch-up, one run at a time.
    Raises: ValueError naming what is wrong with the pipeline, or what of it Airflow has no word for.
    """
    ir = pipeline if isinstance(pipeline, Mapping) else _read(Path(pipeline))
    parsed = parse(ir)
    place = root or os.environ.get(ROOT, "") or parsed.default_root
    if not place:
        raise ValueError(
            f"It is not said where artifacts of `{parsed.name}` go: set {ROOT} for Airflow's processes, or "
            "export the DAG with --root."
        )
    described = Described(outline(parsed), place, dict(on or {}))
    chosen = _executor(executor, options or {})
    timed = _schedule(schedule, timezone, every_s, asset)
    given = {"schedule": timed, **_defaults(described, pool, tag_of(ir))}
    with DAG(dag_id or safe(parsed.name), **{**given, **settings}) as dag:
        setattr(dag, ATTRIBUTE, described)
        _Builder(described, chosen).build()
    return dag


def _read(path: Path) -> str | Mapping[str, Any]:
    """What is exported is JSON, which is read ten times as fast as YAML."""
    text = path.read_text("utf-8")
    found: Mapping[str, Any] | str = json.loads(text) if path.suffix == ".json" else text
    return found


def _executor(wanted: str | Executor, options: Mapping[str, Any]) -> Executor:
    if not isinstance(wanted, str):
        return wanted
    if wanted not in EXECUTORS:
        raise ValueError(f"`executor` is {wanted!r}; there are {', '.join(EXECUTORS)}")
    module, _, name = EXECUTORS[wanted].partition(":")
    made: Executor = getattr(import_module(module), name)(**options)
    return made


def _schedule(schedule: Any, timezone: str, every_s: float, asset: str) -> Any:
    if asset:
        return [Asset(asset)]
    if every_s:
        return timedelta(seconds=every_s)
    if isinstance(schedule, str) and not schedule.startswith("@"):
        return CronTriggerTimetable(schedule, timezone=timezone)
    return schedule


def _defaults(described: Described, pool: str, tag: str) -> dict[str, Any]:
    pipeline = described.pipeline
    seconds = float(pipeline.platform.get("activeDeadlineSeconds") or 0)
    return {
        "start_date": datetime(2024, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "params": params_of(pipeline.inputs),
        "description": pipeline.description or pipeline.display_name or None,
        "dagrun_timeout": timedelta(seconds=seconds) if seconds else None,
        "default_args": {"pool": pool} if pool else {},
        "tags": ["tuneline", tag],
    }


class _Builder:
    """Makes groups and tasks of an outline in the DAG under way."""

    def __init__(self, described: Described, executor: Executor) -> None:
        self._described, self._executor = described, executor
        self._outline: Outline = described.outline
        self._groups: dict[str, Any] = {}
        self._inner: dict[str, Any] = {"": None}
        self._tasks: dict[str, Any] = {}

    def build(self) -> None:
        """All of it."""
        for place in self._outline.places.values():
            self._tasks[place.id] = self._task(place)
        for place in self._outline.places.values():
            for id in place.upstream:
                self._tasks[place.id].set_upstream(self._tasks[id])
        for path, graph in self._outline.graphs.items():
            if graph.mapped:  # or Airflow would not see that it is mapped over these
                self._inside(path).set_upstream(self._tasks[id_of(path, Role.ITEMS)])

    def _task(self, place: Place) -> Any:
        group = self._group(place)
        made, arguments = self._made(place)
        common = {
            "task_id": place.id,
            "trigger_rule": "all_done" if place.whatever_happened else "all_success",
            "task_group": group,
            **arguments,
        }
        if not place.over:
            return made(**common)
        items = self._tasks[id_of(place.over, Role.ITEMS)]
        return made.partial(**common).expand(frame=items.output)

    def _made(self, place: Place) -> tuple[type[BaseOperator], dict[str, Any]]:
        deciding: dict[Role, type[BaseOperator]] = {Role.IF: If, Role.ITEMS: Items, Role.END: End}
        if place.role in deciding:
            return deciding[place.role], {"retries": LOST, "retry_delay": timedelta(seconds=1)}
        task = self._outline.tasks[place.path]
        given = dict(self._executor.arguments(self._described, place))
        return self._executor.operator, {**_arguments(self._described, place, task), **given}

    def _group(self, place: Place) -> Any:
        """Where a task is shown."""
        if place.role is Role.RUN:
            return self._inside(place.group)
        graph = self._outline.graphs[place.path]
        return self._outside(graph) if graph.loop else self._inside(graph.path)

    def _outside(self, graph: Graph) -> Any:
        """The group that a graph is shown as."""
        if graph.path not in self._groups:
            outer = self._inside(graph.path.rpartition("/")[0])
            title = graph.task.display_name or graph.task.name
            given = {"parent_group": outer} if outer is not None else {}
            self._groups[graph.path] = TaskGroup(
                _group_id(graph.path), prefix_group_id=False, group_display_name=title, **given
            )
        return self._groups[graph.path]

    def _inside(self, path: str) -> Any:
        """The group that the tasks of a graph are in: of a loop the one that is mapped."""
        if path not in self._inner:
            graph = self._outline.graphs[path]
            shown = self._outside(graph)
            if graph.mapped:
                items = self._tasks[id_of(path, Role.ITEMS)]
                shown = MappedGroup(items.output, _group_id(f"{path}/iteration"), shown)
            self._inner[path] = shown
        return self._inner[path]


def _group_id(path: str) -> str:
    """Airflow takes no dots in a group's id, and shows its name instead."""
    return re.sub(r"[^\w-]", "_", path.replace("/", "--"), flags=re.ASCII)


def _arguments(described: Described, place: Place, task: Task) -> dict[str, Any]:
    """What Airflow is told of an executed task."""
    container = described.pipeline.executors[described.outline.component(place.path).executor]
    retry, limit = task.retry, isinstance(container, Container) and container.timeout_s
    at_once = [described.outline.graphs[loop].task.iterator for loop in place.loops]
    limits = [iterator.limit for iterator in at_once if iterator is not None and iterator.limit]
    found: dict[str, Any] = {
        "task_display_name": task.display_name or task.name,
        "retries": retry.retries + LOST,
        "retry_delay": timedelta(seconds=max(retry.backoff_s, 0.0)),
        "retry_exponential_backoff": retry.factor > 1 and retry.retries > 0,
        "max_retry_delay": timedelta(seconds=retry.max_s),
    }
    if limit:
        found["execution_timeout"] = timedelta(seconds=float(limit))
    if limits:
        found["max_active_tis_per_dagrun"] = min(limits)
    return found
