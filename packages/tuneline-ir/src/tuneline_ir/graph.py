"""The graph of a component: its tasks, what they read, when they run, and what the graph puts out."""

from collections.abc import Mapping
from typing import Any

from tuneline_ir.model import (
    ArtifactInput,
    Constant,
    Dag,
    DagOutput,
    FinalStatus,
    IRError,
    Iterator,
    ParameterInput,
    PipelineInput,
    RetryPolicy,
    Selected,
    Task,
    TaskOutput,
)
from tuneline_ir.reading import Node
from tuneline_ir.values import whole

_TASK = (
    "taskInfo", "componentRef", "inputs", "dependentTasks", "retryPolicy", "cachingOptions",
    "triggerPolicy", "parameterIterator", "artifactIterator", "iteratorPolicy",
)  # fmt: skip
_PARAMETER = (
    "runtimeValue", "componentInputParameter", "taskOutputParameter", "taskFinalStatus",
    "parameterExpressionSelector",
)  # fmt: skip
_WHATEVER_HAPPENED = "ALL_UPSTREAM_TASKS_COMPLETED"
_STRATEGIES = ("", "TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED", _WHATEVER_HAPPENED)
_OLD_VALUES = ("intValue", "doubleValue", "stringValue")


def read_dag(node: Node) -> Dag:
    """The graph under `dag`."""
    node.only(("tasks", "outputs"), {})
    tasks = {name: _task(name, body) for name, body in node.nodes("tasks")}
    outputs = node.node("outputs")
    outputs.only(("parameters", "artifacts"), {})
    return Dag(
        tasks,
        {name: _parameter_output(body) for name, body in outputs.nodes("parameters")},
        {name: _artifact_output(body) for name, body in outputs.nodes("artifacts")},
    )


def _task(name: str, node: Node) -> Task:
    node.only(_TASK, {})
    if not name or "/" in name or name in (".", ".."):
        node.fault(f"a task cannot be called `{name}`")
    node.node("inputs").only(("parameters", "artifacts"), {})
    parameters = {key: _parameter_input(body) for key, body in node.node("inputs").nodes("parameters")}
    artifacts = {key: _artifact_input(body) for key, body in node.node("inputs").nodes("artifacts")}
    after, caching, trigger = node.texts("dependentTasks"), node.node("cachingOptions"), _trigger(node)
    caching.only(("enableCache", "cacheKey"), {})
    return Task(
        name,
        component=node.node("componentRef").text("name", required=True),
        parameters=parameters,
        artifacts=artifacts,
        after=after,
        needs=_needs(after, parameters, artifacts),
        retry=_retry(node.node("retryPolicy")),
        cached=caching.flag("enableCache"),
        uncached="cachingOptions" in node.body and not caching.flag("enableCache"),
        cache_key=caching.text("cacheKey"),
        display_name=node.node("taskInfo").text("name", name),
        condition=trigger.text("condition"),
        whatever_happened=trigger.text("strategy") == _WHATEVER_HAPPENED,
        iterator=_iterator(node),
    )


def _needs(
    after: tuple[str, ...], parameters: Mapping[str, ParameterInput], artifacts: Mapping[str, ArtifactInput]
) -> tuple[str, ...]:
    read: set[str] = set()
    for given in (*parameters.values(), *artifacts.values()):
        source = given.source if isinstance(given, Selected) else given
        if isinstance(source, TaskOutput | FinalStatus):
            read.add(source.task)
    return tuple(sorted({*after, *read}))


def _trigger(node: Node) -> Node:
    trigger = node.node("triggerPolicy")
    trigger.only(("condition", "strategy"), {})
    if trigger.text("strategy") not in _STRATEGIES:
        trigger.fault(f"`strategy` is {trigger.text('strategy')}, which is none of {_STRATEGIES[1:]}")
    return trigger


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


def _iterator(node: Node) -> Iterator | None:
    limit = node.node("iteratorPolicy")
    limit.only(("parallelismLimit",), {})
    at_once = int(limit.number("parallelismLimit", 0))
    if at_once < 0:
        limit.fault("`parallelismLimit` is negative")
    if "parameterIterator" in node.body and "artifactIterator" in node.body:
        node.fault("a task has a `parameterIterator` or an `artifactIterator`, not both")
    if "parameterIterator" in node.body:
        body = node.node("parameterIterator")
        body.only(("items", "itemInput"), {})
        items = body.node("items")
        items.only(("raw", "inputParameter"), {})
        item = body.text("itemInput", required=True)
        if "raw" in items.body:
            return Iterator("raw", items.text("raw"), item, at_once)
        return Iterator("parameter", items.text("inputParameter", required=True), item, at_once)
    if "artifactIterator" in node.body:
        body = node.node("artifactIterator")
        body.only(("items", "itemInput"), {})
        name = body.node("items").text("inputArtifact", required=True)
        return Iterator("artifact", name, body.text("itemInput", required=True), at_once)
    return None


def parameter_input(body: Any) -> ParameterInput:
    """Where a parameter's value comes from, as an `InputParameterSpec` says it. Raises: IRError."""
    faults: list[str] = []
    found = _parameter_input(Node("", body if isinstance(body, Mapping) else {}, faults))
    if faults:
        raise IRError(tuple(faults))
    return found


def _parameter_input(node: Node) -> ParameterInput:
    node.only(_PARAMETER, {})
    source = _parameter_source(node)
    selector = node.text("parameterExpressionSelector")
    return Selected(source, selector) if selector else source


def _parameter_source(node: Node) -> Constant | PipelineInput | TaskOutput | FinalStatus:
    if "componentInputParameter" in node.body:
        return PipelineInput(node.text("componentInputParameter", required=True))
    if "taskOutputParameter" in node.body:
        return _task_output(node.node("taskOutputParameter"), "outputParameterKey")
    if "taskFinalStatus" in node.body:
        return FinalStatus(node.node("taskFinalStatus").text("producerTask", required=True))
    if "runtimeValue" not in node.body:
        node.fault(f"none of {', '.join(_PARAMETER[:-1])} is given")
    return Constant(_constant(node.node("runtimeValue")))


def _constant(node: Node) -> Any:
    node.only(("constant", "constantValue"), {"runtimeParameter": "a runtime parameter"})
    if "constantValue" in node.body:  # as SDKs before 2.0 wrote it
        old = node.node("constantValue")
        value = next((old.body[key] for key in _OLD_VALUES if key in old.body), None)
        return int(old.number("intValue", 0)) if "intValue" in old.body else value
    return whole(node.body.get("constant"))


def _artifact_input(node: Node) -> ArtifactInput:
    node.only(("taskOutputArtifact", "componentInputArtifact"), {})
    if "componentInputArtifact" in node.body:
        return PipelineInput(node.text("componentInputArtifact", required=True))
    return _task_output(node.node("taskOutputArtifact"), "outputArtifactKey")


def _task_output(node: Node, key: str) -> TaskOutput:
    node.only(("producerTask", key), {})
    return TaskOutput(node.text("producerTask", required=True), node.text(key, required=True))


def _parameter_output(node: Node) -> DagOutput:
    node.only(("valueFromParameter", "valueFromOneof"), {})
    if "valueFromOneof" in node.body:
        selectors = node.node("valueFromOneof").listed("parameterSelectors")
        return DagOutput(tuple(_selected(body, "outputParameterKey") for body in selectors), one_of=True)
    return DagOutput((_selected(node.node("valueFromParameter"), "outputParameterKey"),))


def _artifact_output(node: Node) -> DagOutput:
    node.only(("artifactSelectors",), {})
    selectors = node.listed("artifactSelectors")
    if not selectors:
        node.fault("`artifactSelectors` is empty")
    sources = tuple(_selected(body, "outputArtifactKey") for body in selectors)
    return DagOutput(sources, one_of=len(sources) > 1)


def _selected(node: Node, key: str) -> TaskOutput:
    node.only(("producerSubtask", key), {})
    return TaskOutput(node.text("producerSubtask", required=True), node.text(key, required=True))
