"""What an executor gets and gives back: one attempt of one task with every placeholder resolved, and what
it put out. Values alone: the operators make them, the executors read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Carried:
    """One artifact between its store and the task."""

    name: str
    """The task's own name of the input or output."""
    uri: str
    """Where the artifact is kept."""
    path: str
    """Where the task sees it: absolute, in the pod or in the working folder."""


@dataclass(frozen=True)
class Launch:
    """One attempt of one task."""

    dag_id: str
    run_id: str
    task: str
    map_index: int
    """Which of a loop's iterations; -1: the task is in none."""
    attempt: int
    """1 for the first."""
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    inputs: tuple[Carried, ...]
    outputs: tuple[Carried, ...]
    parameters: Mapping[str, str]
    """Each output parameter -> the file the task writes it to."""
    output_file: str
    """KFP's executor output file."""
    resources: Mapping[str, Any]
    """KFP's `container.resources` as the IR has it."""
    platform: Mapping[str, Any]
    """The task's part of the pipeline's platform document: secrets, config maps, volumes."""
    on: Mapping[str, Any]
    """What the project's `on.kubernetes` says for this step, defaults merged."""
    workspace: str = ""
    """Where the run's task workspace is kept, below the root; empty: the pipeline has none."""
    executor_input: Mapping[str, Any] = field(default_factory=dict)
    """KFP's ExecutorInput, as the command's `{{$}}` has it."""


@dataclass(frozen=True)
class Finished:
    """What a task put out. Parameters are values of their declared types; each artifact is a KFP
    `RuntimeArtifact`: `name`, `uri`, `metadata`."""

    parameters: Mapping[str, Any]
    artifacts: Mapping[str, list[dict[str, Any]]]
