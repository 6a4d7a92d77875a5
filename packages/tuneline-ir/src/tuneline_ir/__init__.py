"""Kubeflow Pipelines IR, read: parsing and placeholders. Standard library and PyYAML alone."""

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
from tuneline_ir.parse import parse
from tuneline_ir.placeholders import (
    PIPELINE_KEYS,
    WORKSPACE,
    expand,
    local_path,
    resolve,
    resolve_value,
    used,
)
from tuneline_ir.values import convert, from_file, to_text, whole

__all__ = [
    "PIPELINE_KEYS",
    "WORKSPACE",
    "ArtifactInput",
    "ArtifactSpec",
    "Component",
    "Constant",
    "Container",
    "IRError",
    "Interface",
    "ParameterInput",
    "ParameterSpec",
    "Pipeline",
    "PipelineInput",
    "RetryPolicy",
    "Task",
    "TaskOutput",
    "convert",
    "expand",
    "from_file",
    "local_path",
    "parse",
    "resolve",
    "resolve_value",
    "to_text",
    "used",
    "whole",
]
