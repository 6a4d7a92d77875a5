"""The nodes of a run: one an instance of a task, known by its path.

A path is names joined by `/`, a loop's iterations by their index: `train`, `loop-1/0/print`. The root is the
empty path. A node that is made of nodes (a nested pipeline, a loop, an iteration) is a graph; the others are
leaves, which something must execute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneline.plan.events import AttemptStarted, Outputs
from tuneline_ir import Component, Given, Importer, Kind, Pipeline, Status, Task, names_of


@dataclass(slots=True)
class Node:
    """Where one task stands."""

    path: str
    kind: Kind
    task: Task
    component: Component
    parent: str
    index: int | None = None
    """Of an iteration, which may be a leaf."""
    uncached: bool = False
    """Whether caching is off for it and all in it."""
    unmet: int = 0
    """How many of the tasks it needs have not come to what it waits for."""
    status: Status = Status.WAITING
    attempts: int = 0
    """Started so far, lost ones and those before a retry included: the next has number `attempts + 1`."""
    failures: int = 0
    """Attempts that used up a retry."""
    lost: int = 0
    not_before: float = 0.0
    outputs: Outputs = field(default_factory=Outputs)
    error: Mapping[str, Any] | None = None
    started: AttemptStarted | None = None
    """The attempt under way, of a leaf that is RUNNING."""
    children: tuple[str, ...] = ()
    """Of a graph that was opened."""
    open: int = 0
    """Children that have not ended."""
    released: int = 0
    """Of a loop: how many iterations may have begun."""
    failed: str = ""
    """The first child that failed."""
    given: Given = field(default_factory=Given)
    """Of a graph that was opened: its own inputs."""
    items: tuple[Any, ...] = ()
    """Of a loop that was opened."""

    @property
    def leaf(self) -> bool:
        """Whether something must execute it."""
        return self.kind in (Kind.TASK, Kind.IMPORTER)


@dataclass(frozen=True)
class Context:
    """What a run is made of, and stays."""

    pipeline: Pipeline
    parameters: Mapping[str, Any]
    """The pipeline's inputs: given ones and defaults, converted. Secrets stand here as they are."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Values of pipeline-level placeholders, e.g. `pipeline_job_name`."""
    final_states: Mapping[Status, str] = field(default_factory=dict)
    """How a final status names an end; others than these are named as they are."""

    @property
    def deadline_s(self) -> float:
        """How long the run may take; 0: as long as it takes."""
        return float(self.pipeline.platform.get("activeDeadlineSeconds") or 0)

    def kind_of(self, component: Component) -> Kind:
        """What an instance of a component is, if it is no loop."""
        if component.dag is not None:
            return Kind.DAG
        importer = isinstance(self.pipeline.executors[component.executor], Importer)
        return Kind.IMPORTER if importer else Kind.TASK

    def names_of(self, node: Node) -> dict[str, str]:
        """Pipeline-level placeholders as a task sees them."""
        return names_of(self, node.path, node.task)
