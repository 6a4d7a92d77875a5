"""What a task is given: its inputs, found in what surrounds it and in what came before it. Pure.

A task reads constants, inputs of the component it stands in, outputs of its siblings, how a sibling ended,
and for an iteration the item. What is absent (an optional input nobody gave, an output of a task that was
skipped) takes the component's default, or stays absent if it is optional.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tuneline_ir.conditions import parse_selector, select
from tuneline_ir.graph import parameter_input
from tuneline_ir.instances import GOOD, Given, Instance, Instances, Named, Status, names_of, path_of
from tuneline_ir.model import (
    Constant,
    FinalStatus,
    ParameterInput,
    ParameterSpec,
    PipelineInput,
    Selected,
    TaskOutput,
)
from tuneline_ir.placeholders import used
from tuneline_ir.values import convert, to_text

_ANY = re.compile(r"\{\{\$(?:\.(?:(?!\}\}).)*)?\}\}", re.DOTALL)
_ABSENT: Any = object()
_NAMES = ("NameParameter", "Json")
"""How keys of a platform document end under which a parameter is named."""
_OLD_MOUNT = ("constant", "taskOutputParameter", "componentInputParameter")
"""How a volume was named before `pvcNameParameter`."""
_ERROR_CODE = {Status.FAILED: 13, Status.CANCELED: 1}
"""google.rpc.Code: INTERNAL, CANCELLED."""


def given(context: Named, nodes: Instances, node: Instance) -> Given:
    """The inputs of a node whose needs are met.

    Raises: ValueError, naming the input, if one has no value or one that does not fit.
    """
    if node.index is not None:
        loop = nodes[node.parent]
        return _of_iteration(loop, loop.items[node.index])
    return Given(_parameters(context, nodes, node), _artifacts(nodes, node))


def platform(context: Named, nodes: Instances, node: Instance, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a platform document says of a task's executor, with every parameter in it in its value's place.

    One without a value, an optional input that nobody gave, is None. Raises: ValueError.
    """
    reader = _Reader(context, nodes, node)

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        mount = {key: value[key] for key in _OLD_MOUNT if key in value}
        if mount and "mountPath" in value and "pvcNameParameter" not in value:
            old = {"runtimeValue": {"constant": value["constant"]}} if "constant" in value else mount
            value = {**value, "pvcNameParameter": old}
        return {key: named(item) if key.endswith(_NAMES) else filled(item) for key, item in value.items()}

    def named(body: Any) -> Any:
        found = reader.of(parameter_input(body))
        return None if found is _ABSENT else found

    return {key: filled(value) for key, value in body.items()}


def items(context: Named, node: Instance, found: Given) -> tuple[Any, ...]:
    """What a loop goes over, given its inputs. Raises: ValueError if that is no list."""
    loop = node.task.iterator
    assert loop is not None
    if loop.over == "artifact":
        return tuple((ref,) for ref in found.artifacts.get(loop.items, ()))
    value: Any = loop.items if loop.over == "raw" else found.parameters.get(loop.items)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            said = repr(value) if len(value) < 80 else f"{repr(value)[:77]}..."
            raise ValueError(f"`{loop.items}` is no list to loop over but the text {said}") from None
    if not isinstance(value, list):
        raise ValueError(f"`{loop.items}` is no list to loop over but {type(value).__name__}")
    if loop.over == "raw":
        value = _filled(
            value, lambda key: _one_of(loop.items, found, key), names_of(context, node.path, node.task)
        )
    return tuple(value)


def _one_of(text: str, found: Given, key: str) -> Any:
    """The input `key`, which a loop's items are made of."""
    if key not in found.parameters:
        raise ValueError(f"the items {text[:80]} are made of `{key}`, which has no value")
    return found.parameters[key]


def _of_iteration(loop: Instance, item: Any) -> Given:
    spec = loop.task.iterator
    assert spec is not None
    if spec.over == "artifact":
        return Given(loop.given.parameters, {**loop.given.artifacts, spec.item_input: item})
    declared = loop.component.inputs.parameters[spec.item_input]
    value = _fitting(spec.item_input, item, declared)
    return Given({**loop.given.parameters, spec.item_input: value}, loop.given.artifacts)


def _parameters(context: Named, nodes: Instances, node: Instance) -> dict[str, Any]:
    reader = _Reader(context, nodes, node)
    declared = node.component.inputs.parameters
    found: dict[str, Any] = {}
    for key, source in node.task.parameters.items():
        value, spec = reader.value(key), declared.get(key)
        absent = value is _ABSENT or value is None
        if spec is None:  # there for a loop to go over
            found[key] = None if absent else value
        elif not absent:
            found[key] = _fitting(key, value, spec)
        elif not spec.optional:
            raise ValueError(f"input `{key}` has no value: {_why(nodes, node, source)}")
    for key, spec in declared.items():
        if key not in found and spec.has_default and spec.default is not None:
            found[key] = spec.default
    return found


class _Reader:
    """The values of one task's parameter inputs, before they are converted. A constant may name others."""

    def __init__(self, context: Named, nodes: Instances, node: Instance) -> None:
        self._context = context
        self._nodes = nodes
        self._node = node
        self._names = names_of(context, node.path, node.task)
        self._found: dict[str, Any] = {}
        self._asking: list[str] = []

    def value(self, key: str) -> Any:
        """The value of input `key`, or `_ABSENT`."""
        if key in self._asking:
            raise ValueError(f"input `{key}` is made of itself")
        if key not in self._found:
            source = self._node.task.parameters.get(key)
            if source is None:
                raise ValueError(f"a placeholder names `{key}`, which is no input of this task")
            self._asking.append(key)
            self._found[key] = self._source(source)
            self._asking.pop()
        return self._found[key]

    def of(self, source: ParameterInput) -> Any:
        """The value of a source that is no input by itself, or `_ABSENT`."""
        self._asking.append("platform")
        try:
            return self._source(source)
        finally:
            self._asking.pop()

    def _source(self, source: Any) -> Any:
        match source:
            case Constant():
                return _filled(source.value, self._inner, self._names)
            case PipelineInput():
                return self._nodes[self._node.parent].given.parameters.get(source.name, _ABSENT)
            case TaskOutput():
                return self._sibling(source.task).outputs.parameters.get(source.key, _ABSENT)
            case FinalStatus():
                return _final_status(self._context, self._sibling(source.task), self._names)
            case Selected():
                whole = self._source(source.source)
                return whole if whole is _ABSENT else select(parse_selector(source.selector), whole)
        raise TypeError(source)

    def _inner(self, key: str) -> Any:
        found = self.value(key)
        if found is _ABSENT:
            raise ValueError(f"input `{self._asking[-1]}` is made of `{key}`, which has no value")
        return found

    def _sibling(self, name: str) -> Instance:
        return self._nodes[path_of(self._node.parent, name)]


def _artifacts(nodes: Instances, node: Instance) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for key, source in node.task.artifacts.items():
        if isinstance(source, PipelineInput):
            refs = nodes[node.parent].given.artifacts.get(source.name)
        else:
            refs = nodes[path_of(node.parent, source.task)].outputs.artifacts.get(source.key)
        spec = node.component.inputs.artifacts.get(key)
        if refs is not None:
            found[key] = refs
        elif spec is not None and not spec.optional:
            raise ValueError(f"input artifact `{key}` is not there: {_why(nodes, node, source)}")
    return found


def _why(nodes: Instances, node: Instance, source: Any) -> str:
    source = source.source if isinstance(source, Selected) else source
    if isinstance(source, TaskOutput):
        sibling = nodes[path_of(node.parent, source.task)]
        if sibling.status in GOOD:
            return f"`{source.task}` ended without its output `{source.key}`"
        return f"`{source.task}` is {sibling.status.lower()}"
    if isinstance(source, PipelineInput):
        return f"the surrounding pipeline was not given `{source.name}`"
    return "it is null"


def _final_status(context: Named, node: Instance, names: Mapping[str, str]) -> dict[str, Any]:
    """KFP's PipelineTaskFinalStatus as JSON."""
    state = Status.SUCCEEDED if node.status is Status.CACHED else node.status
    found: dict[str, Any] = {
        "state": context.final_states.get(state, state.value),
        "pipelineJobResourceName": names.get("pipeline_job_resource_name", ""),
        "pipelineTaskName": node.task.name,
    }
    if node.status in _ERROR_CODE:
        message = str((node.error or {}).get("message", ""))
        found["error"] = {"code": _ERROR_CODE[node.status], "message": message}
    return found


def _filled(value: Any, inner: Callable[[str], Any], names: Mapping[str, str]) -> Any:
    """A constant with its placeholders replaced; text that only looks like one stays.

    A text that is one whole placeholder takes the value as it is; inside other text it is written out.
    """
    if isinstance(value, str):
        if "{{$" not in value:
            return value
        whole = _ANY.fullmatch(value)
        if whole is not None and _kind(value)[0] == "parameter":
            return inner(_kind(value)[1])
        return _ANY.sub(lambda found: _text(found.group(), inner, names), value)
    if isinstance(value, list):
        return [_filled(item, inner, names) for item in value]
    if isinstance(value, Mapping):
        return {_filled(key, inner, names): _filled(item, inner, names) for key, item in value.items()}
    return value


def _text(placeholder: str, inner: Callable[[str], Any], names: Mapping[str, str]) -> str:
    kind, key = _kind(placeholder)
    if kind == "parameter":
        return to_text(inner(key))
    if kind == "pipeline" and key in names:
        return names[key]
    return placeholder


def _kind(placeholder: str) -> tuple[str, str]:
    try:
        return used(placeholder)[0]
    except ValueError:
        return "", ""


def _fitting(key: str, value: Any, spec: ParameterSpec) -> Any:
    try:
        return convert(value, spec.type, spec.literals)
    except ValueError as error:
        raise ValueError(f"input `{key}`: {error}") from error
