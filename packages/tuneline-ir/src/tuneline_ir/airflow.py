"""What of a pipeline Airflow has no word for. Pure: asked when a pipeline is exported, and when its DAG is
made."""

import re
from collections.abc import Iterable

from tuneline_ir.model import Pipeline, Task

_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)


def faults(pipeline: Pipeline) -> list[str]:
    """Why a pipeline cannot become a DAG, each with its place; none if it can."""
    return [
        f"`{task.name}` in {place} {fault}"
        for place, component in [("the root", pipeline.root), *pipeline.components.items()]
        if component.dag is not None
        for task in component.dag.tasks.values()
        for fault in _faults(pipeline, task)
    ]


def _faults(pipeline: Pipeline, task: Task) -> Iterable[str]:
    if not _NAME.fullmatch(task.name):
        yield "is no name for a task of Airflow: letters, digits, `-`, `_` and `.`, 200 of them at most"
    if task.retry.retries and pipeline.component_of(task).dag is not None:
        yield (
            "tries a whole graph again when something in it has failed, and Airflow tries single tasks "
            "again: set the retries on the tasks in it"
        )
