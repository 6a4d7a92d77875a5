"""KFP's ExecutorInput and ExecutorOutput: what a task is told on its command line, and what it says of its
outputs. Pure, but for the reading of files that the caller hands in.

An artifact is a RuntimeArtifact as JSON: `name`, `type`, `uri`, `metadata`, `customPath`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuneline_ir.model import ArtifactSpec, Component, Constant, Container, Importer, Task
from tuneline_ir.placeholders import resolve
from tuneline_ir.values import convert, from_file

OUTPUT_FILE = "executor_output.json"
_OWN = re.compile(r"\{\{\$(?:\.outputs[^{}]*|\.outputMetadataUri)?\}\}")


def artifact(name: str, type: str, version: str, uri: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A RuntimeArtifact."""
    kind = {"schemaTitle": type, "schemaVersion": version}
    return {"name": name, "type": kind, "uri": uri, "metadata": dict(metadata)}


def executor_input(
    component: Component,
    parameters: Mapping[str, Any],
    artifacts: Mapping[str, Sequence[Mapping[str, Any]]],
    uri: Callable[[str], str],
    folder: str,
) -> dict[str, Any]:
    """KFP's ExecutorInput of one attempt. uri: where an output artifact goes; folder: the attempt's, where
    its output parameters and its output file go."""

    def wanted(name: str, spec: ArtifactSpec) -> dict[str, Any]:
        return artifact(name, spec.type, spec.version, uri(name), spec.metadata)

    made = component.outputs
    return {
        "inputs": {
            "parameterValues": dict(parameters),
            "artifacts": {name: {"artifacts": list(listed)} for name, listed in artifacts.items()},
        },
        "outputs": {
            "parameters": {name: {"outputFile": f"{folder}/parameters/{name}"} for name in made.parameters},
            "artifacts": {name: {"artifacts": [wanted(name, spec)]} for name, spec in made.artifacts.items()},
            "outputFile": f"{folder}/{OUTPUT_FILE}",
        },
    }


def with_own(task: Task, given: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """An ExecutorInput with constants that are a placeholder of the executor's own (`{{$}}`, an output's
    file) made what they are in this attempt. A value that only looks like one stays."""
    values = given["inputs"]["parameterValues"]
    own = {
        key: source.value
        for key, source in task.parameters.items()
        if isinstance(source, Constant) and isinstance(source.value, str) and _OWN.fullmatch(source.value)
    }
    values |= {key: resolve(text, given, names) for key, text in own.items()}
    return given


OWN_IMAGE = "tuneline"
"""The image of tuneline's own steps: whoever runs a pipeline knows what stands for it."""
IMPORTING = Container(OWN_IMAGE, ("tuneline", "step", "importer"), ("--executor-input", "{{$}}"))
"""What runs an importer: our own step of that name."""


def importing(importer: Importer, parameters: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What the step `importer` is given, in place of the component's inputs."""
    texts = {"inputs": {"parameterValues": dict(parameters), "artifacts": {}}}
    uri = importer.uri.value if isinstance(importer.uri, Constant) else parameters[importer.uri.name]

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return resolve(value, texts, names)
        if isinstance(value, Mapping):
            return {filled(key): filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else value

    return {
        "uri": filled(uri),
        "type": importer.type,
        "metadata": filled(importer.metadata),
        "workspace": names["workspace_path"] if importer.to_workspace else "",
    }


def said(body: bytes | str | None) -> tuple[Mapping[str, Any], dict[str, list[Any]]]:
    """What a task's ExecutorOutput says, if it wrote one: parameters, and artifacts by output.

    Raises: ValueError if it is no ExecutorOutput.
    """
    if body is None:
        return {}, {}
    try:
        found = json.loads(body)
        made = found.get("artifacts") or {}
        artifacts = {name: list(each.get("artifacts") or ()) for name, each in made.items()}
        values = found.get("parameterValues") or {}
        if not isinstance(values, dict) or not all(
            isinstance(each, dict) for listed in artifacts.values() for each in listed
        ):
            raise TypeError("values of another kind")
        for each in (each for listed in artifacts.values() for each in listed):
            convert(each.get("metadata") or {}, "STRUCT")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no ExecutorOutput of Kubeflow: {error}") from error
    return values, artifacts


def parameter(name: str, type: str, values: Mapping[str, Any], read: Callable[[], str]) -> Any:
    """The value of an output parameter: as the ExecutorOutput says it, else as `read` gives its file's text.

    Raises: ValueError if it is of another type; what `read` raises.
    """
    if name not in values:
        return from_file(read(), type)
    value = convert(values[name], type)
    return str(value) if type == "STRING" else value  # as it is read back from a record


def put_out(
    component: Component,
    body: bytes | str | None,
    files: Mapping[str, str],
    uri: Callable[[str], str],
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """What an ended task put out: its parameters, and its artifacts as RuntimeArtifacts.

    Args:
        body: of its output file; None: it wrote none.
        files: the texts of output parameters that it wrote to files.
    Raises: ValueError if a declared parameter is missing or of another type.
    """
    values, made = said(body)
    parameters = {}
    for name, spec in component.outputs.parameters.items():
        if name not in values and name not in files:
            raise ValueError(f"it ended without its output parameter `{name}`")
        try:
            parameters[name] = parameter(name, spec.type, values, lambda name=name: files[name])  # type: ignore[misc]
        except ValueError as error:
            raise ValueError(f"its output parameter `{name}`: {error}") from error
    artifacts = {}
    for name, output in component.outputs.artifacts.items():
        described = made.get(name, [])
        listed = described if output.is_list else (described[:1] or [{}])
        artifacts[name] = [_made(name, output, each, uri(name)) for each in listed]
    return parameters, artifacts


def _made(name: str, spec: ArtifactSpec, said: Mapping[str, Any], uri: str) -> dict[str, Any]:
    kind = (said.get("type") or {}).get("schemaTitle") or spec.type
    metadata = {**spec.metadata, **(said.get("metadata") or {})}
    found = artifact(name, kind, spec.version, str(said.get("uri") or uri), metadata)
    custom = str(said.get("custom_path") or said.get("customPath") or "")
    return {**found, "customPath": custom} if custom else found
