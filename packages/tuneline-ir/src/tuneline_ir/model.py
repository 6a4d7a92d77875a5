"""A pipeline as frozen values: what `parse` makes of KFP IR 2.1. Names are the IR's own, in Python's
spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class IRError(ValueError):
    """The IR is wrong or asks for what is not supported. `faults`: every one, each naming its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class ParameterSpec:
    """A declared parameter. `type`: one of `values.TYPES`."""

    type: str
    optional: bool = False
    default: Any = None
    has_default: bool = False
    literals: tuple[Any, ...] = ()
    """The only values it may have; empty: any."""
    description: str = ""


@dataclass(frozen=True)
class ArtifactSpec:
    """A declared artifact. `type` is its schema title, e.g. `system.Model`."""

    type: str
    version: str = "0.0.1"
    optional: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_list: bool = False
    """Whether it is a list of any length rather than one."""


@dataclass(frozen=True)
class Interface:
    """Inputs or outputs of a component."""

    parameters: Mapping[str, ParameterSpec] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """An executor: a command in an image. Texts may hold placeholders. `timeout_s`: 0 is no limit."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 0.0
    resources: Mapping[str, Any] = field(default_factory=dict)
    """As the IR has them: limits, requests, accelerators."""
    platform: Mapping[str, Any] = field(default_factory=dict)
    """What the platform document says of this executor on Kubernetes, as it is."""


@dataclass(frozen=True)
class Importer:
    """An executor that brings an artifact from outside into the record."""

    uri: "Constant | PipelineInput"
    """Where it is: a text, or one of the component's own parameters."""
    type: str = "system.Artifact"
    version: str = "0.0.1"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """May hold placeholders of the component's inputs in keys and values."""
    reimport: bool = False
    to_workspace: bool = False


Executor = Container | Importer


@dataclass(frozen=True)
class Constant:
    """A parameter input with a fixed value. A text may hold placeholders of the same task's inputs."""

    value: Any


@dataclass(frozen=True)
class PipelineInput:
    """A parameter or artifact input that is an input of the surrounding component (`componentInput...`)."""

    name: str


@dataclass(frozen=True)
class TaskOutput:
    """A parameter or artifact input that another task puts out."""

    task: str
    key: str


@dataclass(frozen=True)
class FinalStatus:
    """A parameter input that says how another task ended."""

    task: str


@dataclass(frozen=True)
class Selected:
    """A part of another parameter input, as `parameterExpressionSelector` says it."""

    source: "Constant | PipelineInput | TaskOutput | FinalStatus"
    selector: str


ParameterInput = Constant | PipelineInput | TaskOutput | FinalStatus | Selected
ArtifactInput = PipelineInput | TaskOutput


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when a failed attempt is made again: after `backoff_s * factor ** (n - 1)`, at most
    `max_s`."""

    retries: int = 0
    backoff_s: float = 0.0
    factor: float = 2.0
    max_s: float = 3600.0


@dataclass(frozen=True)
class Iterator:
    """A loop: the task's component is run once for each item."""

    over: Literal["raw", "parameter", "artifact"]
    items: str
    """A JSON list, or the name of one of the task's own inputs."""
    item_input: str
    """The component's input that gets the item."""
    limit: int = 0
    """How many iterations may run at once; 0: any number."""


@dataclass(frozen=True)
class Task:
    """A node of a graph."""

    name: str
    component: str
    parameters: Mapping[str, ParameterInput] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactInput] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """`dependentTasks` as written; `needs` has all edges."""
    needs: tuple[str, ...] = ()
    """Tasks that come before: `after` and those whose outputs are inputs; sorted, each once."""
    retry: RetryPolicy = RetryPolicy()
    cached: bool = False
    uncached: bool = False
    """Whether caching is explicitly off, which for a nested pipeline means off for all of it."""
    cache_key: str = ""
    display_name: str = ""
    condition: str = ""
    """Runs only if this holds; empty: always."""
    whatever_happened: bool = False
    """Runs when all it needs has ended, however that ended (`ALL_UPSTREAM_TASKS_COMPLETED`)."""
    iterator: Iterator | None = None


@dataclass(frozen=True)
class DagOutput:
    """An output of a graph: from the one task named, or from the one of several that ran (`OneOf`)."""

    sources: tuple[TaskOutput, ...]
    one_of: bool = False


@dataclass(frozen=True)
class Dag:
    """A graph of tasks, in an order in which each stands after those it needs; otherwise as written."""

    tasks: Mapping[str, Task]
    outputs: Mapping[str, DagOutput] = field(default_factory=dict)
    artifact_outputs: Mapping[str, DagOutput] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """A component: run by the executor with label `executor`, or made of a graph."""

    name: str
    inputs: Interface
    outputs: Interface
    executor: str = ""
    dag: Dag | None = None
    passthroughs: Mapping[str, bool] = field(default_factory=dict)
    """Settings that go into its TASK_CONFIG input, and whether they count for the task itself too."""


@dataclass(frozen=True)
class Pipeline:
    """One pipeline, checked: every reference leads somewhere and there is no cycle."""

    name: str
    root: Component
    components: Mapping[str, Component]
    executors: Mapping[str, Executor]
    display_name: str = ""
    description: str = ""
    sdk_version: str = ""
    default_root: str = ""
    workspace: Mapping[str, Any] | None = None
    """What the platform document says of the task workspace; None: the pipeline has none."""
    platform: Mapping[str, Any] = field(default_factory=dict)
    """The rest of the pipeline's configuration on Kubernetes, as it is."""

    @property
    def graph(self) -> Dag:
        """The root's graph."""
        assert self.root.dag is not None
        return self.root.dag

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The root's tasks."""
        return self.graph.tasks

    @property
    def inputs(self) -> Interface:
        """The pipeline's inputs."""
        return self.root.inputs

    def component_of(self, task: Task) -> Component:
        """What a task is an instance of."""
        return self.components[task.component]
