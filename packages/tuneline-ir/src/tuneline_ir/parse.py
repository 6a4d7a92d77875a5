"""KFP IR 2.1 (a text, or the mapping it holds) -> `Pipeline`, checked as a whole, with all faults at once.

Limits: one flat graph of container tasks. Importers, nested pipelines, conditions, loops, exit handlers,
selectors, final statuses, resources and platform documents beyond a timeout are refused by name before
anything runs.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from tuneline_ir.links import check_links, order
from tuneline_ir.model import (
    ArtifactInput,
    ArtifactSpec,
    Component,
    Constant,
    Container,
    Interface,
    IRError,
    ParameterInput,
    ParameterSpec,
    Pipeline,
    PipelineInput,
    RetryPolicy,
    Task,
    TaskOutput,
)
from tuneline_ir.placeholders import used
from tuneline_ir.reading import Node
from tuneline_ir.values import TYPES, convert

SCHEMA_VERSION = "2.1.0"

_COMPONENT_LATER = {"dag": "a nested pipeline", "taskConfigPassthroughs": "task config passthrough"}
_EXECUTOR_LATER = {"importer": "an importer", "resolver": "a resolver", "customJob": "a custom job"}
_CONTAINER_LATER = {"resources": "resource limits", "lifecycle": "a lifecycle"}
_TASK_LATER = {
    "parameterIterator": "a loop over parameters",
    "artifactIterator": "a loop over artifacts",
    "iteratorPolicy": "a loop's parallelism",
}
_PARAMETER_LATER = {
    "taskFinalStatus": "a final status",
    "parameterExpressionSelector": "a selector",
    "runtimeParameter": "a runtime parameter",
}
_OUTPUT_LATER = {"valueFromOneof": "OneOf"}


def parse(ir: str | Mapping[str, Any]) -> Pipeline:
    """The pipeline of an IR text (one or two YAML documents, or JSON) or mapping.

    A mapping may be a pipeline spec, or `{"pipeline_spec": ..., "platform_spec": ...}` as KFP's API has it.

    Raises: IRError with every fault.
    """
    spec, platform = _documents(ir)
    faults: list[str] = []
    root = Node("", spec, faults)
    _top(root)
    deadlines = _deadlines(Node("platform", platform, faults))
    executors = {
        label: _executor(node, deadlines.get(label, 0.0))
        for label, node in root.node("deploymentSpec").nodes("executors")
    }
    components = {name: _component(name, node) for name, node in root.nodes("components")}
    info, dag = root.node("pipelineInfo"), root.node("root").node("dag")
    tasks = {name: _task(name, node) for name, node in dag.nodes("tasks")}
    if not tasks and not faults:
        dag.fault("there are no tasks")
    outputs, artifact_outputs = _outputs(dag.node("outputs"))
    pipeline = Pipeline(
        name=info.text("name", required=True),
        inputs=_interface(root.node("root").node("inputDefinitions")),
        tasks=tasks,
        components=components,
        executors=executors,
        outputs=outputs,
        artifact_outputs=artifact_outputs,
        description=info.text("description"),
    )
    if not faults:
        faults.extend(check_links(pipeline))
    if faults:
        raise IRError(tuple(faults))
    return order(pipeline)


def _documents(ir: str | Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    documents = [ir] if isinstance(ir, Mapping) else _yaml(ir)
    spec: Mapping[str, Any] = {}
    platform: Mapping[str, Any] = {}
    for document in documents:
        if not isinstance(document, Mapping):
            raise IRError((f"a pipeline is a mapping, not {type(document).__name__}",))
        if "pipeline_spec" in document:
            spec, platform = document["pipeline_spec"], document.get("platform_spec") or {}
        elif "platforms" in document and "root" not in document:
            platform = document
        else:
            spec = document
    if not isinstance(spec, Mapping) or not isinstance(platform, Mapping):
        raise IRError(("`pipeline_spec` and `platform_spec` must be mappings",))
    return spec, platform


def _yaml(text: str) -> list[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except yaml.YAMLError as error:
        raise IRError((f"this is no YAML: {' '.join(str(error).split())}",)) from error


def _top(root: Node) -> None:
    known = ("pipelineInfo", "deploymentSpec", "components", "root", "schemaVersion", "sdkVersion")
    root.only((*known, "defaultPipelineRoot"), {})
    version = root.text("schemaVersion", required=True)
    if version and version != SCHEMA_VERSION:
        root.fault(f"`schemaVersion` is {version}; only {SCHEMA_VERSION} is supported")
    root.node("root").only(("inputDefinitions", "outputDefinitions", "dag"), {})
    root.node("root").node("dag").only(("tasks", "outputs"), {})


def _deadlines(platform: Node) -> dict[str, float]:
    platform.only(("platforms",), {})
    platform.node("platforms").only(("kubernetes",), {})
    kubernetes = platform.node("platforms").node("kubernetes")
    kubernetes.only(("deploymentSpec",), {"pipelineConfig": "a pipeline's configuration on Kubernetes"})
    found = {}
    for label, node in kubernetes.node("deploymentSpec").nodes("executors"):
        later = {key: "configuration on Kubernetes" for key in node.body if key != "activeDeadlineSeconds"}
        node.only(("activeDeadlineSeconds",), later)
        found[label] = node.number("activeDeadlineSeconds", 0)
    return found


def _executor(node: Node, timeout_s: float) -> Container:
    node.only(("container",), _EXECUTOR_LATER)
    body = node.node("container")
    body.only(("image", "command", "args", "env"), _CONTAINER_LATER)
    image = body.text("image", required="container" in node.body)
    command, args = body.texts("command"), body.texts("args")
    env = {item.text("name", required=True): item.text("value") for item in body.listed("env")}
    for text in (image, *command, *args, *env.values()):
        _placeholders(body, text)
        if text.startswith(('{"IfPresent"', '{"Concat"')):
            body.fault(f"`{text[2:].partition(chr(34))[0]}` is not supported yet")
    return Container(image, command, args, env, timeout_s)


def _component(name: str, node: Node) -> Component:
    node.only(("inputDefinitions", "outputDefinitions", "executorLabel"), _COMPONENT_LATER)
    label = node.text("executorLabel", required="dag" not in node.body)
    return Component(
        name, _interface(node.node("inputDefinitions")), _interface(node.node("outputDefinitions")), label
    )


def _interface(node: Node) -> Interface:
    node.only(("parameters", "artifacts"), {})
    parameters, artifacts = {}, {}
    for name, body in node.nodes("parameters"):
        body.only(
            ("parameterType", "isOptional", "defaultValue", "description"), {"literals": "allowed literals"}
        )
        parameters[name] = _parameter(body)
    for name, body in node.nodes("artifacts"):
        body.only(
            ("artifactType", "isOptional", "description", "metadata"),
            {"isArtifactList": "a list of artifacts"},
        )
        schema = body.node("artifactType")
        artifacts[name] = ArtifactSpec(
            schema.text("schemaTitle", "system.Artifact"),
            schema.text("schemaVersion", "0.0.1"),
            body.flag("isOptional"),
            dict(body.node("metadata").body),
        )
    return Interface(parameters, artifacts)


def _parameter(body: Node) -> ParameterSpec:
    kind = body.text("parameterType", required=True)
    default = body.body.get("defaultValue")
    if kind == "TASK_FINAL_STATUS" or (kind and kind not in TYPES):
        body.fault(f"parameters of type {kind} are not supported yet")
    elif default is not None and kind:
        try:
            default = convert(default, kind)
        except ValueError as error:
            body.fault(f"`defaultValue`: {error}")
    return ParameterSpec(
        kind, body.flag("isOptional") or default is not None, default, "defaultValue" in body.body
    )


def _task(name: str, node: Node) -> Task:
    known = ("taskInfo", "componentRef", "inputs", "dependentTasks", "retryPolicy", "cachingOptions")
    node.only((*known, "triggerPolicy"), _TASK_LATER)
    trigger = node.node("triggerPolicy")
    trigger.only((), {"condition": "a condition", "strategy": "running whatever happened before"})
    node.node("inputs").only(("parameters", "artifacts"), {})
    parameters = {key: _parameter_input(body) for key, body in node.node("inputs").nodes("parameters")}
    artifacts = {key: _artifact_input(body) for key, body in node.node("inputs").nodes("artifacts")}
    after = node.texts("dependentTasks")
    read = {
        given.task for given in (*parameters.values(), *artifacts.values()) if isinstance(given, TaskOutput)
    }
    caching = node.node("cachingOptions")
    return Task(
        name,
        component=node.node("componentRef").text("name", required=True),
        parameters=parameters,
        artifacts=artifacts,
        after=after,
        needs=tuple(sorted({*after, *read})),
        retry=_retry(node.node("retryPolicy")),
        cached=caching.flag("enableCache"),
        cache_key=caching.text("cacheKey"),
        display_name=node.node("taskInfo").text("name", name),
    )


def _retry(node: Node) -> RetryPolicy:
    node.only(("maxRetryCount", "backoffDuration", "backoffFactor", "backoffMaxDuration"), {})
    policy = RetryPolicy(
        retries=int(node.number("maxRetryCount", 0)),
        backoff_s=node.seconds("backoffDuration", 0.0),
        factor=node.number("backoffFactor", 2.0) or 2.0,
        max_s=node.seconds("backoffMaxDuration", 3600.0) or 3600.0,
    )
    if policy.retries < 0 or policy.backoff_s < 0 or policy.factor < 1:
        node.fault("a count or time is negative, or `backoffFactor` is under 1")
    return policy


def _parameter_input(node: Node) -> ParameterInput:
    node.only(("runtimeValue", "componentInputParameter", "taskOutputParameter"), _PARAMETER_LATER)
    if "componentInputParameter" in node.body:
        return PipelineInput(node.text("componentInputParameter"))
    if "taskOutputParameter" in node.body:
        return _task_output(node.node("taskOutputParameter"), "outputParameterKey")
    value = node.node("runtimeValue")
    value.only(("constant",), {"runtimeParameter": "a runtime parameter"})
    constant = value.body.get("constant")
    if isinstance(constant, str):
        _placeholders(value, constant)
    elif constant is None and not set(node.body) & set(_PARAMETER_LATER):
        node.fault(
            "none of `runtimeValue.constant`, `componentInputParameter`, `taskOutputParameter` is given"
        )
    return Constant(constant)


def _artifact_input(node: Node) -> ArtifactInput:
    node.only(("taskOutputArtifact", "componentInputArtifact"), {})
    if "componentInputArtifact" in node.body:
        node.fault("`componentInputArtifact` (an artifact given to the pipeline) is not supported yet")
        return PipelineInput(node.text("componentInputArtifact"))
    return _task_output(node.node("taskOutputArtifact"), "outputArtifactKey")


def _task_output(node: Node, key: str) -> TaskOutput:
    node.only(("producerTask", key), {})
    return TaskOutput(node.text("producerTask", required=True), node.text(key, required=True))


def _outputs(node: Node) -> tuple[dict[str, TaskOutput], dict[str, TaskOutput]]:
    node.only(("parameters", "artifacts"), {})
    parameters, artifacts = {}, {}
    for name, body in node.nodes("parameters"):
        body.only(("valueFromParameter",), _OUTPUT_LATER)
        if "valueFromParameter" in body.body:
            parameters[name] = _selected(body.node("valueFromParameter"), "outputParameterKey")
    for name, body in node.nodes("artifacts"):
        body.only(("artifactSelectors",), {})
        selectors = body.listed("artifactSelectors")
        if len(selectors) > 1:
            body.fault("several `artifactSelectors` (OneOf) are not supported yet")
        elif selectors:
            artifacts[name] = _selected(selectors[0], "outputArtifactKey")
    return parameters, artifacts


def _selected(node: Node, key: str) -> TaskOutput:
    node.only(("producerSubtask", key), {})
    return TaskOutput(node.text("producerSubtask", required=True), node.text(key, required=True))


def _placeholders(node: Node, text: str) -> None:
    try:
        used(text)
    except ValueError as error:
        node.fault(str(error))
