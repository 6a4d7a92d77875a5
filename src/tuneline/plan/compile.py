"""A project becomes a pipeline in KFP IR 2.1, the same bytes each time: what every runner executes.

Every scalar, list or mapping of the project that a step reads is a root input with the project's value as
default, so `-p train.r=16`, Airflow's form and KFP's form mean the same. Limits: the lines of
`plan.components` and, with `train.entry`, `plan.own_line`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from tuneline.errors import SpecError
from tuneline.plan.components import LINE, Component, Param
from tuneline.plan.latency import names_latency
from tuneline.plan.more_tasks import with_latency, with_merge, with_sets, with_vllm
from tuneline.plan.own_line import own_line
from tuneline_ir import convert
from tuneline_ir.wire import OWN_IMAGE

SCHEMA_VERSION = "2.1.0"
IMAGE = OWN_IMAGE
"""The image of our own steps: locally this interpreter, elsewhere the one built from the repository."""
SAFETY = Param("safety", "STRUCT", field="evaluate.safety")
"""What the gate reads besides, where there are safety slices."""
BACKOFF = {"backoffDuration": "1s", "backoffFactor": 2.0, "backoffMaxDuration": "60s"}


class Values(Protocol):
    """What is asked of a project; `spec.project.Project` is one."""

    def value(self, dotted: str) -> Any:
        """The value of a field, defaults filled in, as JSON has it."""
        ...


def compile_project(project: Values) -> dict[str, Any]:
    """The pipeline spec of a project, JSON values only.

    Raises: ValueError if a value does not fit; SpecError if the project's own code is too large, or if it
    trains on several machines.
    """
    if (machines := int(project.value("train.num_machines"))) > 1:
        raise SpecError(
            f"train.num_machines is {machines}: no runner starts a task on several machines.",
            hint="`tuneline export training` writes that training as a Job of several pods; "
            "for a run give -p train.num_machines=1.",
        )
    line = line_of(project)
    return {
        "pipelineInfo": {"name": str(project.value("name"))},
        "components": {f"comp-{step.name}": _component(step) for step in line},
        "deploymentSpec": {"executors": {f"exec-{step.name}": _executor(step) for step in line}},
        "root": {
            "dag": {"tasks": {step.name: _task(step) for step in line}},
            "inputDefinitions": {"parameters": _root_inputs(project, line)},
        },
        "schemaVersion": SCHEMA_VERSION,
    }


def line_of(project: Values) -> Sequence[Component]:
    """The components of a project's line: those of every project, and those its keys ask for.

    Raises: SpecError if the project's own code is too large.
    """
    line = own_line(project) if project.value("train.entry") else LINE
    if project.value("release.merge") and not project.value("train.entry"):
        line = with_merge(line)
    line = with_sets(line, project.value("evaluate.sets"))
    if names_latency(project.value("gate")):
        line = with_latency(line, own=bool(project.value("train.entry")))
    if project.value("deploy.runtime") == "vllm" and project.value("deploy.on") == "here":
        line = with_vllm(line)
    safety = (SAFETY,) if project.value("evaluate.safety")["slices"] else ()
    return tuple(replace(step, params=step.params + safety) if step.name == "gate" else step for step in line)


def input_name(dotted: str) -> str:
    """The root input of a project's field: `train.r` is `train_r`."""
    return dotted.replace(".", "_")


def _root_inputs(project: Values, line: Sequence[Component]) -> dict[str, Any]:
    fields = {param.field: param.type for step in line for param in step.params if param.field}
    return {
        input_name(dotted): {
            "parameterType": type,
            "defaultValue": convert(project.value(dotted), type),
            "isOptional": True,
        }
        for dotted, type in sorted(fields.items())
    }


def _component(step: Component) -> dict[str, Any]:
    body: dict[str, Any] = {"executorLabel": f"exec-{step.name}"}
    given = {
        "parameters": {param.name: {"parameterType": param.type} for param in step.params},
        "artifacts": {given.name: _artifact(given.type) for given in step.inputs},
    }
    made = {
        "parameters": {name: {"parameterType": type} for name, type in step.returns},
        "artifacts": {out.name: _artifact(out.type) for out in step.outputs},
    }
    for key, definitions in (("inputDefinitions", given), ("outputDefinitions", made)):
        if any(definitions.values()):
            body[key] = {kind: entries for kind, entries in definitions.items() if entries}
    return body


def _artifact(type: str) -> dict[str, Any]:
    return {"artifactType": {"schemaTitle": type, "schemaVersion": "0.0.1"}}


def _executor(step: Component) -> dict[str, Any]:
    if step.container is not None:
        return {"container": dict(step.container)}
    command = ["tuneline", "step", step.program or step.name]
    return {"container": {"image": IMAGE, "command": command, "args": ["--executor-input", "{{$}}"]}}


def _task(step: Component) -> dict[str, Any]:
    upstream = {param.task for param in step.params if param.task} | {given.task for given in step.inputs}
    body: dict[str, Any] = {
        "taskInfo": {"name": step.name},
        "componentRef": {"name": f"comp-{step.name}"},
        "cachingOptions": {"enableCache": True} if step.cached else {},
    }
    inputs = {
        "parameters": {param.name: _parameter(param) for param in step.params},
        "artifacts": {
            given.name: {
                "taskOutputArtifact": {"producerTask": given.task, "outputArtifactKey": given.output}
            }
            for given in step.inputs
        },
    }
    body["inputs"] = {kind: entries for kind, entries in inputs.items() if entries}
    if upstream or step.after:
        body["dependentTasks"] = sorted(upstream | set(step.after))
    if step.retries:
        body["retryPolicy"] = {"maxRetryCount": step.retries, **BACKOFF}
    return body


def _parameter(param: Param) -> dict[str, Any]:
    if param.task:
        return {"taskOutputParameter": {"producerTask": param.task, "outputParameterKey": param.output}}
    return {"componentInputParameter": input_name(param.field)}
