"""Placeholders in commands, arguments, images, environment and constants: `{{$.inputs.parameters['k']}}` and
the like, and the structures `{"IfPresent": ...}` and `{"Concat": [...]}` that stand for words of a command.

Every text is looked at once: a value that holds a placeholder itself is put in as it is.

Limits: any text between `{{$.` and `}}` that is not known is refused by name, so a command with an unresolved
placeholder never runs. `{{$` before anything else is left alone: other template languages have it too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuneline_ir.values import to_text

_ANY = re.compile(r"\{\{\$(?:\.(?:(?!\}\}).)*)?\}\}", re.DOTALL)
_KEY = r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]"""
_FORMS = tuple(
    (kind, re.compile(r"\{\{\$" + pattern + r"\}\}"))
    for kind, pattern in (
        ("executor_input", ""),
        ("escaped_input", r"\.json_escape\[\s*([0-3])\s*\]"),
        ("parameter", r"\.inputs\.parameters" + _KEY),
        ("input_uri", r"\.inputs\.artifacts" + _KEY + r"\.uri"),
        ("input_path", r"\.inputs\.artifacts" + _KEY + r"\.path"),
        ("input_metadata", r"\.inputs\.artifacts" + _KEY + r"\.metadata(?:" + _KEY + ")?"),
        ("input_artifacts", r"\.inputs\.artifacts" + _KEY),
        ("output_uri", r"\.outputs\.artifacts" + _KEY + r"\.uri"),
        ("output_path", r"\.outputs\.artifacts" + _KEY + r"\.path"),
        ("output_metadata", r"\.outputs\.artifacts" + _KEY + r"\.metadata(?:" + _KEY + ")?"),
        ("output_artifacts", r"\.outputs\.artifacts" + _KEY),
        ("output_file", r"\.outputs\.parameters" + _KEY + r"\.output_file"),
        ("executor_output", r"\.outputs\.output_file"),
        ("executor_output", r"\.outputMetadataUri"),
        ("pipeline", r"\.(pipeline_[a-z_]+|workspace_path)"),
    )
)
PIPELINE_KEYS = (
    "pipeline_job_name",
    "pipeline_job_resource_name",
    "pipeline_job_uuid",
    "pipeline_task_name",
    "pipeline_task_uuid",
    "pipeline_root",
    "pipeline_job_create_time_utc",
    "pipeline_job_schedule_time_utc",
    "workspace_path",
)
"""Pipeline-level placeholders, `{{$.<key>}}`, that a runner gives values for."""
WORKSPACE = "/kfp-workspace"
"""Where KFP mounts the task workspace."""

_STRUCTURE = re.compile(r'\s*\{\s*"(IfPresent|Concat)"\s*:')
_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}


def resolve(text: str, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> str:
    """The text with every placeholder replaced from KFP's ExecutorInput and the pipeline-level values.

    Numbers come without `.0`, lists, structs and artifacts as JSON, null as nothing.

    Raises: ValueError, naming the placeholder, if it is unknown or names an input that has no value.
    """
    return _ANY.sub(lambda found: _value(found.group(), executor_input, pipeline), text)


def resolve_value(value: Any, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> Any:
    """A constant, with the placeholders in all texts in it resolved, also in keys, lists and structs.

    A text that is one placeholder of a parameter and nothing else becomes the parameter's value, so that a
    number in a list stays one.

    Raises: ValueError as `resolve` does.
    """
    if isinstance(value, list):
        return [resolve_value(item, executor_input, pipeline) for item in value]
    if isinstance(value, Mapping):
        return {
            resolve(key, executor_input, pipeline): resolve_value(item, executor_input, pipeline)
            for key, item in value.items()
        }
    if not isinstance(value, str):
        return value
    if _ANY.fullmatch(value):
        kind, key, _ = _recognized(value)
        parameters = executor_input.get("inputs", {}).get("parameterValues", {})
        if kind == "parameter" and key in parameters:
            return parameters[key]
    return resolve(value, executor_input, pipeline)


def expand(words: Sequence[str], executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> list[str]:
    """The words of a command or its arguments, with structures and placeholders resolved.

    `IfPresent` gives the words of its `Then` if the input has a value that is not null, or an artifact; else
    those of its `Else`, or none. `Concat` gives one word; a parameter without a value is nothing in it.

    Raises: ValueError as `resolve` does, or if a structure is malformed.
    """
    found: list[str] = []
    for word in words:
        structure = _structure(word)
        if structure is None:
            found.append(resolve(word, executor_input, pipeline))
        else:
            texts = _texts(structure, executor_input.get("inputs", {}))
            found.extend(_joined(pieces, executor_input, pipeline) for pieces in texts)
    return found


def used(text: str) -> list[tuple[str, str]]:
    """The placeholders in a text, also inside a structure: (kind, key); ("present", input) for `IfPresent`.

    Raises: ValueError for one that is not supported and for a malformed structure.
    """
    structure = _structure(text)
    if structure is None:
        return [_recognized(found)[:2] for found in _ANY.findall(text)]
    return list(_used(structure))


def local_path(artifact: Mapping[str, Any], workspace: str = WORKSPACE) -> str:
    """Where a task finds an artifact of an ExecutorInput: its custom path, the mount of its remote URI, or
    its URI itself; below `workspace` if its metadata says that it was put there."""
    uri = str(artifact.get("uri") or "")
    path = str(artifact.get("customPath") or "")
    if not path and uri.startswith("oci://"):
        path = "/oci/" + uri.removeprefix("oci://").replace("/", "_") + "/models"
    for scheme, mount in _MOUNTS.items():
        if not path and uri.startswith(scheme):
            path = mount + uri.removeprefix(scheme)
    path = path or uri
    if (artifact.get("metadata") or {}).get("_kfp_workspace") is True:
        return f"{workspace}/.artifacts/{path.lstrip('/')}"
    return path


def _recognized(placeholder: str) -> tuple[str, str, str | None]:
    """(kind, key, second key)."""
    for kind, form in _FORMS:
        found = form.fullmatch(placeholder)
        if found is not None:
            keys = [group for group in found.groups() if group is not None]
            key, second = (*keys, "")[0], keys[1] if len(keys) > 1 else None
            if kind != "pipeline" or key in PIPELINE_KEYS:
                return kind, key, second
    raise ValueError(f"the placeholder {placeholder} is not supported")


def _value(placeholder: str, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> str:
    kind, key, second = _recognized(placeholder)
    inputs, outputs = executor_input.get("inputs", {}), executor_input.get("outputs", {})
    side, _, what = kind.partition("_")
    try:
        match kind:
            case "executor_input":
                return json.dumps(executor_input)
            case "escaped_input":
                return _escaped(json.dumps(executor_input), int(key))
            case "parameter":
                value = inputs["parameterValues"][key]
                return "" if value is None else to_text(value)
            case "output_file":
                return str(outputs["parameters"][key]["outputFile"])
            case "executor_output":
                return str(outputs["outputFile"])
            case "pipeline":
                return pipeline[key]
            case _:
                artifacts = (inputs if side == "input" else outputs)["artifacts"][key]["artifacts"]
                workspace = pipeline.get("workspace_path", WORKSPACE)
                return _artifact_value(artifacts, what, second, workspace)
    except (KeyError, IndexError):
        raise ValueError(f"the placeholder {placeholder} has no value in this task") from None


def _artifact_value(artifacts: list[Any], what: str, field: str | None, workspace: str) -> str:
    if what == "artifacts":
        return json.dumps(artifacts)
    if what == "uri":
        return str(artifacts[0]["uri"])
    if what == "path":
        return local_path(artifacts[0], workspace)
    metadata = artifacts[0].get("metadata") or {}
    return json.dumps(metadata) if field is None else to_text(metadata[field])


def _escaped(text: str, times: int) -> str:
    for _ in range(times):
        text = json.dumps(text)[1:-1]
    return text


def _structure(word: str) -> dict[str, Any] | None:
    """The structure that a word stands for, checked; None for any other word."""
    started = _STRUCTURE.match(word)
    if started is None:
        return None
    try:
        structure = json.loads(word)
        _check(structure)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"malformed `{started.group(1)}`: {error}") from None
    return dict(structure)


def _check(node: Any, *, inside_concat: bool = False) -> None:
    if isinstance(node, str):
        return
    if not isinstance(node, dict) or len(node) != 1:
        raise ValueError(f"{json.dumps(node)[:60]} is neither a text nor a structure")
    match node:
        case {"Concat": [*items]}:
            for item in items:
                _check(item, inside_concat=True)
        case {"IfPresent": {"InputName": str(), **branches}} if branches.keys() <= {"Then", "Else"}:
            for branch in branches.values():
                if isinstance(branch, list) and inside_concat:
                    raise ValueError("a list of words in an `IfPresent` inside a `Concat`")
                for item in branch if isinstance(branch, list) else [branch]:
                    _check(item, inside_concat=inside_concat)
        case _:
            raise ValueError(f"{json.dumps(node)[:60]} is not `Concat` or `IfPresent` as KFP has them")


_Pieces = tuple[bool, list[str]]


def _texts(node: Any, inputs: Mapping[str, Any]) -> list[_Pieces]:
    """The words of a structure, placeholders still in them: (whether it is a `Concat`, its pieces)."""
    if isinstance(node, str):
        return [(False, [node])]
    if "Concat" in node:
        return [
            (True, [piece for item in node["Concat"] for _, texts in _texts(item, inputs) for piece in texts])
        ]
    chosen = node["IfPresent"].get("Then" if _present(node["IfPresent"]["InputName"], inputs) else "Else", [])
    branch = chosen if isinstance(chosen, list) else [chosen]
    return [word for item in branch for word in _texts(item, inputs)]


def _joined(pieces: _Pieces, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> str:
    lenient, texts = pieces
    if lenient:
        known = executor_input.get("inputs", {}).get("parameterValues", {})
        texts = [_ANY.sub(lambda found: _or_nothing(found.group(), known), text) for text in texts]
    return "".join(resolve(text, executor_input, pipeline) for text in texts)


def _or_nothing(placeholder: str, known: Mapping[str, Any]) -> str:
    kind, key, _ = _recognized(placeholder)
    return "" if kind == "parameter" and key not in known else placeholder


def _present(name: str, inputs: Mapping[str, Any]) -> bool:
    if inputs.get("parameterValues", {}).get(name) is not None:
        return True
    return bool(inputs.get("artifacts", {}).get(name, {}).get("artifacts"))


def _used(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield from (_recognized(found)[:2] for found in _ANY.findall(node))
    elif "Concat" in node:
        for item in node["Concat"]:
            yield from _used(item)
    else:
        yield "present", node["IfPresent"]["InputName"]
        for key in ("Then", "Else"):
            branch = node["IfPresent"].get(key, [])
            for item in branch if isinstance(branch, list) else [branch]:
                yield from _used(item)
