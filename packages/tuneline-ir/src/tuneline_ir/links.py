"""Whether every reference in a pipeline leads somewhere, and an order in which tasks can run."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tuneline_ir.model import (
    Component,
    Constant,
    Dag,
    DagOutput,
    FinalStatus,
    Importer,
    Pipeline,
    PipelineInput,
    Selected,
    Task,
    TaskOutput,
)
from tuneline_ir.values import convert


def check_links(pipeline: Pipeline) -> list[str]:
    """Every reference that leads nowhere or to the wrong thing, one text each."""
    faults: list[str] = []
    for component in pipeline.components.values():
        faults.extend(
            f"components.{component.name}: {fault}" for fault in _component_faults(pipeline, component)
        )
    for place, component in _graphs(pipeline):
        assert component.dag is not None
        faults.extend(_dag_faults(pipeline, place, component, component.dag))
    return faults or _cycles(pipeline)


def order(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, each graph's tasks in an order in which each stands after those it needs."""
    return replace(
        pipeline,
        root=_ordered(pipeline.root),
        components={name: _ordered(component) for name, component in pipeline.components.items()},
    )


def _ordered(component: Component) -> Component:
    if component.dag is None:
        return component
    tasks = {name: component.dag.tasks[name] for name in _sorted(component.dag.tasks)}
    return replace(component, dag=replace(component.dag, tasks=tasks))


def _graphs(pipeline: Pipeline) -> list[tuple[str, Component]]:
    nested = [(f"components.{name}.dag", component) for name, component in pipeline.components.items()]
    return [
        (place, found) for place, found in [("root.dag", pipeline.root), *nested] if found.dag is not None
    ]


def _component_faults(pipeline: Pipeline, component: Component) -> Iterable[str]:
    if component.dag is not None:
        return []
    executor = pipeline.executors.get(component.executor)
    if executor is None:
        return [f"there is no executor `{component.executor}`"]
    if isinstance(executor, Importer):
        if isinstance(executor.uri, PipelineInput) and executor.uri.name not in component.inputs.parameters:
            return [f"its importer reads `{executor.uri.name}`, which is no parameter of it"]
        if len(component.outputs.artifacts) != 1:
            return ["an importer puts out one artifact"]
    return []


def _dag_faults(pipeline: Pipeline, place: str, component: Component, dag: Dag) -> Iterable[str]:
    for task in dag.tasks.values():
        for fault in _task_faults(pipeline, component, dag, task):
            yield f"{place}.tasks.{task.name}: {fault}"
    for kind, outputs in (("parameters", dag.outputs), ("artifacts", dag.artifact_outputs)):
        for name, output in outputs.items():
            for fault in _dag_output_faults(pipeline, dag, output, kind):
                yield f"{place}.outputs.{kind}.{name}: {fault}"


def _task_faults(pipeline: Pipeline, outer: Component, dag: Dag, task: Task) -> Iterable[str]:
    component = pipeline.components.get(task.component)
    if component is None:
        return [f"there is no component `{task.component}`"]
    faults = [f"`dependentTasks`: there is no task `{name}`" for name in task.after if name not in dag.tasks]
    item = task.iterator.item_input if task.iterator else None
    for kind, declared, given in (
        ("parameters", component.inputs.parameters, task.parameters),
        ("artifacts", component.inputs.artifacts, task.artifacts),
    ):
        if kind == "artifacts":  # parameters that no component declares are what placeholders read
            unknown = [name for name in given if name not in declared and not _items(task, name)]
            faults.extend(f"`{component.name}` has no input `{name}` in its {kind}" for name in unknown)
        missing = [
            name
            for name, spec in declared.items()
            if not (spec.optional or getattr(spec, "has_default", False) or name in given or name == item)
        ]
        faults.extend(f"the input `{name}` of `{component.name}` is not given" for name in missing)
        for name, value in given.items():
            fault = _input_fault(pipeline, outer, dag, value, kind)
            faults.extend([f"`{name}`: {fault}"] if fault else [])
    for name, value in task.parameters.items():
        spec = component.inputs.parameters.get(name)
        if isinstance(value, Constant) and spec is not None and not _has_placeholder(value.value):
            faults.extend(_type_fault(name, value.value, spec.type, spec.optional))
    return [*faults, *_iterator_faults(task, component)]


def _items(task: Task, name: str) -> bool:
    """Whether a task's input is only there to be iterated over."""
    return task.iterator is not None and task.iterator.over != "raw" and task.iterator.items == name


def _iterator_faults(task: Task, component: Component) -> list[str]:
    loop = task.iterator
    if loop is None:
        return []
    faults = []
    kind = "artifacts" if loop.over == "artifact" else "parameters"
    if loop.item_input not in getattr(component.inputs, kind):
        faults.append(f"`itemInput`: `{component.name}` has no input `{loop.item_input}` in its {kind}")
    if loop.over != "raw" and loop.items not in getattr(task, kind):
        faults.append(f"`items`: the task has no input `{loop.items}` in its {kind}")
    return faults


def _input_fault(pipeline: Pipeline, outer: Component, dag: Dag, given: Any, kind: str) -> str:
    if isinstance(given, Selected):
        return _input_fault(pipeline, outer, dag, given.source, kind)
    if isinstance(given, PipelineInput) and given.name not in getattr(outer.inputs, kind):
        whose = "the pipeline" if outer is pipeline.root else f"`{outer.name}`"
        return f"{whose} has no input `{given.name}`"
    if isinstance(given, FinalStatus) and given.task not in dag.tasks:
        return f"there is no task `{given.task}`"
    return _output_fault(pipeline, dag, given, kind) if isinstance(given, TaskOutput) else ""


def _dag_output_faults(pipeline: Pipeline, dag: Dag, output: DagOutput, kind: str) -> list[str]:
    return [fault for source in output.sources if (fault := _output_fault(pipeline, dag, source, kind))]


def _output_fault(pipeline: Pipeline, dag: Dag, given: TaskOutput, kind: str) -> str:
    task = dag.tasks.get(given.task)
    if task is None:
        return f"there is no task `{given.task}`"
    component = pipeline.components.get(task.component)
    if component is None or given.key in getattr(component.outputs, kind):
        return ""
    declared = ", ".join(sorted(getattr(component.outputs, kind))) or "none"
    return f"`{given.task}` does not put out `{given.key}`; its {kind}: {declared}"


def _type_fault(name: str, value: Any, type: str, optional: bool) -> list[str]:
    if value is None:
        return [] if optional else [f"`{name}`: null is no {type}"]
    try:
        convert(value, type)
    except ValueError as error:
        return [f"`{name}`: {error}"]
    return []


def _has_placeholder(value: Any) -> bool:
    return isinstance(value, str) and "{{$" in value


def _sorted(tasks: Mapping[str, Task]) -> list[str]:
    """Names in dependency order, first come, first served; those in or behind a cycle are left out."""
    return _topological({name: task.needs for name, task in tasks.items()})


def _topological(needs: Mapping[str, Iterable[str]]) -> list[str]:
    known = {name: [need for need in found if need in needs] for name, found in needs.items()}
    unmet = {name: len(found) for name, found in known.items()}
    dependents: dict[str, list[str]] = {name: [] for name in needs}
    for name, found in known.items():
        for upstream in found:
            dependents[upstream].append(name)
    ready, done = deque(name for name, count in unmet.items() if count == 0), []
    while ready:
        name = ready.popleft()
        done.append(name)
        for dependent in dependents[name]:
            unmet[dependent] -= 1
            if unmet[dependent] == 0:
                ready.append(dependent)
    return done


def _cycles(pipeline: Pipeline) -> list[str]:
    faults = []
    for place, component in _graphs(pipeline):
        assert component.dag is not None
        left = set(component.dag.tasks) - set(_sorted(component.dag.tasks))
        if left:
            faults.append(f"{place}.tasks: these wait for each other in a circle: {', '.join(sorted(left))}")
    parts = {
        name: {task.component for task in component.dag.tasks.values()} if component.dag else set()
        for name, component in pipeline.components.items()
    }
    endless = set(parts) - set(_topological(parts))
    if endless:
        faults.append(f"components: these are made of each other without end: {', '.join(sorted(endless))}")
    return faults
