"""Whether every reference in a pipeline leads somewhere, and an order in which tasks can run."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tuneline_ir.model import Constant, Pipeline, PipelineInput, Task, TaskOutput
from tuneline_ir.values import convert


def check_links(pipeline: Pipeline) -> list[str]:
    """Every reference that leads nowhere or to the wrong thing, one text each."""
    faults = []
    for component in pipeline.components.values():
        if component.executor not in pipeline.executors:
            faults.append(f"components.{component.name}: there is no executor `{component.executor}`")
    for task in pipeline.tasks.values():
        faults.extend(f"root.dag.tasks.{task.name}: {fault}" for fault in _task_faults(pipeline, task))
    for kind, outputs in (("parameters", pipeline.outputs), ("artifacts", pipeline.artifact_outputs)):
        for name, given in outputs.items():
            fault = _output_fault(pipeline, given, kind)
            faults.extend([f"root.dag.outputs.{kind}.{name}: {fault}"] if fault else [])
    return faults or _cycles(pipeline)


def order(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, its tasks in an order in which each stands after those it needs."""
    names = _sorted(pipeline.tasks)
    return replace(pipeline, tasks={name: pipeline.tasks[name] for name in names})


def _task_faults(pipeline: Pipeline, task: Task) -> Iterable[str]:
    component = pipeline.components.get(task.component)
    if component is None:
        return [f"there is no component `{task.component}`"]
    faults = [
        f"`dependentTasks`: there is no task `{name}`" for name in task.after if name not in pipeline.tasks
    ]
    for kind, declared, given in (
        ("parameters", component.inputs.parameters, task.parameters),
        ("artifacts", component.inputs.artifacts, task.artifacts),
    ):
        unknown = [name for name in given if name not in declared]
        faults.extend(f"`{component.name}` has no input `{name}` in its {kind}" for name in unknown)
        missing = [name for name, spec in declared.items() if not spec.optional and name not in given]
        faults.extend(f"the input `{name}` of `{component.name}` is not given" for name in missing)
        faults.extend(
            filter(None, (_input_fault(pipeline, name, value, kind) for name, value in given.items()))
        )
    for name, value in task.parameters.items():
        spec = component.inputs.parameters.get(name)
        if isinstance(value, Constant) and spec is not None and not _has_placeholder(value.value):
            faults.extend(_type_fault(name, value.value, spec.type))
    return faults


def _input_fault(pipeline: Pipeline, name: str, given: Any, kind: str) -> str:
    if isinstance(given, PipelineInput) and given.name not in getattr(pipeline.inputs, kind):
        return f"`{name}`: the pipeline has no input `{given.name}`"
    fault = _output_fault(pipeline, given, kind) if isinstance(given, TaskOutput) else ""
    return f"`{name}`: {fault}" if fault else ""


def _output_fault(pipeline: Pipeline, given: TaskOutput, kind: str) -> str:
    task = pipeline.tasks.get(given.task)
    if task is None:
        return f"there is no task `{given.task}`"
    component = pipeline.components.get(task.component)
    if component is None or given.key in getattr(component.outputs, kind):
        return ""
    declared = ", ".join(sorted(getattr(component.outputs, kind))) or "none"
    return f"`{given.task}` does not put out `{given.key}`; its {kind}: {declared}"


def _type_fault(name: str, value: Any, type: str) -> list[str]:
    try:
        convert(value, type)
    except ValueError as error:
        return [f"`{name}`: {error}"]
    return []


def _has_placeholder(value: Any) -> bool:
    return isinstance(value, str) and "{{$" in value


def _sorted(tasks: Mapping[str, Task]) -> list[str]:
    """Names in dependency order, first come, first served; those in or behind a cycle are left out."""
    unmet = {name: len(task.needs) for name, task in tasks.items()}
    dependents: dict[str, list[str]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for upstream in task.needs:
            dependents[upstream].append(name)
    ready, found = deque(name for name, count in unmet.items() if count == 0), []
    while ready:
        name = ready.popleft()
        found.append(name)
        for dependent in dependents[name]:
            unmet[dependent] -= 1
            if unmet[dependent] == 0:
                ready.append(dependent)
    return found


def _cycles(pipeline: Pipeline) -> list[str]:
    left = set(pipeline.tasks) - set(_sorted(pipeline.tasks))
    if not left:
        return []
    return [f"root.dag.tasks: these wait for each other in a circle: {', '.join(sorted(left))}"]
