"""A pipeline as frozen values: what `parse` makes of KFP IR 2.1. Names are the IR's own, in Python's
spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class IRError(ValueError):
    """The IR is wrong or asks for what is not supported. `faults`: every one, each naming its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class ParameterSpec:
    """A declared parameter. `type`: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST or STRUCT."""

    type: str
    optional: bool = False
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True)
class ArtifactSpec:
    """A declared artifact. `type` is its schema title, e.g. `system.Model`."""

    type: str
    version: str = "0.0.1"
    optional: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Interface:
    """Inputs or outputs of a component."""

    parameters: Mapping[str, ParameterSpec] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """A component. `executor` is the label of what runs it."""

    name: str
    inputs: Interface
    outputs: Interface
    executor: str


@dataclass(frozen=True)
class Container:
    """An executor: a command in an image. Texts may hold placeholders. `timeout_s`: 0 is no limit."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 0.0


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


ParameterInput = Constant | PipelineInput | TaskOutput
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
class Task:
    """A node of the graph."""

    name: str
    component: str
    parameters: Mapping[str, ParameterInput] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactInput] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    """`dependentTasks` as written; `needs` has all edges."""
    needs: tuple[str, ...] = ()
    """Tasks that must have succeeded: `after` and those whose outputs are inputs; sorted, each once."""
    retry: RetryPolicy = RetryPolicy()
    cached: bool = False
    cache_key: str = ""
    display_name: str = ""


@dataclass(frozen=True)
class Pipeline:
    """One pipeline, checked: every reference leads somewhere and there is no cycle."""

    name: str
    inputs: Interface
    tasks: Mapping[str, Task]
    """In an order in which each stands after those it needs; otherwise as written."""
    components: Mapping[str, Component]
    executors: Mapping[str, Container]
    outputs: Mapping[str, TaskOutput] = field(default_factory=dict)
    """Parameters the pipeline puts out."""
    artifact_outputs: Mapping[str, TaskOutput] = field(default_factory=dict)
    description: str = ""

    def component_of(self, task: str) -> Component:
        """The component of a task."""
        return self.components[self.tasks[task].component]

    def container_of(self, task: str) -> Container:
        """What runs a task."""
        return self.executors[self.component_of(task).executor]
