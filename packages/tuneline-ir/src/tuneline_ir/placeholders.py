"""Placeholders in commands, arguments, environment and constants: `{{$.inputs.parameters['k']}}` and the
like.

Limits: those container tasks need. `IfPresent`, `Concat` and metadata placeholders are refused by name, and
so is any text between `{{$` and `}}` that is not known: a command with an unresolved placeholder never runs.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tuneline_ir.values import to_text

_ANY = re.compile(r"\{\{\$.*?\}\}", re.DOTALL)
_KEY = r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]"""
_FORMS = tuple(
    (kind, re.compile(r"\{\{\$" + pattern + r"\}\}"))
    for kind, pattern in (
        ("executor_input", ""),
        ("parameter", r"\.inputs\.parameters" + _KEY),
        ("input_uri", r"\.inputs\.artifacts" + _KEY + r"\.uri"),
        ("input_path", r"\.inputs\.artifacts" + _KEY + r"\.path"),
        ("output_uri", r"\.outputs\.artifacts" + _KEY + r"\.uri"),
        ("output_path", r"\.outputs\.artifacts" + _KEY + r"\.path"),
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
)
"""Pipeline-level placeholders, `{{$.<key>}}`, that a runner gives values for."""


def resolve(text: str, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> str:
    """The text with every placeholder replaced from KFP's ExecutorInput and the pipeline-level values.

    Raises: ValueError, naming the placeholder, if it is unknown or names an input that has no value.
    """
    return _ANY.sub(lambda found: _value(found.group(), executor_input, pipeline), text)


def used(text: str) -> list[tuple[str, str]]:
    """The placeholders in a text: (kind, key). Raises: ValueError for one that is not supported."""
    return [_recognized(found) for found in _ANY.findall(text)]


def _recognized(placeholder: str) -> tuple[str, str]:
    for kind, form in _FORMS:
        found = form.fullmatch(placeholder)
        if found is not None:
            key = next((group for group in found.groups() if group is not None), "")
            if kind != "pipeline" or key in PIPELINE_KEYS:
                return kind, key
    raise ValueError(f"the placeholder {placeholder} is not supported")


def _value(placeholder: str, executor_input: Mapping[str, Any], pipeline: Mapping[str, str]) -> str:
    kind, key = _recognized(placeholder)
    inputs, outputs = executor_input.get("inputs", {}), executor_input.get("outputs", {})
    try:
        match kind:
            case "executor_input":
                return json.dumps(executor_input)
            case "parameter":
                return to_text(inputs["parameterValues"][key])
            case "input_uri" | "input_path":
                return str(inputs["artifacts"][key]["artifacts"][0]["uri"])
            case "output_uri" | "output_path":
                return str(outputs["artifacts"][key]["artifacts"][0]["uri"])
            case "output_file":
                return str(outputs["parameters"][key]["outputFile"])
            case "executor_output":
                return str(outputs["outputFile"])
            case _:
                return pipeline[key]
    except (KeyError, IndexError):
        raise ValueError(f"the placeholder {placeholder} has no value in this task") from None
