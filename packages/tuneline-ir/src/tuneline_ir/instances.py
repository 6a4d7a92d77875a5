"""The instances of a run's tasks, as whatever runs them shows them: what `inputs` and `outputs` ask of one.

A path is names joined by `/`, a loop's iterations by their index: `train`, `loop-1/0/print`. The root is the
empty path. An artifact is whatever the runner makes of one: here it is only handed on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from tuneline_ir.model import Component, Task


class Status(StrEnum):
    """Of a task. A task that waits for its next attempt is WAITING."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CACHED = "CACHED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


GOOD = (Status.SUCCEEDED, Status.CACHED)
OPEN = (Status.WAITING, Status.RUNNING)


class Kind(StrEnum):
    """What an instance is."""

    TASK = "task"
    IMPORTER = "importer"
    DAG = "dag"
    LOOP = "loop"
    ITERATION = "iteration"


@dataclass(frozen=True)
class Given:
    """Resolved inputs."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


class Put(Protocol):
    """What a task put out."""

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    @property
    def artifacts(self) -> Mapping[str, tuple[Any, ...]]: ...


class Instance(Protocol):
    """One task where it stands."""

    @property
    def path(self) -> str: ...

    @property
    def parent(self) -> str: ...

    @property
    def index(self) -> int | None:
        """Of an iteration, which may be a leaf."""
        ...

    @property
    def kind(self) -> Kind: ...

    @property
    def task(self) -> Task: ...

    @property
    def component(self) -> Component: ...

    @property
    def status(self) -> Status: ...

    @property
    def error(self) -> Mapping[str, Any] | None: ...

    @property
    def outputs(self) -> Put: ...

    @property
    def given(self) -> Given:
        """Of a graph that was opened: its own inputs."""
        ...

    @property
    def items(self) -> tuple[Any, ...]:
        """Of a loop that was opened."""
        ...

    @property
    def children(self) -> tuple[str, ...]:
        """Of a graph that was opened: the paths of what is in it."""
        ...


Instances = Mapping[str, Instance]
"""By path."""


class Named(Protocol):
    """What of a run its tasks' inputs depend on."""

    @property
    def final_states(self) -> Mapping[Status, str]:
        """How a final status names an end; others than these are named as they are."""
        ...

    @property
    def names(self) -> Mapping[str, str]:
        """Values of pipeline-level placeholders, e.g. `pipeline_job_name`."""
        ...


_SUCCEEDED_SINCE = (2, 17)
"""Backends told a final status COMPLETE where SDKs from 2.17 on document SUCCEEDED."""


def final_states(sdk_version: str) -> dict[Status, str]:
    """How a final status names success: as the backends of the SDK's time did."""
    version = sdk_version.removeprefix("kfp-").split(".")
    numbers = tuple(int(part) for part in version[:2] if part.isdigit())
    old = len(numbers) == 2 and numbers < _SUCCEEDED_SINCE
    return {Status.SUCCEEDED: "COMPLETE"} if old else {}


def names_of(run: Named, path: str, task: Task) -> dict[str, str]:
    """Pipeline-level placeholders as a task sees them."""
    uuid = run.names.get("pipeline_job_uuid", "")
    own = {"pipeline_task_name": task.name, "pipeline_task_uuid": f"{uuid}/{path}"}
    return {**run.names, **own}


def path_of(parent: str, name: str | int) -> str:
    """The path of an instance in a graph."""
    return f"{parent}/{name}" if parent else str(name)
